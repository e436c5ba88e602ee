//! `tril sample` past the end of the context, and without an end of its own.

use super::test_dir::*;

/// A model whose context ends, after 16 tokens.
fn with_learned_positions() -> TestDir {
    let test_dir = TestDir::new();
    test_dir.stdout(&format!("{TRAIN} --set model.positions=learned --set model.window=0"));
    test_dir
}

#[test]
fn a_full_context_ends_the_text_if_asked_to_even_one_without_end() {
    let test_dir = with_learned_positions();
    let longer = test_dir.stdout("sample run --max-tokens 40 --on-overflow recompute");
    assert_eq!(longer, test_dir.stdout("sample run --max-tokens 40"), "the default");
    for max_tokens in ["40", "inf"] {
        let command = format!("sample run --max-tokens {max_tokens} --on-overflow stop");
        let output = test_dir.tril(&command).output().expect("it runs");
        assert!(output.status.success());
        let (text, report) = (String::from_utf8(output.stdout), String::from_utf8(output.stderr));
        let (text, report) = (text.expect("UTF-8"), report.expect("UTF-8"));
        // One token stands before the text, and the last one is predicted from 16.
        assert_eq!(text.trim_end_matches('\n'), longer.chars().take(16).collect::<String>().trim_end_matches('\n'));
        assert!(report.contains("[16 tokens") && report.contains("stopped by: full context]"), "{report}");
        assert!(!report.contains("left it"), "{report}");
    }
}

#[test]
fn with_rotary_positions_and_a_window_the_context_is_never_full() {
    let test_dir = TestDir::with_run();
    let text = test_dir.stdout("sample run --max-tokens 200 --on-overflow stop");
    assert_eq!(text.chars().count(), 201);
    assert_eq!(text, test_dir.stdout("sample run --max-tokens 200 --on-overflow recompute"));
}

/// What a sample without end prints until it is interrupted, some time after it has begun.
#[cfg(unix)]
fn interrupted(test_dir: &TestDir, options: &str, reported: &str) -> String {
    use std::io::Read;
    use std::process::{Command, Stdio};

    let mut process = test_dir.process(&format!("sample run --max-tokens inf {options}"));
    let mut child = process.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut stdout = child.stdout.take().expect("a pipe");
    let mut first = [0; 50];
    stdout.read_exact(&mut first).expect("a beginning");
    let reader = std::thread::spawn(move || {
        let mut rest = Vec::new();
        stdout.read_to_end(&mut rest).map(|_| rest)
    });
    std::thread::sleep(std::time::Duration::from_millis(200));
    let signalled = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(signalled.success());
    let output = wait(child);
    let report = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(130), "{report}");
    assert!(report.contains(reported), "{report}");
    let rest = reader.join().expect("no panic").expect("a pipe");
    let text = String::from_utf8([&first[..], &rest].concat()).expect("UTF-8");
    if options.is_empty() {
        let tokens = text.strip_suffix('\n').expect("a newline at the end").chars().count();
        assert!(tokens > 500 && report.contains(&format!("[{tokens} tokens")), "{tokens} tokens came: {report}");
    }
    text
}

#[cfg(unix)]
#[test]
fn a_text_without_end_goes_on_until_ctrl_c_and_then_says_how_long_it_is() {
    let test_dir = TestDir::with_run();
    let text = interrupted(&test_dir, "", "stopped by: interrupt]");
    let whole = test_dir.stdout("sample run --max-tokens 500");
    assert!(text.starts_with(whole.strip_suffix('\n').expect("a newline")));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_all_texts_that_have_begun_and_those_alone() {
    let test_dir = TestDir::with_run();
    let text = interrupted(&test_dir, "--num-samples 3 --batch-size 2", "stopped by: interrupt (samples 1-2)]");
    assert_eq!(text.split("\n---------------\n").count(), 2);
    assert!(text.ends_with('\n') && !text.ends_with("\n---------------\n"));
    // The first is complete at once, which shows that work has begun; the second goes on; the third may have begun.
    let (short, long) = ("{\"prompt\": \"a cat\", \"max_tokens\": 1}\n", "{\"prompt\": \"the old fox\"}\n");
    test_dir.write("prompts.jsonl", format!("{short}{}", long.repeat(5)));
    let text = interrupted(&test_dir, "--prompts prompts.jsonl --jsonl --batch-size 2", "interrupt (sample");
    let finishes: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["finish"].clone())
        .collect();
    assert!((2..=3).contains(&finishes.len()), "{finishes:?}");
    assert!(finishes[0] == "max_tokens" && finishes[1..].iter().all(|finish| finish == "interrupted"), "{finishes:?}");
}

#[cfg(unix)]
#[test]
fn the_receipt_of_a_text_that_was_interrupted_holds() {
    let test_dir = TestDir::with_run();
    interrupted(&test_dir, "--sample-index 3 --receipt receipt.json", "stopped by: interrupt]");
    assert!(test_dir.read("receipt.json").contains("\"interrupted\""));
    test_dir.stdout("verify run receipt.json");
}

#[test]
fn a_number_of_tokens_is_a_whole_one_or_inf() {
    let test_dir = TestDir::with_run();
    for max_tokens in ["-1", "1.5", "many", "infinity", "99999999999999999999", ""] {
        let message = test_dir.refused(&format!("sample run --max-tokens={max_tokens}"));
        assert_says(&message, &["--max-tokens", "a whole number", "inf for no end"]);
    }
    assert_says(&test_dir.refused("sample run --on-overflow shift"), &["--on-overflow", "shift", "recompute", "stop"]);
}
