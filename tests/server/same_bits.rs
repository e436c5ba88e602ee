//! A request and its seed have the same bits in any company: alone, among 32 clients that come and go, after a prefix that an
//! earlier request left, and in a batch of any size. Receipts say so, and hold.

use serde_json::{Value, json};

use super::client::*;
use crate::commands::test_dir::*;

/// Requests that differ in length, settings and number of texts; some have beginnings in common.
fn requests() -> Vec<Value> {
    let story = "the old fox saw three birds (1).\none crow lost the café (2).\n";
    let body = |prompt: &str, seed: u64, max_tokens: usize, temperature: f64| {
        json!({
            "prompt": prompt, "seed": seed, "max_tokens": max_tokens, "temperature": temperature, "logprobs": 3,
        })
    };
    let mut bodies = vec![
        body("a", 1, 40, 1.0),
        body(story, 2, 25, 0.7),
        body(&format!("{story}a piñata sold no one"), 3, 30, 1.2),
        body(&story.repeat(12), 4, 20, 1.0),
        body("", 5, 35, 0.9),
        body(story, 6, 1, 0.0),
        body("one crow", 7, 33, 1.5),
    ];
    bodies[1]["n"] = 3.into();
    bodies[2]["frequency_penalty"] = 1.0.into();
    bodies[5]["echo"] = true.into();
    bodies
}

/// What may not depend on company: texts, numbers, endings.
fn bits(answer: &Value) -> String {
    answer["choices"].to_string()
}

