//! Texts that cannot be read, are too short, or hold what the vocabulary lacks.

use std::fs;

use crate::commands::test_dir::{TestDir, assert_says, checkpoint, text};

/// Trains on some data with half of it held out.
fn train_on(data: &str) -> String {
    format!("train smoke.toml --out run --set data.validation_fraction=0.5 --data {data}")
}

#[test]
fn a_missing_text_is_named() {
    let test_dir = TestDir::new();
    assert_says(&test_dir.refused(&train_on("none.txt")), &["none.txt", "os error", "check the path"]);
    let test_dir = TestDir::with_run();
    for command in ["eval", "score"] {
        assert_says(&test_dir.refused(&format!("{command} run none.txt")), &["none.txt", "os error", "check the path"]);
    }
}

#[test]
fn a_corpus_that_nobody_knows_is_told_which_are_known() {
    let message = TestDir::new().refused(&train_on("talez"));
    assert_says(
        &message,
        &[
            "`talez`",
            "(tales, names, songci, tinyshakespeare, tinystories)",
            "no file or directory",
            "check the spelling",
        ],
    );
}

#[test]
fn an_empty_text_is_refused() {
    let test_dir = TestDir::with_run();
    test_dir.write("empty.txt", "");
    assert_says(
        &test_dir.refused(&train_on("empty.txt").replace("run", "new")),
        &["empty.txt", "empty", "give a file"],
    );
    assert_says(&test_dir.refused("score run empty.txt"), &["empty.txt", "0 tokens", "give a longer text"]);
    assert_says(&test_dir.refused("eval run empty.txt"), &["empty.txt", "empty", "give a file"]);
}

#[test]
fn advice_on_a_text_too_short_to_evaluate_is_not_about_training() {
    let test_dir = TestDir::with_run();
    test_dir.write("short.txt", "a");
    let message = test_dir.refused("eval run short.txt");
    assert_says(&message, &["short.txt", "1 token", "longer text"]);
    assert!(!message.contains("train.seq_len") && !message.contains("validation_fraction"), "{message}");
}

#[test]
fn a_text_that_is_not_utf_8_is_refused_with_the_place_and_a_way_to_convert_it() {
    let test_dir = TestDir::with_run();
    test_dir.write("latin.txt", b"Zo\xeb saw three birds.\n");
    let expected = ["latin.txt", "not UTF-8", "byte 2", "iconv"];
    assert_says(&test_dir.refused(&train_on("latin.txt").replace("run", "new")), &expected);
    assert_says(&test_dir.refused("eval run latin.txt"), &expected);
    assert_says(&test_dir.refused("score run latin.txt --html page.html"), &expected);
    assert_says(&test_dir.refused("sample run --prompt-file latin.txt"), &expected);
    fs::create_dir(test_dir.path("texts")).expect("a directory");
    test_dir.write("texts/1.txt", text());
    fs::rename(test_dir.path("latin.txt"), test_dir.path("texts/latin.txt")).expect("moved");
    assert_says(&test_dir.refused(&train_on("texts").replace("run", "new")), &expected);
}

#[test]
fn a_directory_without_text_is_refused() {
    let test_dir = TestDir::new();
    fs::create_dir(test_dir.path("texts")).expect("a directory");
    assert_says(&test_dir.refused(&train_on("texts")), &["texts", "no text", "put UTF-8 text files in it"]);
    test_dir.write("texts/.hidden", text());
    assert_says(&test_dir.refused(&train_on("texts")), &["texts", "no text", "hidden"]);
}

#[test]
fn a_text_shorter_than_one_window_is_refused_with_both_lengths() {
    let test_dir = TestDir::new();
    test_dir.write("short.txt", "abcdefg\n".repeat(4)); // 16 to train on, and a window needs 17
    let message = test_dir.refused(&train_on("short.txt"));
    assert_says(&message, &["training text", "16 tokens", "17", "longer text", "train.seq_len"]);
    test_dir.write("short.txt", "abcdefg\n".repeat(5));
    test_dir.stdout(&train_on("short.txt"));
}

