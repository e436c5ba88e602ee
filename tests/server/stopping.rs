//! SIGTERM and Ctrl-C: running texts end with a reason, and the process within seconds.

use std::time::Duration;

use serde_json::json;

use super::client::*;

/// Asserts that a server ends within seconds, with exit code 0.
fn assert_ends(mut server: Server) {
    let (time, code) = server.end();
    assert!(time < Duration::from_secs(10), "{time:?}");
    assert_eq!(code, Some(0));
}

#[test]
fn a_signal_ends_running_texts_with_a_reason_and_the_process_within_seconds() {
    for signal in ["-TERM", "-INT"] {
        let server = Server::start("--max-batch 2");
        let long = json!({"prompt": "a cat", "max_tokens": 1_000_000, "ignore_eos": true});
        let running = [(); 2].map(|()| server.begin("/v1/completions", &long));
        server.await_metric("tril_texts_running", |running| running == 2.0);
        let waiting = server.begin("/v1/completions", &json!({"prompt": "one crow"}));
        server.await_metric("tril_requests_waiting", |waiting| waiting == 1.0);
        let idle = server.connect();
        server.signal(signal);
        for running in running {
            let answer = Answer::read(running.into_inner()).json();
            let choice = &answer["choices"][0];
            assert_eq!((&choice["finish_reason"], &choice["finish_detail"]), (&json!("length"), &json!("shutdown")));
            assert!(!text_of(&answer).is_empty());
        }
        let waiting = Answer::read(waiting.into_inner());
        assert_eq!((waiting.status, waiting.error()["code"].as_str()), (503, Some("shutting_down")));
        assert_ends(server);
        drop(idle);
    }
}

#[test]
fn a_signal_ends_a_running_stream_with_a_reason() {
    let server = Server::start("");
    let endless = json!({"prompt": "a cat", "max_tokens": -1, "ignore_eos": true, "stream": true});
    let stream = server.begin("/v1/completions", &endless);
    server.await_metric("tril_texts_running", |running| running == 1.0);
    let reader = std::thread::spawn(move || Answer::read(stream.into_inner()).events());
    server.signal("-TERM");
    let (chunks, done) = reader.join().expect("no panic");
    let choice = &chunks.last().expect("chunks")["choices"][0];
    assert!(done);
    assert_eq!((&choice["finish_reason"], &choice["finish_detail"]), (&json!("length"), &json!("shutdown")));
    assert_ends(server);
}

#[test]
fn readers_that_do_not_read_do_not_keep_a_server_from_ending() {
    let server = Server::start("");
    let stalled =
        server.begin("/v1/completions", &json!({"prompt": "a", "max_tokens": -1, "ignore_eos": true, "stream": true}));
    server.await_metric("tril_texts_paused", |paused| paused == 1.0);
    server.signal("-TERM");
    assert_ends(server);
    drop(stalled);
}
