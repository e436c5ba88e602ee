//! `tril bench`: its numbers are there and fit together, and what it cannot measure is refused. How large they are is
//! no matter of tests.

use serde_json::Value;

use super::test_dir::*;

/// Too short for a second repetition more than there must be.
const BRIEFLY: &str = "--config smoke.toml --seconds 0.001";

/// What a benchmark prints as JSON, which is one line.
fn measured(test_dir: &TestDir, arguments: &str) -> Value {
    let output = test_dir.stdout(&format!("bench {arguments} --json"));
    assert!(output.ends_with('\n') && output.lines().count() == 1, "one line: {output}");
    serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"))
}

/// The number of a field.
#[track_caller]
fn number(measured: &Value, field: &str) -> f64 {
    measured[field].as_f64().unwrap_or_else(|| panic!("no number `{field}` in {measured}"))
}

/// Asserts that all of these fields are positive numbers.
#[track_caller]
fn assert_positive(measured: &Value, fields: &[&str]) {
    for field in fields {
        let value = number(measured, field);
        assert!(value.is_finite() && value > 0.0, "{field} = {value} in {measured}");
    }
}

/// Asserts that a field is the quotient of two others.
#[track_caller]
fn assert_quotient(measured: &Value, [share, part, whole]: [&str; 3]) {
    let expected = number(measured, part) / number(measured, whole);
    assert!((number(measured, share) / expected - 1.0).abs() < 1e-9, "{share} = {part} / {whole}: {measured}");
}

#[test]
fn training_is_measured_in_tokens_a_second_and_as_a_share_of_a_matrix_product() {
    let found = measured(&TestDir::new(), &format!("train {BRIEFLY}"));
    assert_positive(&found, &["train_tok_s", "params", "gflop_s", "gemm_gflop_s", "gemm_share"]);
    assert_quotient(&found, ["gemm_share", "gflop_s", "gemm_gflop_s"]);
    let shape = ["batch_size", "seq_len", "micro_batches", "vocab_size"].map(|field| number(&found, field));
    assert_eq!(shape, [4.0, 16.0, 1.0, 65.0], "the recipe's: {found}");
    assert!(number(&found, "repetitions") >= 3.0, "{found}");
}

#[test]
fn decoding_is_measured_in_tokens_a_second_and_as_a_share_of_reading_memory() {
    let test_dir = TestDir::new();
    for rows in [1, 3] {
        let found = measured(&test_dir, &format!("decode {BRIEFLY} --batch-size {rows}"));
        assert_positive(&found, &["decode_tok_s", "params", "read_gb_s", "memory_gb_s", "memory_share"]);
        assert_quotient(&found, ["memory_share", "read_gb_s", "memory_gb_s"]);
        assert_eq!([number(&found, "batch_size"), number(&found, "seq_len")], [f64::from(rows), 16.0], "{found}");
    }
}

#[test]
fn passes_that_check_guesses_are_measured_by_their_positions_and_say_what_one_more_costs() {
    let test_dir = TestDir::new();
    for (setting, sequences, held, positions) in [
        ("", 1, 8.0, vec![1, 2, 4, 8]),
        ("--set model.max_seq_len=40 --set model.window=9", 1, 20.0, vec![1, 2, 4, 8]),
        ("--set model.max_seq_len=40 --set model.window=0 --batch-size 3", 3, 20.0, vec![1, 2, 4, 8, 16]),
    ] {
        let found = measured(&test_dir, &format!("guesses {BRIEFLY} --device cpu {setting}"));
        assert_eq!([number(&found, "batch_size"), number(&found, "held")], [f64::from(sequences), held], "{found}");
        assert!(number(&found, "repetitions") >= 3.0 && number(&found, "assumed_cost") > 0.0, "{found}");
        let passes = found["passes"].as_array().expect("passes");
        assert_eq!(passes.iter().map(|pass| number(pass, "positions") as u64).collect::<Vec<_>>(), positions);
        let first = number(&passes[0], "seconds");
        assert!(first > 0.0 && passes[0].get("cost").is_none(), "{found}");
        for pass in &passes[1..] {
            let [positions, seconds, cost] = ["positions", "seconds", "cost"].map(|field| number(pass, field));
            assert!((1.0 + cost * (positions - 1.0) - seconds / first).abs() < 1e-9, "{pass}");
        }
    }
    let output = test_dir.stdout(&format!("bench guesses {BRIEFLY} --device cpu --threads 1,2"));
    assert_says(&output, &["positions", "one more costs", "1 thread,", "2 threads,", "of a pass"]);
    assert_says(&test_dir.refused(&format!("bench guesses {BRIEFLY} --profile")), &["--profile", "bench decode"]);
}

