//! `tril sample --prompts` and `--jsonl`: many texts as one batch, each as it would be alone.

use std::fs;

use serde_json::{Value, json};

use super::test_dir::*;

const PROMPTS: [&str; 4] = ["the old fox sa", "a", "the ", "fox and the old "];

/// What stands between two texts.
const RULE: &str = "\n---------------\n";

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

/// What one prompt and its text are alone.
fn alone(test_dir: &TestDir, prompt: &str, options: &str) -> String {
    let text = stdout(test_dir.tril(&format!("sample run {options}")).args(["--prompt", prompt]));
    text.strip_suffix('\n').expect("a newline").to_owned()
}

/// Prompt and text of an object.
fn whole(object: &Value) -> String {
    let [prompt, text] = ["prompt", "text"].map(|name| object[name].as_str().expect("a text"));
    format!("{prompt}{text}")
}

fn lines(objects: &[Value]) -> String {
    objects.iter().map(|object| format!("{object}\n")).collect()
}

#[test]
fn prompts_in_a_file_give_what_each_gives_alone_however_many_go_together() {
    let test_dir = TestDir::with_run();
    test_dir.write("prompts.txt", PROMPTS.join("\n"));
    let expected: Vec<String> = PROMPTS.iter().map(|prompt| alone(&test_dir, prompt, "--max-tokens 40")).collect();
    let expected = expected.join(RULE) + "\n";
    for options in ["", "--batch-size 1", "--batch-size 3", "--no-cache"] {
        let found = test_dir.stdout(&format!("sample run --max-tokens 40 --prompts prompts.txt {options}"));
        assert_eq!(found, expected, "{options}");
    }
    let from_stdin = stdout(test_dir.tril("sample run --max-tokens 40 --prompts -").write_stdin(PROMPTS.join("\r\n")));
    assert_eq!(from_stdin, expected);
}

#[test]
fn objects_come_back_in_order_with_their_ids_and_what_was_set_for_each() {
    let test_dir = TestDir::with_run();
    let cases = [
        (json!({"id": "first"}), "--max-tokens 40"),
        (json!({"seed": 7, "max_tokens": 3}), "--seed 7 --max-tokens 3"),
        (json!({"sample": 2, "id": [3]}), "--sample-index 2 --max-tokens 40"),
        (json!({"temperature": 0.0, "banned": [0]}), "--temperature 0 --ban-id 0 --max-tokens 40"),
    ];
    let input: Vec<Value> = PROMPTS
        .iter()
        .zip(&cases)
        .map(|(prompt, (object, _))| {
            let mut object = object.clone();
            object["prompt"] = json!(prompt);
            object
        })
        .collect();
    test_dir.write("prompts.jsonl", lines(&input));
    let found = objects(&test_dir.stdout("sample run --max-tokens 40 --jsonl --prompts prompts.jsonl"));
    assert_eq!(found.len(), 4);
    for ((found, prompt), (object, options)) in found.iter().zip(PROMPTS).zip(&cases) {
        assert_eq!(whole(found), alone(&test_dir, prompt, options), "{options}");
        assert_eq!(found["prompt_tokens"], prompt.len());
        assert_eq!((&found["finish"], found.get("id")), (&json!("max_tokens"), object.get("id")));
        assert_eq!(found["seed"], object.get("seed").cloned().unwrap_or(json!(1337)));
        assert_eq!(found["sample"], object.get("sample").cloned().unwrap_or(json!(0)));
        assert_eq!(found["tokens"], object.get("max_tokens").cloned().unwrap_or(json!(40)));
        assert!(found["logprob"].as_f64().expect("a number") < 0.0);
    }
}

#[test]
fn samples_of_each_prompt_are_those_of_the_prompt_alone() {
    let test_dir = TestDir::with_run();
    test_dir.write("prompts.txt", "the \n\nfox\n");
    test_dir
        .write("prompts.jsonl", lines(&[json!({"prompt": "the "}), json!({"prompt": ""}), json!({"prompt": "fox"})]));
    let options = "--max-tokens 20 --num-samples 2 --sample-index 1";
    let found = objects(&test_dir.stdout(&format!("sample run {options} --jsonl --prompts prompts.jsonl")));
    let expected: Vec<String> = ["the ", "", "fox"]
        .iter()
        .flat_map(|prompt| {
            [1, 2].map(|sample| alone(&test_dir, prompt, &format!("--max-tokens 20 --sample-index {sample}")))
        })
        .collect();
    assert_eq!(found.iter().map(whole).collect::<Vec<_>>(), expected);
    let texts = test_dir.stdout(&format!("sample run {options} --prompts prompts.txt"));
    assert_eq!(texts, expected.join(RULE) + "\n");
}

