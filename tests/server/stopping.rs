//! SIGTERM and Ctrl-C: running texts end with a reason, and the process within seconds.

use std::time::Duration;

use serde_json::json;

use super::client::*;

#[test]
fn a_signal_ends_running_texts_with_a_reason_and_the_process_within_seconds() {
    for signal in ["-TERM", "-INT"] {
        let mut server = Server::start("--max-batch 2");
        let endless = json!({"prompt": "a cat", "max_tokens": -1, "ignore_eos": true, "stream": true});
        let long = json!({"prompt": "a cat", "max_tokens": 1_000_000, "ignore_eos": true});
        let stream = server.begin("/v1/completions", &endless);
        let whole = server.begin("/v1/completions", &long);
        server.await_metric("tril_texts_running", |running| running == 2.0);
        let waiting = server.begin("/v1/completions", &json!({"prompt": "one crow"}));
        server.await_metric("tril_requests_waiting", |waiting| waiting == 1.0);
        let idle = server.connect();
        server.signal(signal);
        let (chunks, done) = Answer::read(stream.into_inner()).events();
        let choice = &chunks.last().expect("chunks")["choices"][0];
        assert!(done);
        assert_eq!((&choice["finish_reason"], &choice["finish_detail"]), (&json!("length"), &json!("shutdown")));
        let whole = Answer::read(whole.into_inner()).json();
        assert_eq!(whole["choices"][0]["finish_detail"], "shutdown");
        assert!(!text_of(&whole).is_empty());
        let waiting = Answer::read(waiting.into_inner());
        assert_eq!((waiting.status, waiting.error()["code"].as_str()), (503, Some("shutting_down")));
        let (time, code) = server.end();
        assert!(time < Duration::from_secs(10), "{time:?}");
        assert_eq!(code, Some(0), "{signal}");
        drop(idle);
    }
}

#[test]
fn readers_that_do_not_read_do_not_keep_a_server_from_ending() {
    let mut server = Server::start("");
    let stalled = server.begin("/v1/completions", &json!({"prompt": "a", "max_tokens": -1, "ignore_eos": true, "stream": true}));
    server.await_metric("tril_texts_paused", |paused| paused == 1.0);
    server.signal("-TERM");
    let (time, code) = server.end();
    assert!(time < Duration::from_secs(10), "{time:?}");
    assert_eq!(code, Some(0));
    drop(stalled);
}
