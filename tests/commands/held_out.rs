//! `tril eval --split`: the parts of a run's own text that it was not trained on.

use serde_json::Value;

use super::test_dir::*;

/// [`TRAIN`] with the end of the text kept for a test.
const TRAIN_WITH_TEST: &str = "train smoke.toml --verbose --data text.txt --out run \
    --set data.validation_fraction=0.05 --set data.test_fraction=0.05";

fn measured(test_dir: &TestDir, arguments: &str) -> Value {
    let output = test_dir.stdout(&format!("eval {arguments} --json"));
    serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"))
}

fn loss(measured: &Value) -> f64 {
    measured["loss"].as_f64().unwrap_or_else(|| panic!("{measured}"))
}

#[test]
fn the_test_part_is_the_end_of_the_text_which_no_number_of_training_depends_on() {
    let test_dir = TestDir::new();
    let trained = test_dir.stdout(TRAIN_WITH_TEST);
    let whole = text();
    let chars: Vec<char> = whole.chars().collect();
    let cuts = [0.9, 0.95].map(|share: f64| (share * chars.len() as f64).floor() as usize);
    let part = |range: std::ops::Range<usize>| chars[range].iter().collect::<String>();
    test_dir.write("validation.txt", part(cuts[0]..cuts[1]));
    test_dir.write("test.txt", part(cuts[1]..chars.len()));
    for name in ["validation", "test"] {
        let (split, file) =
            (measured(&test_dir, &format!("run --split {name}")), measured(&test_dir, &format!("run {name}.txt")));
        assert_eq!(loss(&split), loss(&file), "{name}");
        assert_eq!((&split["tokens"], &split["bytes"]), (&file["tokens"], &file["bytes"]), "{name}");
        assert_eq!((split["split"].as_str(), file["split"].as_str()), (Some(name), None));
    }
    let records = column(&metrics(&test_dir.path("run")), "evaluation", "loss");
    let validation = loss(&measured(&test_dir, "run/step-000006 --split validation"));
    assert!((validation / records.last().expect("an evaluation") - 1.0).abs() < 1e-6);
    let shown = test_dir.stdout("eval run --split test");
    assert!(shown.starts_with("the test part of text.txt under run/step-000006\nloss"), "{shown}");

    // Training sees neither part, nor how the tenth is cut: another end of the text changes no weight.
    let last: String = part(cuts[1]..chars.len()).chars().rev().collect();
    let other = TestDir::new();
    other.write("text.txt", part(0..cuts[1]) + &last);
    assert_eq!(other.stdout(TRAIN_WITH_TEST), trained);
    assert_ne!(loss(&measured(&other, "run --split test")), loss(&measured(&test_dir, "run --split test")));
    let hashes = |output: &str| super::bits::hashes(output);
    let uncut = TestDir::new();
    assert_eq!(hashes(&uncut.stdout(TRAIN)), hashes(&trained), "the same tokens train");
}

#[test]
fn a_dry_run_and_a_run_say_what_is_kept_for_a_test() {
    let test_dir = TestDir::new();
    let dry = test_dir.stdout(&format!("{TRAIN_WITH_TEST} --dry-run"));
    assert!(dry.contains("to validate on, the last 5 % kept for a test\n"), "{dry}");
    let output = test_dir.tril(TRAIN_WITH_TEST).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("to validate on, the last 5 % kept for a test\n"), "{said}");
}

#[test]
fn a_part_that_nobody_held_out_is_refused_and_so_is_another_text() {
    let test_dir = TestDir::with_run();
    assert_says(
        &test_dir.refused("eval run --split test"),
        &["step-000006", "nothing for a test", "test_fraction=0.05"],
    );
    assert_says(&test_dir.refused("eval run"), &["FILE", "required"]);
    assert_says(&test_dir.refused("eval run --split train"), &["train", "validation, test"]);
    assert_says(&test_dir.refused("eval run --split test --glob *.md"), &["--split", "--glob"]);
    test_dir.stdout("eval run --split validation");

    // A text that has moved is named; one that is another is none of the run's.
    std::fs::rename(test_dir.path("text.txt"), test_dir.path("moved.txt")).expect("moved");
    assert_says(&test_dir.refused("eval run --split validation"), &["text.txt", "moved"]);
    test_dir.stdout("eval run --split validation moved.txt");
    test_dir.write("other.txt", text().chars().rev().collect::<String>());
    assert_says(&test_dir.refused("eval run --split validation other.txt"), &["text differs"]);

    // A model of another tool does not say what it was trained on.
    std::fs::remove_file(test_dir.path("run/step-000006/config.toml")).expect("removed");
    let message = test_dir.refused("eval run/step-000006 --split validation moved.txt");
    assert_says(&message, &["config.toml", "give a text"]);
}

#[test]
fn fractions_that_leave_nothing_to_train_on_are_refused_and_a_run_keeps_its_test() {
    let test_dir = TestDir::with_run();
    for (fractions, words) in [
        ("--set data.test_fraction=-0.1", ["test_fraction = -0.1", "0 or above"]),
        ("--set data.test_fraction=0.9", ["test_fraction = 0.9", "validation_fraction = 0.1"]),
        ("--set data.test_fraction=nan", ["test_fraction = NaN", "0 or above"]),
    ] {
        assert_says(&test_dir.refused(&format!("{TRAIN} --force {fractions}")), &words);
    }
    let message =
        test_dir.refused("train --resume run --set data.test_fraction=0.05 --set data.validation_fraction=0.05");
    assert_says(&message, &["data.test_fraction", "begin a new run"]);
}

#[test]
fn a_loss_is_measured_in_windows_of_its_own_length_as_eval_measures_it() {
    let test_dir = TestDir::new();
    let measured_by_training = |more: &str| {
        test_dir.stdout(&format!("{TRAIN} --force --set model.max_seq_len=48 {more}"));
        column(&metrics(&test_dir.path("run")), "evaluation", "loss").pop().expect("an evaluation")
    };
    let windows_of_training = measured_by_training("");
    let by_eval = || loss(&measured(&test_dir, "run/step-000006 --split validation"));
    assert!((windows_of_training - by_eval()).abs() > 1e-5, "windows of 16 and of 48 differ");
    let hashes = |run: &str| super::bits::sha256(&test_dir.path(run).join("step-000006/model.safetensors"));
    let before = hashes("run");
    let own_windows = measured_by_training("--set train.eval_seq_len=48");
    assert!((own_windows / by_eval() - 1.0).abs() < 1e-6, "{own_windows}");
    assert_eq!(hashes("run"), before, "what is learnt does not depend on it");
}
