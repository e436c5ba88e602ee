//! A run whose numbers are no numbers any more stops with exit code 1, and what was saved before is safe.

use super::test_dir::*;

/// Nothing holds the weights back.
const LOOSE: &str =
    "--set optimizer.min_learning_rate=0 --set optimizer.max_grad_norm=0 --set optimizer.warmup_steps=0";

/// Beyond f32: an update by it makes weights infinite, after a loss and a gradient that were fine.
const BEYOND_F32: &str = "--set optimizer.learning_rate=1e39 --set optimizer.min_learning_rate=1e39 \
    --set optimizer.warmup_steps=0 --set optimizer.max_grad_norm=0 --set train.checkpoint_interval=1";

/// Runs what must fail as a run does, and returns the message.
fn failed(test_dir: &TestDir, arguments: &str) -> String {
    let output = test_dir.tril(arguments).output().expect("it runs");
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1), "{arguments}\n{stderr}");
    assert_eq!(stderr.matches("error: ").count(), 1, "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    stderr.split_once("error: ").expect("a message").1.to_owned()
}

/// The step that a message begins with.
fn step(message: &str) -> u64 {
    let number = message.strip_prefix("step ").and_then(|rest| rest.split(':').next());
    number.unwrap_or_else(|| panic!("no step in {message}")).parse().expect("a number")
}

#[test]
fn an_absurd_learning_rate_stops_the_run_with_the_step_and_what_to_do() {
    let test_dir = TestDir::new();
    let rate = "--set optimizer.learning_rate=1e30 --set train.steps=30 --set train.checkpoint_interval=1";
    let message = failed(&test_dir, &format!("{TRAIN} {LOOSE} {rate}"));
    assert_says(&message, &["Lower optimizer.learning_rate", "optimizer.max_grad_norm"]);
    let run = test_dir.path("run");
    let steps = column(&metrics(&run), "step", "step");
    assert_eq!(steps.len() as u64, step(&message) - 1, "the step that failed was not taken");
    assert!(checkpoint(&run, "last").ends_with(format!("step-{:06}", step(&message) - 1)));
    let text = test_dir.stdout("sample run --max-tokens 5");
    assert_eq!(text.chars().count(), 6, "{text:?}");
}

#[test]
fn checkpoints_from_before_a_divergence_keep_their_bytes_and_can_be_resumed() {
    let test_dir = TestDir::with_run();
    let saved = Tree::read(&checkpoint(&test_dir.path("run"), "last"));
    let rate = "--set optimizer.learning_rate=1e30 --set train.steps=30 --set train.checkpoint_interval=1000";
    let message = failed(&test_dir, &format!("train --resume run {LOOSE} {rate} --set train.eval_interval=1000"));
    assert!(step(&message) > 6, "{message}");
    let differences = Tree::read(&checkpoint(&test_dir.path("run"), "last")).differences(&saved);
    assert!(differences.is_empty(), "{differences:?}");
    test_dir.stdout("sample run --max-tokens 5");
    test_dir.stdout("train --resume run --set train.steps=8");
    assert_eq!(column(&metrics(&test_dir.path("run")), "step", "step"), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
}

#[test]
fn a_validation_loss_that_is_no_number_stops_the_run_before_it_is_saved_as_the_last_checkpoint() {
    let test_dir = TestDir::with_run();
    let saved = || Tree::read(&test_dir.path("run")).without("metrics.jsonl").without("config.toml");
    let before = saved();
    let message =
        failed(&test_dir, &format!("train --resume run {BEYOND_F32} --set train.steps=9 --set train.eval_interval=1"));
    assert_says(&message, &["step 7", "Lower optimizer.learning_rate"]);
    assert_eq!(saved().differences(&before), Vec::<String>::new());
}

#[test]
fn a_first_evaluation_that_is_no_number_is_not_the_best() {
    let test_dir = TestDir::new();
    failed(&test_dir, &format!("{TRAIN} {BEYOND_F32} --set train.steps=9 --set train.eval_interval=1"));
    let index = std::fs::read_to_string(test_dir.path("run/checkpoints.json")).unwrap_or_default();
    assert!(!index.contains("step-"), "weights that give no number were saved: {index}");
}

#[test]
fn a_last_step_whose_validation_loss_is_no_number_is_not_a_success() {
    let test_dir = TestDir::new();
    let message = failed(&test_dir, &format!("{TRAIN} {BEYOND_F32} --set train.steps=1"));
    assert_says(&message, &["step 1", "Lower optimizer.learning_rate"]);
}
