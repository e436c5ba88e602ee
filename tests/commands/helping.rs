//! `tril --help`, `tril completions` and `tril man`.

use super::test_dir::*;

#[test]
fn help_groups_the_commands_and_each_command_ends_with_examples() {
    let test_dir = TestDir::empty();
    let help = test_dir.stdout("--help");
    assert_says(&help, &["Learn:\n  train ", "Prove:\n  prove ", "\nOptions:\n"]);
    for command in ["train", "recipes", "sample", "chat", "serve", "eval", "score", "prove", "verify", "cost", "bench"]
    {
        let help = test_dir.stdout(&format!("{command} --help"));
        let (_, examples) = help.split_once("Examples:\n").expect("examples");
        assert!(examples.lines().all(|line| line.contains("tril ")), "{command}: {examples}");
    }
}

#[test]
fn the_version_tells_what_is_compiled_in_and_found() {
    let test_dir = TestDir::empty();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(test_dir.stdout("-V"), format!("tril {version}\n"));
    let long = stdout(test_dir.tril("--version").env("TRIL_SIMD", "plain"));
    let (first, rest) = long.split_once('\n').expect("lines");
    assert!(rest.starts_with("instruction set  plain\ndevices          cpu"), "{long}");
    let commit = first.strip_prefix(&format!("tril {version}")).expect("the version first");
    let is_commit = |text: &str| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_sound =
        commit.is_empty() || commit.strip_prefix(" (").and_then(|text| text.strip_suffix(')')).is_some_and(is_commit);
    assert!(is_sound, "{first}: a commit, or nothing where none is known");
    assert!(!test_dir.stdout("man").contains("instruction set"), "a man page is for every machine");
}

#[test]
fn completions_and_man_pages_know_every_command() {
    let test_dir = TestDir::empty();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert_says(&test_dir.stdout(&format!("completions {shell}")), &["penalty-last-n", "verify"]);
    }
    assert_says(&test_dir.refused("completions tcsh"), &["tcsh", "bash"]);
    assert_says(&test_dir.stdout("man"), &[".TH tril 1", "tril\\-verify(1)"]);
    let written = test_dir.stdout("man pages/man1");
    let help = test_dir.stdout("--help");
    let is_command =
        |line: &&str| line.starts_with("  ") && line[2..].starts_with(|first: char| first.is_ascii_lowercase());
    let commands = help.lines().filter(is_command).filter(|line| !line.starts_with("  help")).count();
    assert!(commands > 15, "{help}");
    assert_eq!(written.lines().count(), 1 + commands, "{written}");
    assert_says(&test_dir.read("pages/man1/tril-sample.1"), &[".TH tril-sample 1", "Examples:", "max\\-tokens"]);
}
