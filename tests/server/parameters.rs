//! Parameters that would change an answer and are not done are refused by name; those that change none are accepted.

use serde_json::{Value, json};

use super::client::*;

/// Asserts that each of these fields is refused with 400 by this name.
fn assert_refused(server: &Server, path: &str, base: &Value, cases: &[(&str, Value, &str)]) {
    for (field, value, param) in cases {
        let mut body = base.clone();
        body[*field] = value.clone();
        let answer = server.post(path, &body);
        assert_eq!(answer.status, 400, "{field}: {value}: {}", answer.body);
        let error = answer.error();
        assert_eq!(
            (error["param"].as_str(), error["type"].as_str()),
            (Some(*param), Some("invalid_request_error")),
            "{error}"
        );
        assert!(error["message"].as_str().expect("a message").contains(param), "{error}");
    }
}

#[test]
fn what_a_completion_cannot_have_is_refused_by_name() {
    let server = Server::start("");
    let base = json!({"prompt": "a cat", "max_tokens": 4});
    assert_refused(
        &server,
        "/v1/completions",
        &base,
        &[
            ("best_of", json!(2), "best_of"),
            ("suffix", json!("end"), "suffix"),
            ("n", json!(0), "n"),
            ("n", json!("1"), "n"),
            ("n", json!(1e9), "n"),
            ("max_tokens", json!(-2), "max_tokens"),
            ("max_tokens", json!(-1), "max_tokens"),
            ("max_tokens", json!(1.5), "max_tokens"),
            ("max_tokens", json!(1_000_001), "max_tokens"),
            ("temperature", json!(-1), "temperature"),
            ("temperature", json!("hot"), "temperature"),
            ("temperature", json!(2000), "temperature"),
            ("top_p", json!(1.5), "top_p"),
            ("min_p", json!(-0.5), "min_p"),
            ("top_k", json!(-1), "top_k"),
            ("presence_penalty", json!(1000), "presence_penalty"),
            ("frequency_penalty", json!([]), "frequency_penalty"),
            ("repetition_penalty", json!(0), "repetition_penalty"),
            ("seed", json!(-1), "seed"),
            ("seed", json!(1.5), "seed"),
            ("stop", json!(3), "stop"),
            ("stop", json!([""]), "stop"),
            ("stop", json!(""), "stop"),
            ("logprobs", json!(21), "logprobs"),
            ("logprobs", json!(true), "logprobs"),
            ("logit_bias", json!({"99999": 1}), "logit_bias"),
            ("logit_bias", json!({"a": 1}), "logit_bias"),
            ("logit_bias", json!({"1": "x"}), "logit_bias"),
            ("logit_bias", json!([1]), "logit_bias"),
            ("echo", json!(1), "echo"),
            ("stream", json!("yes"), "stream"),
            ("stream_options", json!({"include_usage": true}), "stream_options"),
            ("prompt", json!([]), "prompt"),
            ("prompt", json!([[]]), "prompt"),
            ("prompt", json!([["a"]]), "prompt"),
            ("prompt", json!(["a", 1]), "prompt"),
            ("prompt", json!([1, "a"]), "prompt"),
            ("prompt", json!(3), "prompt"),
            ("prompt", json!({}), "prompt"),
            ("prompt", json!([99999]), "prompt"),
            ("prompt", json!([[1, -1]]), "prompt"),
            ("prompt", json!([1.5]), "prompt"),
            ("prompt", json!("猫"), "prompt"),
            ("tools", json!([]), "tools"),
            ("grammar", json!("x"), "grammar"),
            ("maxtokens", json!(3), "maxtokens"),
            ("on_overflow", json!("wrap"), "on_overflow"),
            ("receipt", json!("yes"), "receipt"),
        ],
    );
    let answer = server.post("/v1/completions", &json!({"stream": true, "max_tokens": -1, "receipt": true}));
    assert_eq!((answer.status, answer.error()["param"].as_str()), (400, Some("receipt")));
    let answer = server.post("/v1/completions", &json!({"stream": true, "stream_options": {"padding": 1}}));
    assert_eq!((answer.status, answer.error()["param"].as_str()), (400, Some("stream_options.padding")));
    let answer = server.post("/v1/completions", &json!({"prompt": vec!["a"; 600], "n": 2}));
    assert_eq!((answer.status, answer.error()["param"].as_str()), (400, Some("n")));
    let all: serde_json::Map<String, Value> = (0..200).map(|id| (id.to_string(), json!(-100))).collect();
    assert_eq!(server.post("/v1/completions", &json!({"logit_bias": all})).status, 400);
}

#[test]
fn what_a_chat_cannot_have_is_refused_by_name() {
    let server = Server::start("");
    let base = json!({"messages": [{"role": "user", "content": "a cat"}], "max_tokens": 4});
    let tool = json!({"type": "function", "function": {"name": "f"}});
    assert_refused(
        &server,
        "/v1/chat/completions",
        &base,
        &[
            ("tools", json!([tool]), "tools"),
            ("functions", json!([{"name": "f"}]), "functions"),
            ("tool_choice", json!("required"), "tool_choice"),
            ("response_format", json!({"type": "json_object"}), "response_format"),
            ("modalities", json!(["text", "audio"]), "modalities"),
            ("audio", json!({"voice": "a"}), "audio"),
            ("reasoning_effort", json!("low"), "reasoning_effort"),
            ("verbosity", json!("low"), "verbosity"),
            ("web_search_options", json!({}), "web_search_options"),
            ("top_logprobs", json!(2), "top_logprobs"),
            ("logprobs", json!(2), "logprobs"),
            ("max_completion_tokens", json!(5), "max_completion_tokens"),
            ("echo", json!(true), "echo"),
            ("messages", json!([]), "messages"),
            ("messages", json!("a"), "messages"),
            ("messages", json!(["a"]), "messages[0]"),
            ("messages", json!([{"content": "a"}]), "messages[0].role"),
            ("messages", json!([{"role": "user"}]), "messages[0].content"),
            ("messages", json!([{"role": "tool", "content": "a"}]), "messages[0].role"),
            ("messages", json!([{"role": "user", "content": [{"type": "image_url"}]}]), "messages[0].content[0]"),
            ("messages", json!([{"role": "user", "content": "a", "name": "me"}]), "messages[0].name"),
            ("messages", json!([{"role": "assistant", "content": "a", "tool_calls": [1]}]), "messages[0].tool_calls"),
            ("messages", json!([{"role": "user", "content": "猫"}]), "messages"),
        ],
    );
}

