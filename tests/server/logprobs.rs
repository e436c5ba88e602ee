//! Prompts that are scored, as lm-eval's local completions ask for it: lists of lists of ids, `echo`, `logprobs` 1, one token,
//! temperature 0.

use serde_json::{Value, json};

use super::client::*;
use crate::commands::test_dir::*;

/// As lm-eval asks.
fn scored(server: &Server, prompts: &Value) -> Value {
    let body = json!({
        "model": "run", "prompt": prompts, "temperature": 0, "max_tokens": 1, "logprobs": 1, "seed": 1234, "echo": true,
    });
    server.complete(&body)
}

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().expect("a list").iter().filter_map(Value::as_f64).collect()
}

fn ids(server: &Server, words: &str) -> Vec<u64> {
    let tokenizer: Value = serde_json::from_str(
        &std::fs::read_to_string(checkpoint(&server.test_dir.path("run"), "best").join("tokenizer.json"))
            .expect("a file"),
    )
    .expect("JSON");
    let vocab = &tokenizer["model"]["vocab"];
    words.chars().map(|character| vocab[character.to_string()].as_u64().expect("an id")).collect()
}

#[test]
fn each_token_of_a_prompt_has_its_number_and_the_likeliest_has_the_largest_of_its_alternatives() {
    let server = Server::start("");
    let (first, second) = (ids(&server, "the old fox saw three birds"), ids(&server, "one crow"));
    let answer = scored(&server, &json!([first, second]));
    for (index, (ids, words)) in [(&first, "the old fox saw three birds"), (&second, "one crow")].iter().enumerate() {
        let choice = &answer["choices"][index];
        let logprobs = &choice["logprobs"];
        for list in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
            assert_eq!(logprobs[list].as_array().expect("a list").len(), ids.len() + 1, "{list}: one token was made");
        }
        assert!(logprobs["token_logprobs"][0].is_null() && logprobs["top_logprobs"][0].is_null());
        assert!(choice["text"].as_str().expect("a text").starts_with(words));
        let mut likeliest = 0;
        for place in 1..=ids.len() {
            let own = logprobs["token_logprobs"][place].as_f64().expect("a number");
            let top = logprobs["top_logprobs"][place].as_object().expect("alternatives");
            let largest = top.values().filter_map(Value::as_f64).fold(f64::NEG_INFINITY, f64::max);
            assert!(own <= largest && own < 0.0);
            assert_eq!(top[logprobs["tokens"][place].as_str().expect("a token")], own);
            assert_eq!(top.len(), if own == largest { 1 } else { 2 });
            likeliest += usize::from(own == largest);
        }
        assert!(likeliest >= 1, "the one that was made is the likeliest");
        assert_eq!(
            logprobs["token_logprobs"][ids.len()],
            *logprobs["top_logprobs"][ids.len()].as_object().expect("one").values().next().expect("one")
        );
    }
}

#[test]
fn what_was_made_has_the_same_numbers_when_it_is_scored() {
    let server = Server::start("");
    let made = server.complete(&json!({
        "prompt": "the old fox", "max_tokens": 300, "seed": 4, "logprobs": 2, "echo": true,
    }));
    let logprobs = &made["choices"][0]["logprobs"];
    let again = server.complete(&json!({
        "prompt": text_of(&made), "max_tokens": 0, "logprobs": 2, "echo": true,
    }));
    // Scored in chunks of 256 positions here, and token by token there.
    assert_eq!(logprobs, &again["choices"][0]["logprobs"]);
    assert_eq!(numbers(&logprobs["token_logprobs"]).len(), 310);
}

#[test]
fn a_score_is_the_sum_of_what_tril_score_says() {
    let server = Server::start("");
    // No longer than a context, which `tril score` begins anew after.
    let words = "the old fox saw";
    server.test_dir.write("words.txt", words);
    let report: Value = serde_json::from_str(&server.test_dir.stdout("score run words.txt --json")).expect("JSON");
    let expected: f64 =
        report["tokens"].as_array().expect("tokens").iter().filter_map(|token| token["logprob"].as_f64()).sum();
    let answer = scored(&server, &json!([ids(&server, words)]));
    let scores = numbers(&answer["choices"][0]["logprobs"]["token_logprobs"]);
    let sum: f64 = scores[..scores.len() - 1].iter().sum();
    assert!((sum - expected).abs() < 1e-4, "{sum} and {expected}");
}

#[test]
fn a_text_that_ends_at_once_has_the_number_of_its_end_so_that_there_is_one_of_each_step() {
    let test_dir = TestDir::new();
    test_dir.stdout(TRAIN_DOCUMENTS);
    let server = Server::start_in(test_dir, "run");
    let end = server.get("/v1/models/run").json()["vocab_size"].as_u64().expect("a number") - 1;
    let ask = |bias: f64| {
        server.complete(&json!({
            "prompt": "a cat", "max_tokens": 1, "temperature": 0, "logprobs": 1, "echo": true,
            "logit_bias": {end.to_string(): bias},
        }))
    };
    let (ended, other) = (ask(100.0), ask(-100.0));
    let tokens = |answer: &Value| answer["choices"][0]["logprobs"]["tokens"].as_array().expect("tokens").clone();
    assert_eq!((tokens(&ended).len(), tokens(&other).len()), (6, 6));
    assert_eq!((tokens(&ended)[5].as_str(), text_of(&ended)), (Some("<|endoftext|>"), "a cat"));
    assert_eq!(ended["choices"][0]["finish_detail"], "end_of_text");
    assert_eq!(ended["usage"]["completion_tokens"], 1);
}

#[test]
fn a_prompt_that_does_not_fit_the_context_is_refused_by_number() {
    let test_dir = TestDir::new();
    test_dir.stdout(&format!("{TRAIN} --set model.positions=learned --set model.window=0"));
    let server = Server::start_in(test_dir, "run");
    let long = "one crow saw the café";
    let ask = |more: Value| {
        let mut body = json!({"prompt": long, "max_tokens": 1});
        more.as_object().expect("fields").iter().for_each(|(name, value)| body[name] = value.clone());
        server.post("/v1/completions", &body)
    };
    for more in
        [json!({}), json!({"on_overflow": "stop"}), json!({"echo": true, "logprobs": 1, "on_overflow": "recompute"})]
    {
        let answer = ask(more);
        assert_eq!((answer.status, answer.error()["code"].as_str()), (400, Some("context_length_exceeded")));
        assert_says(&answer.body, &["21 tokens", "16"]);
    }
    assert_eq!(ask(json!({"on_overflow": "recompute"})).status, 200);
    let goes_on = server.complete(&json!({"prompt": "a", "max_tokens": 40, "seed": 1}));
    assert_eq!(goes_on["usage"]["completion_tokens"], 40, "what is made goes on past the context");
    let stops = server.complete(&json!({"prompt": "a", "max_tokens": 40, "seed": 1, "on_overflow": "stop"}));
    assert_eq!(stops["choices"][0]["finish_detail"], "context_full");
    assert!(text_of(&goes_on).starts_with(text_of(&stops)));
}