#[test]
fn a_request_has_the_same_bits_alone_and_among_32_clients_with_and_without_a_kept_prefix() {
    let requests = requests();
    let alone = Server::start("--max-batch 1 --prefix-cache 0");
    let expected: Vec<String> = requests.iter().map(|request| bits(&alone.complete(request))).collect();
    assert_eq!(alone.metric("tril_prefixes_kept"), 0.0);
    let mut longer = requests[3].clone();
    longer["prompt"] = (longer["prompt"].as_str().expect("a text").to_owned() + "one crow").into();
    let expected_longer = bits(&alone.complete(&longer));
    for options in ["", "--max-batch 5", "--max-batch 32 --prefix-cache 0 --threads 1"] {
        let server = Server::start(options);
        for (request, expected) in requests.iter().zip(&expected) {
            assert_eq!(&bits(&server.complete(request)), expected, "one client, {options}: {request}");
        }
        std::thread::scope(|scope| {
            for client in 0..32 {
                let (server, requests, expected) = (&server, &requests, &expected);
                scope.spawn(move || {
                    for turn in 0..requests.len() {
                        let place = (client * 3 + turn * 2 + client / 7) % requests.len();
                        let answer = server.complete(&requests[place]);
                        assert_eq!(bits(&answer), expected[place], "client {client}, {options}: {}", requests[place]);
                    }
                });
            }
        });
        let keeps = !options.contains("--prefix-cache 0");
        assert_eq!(server.metric("tril_prefixes_kept") > 0.0, keeps, "{options}");
        if keeps {
            let again = server.complete(&longer);
            let cached = again["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64();
            assert_eq!(cached.map(|cached| cached + 8), again["usage"]["prompt_tokens"].as_u64(), "{options}");
            assert_eq!(bits(&again), expected_longer, "{options}");
        }
    }
}

#[test]
fn a_stream_that_others_join_and_leave_is_the_text_that_it_is_alone() {
    let server = Server::start("");
    let body = json!({"prompt": "a cat", "seed": 9, "max_tokens": 400});
    let alone = server.complete(&body);
    std::thread::scope(|scope| {
        let streams: Vec<_> = (0..4).map(|_| scope.spawn(|| server.stream("/v1/completions", &body).0)).collect();
        for left in 0..40 {
            let other =
                json!({"prompt": format!("one crow ({left})"), "seed": left, "max_tokens": 100_000, "stream": true});
            drop(server.begin("/v1/completions", &other));
        }
        for stream in streams {
            assert_eq!(streamed(&stream.join().expect("no panic"), 0), text_of(&alone));
        }
    });
}

#[test]
fn a_later_turn_of_a_chat_computes_only_what_is_new_and_is_the_same() {
    let (server, other) = (Server::start(""), Server::start("--prefix-cache 0"));
    let mut messages = vec![json!({"role": "user", "content": "the old fox saw three birds (1).\n"})];
    for turn in 0..4 {
        let body = json!({"messages": messages, "seed": turn, "max_tokens": 30});
        let answer = server.done("/v1/chat/completions", &body);
        let expected = other.done("/v1/chat/completions", &body);
        assert_eq!(answer["choices"], expected["choices"]);
        let cached =
            |answer: &Value| answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().expect("a number");
        let prompt = answer["usage"]["prompt_tokens"].as_u64().expect("a number");
        // All but the last token of the answer, which was drawn and not computed, and the new line.
        assert_eq!(cached(&answer), if turn == 0 { 0 } else { prompt - 1 - 10 }, "turn {turn}");
        assert_eq!(cached(&expected), 0);
        messages.push(answer["choices"][0]["message"].clone());
        messages.push(json!({"role": "user", "content": "one crow (\n"[..10].to_owned()}));
    }
}

#[test]
fn what_is_kept_of_earlier_texts_is_bounded() {
    // Two layers, two heads of 8, twice a window of 8 positions: 4 KiB a text, so 256 of them.
    let server = Server::start("--prefix-cache 1");
    std::thread::scope(|scope| {
        for client in 0..4 {
            let server = &server;
            scope.spawn(move || {
                for number in 0..100 {
                    server.complete(&json!({"prompt": format!("({client}) a cat saw {number}"), "max_tokens": 2}));
                }
            });
        }
    });
    assert_eq!(server.metric("tril_prefixes_kept"), 256.0);
}

/// Verifies the receipt of an answer.
fn check(server: &Server, answer: &Value) -> String {
    server.test_dir.write("receipt.json", answer["receipt"].to_string());
    server.test_dir.stdout("verify run receipt.json")
}

#[test]
fn receipts_of_any_company_hold_and_a_changed_one_does_not() {
    let server = Server::start("");
    let bodies = [
        json!({"prompt": "a cat", "max_tokens": 20}),
        json!({"prompt": ["a cat", "one crow saw"], "n": 3, "max_tokens": 12, "temperature": 0.3, "top_p": 0.5}),
        json!({"prompt": [5, 6, 7, 8], "max_tokens": 12, "logit_bias": {"4": -100}}),
        json!({"prompt": "one crow", "max_tokens": 60, "stop": ["e", "o"], "echo": true, "logprobs": 2}),
        json!({"prompt": "", "max_tokens": 5, "temperature": 0, "repetition_penalty": 1.3}),
    ];
    std::thread::scope(|scope| {
        for seed in 0..2 {
            for body in &bodies {
                let server = &server;
                scope.spawn(move || {
                    let mut body = body.clone();
                    body["receipt"] = true.into();
                    body["seed"] = (seed + 11).into();
                    let answer = server.complete(&body);
                    let samples = answer["receipt"]["prompts"].as_array().expect("prompts").iter();
                    let samples: usize =
                        samples.map(|prompt| prompt["samples"].as_array().expect("samples").len()).sum();
                    assert_eq!(samples, answer["choices"].as_array().expect("choices").len(), "{body}");
                });
            }
        }
    });
    for body in &bodies {
        let mut body = body.clone();
        body["receipt"] = true.into();
        let answer = server.complete(&body);
        assert_says(&check(&server, &answer), &["pass"]);
        let (chunks, done) = server.stream("/v1/completions", &body);
        assert!(done);
        assert_says(&check(&server, chunks.last().expect("chunks")), &["pass"]);
    }
    let mut chat = server.done(
        "/v1/chat/completions",
        &json!({
            "messages": [{"role": "user", "content": "a cat"}], "max_tokens": 9, "receipt": true,
        }),
    );
    assert_says(&check(&server, &chat), &["pass"]);
    server.test_dir.write("answer.json", chat.to_string());
    assert_says(&server.test_dir.stdout("verify run answer.json"), &["pass"]);
    let twice = chat.to_string().replacen("\"finish\":", "\"finish\":\"max_tokens\",\"finish\":", 1);
    server.test_dir.write("answer.json", twice);
    assert_says(&server.test_dir.refused("verify run answer.json"), &["duplicate field"]);
    chat["receipt"]["prompts"][0]["samples"][0]["tokens"][3]["id"] = json!(1);
    server.test_dir.write("receipt.json", chat["receipt"].to_string());
    let output = server.test_dir.tril("verify run receipt.json").output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_server_of_rounded_weights_has_one_text_in_any_company_and_its_receipts_say_what_was_rounded() {
    let plain = Server::start("");
    let body = json!({"prompt": "a cat", "max_tokens": 30, "seed": 4, "n": 7, "logprobs": 1, "receipt": true});
    let exact = plain.complete(&body);
    for options in ["--weights int8", "--weights int8 --max-batch 1"] {
        let server = Server::start(options);
        let answer = server.complete(&body);
        assert_ne!(bits(&answer), bits(&exact), "{options}: nothing was rounded");
        assert_eq!(answer["receipt"]["weights"], "int8", "{options}");
        assert!(answer["system_fingerprint"].as_str().is_some_and(|name| name.ends_with("-int8")), "{answer}");
        // Seven texts at once, or one after another, and checked in one pass each.
        assert!(check(&server, &answer).contains("weights rounded to int8"), "{options}");
    }
    assert!(exact["receipt"].get("weights").is_none());
}

#[test]
fn with_guesses_by_lookup_answers_of_32_clients_streams_and_receipts_are_those_without() {
    let plain = Server::start("--prefix-cache 0");
    let mut requests = requests();
    // Text that repeats itself, which guesses make faster, and a receipt of it.
    requests.push(
        json!({"prompt": "the old", "seed": 8, "max_tokens": 300, "temperature": 0, "logprobs": 2, "receipt": true}),
    );
    requests.push(
        json!({"prompt": ["a cat", "one"], "n": 3, "seed": 9, "max_tokens": 60, "temperature": 0.2, "receipt": true}),
    );
    let answers: Vec<Value> = requests.iter().map(|request| plain.complete(request)).collect();
    let story = json!({"prompt": "a cat", "seed": 3, "max_tokens": 200, "temperature": 0.1});
    let told = plain.complete(&story);
    let told = text_of(&told);
    for options in ["--draft lookup", "--draft lookup --draft-tokens 2 --max-batch 2 --threads 1"] {
        let server = Server::start(options);
        std::thread::scope(|scope| {
            for client in 0..32 {
                let (server, requests, answers, story, told) = (&server, &requests, &answers, &story, &told);
                scope.spawn(move || {
                    for turn in 0..requests.len() {
                        let place = (client * 3 + turn * 2 + client / 7) % requests.len();
                        let answer = server.complete(&requests[place]);
                        assert_eq!(
                            bits(&answer),
                            bits(&answers[place]),
                            "client {client}, {options}: {}",
                            requests[place]
                        );
                        assert_eq!(answer["receipt"], answers[place]["receipt"], "{options}: {}", requests[place]);
                    }
                    if client % 8 == 0 {
                        assert_eq!(&streamed(&server.stream("/v1/completions", story).0, 0), told, "{options}");
                    }
                });
            }
            // Clients that leave in the middle of what was guessed.
            for left in 0..20 {
                let other =
                    json!({"prompt": "a cat", "seed": left, "max_tokens": 100_000, "temperature": 0, "stream": true});
                drop(server.begin("/v1/completions", &other));
            }
        });
        let [guesses, kept] =
            ["tril_draft_tokens_total", "tril_draft_tokens_kept_total"].map(|name| server.metric(name));
        assert!(kept > 0.0 && kept <= guesses, "{options}: {kept} of {guesses}");
        assert_says(&check(&server, &server.complete(&requests[7])), &["pass"]);
    }
    assert_eq!(plain.metric("tril_draft_tokens_total"), 0.0);
}

/// Trains a model on the text of the run that is large enough for the run to guess for it.
const TRAIN_LARGE: &str = "train smoke.toml --data text.txt --out large --set data.validation_fraction=0.1 \
    --set model.d_model=256 --set train.steps=5";

#[test]
fn with_guesses_by_a_smaller_model_answers_of_many_clients_are_those_without() {
    let with_two_models = || {
        let test_dir = TestDir::with_run();
        test_dir.stdout(TRAIN_LARGE);
        test_dir
    };
    let requests = requests();
    let plain = Server::start_in(with_two_models(), "large --prefix-cache 0");
    let answers: Vec<Value> = requests.iter().map(|request| plain.complete(request)).collect();
    let server = Server::start_in(with_two_models(), "large --draft run");
    std::thread::scope(|scope| {
        for client in 0..8 {
            let (server, requests, answers) = (&server, &requests, &answers);
            scope.spawn(move || {
                for turn in 0..requests.len() {
                    let place = (client * 3 + turn * 2) % requests.len();
                    let answer = server.complete(&requests[place]);
                    assert_eq!(bits(&answer), bits(&answers[place]), "client {client}: {}", requests[place]);
                }
            });
        }
    });
    assert!(server.metric("tril_draft_tokens_total") > 0.0, "{}", server.get("/metrics").body);
}

#[test]
fn a_server_refuses_a_draft_that_cannot_guess_for_each_of_its_models_before_it_listens() {
    let test_dir = TestDir::with_run();
    test_dir.write("other.txt", "0123456789 ".repeat(200));
    test_dir.stdout(
        "train smoke.toml --data other.txt --out digits --set data.validation_fraction=0.1 --set train.steps=5",
    );
    assert_says(
        &test_dir.refused("serve --port 0 run --draft digits"),
        &["--draft", "digits", "vocabulary is another"],
    );
    assert_says(
        &test_dir.refused("serve --port 0 run digits --draft digits"),
        &["--draft", "run", "vocabulary is another"],
    );
    assert_says(&test_dir.refused("serve --port 0 run --draft nowhere"), &["--draft", "nowhere"]);
    assert_says(&test_dir.refused("serve --port 0 run --draft-tokens 3"), &["--draft"]);
    assert_says(&test_dir.refused("serve --port 0 run --draft lookup --draft-tokens 16"), &["--draft-tokens", "16"]);
}