#[test]
fn what_changes_no_answer_is_accepted_and_null_is_as_if_it_were_absent() {
    let server = Server::start("");
    let plain = json!({"prompt": "a cat", "max_tokens": 6, "seed": 1});
    let expected = server.complete(&plain);
    for (field, value) in [
        ("user", json!("me")),
        ("metadata", json!({"a": "b"})),
        ("store", json!(false)),
        ("service_tier", json!("auto")),
        ("best_of", json!(1)),
        ("suffix", Value::Null),
        ("temperature", Value::Null),
        ("tools", Value::Null),
        ("logit_bias", json!({})),
        ("stop", json!([])),
        ("n", json!(1.0)),
        ("model", json!("run")),
    ] {
        let mut body = plain.clone();
        body[field] = value.clone();
        assert_eq!(text_of(&server.complete(&body)), text_of(&expected), "{field}: {value}");
    }
    let chat = json!({"messages": [{"role": "user", "content": "a cat"}], "max_tokens": 6, "seed": 1});
    let expected = server.done("/v1/chat/completions", &chat);
    for (field, value) in [
        ("tools", json!([])),
        ("tool_choice", json!("none")),
        ("response_format", json!({"type": "text"})),
        ("parallel_tool_calls", json!(true)),
        ("modalities", json!(["text"])),
        ("prompt_cache_key", json!("k")),
        ("max_completion_tokens", json!(6)),
    ] {
        let mut body = chat.clone();
        body[field] = value.clone();
        assert_eq!(server.done("/v1/chat/completions", &body)["choices"], expected["choices"], "{field}: {value}");
    }
}

#[test]
fn each_setting_of_a_sampler_does_what_it_says() {
    let server = Server::start("");
    let base = json!({"prompt": "a cat", "max_tokens": 40, "seed": 1});
    let plain = text_of(&server.complete(&base)).to_owned();
    for (field, value) in [
        ("temperature", json!(0)),
        ("top_p", json!(0.1)),
        ("top_k", json!(2)),
        ("min_p", json!(0.9)),
        ("typical_p", json!(0.1)),
        ("frequency_penalty", json!(5)),
        ("presence_penalty", json!(20)),
        ("repetition_penalty", json!(50)),
        ("logit_bias", json!({"2": 50})),
        ("seed", json!(2)),
        ("sample_index", json!(1)),
    ] {
        let mut body = base.clone();
        body[field] = value.clone();
        assert_ne!(text_of(&server.complete(&body)), plain, "{field}: {value}");
    }
}

#[test]
fn requests_that_are_damaged_are_answered_or_refused_and_the_server_stays() {
    let server = Server::start("--max-time 1");
    let whole = [
        (
            "/v1/completions",
            json!({
                "prompt": ["a cat", [3, 4]], "max_tokens": 3, "temperature": 0.5, "top_p": 0.5, "stop": ["x"], "logprobs": 2,
                "echo": true, "n": 2, "logit_bias": {"3": 1.5}, "seed": 3, "receipt": true, "stream": false,
            }),
        ),
        (
            "/v1/chat/completions",
            json!({
                "messages": [{"role": "user", "content": [{"type": "text", "text": "a cat"}]}], "max_tokens": 3,
                "logprobs": true, "top_logprobs": 2, "presence_penalty": 0.5, "stream": true,
                "stream_options": {"include_usage": true},
            }),
        ),
    ];
    let mut state: u64 = 1;
    let mut draw = |limit: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % limit
    };
    let mut answered = std::collections::BTreeMap::new();
    for number in 0..400 {
        let (path, body) = &whole[number % 2];
        let mut bytes = body.to_string().into_bytes();
        let digits: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at].is_ascii_digit()).collect();
        if draw(2) == 0 {
            // Another number in its place: many of these are requests that can be answered.
            bytes[digits[draw(digits.len())]] = b"0123456789"[draw(10)];
        } else {
            let at = draw(bytes.len());
            match draw(4) {
                0 => drop(bytes.remove(at)),
                1 => bytes.insert(at, b"0-\"[]{}:,.e\xff"[draw(12)]),
                2 => bytes[at] ^= 1 << draw(8),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let answer = server.post_bytes(path, &bytes);
        assert!([200, 400, 404].contains(&answer.status), "{}: {}", String::from_utf8_lossy(&bytes), answer.body);
        *answered.entry(answer.status).or_insert(0) += 1;
        if answer.status != 200 {
            answer.error();
        }
    }
    assert!(answered[&200] > 10 && answered[&400] > 100, "{answered:?}");
    assert_eq!(server.get("/health").status, 200);
}