#[test]
fn a_validation_side_too_short_to_measure_is_refused() {
    let test_dir = TestDir::new();
    let n = text().chars().count();
    for held_out in [0, 1] {
        let fraction = (f64::from(held_out) - 0.5).max(0.0) / n as f64;
        let message = test_dir.refused(&format!("{} --set data.validation_fraction={fraction}", train_on("text.txt")));
        assert_says(&message, &["validation text", &format!("{held_out} token"), "data.validation_fraction"]);
        // What is too short by its fraction alone is not mended by shorter windows.
        assert!(!message.contains("train.seq_len"), "{message}");
    }
}

#[test]
fn a_corpus_of_one_character_cannot_be_split() {
    let test_dir = TestDir::new();
    test_dir.write("a.txt", "a");
    assert_says(&test_dir.refused(&train_on("a.txt")), &["a.txt", "1 character", "give more text"]);
}

#[test]
fn characters_that_the_vocabulary_lacks_are_named_with_their_place_and_what_to_do() {
    let test_dir = TestDir::with_run();
    let expected = ["'猫' (U+732B)", "'Q' (U+0051)", "remove", "`byte`"];
    for prompt in ["a cat 猫 Q", "-猫Q"] {
        let message = test_dir.refused_command(test_dir.tril("sample run").args(["--prompt", prompt]));
        assert_says(&message, &expected);
        assert_says(&message, &["prompt", "line 1, column"]);
    }
    test_dir.write("more.txt", "a cat\nsaw 猫 Q");
    assert_says(&test_dir.refused("eval run more.txt"), &expected);
    assert_says(&test_dir.refused("eval run more.txt"), &["more.txt", "line 2, column 5"]);
    assert_says(&test_dir.refused("score run more.txt"), &["more.txt", "line 2, column 5", "'猫' (U+732B)"]);
    assert_says(&test_dir.refused("sample run --prompt-file more.txt"), &expected);
}

#[test]
fn characters_that_the_vocabulary_lacks_are_placed_in_the_prompt_file_by_its_name() {
    let test_dir = TestDir::with_run();
    test_dir.write("more.txt", "a cat\nsaw 猫 Q");
    assert_says(&test_dir.refused("sample run --prompt-file more.txt"), &["more.txt", "line 2, column 5"]);
}

#[test]
fn a_prompt_file_that_cannot_be_read_is_named() {
    let test_dir = TestDir::with_run();
    assert_says(&test_dir.refused("sample run --prompt-file none.txt"), &["none.txt", "os error", "check the path"]);
}

#[cfg(unix)] // elsewhere the system calls it a lack of permission
#[test]
fn a_directory_where_a_text_file_is_wanted_is_refused_as_a_directory() {
    let test_dir = TestDir::with_run();
    for command in ["score run run", "sample run --prompt-file run"] {
        assert_says(&test_dir.refused(command), &["run", "directory"]);
    }
}

#[test]
fn a_prompt_of_a_recipe_that_cannot_be_written_is_refused_before_anything_is_made() {
    let test_dir = TestDir::new();
    let message = test_dir.refused(&format!("{} --set sample.prompt=猫", train_on("text.txt")));
    assert_says(&message, &["[sample]", "prompt", "'猫' (U+732B)"]);
}

#[test]
fn the_directory_of_a_model_is_no_text_and_an_address_is_none() {
    let test_dir = TestDir::with_run();
    let last = checkpoint(&test_dir.path("run"), "last");
    let model = last.strip_prefix(test_dir.path(".")).unwrap_or(&last).display().to_string();
    for (arguments, advice) in [
        ("train run".to_owned(), "goes on with a run by --resume"),
        ("train run --dry-run".to_owned(), "by --from"),
        (format!("train --data {model}"), "the directory of a model, and no text"),
        ("eval run run".to_owned(), "the directory of a model, and no text"),
        ("train --data https://example.org/a.txt".to_owned(), "texts are not read from addresses"),
    ] {
        assert_says(&test_dir.refused(&arguments), &[advice]);
    }
    // Texts may have the names of a model's files.
    std::fs::create_dir(test_dir.path("texts")).expect("a directory");
    for name in ["config.json", "metrics.jsonl"] {
        test_dir.write(&format!("texts/{name}"), "the old fox lost a hat\n".repeat(40));
    }
    test_dir.stdout("train smoke.toml --data texts --dry-run");
}
