//! What is asked for is what comes: completions, chats, streams, models.

use serde_json::{Value, json};

use super::client::*;
use crate::commands::test_dir::*;

#[test]
fn a_text_is_that_of_tril_sample_with_the_same_seed() {
    let server = Server::start("");
    let answer = server.complete(&json!({
        "model": "run", "prompt": "the old fox", "max_tokens": 30, "seed": 7, "temperature": 0.8, "top_p": 0.9,
        "presence_penalty": 0.5, "logit_bias": {"3": -2.5}, "n": 2,
    }));
    let sampled = stdout(
        server
            .test_dir
            .tril(
                "sample run --jsonl -n 30 --seed 7 --top-p 0.9 --presence-penalty 0.5 --logit-bias 3=-2.5 --num-samples 2",
            )
            .args(["--prompt", "the old fox"]),
    );
    let sampled: Vec<Value> = sampled.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for (index, sample) in sampled.iter().enumerate() {
        let choice = &answer["choices"][index];
        assert_eq!((&choice["text"], &choice["index"]), (&sample["text"], &json!(index)));
        assert_eq!((&choice["finish_reason"], &choice["finish_detail"]), (&json!("length"), &json!("max_tokens")));
    }
    let usage = json!({
        "prompt_tokens": 11, "completion_tokens": 60, "total_tokens": 71, "prompt_tokens_details": {"cached_tokens": 0},
    });
    assert_eq!(answer["usage"], usage);
    assert_eq!(
        (&answer["object"], &answer["model"], &answer["seed"]),
        (&json!("text_completion"), &json!("run"), &json!(7))
    );
}

#[test]
fn without_a_seed_one_is_drawn_and_returned_and_gives_the_same_text_again() {
    let server = Server::start("");
    let first = server.complete(&json!({"prompt": "a cat", "max_tokens": 20}));
    let other = server.complete(&json!({"prompt": "a cat", "max_tokens": 20}));
    assert_ne!(first["seed"], other["seed"]);
    let again = server.complete(&json!({"prompt": "a cat", "max_tokens": 20, "seed": first["seed"]}));
    assert_eq!(text_of(&first), text_of(&again));
    let (chunks, _) =
        server.stream("/v1/completions", &json!({"prompt": "a cat", "max_tokens": 20, "seed": first["seed"]}));
    assert!(chunks.iter().all(|chunk| chunk["seed"] == first["seed"]));
    assert_eq!(streamed(&chunks, 0), text_of(&first));
}

#[test]
fn prompts_may_be_texts_or_ids_one_or_several() {
    let server = Server::start("");
    let ask = |prompt: Value| server.complete(&json!({"prompt": prompt, "max_tokens": 8, "seed": 1}));
    let texts = |answer: &Value| -> Vec<String> {
        let choices = answer["choices"].as_array().expect("choices");
        choices.iter().map(|choice| choice["text"].as_str().expect("a text").to_owned()).collect()
    };
    let several = texts(&ask(json!(["a cat", "one crow"])));
    assert_eq!(several, [texts(&ask(json!("a cat"))), texts(&ask(json!("one crow")))].concat());
    let scored = server.complete(&json!({"prompt": "a cat", "echo": true, "logprobs": 0, "max_tokens": 0}));
    assert_eq!(text_of(&scored), "a cat");
    let (low, high): (Vec<u32>, Vec<u32>) = (vec![5, 6, 7], vec![8, 5]);
    let ids = texts(&ask(json!([low, high])));
    assert_eq!(ids, [texts(&ask(json!(low))), texts(&ask(json!(high)))].concat());
    assert_eq!(texts(&ask(json!(""))), texts(&ask(Value::Null)), "none is an empty one");
}

#[test]
fn a_stop_text_ends_a_text_and_is_no_part_of_it() {
    let server = Server::start("");
    let whole = server.complete(&json!({"prompt": "a cat", "max_tokens": 60, "seed": 3}));
    let stop: String = text_of(&whole).chars().skip(20).take(2).collect();
    let end = text_of(&whole).find(&stop).expect("it is there");
    let body =
        json!({"prompt": "a cat", "max_tokens": 60, "seed": 3, "stop": [stop, "never"], "logprobs": 1, "echo": false});
    let answer = server.complete(&body);
    assert_eq!(text_of(&answer), &text_of(&whole)[..end]);
    let choice = &answer["choices"][0];
    assert_eq!((&choice["finish_reason"], &choice["stop_text"]), (&json!("stop"), &json!(stop)));
    assert_eq!(choice["logprobs"]["tokens"].as_array().expect("tokens").len(), text_of(&answer).chars().count());
    let (chunks, done) = server.stream("/v1/completions", &body);
    assert!(done);
    assert_eq!(streamed(&chunks, 0), text_of(&answer));
}