#[test]
fn a_stop_text_ends_each_text_where_it_appears_and_no_other() {
    let test_dir = TestDir::with_run();
    let prompts: Vec<Value> = PROMPTS.iter().map(|prompt| json!({"prompt": prompt})).collect();
    test_dir.write("prompts.jsonl", lines(&prompts));
    let run = |options: &str| {
        objects(&test_dir.stdout(&format!("sample run --max-tokens 40 --jsonl --prompts prompts.jsonl {options}")))
    };
    let (all, stopped) = (run(""), run("--stop e"));
    let mut endings = std::collections::BTreeSet::new();
    for (all, stopped) in all.iter().zip(&stopped) {
        let text = all["text"].as_str().expect("a text");
        let (shown, finish) = text.split_once('e').map_or((text, "max_tokens"), |(shown, _)| (shown, "stop_text"));
        assert_eq!((&stopped["text"], &stopped["finish"]), (&json!(shown), &json!(finish)));
        assert_eq!(stopped.get("stop"), (finish == "stop_text").then_some(&json!("e")));
        endings.insert(stopped["tokens"].as_u64());
    }
    assert!(endings.len() > 1, "the premise: they end at different places");
}

#[test]
fn a_single_prompt_may_be_told_as_an_object_too() {
    let test_dir = TestDir::with_run();
    let found = objects(&stdout(test_dir.tril("sample run --max-tokens 20 --jsonl").args(["--prompt", PROMPTS[0]])));
    assert_eq!(found.len(), 1);
    assert_eq!(whole(&found[0]), alone(&test_dir, PROMPTS[0], "--max-tokens 20"));
}

#[test]
fn a_text_that_fails_leaves_the_others_whole_and_is_named() {
    let test_dir = TestDir::new();
    test_dir.stdout(&format!("{TRAIN} --set model.positions=learned --set model.window=0"));
    // The last position of the context holds no number, so that texts fail which come so far.
    let path = checkpoint(&test_dir.path("run"), "best").join("model.safetensors");
    let mut bytes = fs::read(&path).expect("weights");
    let data = 8 + u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..data]).expect("JSON");
    let end = header["position_embedding.weight"]["data_offsets"][1].as_u64().expect("a number") as usize;
    bytes[data + end - 4..data + end].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, bytes).expect("written");

    let prompt = |prompt: &str, max_tokens: usize| json!({"prompt": prompt, "max_tokens": max_tokens});
    test_dir.write("prompts.jsonl", lines(&[prompt("the ", 5), prompt("an old fox an", 9), prompt("the old", 5)]));
    let command = "sample run --jsonl --prompts prompts.jsonl --receipt receipt.json";
    let output = test_dir.tril(command).output().expect("it runs");
    let message = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert_says(&message, &["[10 tokens", "error: prompts.jsonl:2: the logits at position 16 hold NaN"]);
    let found = objects(&String::from_utf8(output.stdout).expect("UTF-8"));
    let expected = ["the ", "the old"].map(|prompt| alone(&test_dir, prompt, "--max-tokens 5"));
    assert_eq!(found.iter().map(whole).collect::<Vec<_>>(), expected);
    let report = test_dir.stdout("verify run receipt.json --json");
    assert_eq!(report.matches("\"verdict\":\"pass\"").count(), 3, "two samples, and all of it: {report}");
}

#[test]
fn a_setting_is_read_by_the_name_of_an_earlier_release() {
    let test_dir = TestDir::with_run();
    let sample = |flag: &str| test_dir.stdout(&format!("sample run --presence-penalty 2 --max-tokens 40 {flag}"));
    assert_eq!(sample("--penalty-span 2"), sample("--penalty-last-n 2"));
    assert_ne!(sample("--penalty-span 2"), sample(""), "the premise");
    for name in ["penalty_span", "penalty_last_n"] {
        test_dir.write("prompts.jsonl", lines(&[json!({"prompt": "the ", "presence_penalty": 2.0, name: 2})]));
        let found = objects(&test_dir.stdout("sample run --max-tokens 40 --jsonl --prompts prompts.jsonl"));
        let expected = alone(&test_dir, "the ", "--max-tokens 40 --presence-penalty 2 --penalty-last-n 2");
        assert_eq!(whole(&found[0]), expected, "{name}");
    }
}

#[test]
fn prompts_that_cannot_be_are_refused_by_file_and_line_before_anything_is_made() {
    let test_dir = TestDir::with_run();
    let refused = |name: &str, text: &str, options: &str| {
        test_dir.write(name, text);
        test_dir.refused(&format!("sample run --prompts {name} {options}"))
    };
    assert_says(&refused("empty.txt", "", ""), &["empty.txt", "no prompt"]);
    assert_says(&refused("strange.txt", "the \nthe \u{732b}\n", ""), &["strange.txt:2", "'\u{732b}'"]);
    let bad = |line: &str| refused("bad.jsonl", &format!("{{\"prompt\": \"the \"}}\n{line}\n"), "--jsonl");
    assert_says(&bad("the "), &["bad.jsonl:2", "{\"prompt\": \"There was\""]);
    assert_says(&bad("{\"seed\": 7}"), &["bad.jsonl:2", "prompt"]);
    assert_says(&bad("{\"prompt\": \"a\", \"tempratur\": 1}"), &["bad.jsonl:2", "tempratur"]);
    assert_says(&bad("{\"prompt\": \"a\", \"temperature\": -1}"), &["bad.jsonl:2", "temperature = -1"]);
    assert_says(&bad("{\"prompt\": \"a\", \"banned\": [99]}"), &["bad.jsonl:2", "banned = 99"]);
    assert_says(&test_dir.refused("sample run --prompts nowhere.txt"), &["nowhere.txt"]);
}
