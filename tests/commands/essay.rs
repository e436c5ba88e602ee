//! The essays, `docs/how-a-gpt-generates.md` and the Chinese one: every command in them prints what stands there. On the CPU
//! figures have the same bits everywhere, so lines are compared as they are; a line that tells a time or a device is not.

use std::path::PathBuf;

use super::test_dir::*;

/// A command of an essay, and the lines that it is to print; `…` stands for any number of lines.
#[derive(Debug, PartialEq)]
struct Shown {
    arguments: String,
    lines: Vec<String>,
}

fn essay(name: &str) -> String {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The commands in the blocks of an essay.
fn commands(text: &str) -> Vec<Shown> {
    let mut found: Vec<Shown> = Vec::new();
    for block in text.split("```").skip(1).step_by(2) {
        let mut current: Option<Shown> = None;
        for line in block.lines() {
            match (line.strip_prefix("$ tril "), &mut current) {
                (Some(arguments), _) => {
                    found.extend(current.take());
                    current = Some(Shown { arguments: arguments.to_owned(), lines: Vec::new() });
                }
                (None, Some(shown)) => shown.lines.push(line.trim_end().to_owned()),
                (None, None) => {}
            }
        }
        found.extend(current);
    }
    found
}

/// Whether a line hangs on the machine.
fn is_of_the_machine(line: &str) -> bool {
    line.starts_with('[') || line.starts_with("time ") || line.contains(" on cpu, ") || line.contains(" times as long")
}

/// Asserts that the lines come one after another, `…` standing for any number of others.
fn assert_shows(shown: &Shown, printed: &str) {
    let mut left = printed.lines().map(str::trim_end).filter(|line| !is_of_the_machine(line));
    let mut skips = false;
    for line in shown.lines.iter().filter(|line| !is_of_the_machine(line)) {
        let found = match (line.as_str(), skips) {
            ("…", _) => {
                skips = true;
                continue;
            }
            (line, true) => left.any(|other| other == line),
            (line, false) => left.next() == Some(line),
        };
        assert!(found, "tril {}: `{line}` is not printed there:\n{printed}", shown.arguments);
        skips = false;
    }
}

#[test]
fn both_essays_show_the_same_commands_with_the_same_output() {
    let [english, chinese] = ["how-a-gpt-generates.md", "zh/how-a-gpt-generates.md"].map(|name| commands(&essay(name)));
    assert!(english.len() >= 9, "a command for each of nine claims: {english:?}");
    assert_eq!(english, chinese);
    for number in 1..=9 {
        assert!(essay("how-a-gpt-generates.md").contains(&format!("\n## {number}. ")), "claim {number}");
        assert!(essay("zh/how-a-gpt-generates.md").contains(&format!("\n## {number}. ")), "claim {number}");
    }
}

#[test]
fn a_line_that_is_not_printed_is_found() {
    let shown =
        |lines: &[&str]| Shown { arguments: "x".into(), lines: lines.iter().map(|line| (*line).to_owned()).collect() };
    assert_shows(&shown(&["a", "…", "d", "time  3 ms"]), "a\nb\nc\nd\ntime  9 ms\n");
    for lines in [&["a", "c"][..], &["b"], &["…", "x"], &["…", "c", "b"]] {
        let missing = shown(lines);
        assert!(std::panic::catch_unwind(|| assert_shows(&missing, "a\nb\nc\n")).is_err(), "{lines:?}");
    }
}

/// Some minutes: it trains the model of the README and those of the lab.
/// `cargo test --release -p tril-cli --test tests -- --ignored every_command_of_both_essays`
#[test]
#[ignore = "it trains for some minutes"]
fn every_command_of_both_essays_prints_what_stands_there() {
    let test_dir = TestDir::empty();
    for shown in commands(&essay("how-a-gpt-generates.md")) {
        let words = shlex::split(&shown.arguments).expect("sound quotes");
        let mut command = test_dir.process("");
        let output = command.args(&words).output().expect("it runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tril {}: {stderr}", shown.arguments);
        assert_shows(&shown, &String::from_utf8_lossy(&output.stdout));
    }
}
