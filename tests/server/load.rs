//! What a server must bear: more requests than there is room for, bodies and prompts without end, readers that do not read,
//! writers that do not write, clients that leave, thousands of requests, a checkpoint that is replaced under it.

use std::io::{BufRead, Read, Write};
use std::time::{Duration, Instant};

use serde_json::json;

use super::client::*;
use crate::commands::test_dir::*;

/// A stream that does not end.
fn endless(seed: u64) -> serde_json::Value {
    json!({"prompt": "a cat", "max_tokens": -1, "ignore_eos": true, "stream": true, "seed": seed})
}

/// Waits until the connection of a text in work holds no more, and the text waits.
fn await_standstill(server: &Server) {
    let mut tokens = -1.0;
    while server.metric("tril_texts_paused") != 1.0 || server.metric("tril_tokens_total") != tokens {
        tokens = server.metric("tril_tokens_total");
        std::thread::sleep(Duration::from_millis(300));
    }
}

#[test]
fn more_requests_than_may_wait_are_told_to_come_back() {
    let server = Server::start("--max-batch 1 --queue 2");
    let long = json!({"prompt": "a cat", "max_tokens": 1_000_000, "ignore_eos": true});
    let running = server.begin("/v1/completions", &long);
    server.await_metric("tril_texts_running", |running| running == 1.0);
    let waiting: Vec<_> =
        (0..2).map(|_| server.begin("/v1/completions", &json!({"prompt": "one crow", "max_tokens": 3}))).collect();
    server.await_metric("tril_requests_waiting", |waiting| waiting == 2.0);
    for path in ["/v1/completions", "/v1/chat/completions"] {
        let body = json!({"prompt": "a", "stream": true});
        let chat = json!({"messages": [{"role": "user", "content": "a"}]});
        let answer = server.post(path, if path.contains("chat") { &chat } else { &body });
        assert_eq!((answer.status, answer.headers["retry-after"].as_str()), (429, "1"));
        assert_eq!(answer.error()["code"], "queue_full");
    }
    assert_eq!(server.metric("tril_requests_refused_total"), 2.0);
    drop(running);
    for waiting in waiting {
        assert_eq!(Answer::read(waiting.into_inner()).status, 200, "their turn comes");
    }
    let server = Server::start("--max-batch 2 --queue 0");
    assert_eq!(server.complete(&json!({"prompt": "a", "n": 2}))["choices"].as_array().expect("choices").len(), 2);
    assert_eq!(server.post("/v1/completions", &json!({"prompt": "a", "n": 3})).status, 429, "one would wait");
}

