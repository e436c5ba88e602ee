//! `tril --help`, `tril completions` and `tril man`.

use super::scene::*;

#[test]
fn help_groups_the_commands_and_each_command_ends_with_examples() {
    let scene = Scene::empty();
    let help = scene.stdout("--help");
    assert_says(&help, &["Learn:\n  train ", "Prove:\n  prove ", "\nOptions:\n"]);
    for command in ["train", "recipes", "sample", "chat", "eval", "score", "prove", "verify", "cost", "bench"] {
        let help = scene.stdout(&format!("{command} --help"));
        let (_, examples) = help.split_once("Examples:\n").expect("examples");
        assert!(examples.lines().all(|line| line.contains("tril ")), "{command}: {examples}");
    }
}

#[test]
fn completions_and_man_pages_know_every_command() {
    let scene = Scene::empty();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert_says(&scene.stdout(&format!("completions {shell}")), &["--penalty-last-n", "verify"]);
    }
    assert_says(&scene.refused("completions tcsh"), &["tcsh", "bash"]);
    assert_says(&scene.stdout("man"), &[".TH tril 1", "tril\\-verify(1)"]);
    let written = scene.stdout("man pages/man1");
    assert_eq!(written.lines().count(), 13, "{written}");
    assert_says(&scene.read("pages/man1/tril-sample.1"), &[".TH tril-sample 1", "Examples:", "max\\-tokens"]);
}
