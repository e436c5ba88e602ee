//! What the command itself reads, on mutated input, as tests/fuzz does it for the libraries: arguments, files of prompts, the
//! lines of a chat. `TRIL_FUZZ=1000000 cargo test --release -p tril-cli --bin tril -- fuzz` tries so many of each.

#[path = "../../../tests/fuzz/mutation.rs"]
mod mutation;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use clap::FromArgMatches;
use tril_infer::GenerateOptions;

use crate::args::Cli;
use crate::chat::commands::Input;
use crate::sample::prompts;
use crate::{help, shown};
use mutation::{Draws, mutate_bytes, mutate_json};

/// Inputs of each kind, unless the environment says how many.
const USUAL: u64 = 3000;

/// No input takes longer.
const MOST_TIME: Duration = Duration::from_secs(10);

/// Tries a reader on inputs 0, 1, 2, …
fn fuzz(reader: &str, mut read: impl FnMut(&mut Draws)) {
    let count = std::env::var("TRIL_FUZZ").ok().map_or(USUAL, |text| text.parse().expect("a number"));
    for input in 0..count {
        let begun = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| read(&mut Draws::of(input))));
        assert!(result.is_ok() && begun.elapsed() < MOST_TIME, "{reader}: input {input}");
    }
}

#[test]
fn arguments_of_any_kind_are_parsed_or_refused() {
    let command = help::command();
    let mut names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    let flags = command.get_subcommands().flat_map(|sub| sub.get_arguments().filter_map(|arg| arg.get_long()));
    let flags: Vec<String> = flags.map(|name| format!("--{name}")).collect();
    assert!(flags.len() > 60, "{}", flags.len());
    names.extend(["-p", "-n", "-t", "-o", "-", "--", "", "run"].map(str::to_owned));
    let values = ["1", "0.5", "inf", "a=b", "train.steps=3", "wgpu:0", "'", "\\n", "Once", "3=-inf"];
    fuzz("arguments", |draws| {
        let mut line = vec!["tril".to_owned()];
        for place in 0..1 + draws.below(9) {
            let part = match draws.below(if place == 0 { 2 } else { 5 }) {
                0 | 1 => draws.one_of(&names).clone(),
                2 | 3 => draws.one_of(&flags).clone(),
                _ => (*draws.one_of(&values)).to_owned(),
            };
            let is_odd = draws.below(4) == 0;
            line.push(if is_odd {
                String::from_utf8_lossy(&mutate_bytes(part.as_bytes(), draws)).into_owned()
            } else {
                part
            });
        }
        if let Err(error) = command.clone().try_get_matches_from(&line).and_then(|found| Cli::from_arg_matches(&found))
        {
            let told = shown::plain(&error.render().to_string());
            assert!(!told.contains('\u{1b}') && !told.is_empty(), "{line:?}");
        }
    });
}

#[test]
fn files_of_prompts_are_read_or_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let object =
        br#"{"prompt": "Once", "id": 7, "seed": 3, "sample": 1, "max_tokens": 9, "temperature": 0.5, "ban": [1]}"#;
    let options = GenerateOptions::default();
    fuzz("prompts", |draws| {
        let mut text = Vec::new();
        for _ in 0..1 + draws.below(3) {
            text.extend(if draws.below(2) == 0 { mutate_json(object, draws) } else { mutate_bytes(object, draws) });
            text.push(b'\n');
        }
        let path = dir.path().join(["a.jsonl", "a.txt"][draws.below(2)]);
        std::fs::write(&path, text).expect("written");
        let _ = prompts::read(&path, draws.below(2) == 0, &options);
    });
}

#[test]
fn lines_of_a_chat_are_understood_or_refused() {
    let lines =
        ["/set temperature 0.5", "/set stop 'the end' Fin", "/save a.txt", "/edit The owl", "//usr", "/undo", "a"];
    fuzz("chat", |draws| {
        let line = mutate_bytes(draws.one_of(&lines).as_bytes(), draws);
        let _ = Input::parse(&String::from_utf8_lossy(&line));
    });
}
