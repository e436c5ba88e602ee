//! What a terminal obeys: names of files, fields of recipes, tokens, texts and receipts cannot hide, move or colour what
//! the program says. Only a model's own text, where it goes to no terminal, is as it is.

use std::fs;

use serde_json::{Value, json};

use super::test_dir::*;

/// Clears the screen, sets a title, goes back, hides, turns the line around; by escape and by the controls above U+0080.
const EVIL: &str = "\u{1b}[2J\u{1b}]0;x\u{7}\r\u{8}\u{9b}8m\u{202e}\u{7f}\nEvery token is right\n";

/// Runs a command and returns its exit code and all that it says; what a terminal would obey fails the test.
#[track_caller]
fn said(test_dir: &TestDir, arguments: &[&str], stdin: &str) -> (Option<i32>, String) {
    let output = test_dir.tril("").args(arguments).write_stdin(stdin).output().expect("it runs");
    let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("UTF-8"));
    for text in [&stdout, &stderr] {
        let obeyed = |c: &char| (c.is_control() && !matches!(c, '\n' | '\t')) || ('\u{202a}'..='\u{202e}').contains(c);
        assert_eq!(text.chars().find(obeyed), None, "{arguments:?}: {text:?}");
    }
    let forged = stdout.lines().chain(stderr.lines()).find(|line| line.starts_with("Every token is right"));
    assert_eq!(forged, None, "{arguments:?}: {stdout}{stderr}");
    (output.status.code(), stdout + &stderr)
}

/// A run and a text in files with such names.
fn hostile() -> (TestDir, String, String) {
    let test_dir = TestDir::with_run();
    let [run, text] = ["run", "text.txt"].map(|name| {
        let evil = format!("{EVIL}{name}");
        fs::rename(test_dir.path(name), test_dir.path(&evil)).expect("renamed");
        evil
    });
    (test_dir, run, text)
}

#[cfg(unix)]
#[test]
fn names_of_files_and_directories_are_shown_and_not_obeyed() {
    let (test_dir, run, text) = hostile();
    let (receipt, page) = (format!("{EVIL}.json"), format!("{EVIL}.html"));
    let (run, text) = (run.as_str(), text.as_str());
    let done = [
        &["sample", run, "--max-tokens", "5", "--receipt", &receipt][..],
        &["sample", run, "--max-tokens", "2", "--trace"],
        &["sample", run, "--max-tokens", "2", "--stop", EVIL],
        &["verify", run, &receipt],
        &["verify", run, &receipt, "--json"],
        &["eval", run, text],
        &["eval", run, text, "--json"],
        &["score", run, text],
        &["score", run, text, "--html", &page],
        &["prove", run],
        &["prove", run, "--json"],
        &["cost", run, "--max-tokens", "4"],
        &["train", "smoke.toml", "--data", text, "--out", "new", "--set", "data.validation_fraction=0.1"],
        &["train", text, "--steps", "2", "--out", "newer", "--set", "data.validation_fraction=0.1"],
        &["train", "--resume", run, "--data", text, "--set", "train.steps=8"],
    ];
    for arguments in done {
        let (code, said) = said(&test_dir, arguments, "");
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
    }
    let (code, _) = said(&test_dir, &["chat", run], "a\n/save \u{1b}[2J.txt\n/set \u{1b}[2J 1\n/\u{9b}\n");
    assert_eq!(code, Some(0));
    let refused = [
        &["sample", EVIL][..],
        &["sample", text],
        &["sample", run, "--prompt-file", EVIL],
        &["sample", run, "--ban", EVIL],
        &["sample", run, EVIL],
        &["sample", run, "--device", EVIL],
        &[EVIL],
        &["eval", run, EVIL],
        &["verify", run, text],
        &["train", EVIL],
        &["train", "--data", EVIL],
        &["train", "--set", EVIL],
        &["train", "smoke.toml", "--data", text, "--out", run],
        &["train", "--resume", EVIL],
        &["recipes", EVIL],
    ];
    for arguments in refused {
        let (code, said) = said(&test_dir, arguments, "");
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
    }
}

#[test]
fn fields_and_values_of_recipes_and_checkpoints_are_shown_and_not_obeyed() {
    let test_dir = TestDir::with_run();
    let quoted = json!(EVIL).to_string();
    for recipe in [
        format!("[{quoted}]\na = 1"),
        format!("[model]\n{quoted} = 1"),
        format!("[model]\nnorm = {quoted}"),
        format!("[data]\nsource = {quoted}"),
        format!("[tokenizer]\nkind = \"file\"\npath = {quoted}"),
        format!("[sample]\nprompt = {quoted}\n[data]\nsource = \"text.txt\""),
        format!("a = \"{EVIL}\""),
        EVIL.to_owned(),
    ] {
        test_dir.write("evil.toml", recipe.replace("\\u007f", "\\u007F"));
        let (code, said) = said(&test_dir, &["train", "evil.toml", "--out", "new"], "");
        assert_eq!(code, Some(2), "{recipe:?}: {said}");
    }
    let path = "run/step-000006/config.json";
    let config = test_dir.read(path);
    for value in [format!("{{{quoted}: 1}}"), format!("{{\"norm\": {quoted}}}"), EVIL.to_owned()] {
        test_dir.write(path, value);
        assert_eq!(said(&test_dir, &["sample", "run"], "").0, Some(2));
    }
    test_dir.write(path, config);
    test_dir.write("run/checkpoints.json", format!("{{\"best\": {quoted}, \"last\": {quoted}}}"));
    assert_eq!(said(&test_dir, &["sample", "run"], "").0, Some(2));
}

#[test]
fn texts_tokens_and_receipts_are_shown_and_not_obeyed() {
    let test_dir = TestDir::new();
    test_dir.write("text.txt", text() + &EVIL.repeat(40));
    assert_eq!(said(&test_dir, &["train", "smoke.toml", "--data", "text.txt", "--out", "run"], "").0, Some(0));
    test_dir.write("prompts.jsonl", json!({"id": EVIL, "prompt": EVIL}).to_string());
    for arguments in [
        &["sample", "run", "--prompt", EVIL, "--max-tokens", "3", "--trace"][..],
        &["sample", "run", "--prompts", "prompts.jsonl", "--jsonl", "--max-tokens", "3", "--receipt", "receipt.json"],
        &["verify", "run", "receipt.json"],
        &["score", "run", "text.txt"],
        &["score", "run", "text.txt", "--json"],
        &["prove", "run", "--text", "text.txt"],
    ] {
        let (code, said) = said(&test_dir, arguments, "");
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
    }
    let sound: Value = serde_json::from_str(&test_dir.read("receipt.json")).expect("JSON");
    for pointer in [
        "/tril",
        "/checkpoint",
        "/machine/device",
        "/model_sha256",
        "/prompts/0/prompt/text",
        "/prompts/0/samples/0/text",
    ] {
        let mut receipt = sound.clone();
        *receipt.pointer_mut(pointer).expect("a field") = json!(format!("{EVIL} Every token is the one"));
        test_dir.write("evil.json", receipt.to_string());
        said(&test_dir, &["verify", "run", "evil.json"], "");
        said(&test_dir, &["verify", "run", "evil.json", "--json"], "");
    }
    // Where it goes to no terminal, a model's own text is as it is.
    let raw = stdout(test_dir.tril("sample run --max-tokens 1 --prompt").arg(EVIL));
    assert!(raw.starts_with(EVIL), "{raw:?}");
}
