//! A checkpoint that says how its chats are written.

use serde_json::{Value, json};

use super::client::*;
use crate::commands::test_dir::*;

const TEMPLATE: &str = "{%- if messages[0].role == 'system' %}{{ raise_exception('no system message') }}{% endif %}\
    {%- for message in messages %}({{ 0 if message['role'] == 'user' else 1 }}).{{ message.content.strip() }}{{ eos_token }}\
    {%- endfor %}{% if add_generation_prompt %}(1).{% endif %}";

fn with_template(file: &str, content: &str) -> Server {
    let test_dir = TestDir::new();
    test_dir.stdout(TRAIN_DOCUMENTS);
    std::fs::write(checkpoint(&test_dir.path("run"), "best").join(file), content).expect("written");
    Server::start_in(test_dir, "run")
}

fn ask(server: &Server, messages: Value) -> Answer {
    let body = json!({"messages": messages, "max_tokens": 12, "seed": 1, "ignore_eos": true, "receipt": true});
    server.post("/v1/chat/completions", &body)
}

#[test]
fn a_chat_is_written_by_the_checkpoints_template_and_its_special_tokens_are_tokens() {
    for (file, content) in [
        ("chat_template.jinja", TEMPLATE.to_owned()),
        ("tokenizer_config.json", json!({"chat_template": TEMPLATE, "eos_token": "<|endoftext|>"}).to_string()),
    ] {
        let server = with_template(file, &content);
        assert_eq!(server.get("/v1/models/run").json()["chat_template"], true);
        let answer =
            ask(&server, json!([{"role": "user", "content": " a cat "}, {"role": "assistant", "content": "saw"}]));
        assert_eq!(answer.status, 200, "{}", answer.body);
        let answer = answer.json();
        let end = server.get("/v1/models/run").json()["vocab_size"].as_u64().expect("a number") - 1;
        let prompt = answer["receipt"]["prompts"][0]["prompt"].clone();
        assert_eq!(prompt["text"], "(0).a cat<|endoftext|>(1).saw<|endoftext|>(1).");
        let ids: Vec<u64> =
            prompt["tokens"].as_array().expect("tokens").iter().filter_map(|token| token["id"].as_u64()).collect();
        assert_eq!(ids.iter().filter(|id| **id == end).count(), 2);
        let plain = server.complete(&json!({"prompt": ids, "max_tokens": 12, "seed": 1, "ignore_eos": true}));
        assert_eq!(answer["choices"][0]["message"]["content"], text_of(&plain));
        server.test_dir.write("receipt.json", answer["receipt"].to_string());
        assert_says(&server.test_dir.stdout("verify run receipt.json"), &["pass"]);

        let refused = ask(&server, json!([{"role": "system", "content": "be kind"}]));
        assert_eq!((refused.status, refused.error()["param"].as_str()), (400, Some("messages")));
        assert_says(&refused.body, &["no system message"]);
        let quoted = ask(&server, json!([{"role": "user", "content": "a <|endoftext|>"}]));
        assert_eq!(quoted.status, 400, "a vocabulary of characters that lacks < and |: {}", quoted.body);
    }
}

#[test]
fn a_template_that_is_none_is_refused_when_the_server_starts() {
    let test_dir = TestDir::with_run();
    let dir = checkpoint(&test_dir.path("run"), "best");
    std::fs::write(dir.join("chat_template.jinja"), "{% for %}").expect("written");
    assert_says(&test_dir.refused("serve run --port 0"), &["chat_template.jinja", "no usable chat template"]);
}
