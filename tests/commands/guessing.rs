//! `--draft`: guesses make `sample` and `chat` faster and change nothing that they print or write.

use super::test_dir::*;

/// Trains a smaller model on the same text, so with the same characters.
const TRAIN_SMALL: &str = "train smoke.toml --data text.txt --out small --set data.validation_fraction=0.1 \
    --set model.n_layers=1 --set train.steps=5";

fn with_two_runs() -> TestDir {
    let test_dir = TestDir::with_run();
    test_dir.stdout(TRAIN_SMALL);
    test_dir
}

/// What a command that succeeds prints, and its notes.
fn output(test_dir: &TestDir, arguments: &str) -> (String, String) {
    let output = test_dir.tril(arguments).output().expect("it runs");
    let notes = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(output.status.success(), "{arguments}: {notes}");
    (String::from_utf8(output.stdout).expect("UTF-8"), notes)
}

/// Guesses kept and made, of a closing note.
fn tally(notes: &str) -> (usize, usize) {
    let words: Vec<&str> = notes.split_whitespace().collect();
    let place = words.windows(2).position(|pair| pair == ["guesses", "kept;"]).unwrap_or_else(|| panic!("{notes}"));
    let number = |place: usize| words[place].parse().unwrap_or_else(|_| panic!("{notes}"));
    (number(place - 3), number(place - 1))
}

#[test]
fn text_trace_and_receipt_are_those_without_guesses() {
    let test_dir = with_two_runs();
    for options in [
        "-n 120 --temperature 0",
        "-n 120 --temperature 0.9 --top-p 0.9 --repetition-penalty 1.1 --num-samples 3 --stop fox",
        "-n 120 --temperature 0.5 --presence-penalty -0.5 --prompt the --batch-size 2 --num-samples 5",
        "--trace -n 20",
    ] {
        let sample = |draft: &str, receipt: &str| {
            output(&test_dir, &format!("sample run {options} {draft} --receipt {receipt}.json"))
        };
        let (plain, notes) = sample("", "plain");
        assert!(!notes.contains("guess"), "{notes}");
        for draft in ["--draft lookup", "--draft small", "--draft run", "--draft lookup --draft-tokens 1"] {
            let (drafted, _) = sample(draft, "drafted");
            assert_eq!(drafted, plain, "{options} {draft}");
            assert_eq!(test_dir.read("drafted.json"), test_dir.read("plain.json"), "{options} {draft}");
        }
    }
}

#[test]
fn the_closing_note_tells_how_many_guesses_were_kept() {
    let test_dir = with_two_runs();
    let repeats = "--temperature 0 --ignore-eos -n 400";
    let (_, notes) = output(&test_dir, &format!("sample run {repeats} --draft lookup"));
    let (kept, made) = tally(&notes);
    assert!(kept <= made && kept > 50, "greedy text repeats itself: {notes}");
    let (_, notes) = output(&test_dir, "sample run -n 1 --draft lookup");
    assert_says(&notes, &["no token guessed"]);
    // A model as large as the one to be helped cannot pay, so it is never asked.
    let (_, notes) = output(&test_dir, "sample run -n 50 --draft run");
    assert_says(&notes, &["no token guessed"]);
}

#[test]
fn a_chat_with_guesses_answers_as_it_does_without() {
    let test_dir = with_two_runs();
    let chat = |draft: &str| {
        let mut command = test_dir.tril(&format!("chat run -n 60 --temperature 0.3 {draft}"));
        let output = command.write_stdin("the old fox\n\n/regen\nthe dog\n/undo\n\n").output().expect("it runs");
        assert!(output.status.success());
        (String::from_utf8(output.stdout).expect("UTF-8"), String::from_utf8(output.stderr).expect("UTF-8"))
    };
    let (plain, _) = chat("");
    for draft in ["--draft lookup", "--draft small"] {
        let (drafted, notes) = chat(draft);
        assert_eq!(drafted, plain, "{draft}");
        assert_says(&notes, &["guess"]);
    }
}

#[test]
fn what_cannot_guess_is_refused_by_name() {
    let test_dir = with_two_runs();
    test_dir.write("other.txt", "0123456789 ".repeat(200));
    test_dir.stdout(
        "train smoke.toml --data other.txt --out digits --set data.validation_fraction=0.1 --set train.steps=5",
    );
    assert_says(
        &test_dir.refused("sample run --draft digits"),
        &["--draft", "digits", "vocabulary", "tokens, and not"],
    );
    let letters: String = text().chars().map(|c| if c == 'f' { 'F' } else { c }).collect();
    test_dir.write("letters.txt", letters);
    test_dir.stdout(
        "train smoke.toml --data letters.txt --out letters --set data.validation_fraction=0.1 --set train.steps=5",
    );
    assert_says(&test_dir.refused("sample run --draft letters"), &["--draft", "letters", "vocabulary is another"]);
    assert_says(&test_dir.refused("sample run --draft nowhere"), &["--draft", "nowhere"]);
    assert_says(&test_dir.refused("sample run --draft text.txt"), &["--draft", "text.txt"]);
    assert_says(&test_dir.refused("sample run --draft lookup --no-cache"), &["--draft", "--no-cache"]);
    assert_says(&test_dir.refused("sample run --draft-tokens 4"), &["--draft"]);
    for number in ["0", "16", "-1", "two"] {
        let message = test_dir.refused(&format!("sample run --draft lookup --draft-tokens={number}"));
        assert_says(&message, &["--draft-tokens", number]);
    }
    assert_says(&test_dir.refused("chat run --draft nowhere"), &["--draft", "nowhere"]);
}
