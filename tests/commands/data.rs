//! `tril data`: what a text is made of, and that what is proposed for it can be run.

use serde_json::Value;

use super::test_dir::*;

fn stats(test_dir: &TestDir, arguments: &str) -> Value {
    let output = test_dir.stdout(&format!("data stats {arguments} --json"));
    serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"))
}

/// Long enough to train on with windows of 128 tokens, in some thousand characters.
fn long(text: &str) -> String {
    text.repeat(6000 / text.chars().count() + 1)
}

#[test]
fn a_text_is_counted_as_it_is() {
    let test_dir = TestDir::new();
    test_dir.write("odd.txt", "One two\nOne two\n\n猫がいる。\r\nOne two\n\u{0}\u{fffd}");
    let text = test_dir.read("odd.txt");
    let found = stats(&test_dir, "odd.txt");
    for (field, expected) in
        [("bytes", text.len()), ("chars", text.chars().count()), ("documents", 0), ("lines", 5), ("repeated_lines", 2)]
    {
        assert_eq!(found[field], Value::from(expected), "{field}: {found}");
    }
    assert_eq!(found["scripts"][0], serde_json::json!({"script": "Latin", "chars": 18}));
    assert_eq!(found["odd"]["crlf"], 1);
    assert!(found.get("proposal").is_none(), "too short: {found}");
    let shown = test_dir.stdout("data stats odd.txt");
    assert_says(&shown, &["odd.txt", "Latin 81.8 %", "Hiragana 13.6 %", "Han 4.5 %", "5, of which 2 repeat another"]);
    assert_says(&shown, &["mixes line ends: 4 LF, 1 CR LF", "1 control characters", "Too short to train on"]);
    let parts = stats(&test_dir, "odd.txt --separator \\n");
    assert_eq!(parts["documents"], 5);
    assert_eq!(stats(&test_dir, "tales")["documents"].as_u64().expect("a number"), 1650);
}

#[cfg(unix)]
#[test]
fn what_is_proposed_can_be_pasted_and_run() {
    let test_dir = TestDir::new();
    let chinese: String = "明月幾時有，把酒問青天。不知天上宮闕，今夕是何年。\n".into();
    test_dir.write("it's a text.txt", long(&text()));
    test_dir.write("poems.txt", long(&chinese));
    let lines: String = (0..300).map(|i| format!("{{\"text\": \"line {i} of \\\"some\\\" text\"}}\n")).collect();
    test_dir.write("lines.jsonl", lines);
    for (source, flags) in
        [("it's a text.txt", &[][..]), ("poems.txt", &["--separator", "。\n"]), ("lines.jsonl", &["--field", "text"])]
    {
        let mut command = test_dir.tril("data stats");
        let output = stdout(command.arg(source).args(flags));
        let proposed = output.lines().last().expect("a command");
        assert!(proposed.starts_with("tril train --data "), "{output}");
        let line = format!("{proposed} --set sample.max_tokens=1");
        let trained = test_dir.shell(&line).output().expect("it runs");
        let stderr = String::from_utf8(trained.stderr).expect("UTF-8");
        assert!(trained.status.success(), "{line}\n{stderr}");
        assert!(!stderr.contains("\nnote "), "what is proposed leaves no doubt: {stderr}");
    }
}

#[test]
fn tokens_are_counted_under_a_tokenizer_and_what_it_would_lose_is_told() {
    let test_dir = TestDir::with_run();
    let found = stats(&test_dir, "text.txt --tokenizer run");
    assert_eq!(found["tokenizer"]["tokens"].as_u64(), Some(text().chars().count() as u64), "{found}");
    assert_eq!(found["tokenizer"]["lost_bytes"], 0);
    test_dir.write("other.txt", "a cat saw 猫 Q");
    let shown = test_dir.stdout("data stats other.txt --tokenizer run");
    assert_says(&shown, &["lost", "refuses the text", "'猫' (U+732B)", "line 1, column 11"]);
    assert_says(&test_dir.refused("data stats other.txt --tokenizer none.json"), &["none.json", "cannot be read"]);
    assert_says(&test_dir.refused("data stats none.txt"), &["none.txt", "cannot be read"]);
}

#[test]
fn a_recipe_that_does_not_fit_its_text_is_told_before_training() {
    let test_dir = TestDir::new();
    let note = |arguments: &str| {
        let command = format!("{TRAIN} --force {arguments}");
        let output = test_dir.tril(&command).output().expect("it runs");
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    assert!(!note("").contains("passes"), "six steps are none");
    assert_says(
        &note("--set train.steps=400"),
        &["400 steps are 8 passes", "train.steps=150 are about 3", "tril data stats"],
    );
    assert!(!note("--set train.steps=400 --set train.dropout=0.1").contains("passes"));
    test_dir.write("text.txt", ('一'..).take(3000).collect::<String>());
    assert_says(&note("--set tokenizer.kind=bpe"), &["bytes of single characters", "tokenizer.kind=char"]);
}
