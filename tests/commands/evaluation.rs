//! `tril eval`: its numbers agree with training, with each other and with both ways of printing them.

use std::process::Stdio;

use serde_json::Value;

use super::test_dir::*;

/// The number after a label of the plain output.
fn number(output: &str, label: &str) -> f64 {
    let line = output.lines().find_map(|line| line.strip_prefix(label)).unwrap_or_else(|| panic!("{label}: {output}"));
    line.trim().split(' ').next().expect("a number").parse().unwrap_or_else(|_| panic!("{label}: {output}"))
}

fn json(output: &str) -> Value {
    serde_json::from_str(output).unwrap_or_else(|error| panic!("{error}: {output}"))
}

#[test]
fn evaluating_the_validation_text_gives_the_validation_loss_of_training() {
    let test_dir = TestDir::with_run();
    let text = text();
    let chars = text.chars().count();
    let cut = text.char_indices().nth((0.9 * chars as f64).floor() as usize).expect("within the text").0;
    test_dir.write("validation.txt", &text[cut..]);
    let measured = json(&test_dir.stdout("eval run validation.txt --json"));
    let records = metrics(&test_dir.path("run"));
    for field in ["loss", "perplexity", "bits_per_byte", "tokens", "bytes"] {
        let expected = *column(&records, "evaluation", field).last().expect("an evaluation");
        let found = measured[field].as_f64().unwrap_or_else(|| panic!("{field}: {measured}"));
        assert!((found / expected - 1.0).abs() < 1e-6, "{field}: {found}, but training measured {expected}");
    }
    test_dir.write("shifted.txt", &text[cut - 200..]);
    let shifted = json(&test_dir.stdout("eval run shifted.txt --json"));
    let difference = shifted["loss"].as_f64().expect("a number") - measured["loss"].as_f64().expect("a number");
    assert!(difference.abs() > 1e-5, "another text would be seen");
}

#[test]
fn plain_and_json_output_say_the_same_and_the_numbers_fit_together() {
    let test_dir = TestDir::with_run();
    let (plain, json) = (test_dir.stdout("eval run text.txt"), json(&test_dir.stdout("eval run text.txt --json")));
    let value = |field: &str| json[field].as_f64().unwrap_or_else(|| panic!("{field}: {json}"));
    for (label, field, decimals) in [("loss", "loss", 1e-4), ("perplexity", "perplexity", 1e-3)] {
        assert!((number(&plain, label) - value(field)).abs() <= 0.51 * decimals, "{label}: {plain}{json}");
    }
    assert!((number(&plain, "bits per byte") - value("bits_per_byte")).abs() <= 0.51e-4, "{plain}{json}");
    let [tokens, bytes] = ["tokens", "bytes"].map(value);
    assert!(plain.contains(&format!("{tokens} tokens, {bytes} bytes")), "{plain}{json}");
    assert!(plain.replace('\\', "/").contains("text.txt under run/step-000006"), "{plain}");

    let text = text();
    assert_eq!(tokens as usize, text.chars().count() - 1, "every character but the first is predicted");
    assert_eq!(bytes as usize, text.len() - 1);
    assert!((value("perplexity") - value("loss").exp()).abs() < 1e-9);
    assert!((value("bits_per_byte") - value("loss") * tokens / std::f64::consts::LN_2 / bytes).abs() < 1e-9);
}

#[test]
fn a_text_from_standard_input_is_measured_as_from_a_file() {
    let test_dir = TestDir::with_run();
    let from_stdin = stdout(test_dir.tril("eval run - --json").write_stdin(text()));
    assert_eq!(from_stdin, test_dir.stdout("eval run text.txt --json"));
}

#[test]
fn weights_that_give_no_number_are_no_success() {
    let test_dir = TestDir::with_run();
    test_dir.spoil_weights();
    let output = test_dir.tril("eval run text.txt").output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("error: ") && said.contains("damaged"), "{said}");
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let test_dir = TestDir::with_run();
    for option in ["", "--json"] {
        let mut command = test_dir.process(&format!("eval run text.txt {option}"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        drop(child.stdout.take()); // closed long before there is anything to say
        let output = wait(child);
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(!stderr.contains("error") && !stderr.contains("panicked"), "{stderr}");
        assert!(output.status.success(), "{:?}", output.status);
    }
}