#[test]
fn bodies_and_prompts_have_limits() {
    let server = Server::start("--max-body 1 --max-prompt 100");
    let long = "a".repeat(101);
    let answer = server.post("/v1/completions", &json!({"prompt": long}));
    assert_eq!((answer.status, answer.error()["code"].as_str()), (400, Some("context_length_exceeded")));
    let answer = server.post("/v1/chat/completions", &json!({"messages": [{"role": "user", "content": long}]}));
    assert_eq!((answer.status, answer.error()["param"].as_str()), (400, Some("messages")));
    let huge = vec![b' '; (1 << 20) + 1];
    assert_eq!(server.post_bytes("/v1/completions", &huge).status, 413);
    let mut chunked = server.head(
        "POST",
        "/v1/completions",
        &[("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")],
        None,
    );
    chunked.extend_from_slice(b"200000\r\n");
    chunked.extend_from_slice(&vec![b' '; 0x20_0000]);
    chunked.extend_from_slice(b"\r\n0\r\n\r\n");
    assert_eq!(server.raw(&chunked).status, 413, "without a length");
    let mut lies =
        server.head("POST", "/v1/completions", &[("Content-Type", "application/json")], Some(usize::MAX / 4));
    lies.extend_from_slice(b"{}");
    assert_eq!(server.raw(&lies).status, 413);
    let header = "x".repeat(200_000);
    assert_eq!(server.request("GET", "/health", &[("X-Long", &header)]).status, 431);
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn a_request_whose_time_is_up_ends_with_what_there_is_and_says_why() {
    let server = Server::start("--max-time 1 --max-batch 1");
    let begin = Instant::now();
    let long = json!({"prompt": "a cat", "max_tokens": 1_000_000, "ignore_eos": true});
    let waiting = {
        let running = server.begin("/v1/completions", &long);
        server.await_metric("tril_texts_running", |running| running == 1.0);
        let waiting = server.begin("/v1/completions", &json!({"prompt": "a", "n": 200, "max_tokens": 5000}));
        let answer = Answer::read(running.into_inner());
        assert_eq!(answer.status, 200);
        let answer = answer.json();
        let choice = &answer["choices"][0];
        assert_eq!((&choice["finish_reason"], &choice["finish_detail"]), (&json!("length"), &json!("time_limit")));
        assert!(text_of(&answer).chars().count() > 100);
        waiting
    };
    let waited = Answer::read(waiting.into_inner());
    assert_eq!((waited.status, waited.error()["code"].as_str()), (503, Some("time_limit")));
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    let (chunks, done) = server.stream("/v1/completions", &long);
    assert!(done);
    assert_eq!(chunks.last().expect("chunks")["choices"][0]["finish_detail"], "time_limit");
}

#[test]
fn a_text_whose_client_leaves_is_gone_within_a_token() {
    let server = Server::start("");
    for stream in [true, false] {
        let before = server.metric("tril_requests_abandoned_total");
        let mut body = endless(3);
        if !stream {
            body = json!({"prompt": "a cat", "max_tokens": 1_000_000, "ignore_eos": true});
        }
        let client = server.begin("/v1/completions", &body);
        server.await_metric("tril_texts_running", |running| running == 1.0);
        drop(client);
        server.await_metric("tril_texts_running", |running| running == 0.0);
        assert_eq!(server.metric("tril_requests_abandoned_total"), before + 1.0);
        let tokens = server.metric("tril_tokens_total");
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(server.metric("tril_tokens_total"), tokens, "nothing is made for nobody");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_reader_that_does_not_read_has_its_text_wait_and_keeps_nobody_else_waiting() {
    let server = Server::start("");
    let mut slow = server.begin("/v1/completions", &endless(5));
    await_standstill(&server);
    let (memory, tokens) = (server.memory(), server.metric("tril_tokens_total"));
    let body = json!({"prompt": "one crow", "max_tokens": 50, "seed": 2});
    let begin = Instant::now();
    for _ in 0..20 {
        server.complete(&body);
    }
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    assert_eq!(server.metric("tril_tokens_total"), tokens + 1000.0, "the slow one's text stands still");
    assert!(server.memory() < memory + (64 << 20));

    // Once it is read, it goes on, and is the text that it would have been.
    let mut read = String::new();
    while read.matches("data: ").count() < 20_000 {
        let mut line = String::new();
        assert!(slow.read_line(&mut line).expect("a line") > 0);
        read.push_str(&line);
    }
    let pieces = read.lines().filter_map(|line| line.strip_prefix("data: "));
    let pieces = pieces.filter_map(|data| serde_json::from_str::<serde_json::Value>(data).ok());
    let pieces: String = pieces.filter_map(|chunk| Some(chunk["choices"][0]["text"].as_str()?.to_owned())).collect();
    let mut whole = endless(5);
    whole["stream"] = false.into();
    whole["max_tokens"] = 19_000.into();
    assert!(pieces.starts_with(text_of(&server.complete(&whole))));
}

#[test]
fn a_text_that_waits_for_its_reader_takes_no_others_place() {
    let server = Server::start("--max-batch 1");
    let stalled = server.begin("/v1/completions", &endless(5));
    await_standstill(&server);
    let answer = server.complete(&json!({"prompt": "one crow", "max_tokens": 5}));
    assert_eq!(answer["usage"]["completion_tokens"], 5);
    drop(stalled);
}

#[test]
fn clients_that_write_slowly_or_nothing_keep_nobody_waiting() {
    let server = Server::start("");
    let mut idle: Vec<_> = (0..100).map(|_| server.connect()).collect();
    for (number, stream) in idle.iter_mut().enumerate() {
        let part: &[u8] = if number % 2 == 0 { b"POST /v1/completions HTTP/1.1\r\nHos" } else { b"" };
        stream.write_all(part).expect("sent");
    }
    let mut slow = server.connect();
    let request =
        server.post_request("/v1/completions", json!({"prompt": "a", "max_tokens": 2}).to_string().as_bytes());
    let (first, rest) = request.split_at(request.len() - 10);
    slow.write_all(first).expect("sent");
    for _ in 0..20 {
        assert_eq!(server.complete(&json!({"prompt": "a", "max_tokens": 2}))["usage"]["completion_tokens"], 2);
    }
    for byte in rest {
        slow.write_all(&[*byte]).expect("sent");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(Answer::read(slow).status, 200, "slow, and in time");
}

#[test]
#[ignore = "it waits for the limits of time, half a minute each"]
fn clients_that_stop_in_the_middle_are_given_up() {
    let server = Server::start("");
    let mut head = server.connect();
    head.write_all(b"GET /health HT").expect("sent");
    let mut body = server.connect();
    let request = server.post_request("/v1/completions", &[b' '; 100]);
    body.write_all(&request[..request.len() - 50]).expect("sent");
    let stalled = server.begin("/v1/completions", &endless(5));
    await_standstill(&server);
    let begin = Instant::now();
    let mut answer = Vec::new();
    let _ = head.read_to_end(&mut answer);
    assert!(begin.elapsed() > Duration::from_secs(10) && begin.elapsed() < Duration::from_secs(30));
    assert_eq!(Answer::read(body).status, 408);
    server.await_metric("tril_texts_running", |running| running == 0.0);
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
    drop(stalled);
}

#[test]
fn a_long_prompt_stalls_no_stream() {
    let server = Server::start("");
    let mut stream = server.begin("/v1/completions", &endless(1));
    let mut line = String::new();
    while !line.starts_with("data: ") {
        line.clear();
        stream.read_line(&mut line).expect("a line");
    }
    let long = json!({"prompt": "the old fox saw three birds (1).\n".repeat(1800), "max_tokens": 1});
    let long = server.begin("/v1/completions", &long);
    server.await_metric("tril_texts_running", |running| running == 2.0);
    // While it enters, tokens of the other keep coming.
    let tokens = server.metric("tril_tokens_total");
    server.await_metric("tril_tokens_total", |now| now > tokens + 10.0);
    drop(stream);
    assert_eq!(Answer::read(long.into_inner()).status, 200);
}

/// Requests of many kinds, good and bad.
fn many(server: &Server, requests: usize) {
    std::thread::scope(|scope| {
        for client in 0..8 {
            scope.spawn(move || {
                for number in (client..requests).step_by(8) {
                    let prompt = format!("a cat saw {number}");
                    match number % 5 {
                        0 => assert_eq!(server.post("/v1/completions", &json!({"prompt": "猫"})).status, 400),
                        1 => drop(server.begin("/v1/completions", &endless(number as u64))),
                        2 => assert!(server.stream("/v1/completions", &json!({"prompt": prompt, "logprobs": 3})).1),
                        3 => drop(
                            server.complete(&json!({"prompt": prompt, "echo": true, "logprobs": 1, "receipt": true})),
                        ),
                        _ => drop(server.done(
                            "/v1/chat/completions",
                            &json!({"messages": [{"role": "user", "content": prompt}], "max_tokens": 8}),
                        )),
                    }
                }
            });
        }
    });
    server.await_metric("tril_texts_running", |running| running == 0.0);
}

#[cfg(target_os = "linux")]
#[test]
fn memory_stays_flat_over_many_requests() {
    let server = Server::start("--prefix-cache 1");
    many(&server, 1000);
    let before = server.memory();
    many(&server, 1500);
    let grown = server.memory().saturating_sub(before);
    assert!(grown < 24 << 20, "{} KiB more than {} KiB", grown >> 10, before >> 10);
}

#[test]
fn a_checkpoint_that_is_replaced_or_gone_changes_no_answer_and_no_receipt() {
    let server = Server::start("");
    let body = json!({"prompt": "a cat", "max_tokens": 20, "seed": 1, "receipt": true});
    let before = server.complete(&body);
    let best = checkpoint(&server.test_dir.path("run"), "best");
    let weights = std::fs::read(best.join("model.safetensors")).expect("weights");
    for other in [&weights[..weights.len() / 2], b""] {
        std::fs::write(best.join("model.safetensors"), other).expect("written");
        let after = server.complete(&body);
        assert_eq!((&after["choices"], &after["receipt"]), (&before["choices"], &before["receipt"]));
    }
    std::fs::remove_dir_all(server.test_dir.path("run")).expect("removed");
    let after = server.complete(&body);
    assert_eq!((&after["choices"], &after["receipt"]), (&before["choices"], &before["receipt"]));
}

#[test]
fn weights_that_are_no_numbers_end_a_request_and_not_the_server() {
    let test_dir = TestDir::with_run();
    test_dir.spoil_weights();
    let server = Server::start_in(test_dir, "run");
    for body in [json!({"prompt": "a"}), json!({"prompt": "a", "echo": true, "logprobs": 1})] {
        let answer = server.post("/v1/completions", &body);
        assert_eq!((answer.status, answer.error()["type"].as_str()), (500, Some("server_error")), "{}", answer.body);
        let (chunks, _) = server.stream("/v1/completions", &body);
        assert!(chunks.last().expect("a chunk")["error"]["message"].is_string());
    }
    assert_eq!(server.get("/health").status, 200);
}
