//! Tokenizer files of others, from the command line: what they cannot write is told, and a continuation is written as one.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::test_dir::*;

/// A directory with a tokenizer file of the tests of `tril-text`, and a text that it knows.
fn with_tokenizer(name: &str) -> TestDir {
    let test_dir = TestDir::new();
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../text/tests/fixtures/tokenizers");
    fs::copy(Path::new(fixtures).join(name), test_dir.path("other.json")).expect("a fixture");
    let who = ["cat", "bird", "tree", "mat"];
    let sentence =
        |i: usize| format!("The old {} saw the {} near one red {}. ", who[i % 4], who[i * i % 3], who[i % 3]);
    test_dir.write("words.txt", (0..60).map(sentence).collect::<String>());
    test_dir
}

const TRAIN_OTHER: &str = "train smoke.toml --data words.txt --out run --set data.validation_fraction=0.2 \
    --set tokenizer.kind=file --set tokenizer.path=other.json";

#[test]
fn a_continuation_begins_with_its_space_in_texts_json_and_receipts() {
    let test_dir = with_tokenizer("unigram.json");
    test_dir.stdout(TRAIN_OTHER);
    let sample = |more: &str| {
        let mut command = test_dir.tril("sample run --max-tokens 12 --seed 7 --num-samples 12");
        stdout(command.args(["--prompt", "The old"]).args(more.split_whitespace()))
    };
    let objects = sample("--jsonl --receipt receipt.json");
    let receipt: Value = serde_json::from_str(&test_dir.read("receipt.json")).expect("JSON");
    let plain = sample("");
    let mut spaces = 0;
    for (line, recorded) in objects.lines().zip(receipt["prompts"][0]["samples"].as_array().expect("samples")) {
        let text = serde_json::from_str::<Value>(line).expect("JSON")["text"].as_str().expect("a text").to_owned();
        let tokens = recorded["tokens"].as_array().expect("tokens").iter();
        let written: String = tokens.map(|token| token["text"].as_str().expect("a text")).collect();
        assert_eq!(text, written, "each token writes what it says, the first too");
        assert_eq!(recorded["text"], Value::from(text.as_str()));
        assert!(plain.contains(&format!("The old{text}")), "{text:?} in {plain}");
        spaces += usize::from(text.starts_with(' '));
    }
    assert!(spaces > 0, "the premise: one of them begins with a word");
    test_dir.stdout("verify run receipt.json");
    let chat = stdout(test_dir.tril("chat run --max-tokens 6 --seed 7").write_stdin("The old\n/save said.txt\n"));
    assert!(test_dir.read("said.txt").starts_with("The old"), "{chat}");
}

#[test]
fn what_would_vanish_is_refused_and_what_is_unknown_is_counted() {
    let cyrillic = " \u{43a}\u{438}\u{442} \u{1f980}. The old cat saw the mat.";
    let test_dir = with_tokenizer("bpe_ws_nounk.json");
    let words = test_dir.read("words.txt");
    test_dir.stdout(TRAIN_OTHER);
    test_dir.stdout("sample run --max-tokens 3");
    test_dir.write("other.txt", words.clone() + cyrillic);
    let named = ["other.txt", "'к' (U+043A)", "'🦀' (U+1F980)", "byte"];
    assert_says(&test_dir.refused("eval run other.txt"), &named);
    assert_says(&test_dir.refused("score run other.txt"), &named);
    assert_says(&test_dir.refused(&TRAIN_OTHER.replace("words", "other").replace("run", "new")), &named);

    let test_dir = with_tokenizer("unigram.json");
    test_dir.write("other.txt", words.clone() + cyrillic);
    let output = test_dir.tril(&TRAIN_OTHER.replace("words", "other")).output().expect("it runs");
    let named = ["does not know 4 characters", "'и' (U+0438)", "'🦀' (U+1F980)"];
    assert!(output.status.success());
    assert_says(&String::from_utf8_lossy(&output.stderr), &named);
    let eval = |text: &str| {
        test_dir.write("text.txt", text);
        let output = test_dir.tril("eval run text.txt --json").output().expect("it runs");
        let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        (json["bytes"].as_u64().expect("a number"), String::from_utf8(output.stderr).expect("UTF-8"))
    };
    let ((known, quiet), (same, told)) =
        (eval("The old cat. The mat."), eval("The old cat. \u{43a}\u{438}\u{442} The mat."));
    test_dir.write("other.txt", "\u{43a}\u{438}\u{442}".repeat(200));
    let output = test_dir.tril("eval run other.txt").output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    assert_says(&String::from_utf8_lossy(&output.stderr), &["600 characters", "no token", "spells any of it"]);
    assert_eq!((quiet.as_str(), same), ("", known + 1), "but for a space, nothing of it is spelt");
    assert_says(&told, &["text.txt", "3 characters", "'т' (U+0442)"]);
}