#[test]
fn the_pieces_of_a_stream_are_the_whole_and_end_with_usage_and_done() {
    let server = Server::start("");
    let body =
        json!({"prompt": ["a cat", "one crow"], "n": 2, "max_tokens": 12, "seed": 5, "echo": true, "logprobs": 2});
    let whole =
        server.complete(&json!({"prompt": ["a cat", "one crow"], "n": 2, "max_tokens": 12, "seed": 5, "echo": true}));
    let mut plain = body.clone();
    plain.as_object_mut().expect("an object").remove("logprobs");
    plain["stream_options"] = json!({"include_usage": true});
    let (chunks, done) = server.stream("/v1/completions", &plain);
    assert!(done);
    for index in 0..4 {
        assert_eq!(streamed(&chunks, index), whole["choices"][index]["text"].as_str().expect("a text"));
        let last =
            chunks.iter().rev().find_map(|chunk| chunk["choices"].as_array()?.iter().find(|c| c["index"] == index));
        assert_eq!(last.expect("a chunk")["finish_reason"], "length");
    }
    let (last, others) = chunks.split_last().expect("chunks");
    let made = &whole["usage"]["completion_tokens"];
    assert_eq!((&last["choices"], &last["usage"]["completion_tokens"]), (&json!([]), made));
    assert!(others.iter().all(|chunk| chunk["usage"].is_null()));

    let mut single = body;
    single["n"] = 1.into();
    let told = server.complete(&single);
    let (chunks, _) = server.stream("/v1/completions", &single);
    assert_eq!(
        chunks.last().expect("chunks")["usage"]["completion_tokens"],
        24,
        "without being asked for, in the last chunk"
    );
    for index in 0..2 {
        let pieces = chunks.iter().flat_map(|chunk| chunk["choices"].as_array().expect("choices"));
        let pieces = pieces.filter(|choice| choice["index"] == index && !choice["logprobs"].is_null());
        let pieces: Vec<&Value> = pieces.map(|choice| &choice["logprobs"]).collect();
        for list in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
            let joined: Vec<Value> =
                pieces.iter().flat_map(|piece| piece[list].as_array().expect("a list").clone()).collect();
            assert_eq!(json!(joined), told["choices"][index]["logprobs"][list], "{list} of {index}");
        }
    }
}

#[test]
fn a_chat_by_a_format_is_the_text_that_the_format_makes_of_it() {
    let server = Server::start("--format (0).{}\\n");
    let settings = json!({"max_tokens": 20, "seed": 2, "temperature": 0.5});
    let ask = |path: &str, field: &str, value: Value| {
        let mut body = settings.clone();
        body[field] = value;
        server.done(path, &body)
    };
    let messages = json!([
        {"role": "user", "content": "a cat"},
        {"role": "assistant", "content": "saw"},
        {"role": "user", "content": [{"type": "text", "text": "one "}, {"type": "text", "text": "crow"}]},
    ]);
    let chat = ask("/v1/chat/completions", "messages", messages.clone());
    let plain = ask("/v1/completions", "prompt", json!("(0).a cat\nsaw(0).one crow\n"));
    let message = &chat["choices"][0]["message"];
    assert_eq!((&message["content"], &message["role"]), (&plain["choices"][0]["text"], &json!("assistant")));
    assert_eq!((&chat["object"], &chat["usage"]["prompt_tokens"]), (&json!("chat.completion"), &json!(26)));

    let body = json!({
        "messages": messages, "max_completion_tokens": 20, "seed": 2, "temperature": 0.5, "logprobs": true,
        "top_logprobs": 3, "user": "me", "metadata": {"a": "b"}, "store": true,
    });
    let (chunks, done) = server.stream("/v1/chat/completions", &body);
    assert!(done && chunks.iter().all(|chunk| chunk["object"] == "chat.completion.chunk"));
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    assert_eq!(json!(streamed(&chunks, 0)), message["content"]);
    let told = server.done("/v1/chat/completions", &body);
    let content = told["choices"][0]["logprobs"]["content"].as_array().expect("a list");
    assert_eq!(content.len(), 20);
    for token in content {
        let top = token["top_logprobs"].as_array().expect("a list");
        assert_eq!(top.len(), 3);
        assert_eq!(token["bytes"], json!(token["token"].as_str().expect("text").as_bytes()));
        if let Some(same) = top.iter().find(|other| other["token"] == token["token"]) {
            assert_eq!(same["logprob"], token["logprob"]);
        }
    }
}

#[test]
fn models_are_listed_by_name_and_one_is_found_by_name_alone() {
    let test_dir = TestDir::with_run();
    test_dir.stdout(
        "train smoke.toml --data text.txt --out other/second --set data.validation_fraction=0.1 --set train.seed=5",
    );
    let server = Server::start_in(test_dir, "run other/second");
    let list = server.get("/v1/models").json();
    let names: Vec<&str> =
        list["data"].as_array().expect("a list").iter().filter_map(|model| model["id"].as_str()).collect();
    assert_eq!(names, ["run", "second"]);
    let sha256 = list["data"][1]["sha256"].as_str().expect("a hash");
    assert_eq!(sha256.len(), 64);
    assert_eq!(server.get("/v1/models/second").json(), list["data"][1]);
    for (path, code) in [("/v1/models/third", "model_not_found"), ("/v1/nothing", "not_found")] {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.error()["code"].as_str()), (404, Some(code)), "{path}");
    }
    let ask = |model: Value| {
        server.post("/v1/completions", &json!({"model": model, "prompt": "a", "seed": 1, "max_tokens": 40}))
    };
    assert_ne!(text_of(&ask(json!("run")).json()), text_of(&ask(json!("second")).json()));
    for model in [json!("third"), Value::Null] {
        let answer = ask(model);
        assert_eq!((answer.status, answer.error()["param"].as_str()), (404, Some("model")), "{}", answer.body);
        assert_says(&answer.body, &["run, second"]);
    }
    assert_eq!(server.get("/health").json(), json!({"status": "ok"}));
}