#[test]
fn prefill_is_measured_over_256_tokens_or_as_many_as_the_context_holds() {
    let test_dir = TestDir::new();
    for (setting, expected) in [("", 16.0), ("--set model.max_seq_len=300", 256.0)] {
        let found = measured(&test_dir, &format!("prefill {BRIEFLY} {setting}"));
        assert_positive(&found, &["prefill_tok_s", "params", "gflop_s", "gemm_gflop_s", "gemm_share"]);
        assert_eq!(number(&found, "seq_len"), expected, "{found}");
    }
}

#[test]
fn the_median_lies_within_the_middle_half() {
    let found = measured(&TestDir::new(), &format!("decode {BRIEFLY}"));
    let [low, high] = [0, 1].map(|side| found["middle_half_tok_s"][side].as_f64().expect("a rate"));
    let median = number(&found, "decode_tok_s");
    assert!(0.0 < low && low <= median && median <= high, "{found}");
}

#[test]
fn the_number_of_threads_is_the_one_asked_for() {
    let found = measured(&TestDir::new(), &format!("train {BRIEFLY} --threads 3 --device cpu"));
    assert_eq!(number(&found, "threads"), 3.0, "{found}");
    assert!(found["device"].as_str().is_some_and(|device| device.starts_with("cpu, 3 threads")), "{found}");
}

#[test]
#[cfg(target_os = "linux")]
fn the_memory_of_a_process_is_told_and_holds_its_model() {
    let found = measured(&TestDir::new(), &format!("prefill {BRIEFLY}"));
    let peak = number(&found, "peak_memory_bytes");
    assert!(peak >= 4.0 * number(&found, "params"), "{found}");
    assert!(peak < 200e6, "what measures the machine is not part of it: {found}");
}

#[test]
fn people_are_told_the_rate_the_share_and_the_memory() {
    let test_dir = TestDir::new();
    for (what, words) in [
        ("train", ["training", "tokens/s", "steps of 4 × 16 tokens", "% of", "GFLOP/s", "peak memory"]),
        ("decode", ["decoding", "tokens/s", "texts of 16 tokens", "% of", "GB/s", "peak memory"]),
        ("prefill", ["prefill", "tokens/s", "prompts of 16 tokens", "% of", "GFLOP/s", "peak memory"]),
    ] {
        let output = test_dir.stdout(&format!("bench {what} {BRIEFLY} --device cpu"));
        assert_says(&output, &words);
        assert_says(&output, &["smoke.toml", "2 layers", "cpu"]);
        assert_eq!(output.lines().count(), 4, "{output}");
    }
}

#[test]
fn a_preset_is_measured_where_no_recipe_is_named() {
    let found = measured(&TestDir::empty(), "prefill --seconds 0.001");
    assert_eq!((found["of"].as_str(), number(&found, "params")), (Some("char-cpu"), 804_096.0), "{found}");
}

#[test]
fn nothing_is_written() {
    let test_dir = TestDir::new();
    let before = Tree::read(&test_dir.path(""));
    measured(&test_dir, &format!("train {BRIEFLY}"));
    assert!(Tree::read(&test_dir.path("")).differences(&before).is_empty());
}

#[test]
fn a_shape_that_is_none_is_refused() {
    let test_dir = TestDir::new();
    assert_says(&test_dir.refused("bench train --preset huge"), &["--preset", "huge", "char-cpu, micro, baby"]);
    assert_says(&test_dir.refused("bench train --preset baby --config smoke.toml"), &["--preset", "--config"]);
    assert_says(&test_dir.refused("bench decode --config none.toml"), &["none.toml", "give the path of a TOML file"]);
    let set = |field: &str| test_dir.refused(&format!("bench train {BRIEFLY} --set {field}"));
    assert_says(&set("model.n_heads=3"), &["smoke.toml", "n_heads = 3", "d_model = 16", "change one"]);
    assert_says(&set("train.micro_batches=3"), &["micro_batches = 3", "does not divide", "batch_size = 4"]);
    assert_says(&set("train.seq_len=17"), &["seq_len = 17", "max_seq_len = 16", "lower"]);
}

#[test]
fn numbers_that_cannot_be_are_refused() {
    let test_dir = TestDir::new();
    for threads in ["0", "-1", "two"] {
        assert_says(&test_dir.refused(&format!("bench train {BRIEFLY} --threads={threads}")), &["--threads", threads]);
    }
    for seconds in ["0", "-1", "NaN", "inf", "long"] {
        let message = test_dir.refused(&format!("bench train --config smoke.toml --seconds={seconds}"));
        assert_says(&message, &["--seconds", seconds, "above 0"]);
    }
    for rows in ["0", "-1", "5000"] {
        assert_says(&test_dir.refused(&format!("bench decode {BRIEFLY} --batch-size={rows}")), &["--batch-size", rows]);
    }
}
