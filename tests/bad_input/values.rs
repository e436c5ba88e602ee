//! Numbers out of any range, texts that nothing can write, settings that undo each other.

use crate::commands::test_dir::{TRAIN, TRAIN_DOCUMENTS, TestDir, assert_says, stdout, tokens_of_receipt};

/// What is wrong for every whole number, and what is wrong for most.
const NO_WHOLE_NUMBERS: [&str; 9] =
    ["-1", "-9223372036854775808", "18446744073709551616", "1e9", "nan", "inf", "1.5", "two", ""];

#[test]
fn a_number_that_is_none_is_refused_with_what_it_may_be() {
    let test_dir = TestDir::with_run();
    let flags = [
        ("sample run", "--top-k"),
        ("sample run", "--seed"),
        ("sample run", "--num-samples"),
        ("sample run", "--sample-index"),
        ("sample run", "--batch-size"),
        ("sample run", "--penalty-last-n"),
        ("sample run", "--threads"),
        ("sample run", "--max-tokens"),
        ("chat run", "--sample-index"),
        ("cost run", "--max-tokens"),
        ("cost run", "--prefill-chunk"),
        ("cost run", "--seed"),
        ("bench decode", "--batch-size"),
    ];
    for (command, flag) in flags {
        for value in NO_WHOLE_NUMBERS.into_iter().filter(|value| (flag, *value) != ("--max-tokens", "inf")) {
            let mut command = test_dir.tril(command);
            let message = test_dir.refused_command(command.args([flag, value]));
            assert_says(&message, &[flag, "a whole number"]);
        }
    }
    for (flag, value) in
        [("--temperature", "-1"), ("--top-p", "-1"), ("--min-p", "-0.5"), ("--repetition-penalty", "-2")]
    {
        assert_says(&test_dir.refused(&format!("sample run {flag} {value}")), &["it must be", "a number"]);
    }
}

#[test]
fn numbers_beyond_what_a_machine_has_are_refused_with_the_number_and_the_limit_before_anything_is_allocated() {
    let test_dir = TestDir::with_run();
    for (arguments, expected) in [
        ("sample run --num-samples 100000000", ["100000000", "at most 100000"]),
        ("sample run --num-samples 18446744073709551615", ["18446744073709551615", "at most 100000"]),
    ] {
        assert_says(&test_dir.refused(arguments), &expected);
    }
    let huge = ["1000000000", "9223372036854775807"];
    for (field, more) in [
        ("train.batch_size", ""),
        ("train.seq_len", " --set model.max_seq_len=16777216"),
        ("tokenizer.vocab_size", " --set tokenizer.kind=bpe"),
        ("model.n_layers", ""),
        ("model.d_ff", ""),
        ("model.d_head", ""),
        ("model.d_model", ""),
        ("model.window", ""),
        ("model.max_seq_len", " --set model.positions=learned"),
    ] {
        for value in huge {
            let train = TRAIN.replace("--out run", "--out new");
            let message = test_dir.refused(&format!("{train} --set {field}={value}{more}"));
            assert_says(&message, &[field.split_once('.').expect("a section").1, value]);
        }
    }
    for setting in ["model.n_layers=16777216", "model.d_ff=16777216 --set model.n_layers=1000"] {
        let train = TRAIN.replace("--out run", "--out new");
        let message = test_dir.refused(&format!("{train} --set {setting} --set model.d_model=1024"));
        assert_says(&message, &["GiB of memory", "[model]"]);
        assert_says(
            &test_dir.refused(&format!("bench train --set {setting} --set model.d_model=1024")),
            &["GiB of memory"],
        );
    }
}

#[test]
fn a_config_whose_cache_no_machine_has_is_refused() {
    let test_dir = TestDir::with_run();
    let path = "run/step-000006/config.json";
    let config = test_dir.read(path);
    assert!(config.contains("\"max_seq_len\": 16,") && config.contains("\"window\": 8"), "{config}");
    let larger = config
        .replace("\"max_seq_len\": 16,", "\"max_seq_len\": 16777216,")
        .replace("\"window\": 8", "\"window\": 16777216");
    test_dir.write(
        path,
        larger
            .replace("\"n_kv_heads\": 2", "\"n_kv_heads\": 16777216")
            .replace("\"n_heads\": 2", "\"n_heads\": 16777216"),
    );
    for command in ["sample run", "eval run text.txt", "prove run", "cost run"] {
        assert_says(&test_dir.refused(command), &[path, "GiB of memory"]);
    }
}

#[test]
fn threads_come_down_to_the_cores_with_a_word() {
    let test_dir = TestDir::with_run();
    let expected = test_dir.stdout("sample run --max-tokens 5");
    for threads in ["4096", "65535"] {
        let output =
            test_dir.tril(&format!("sample run --max-tokens 5 --threads {threads}")).output().expect("it runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
        assert_says(&String::from_utf8_lossy(&output.stderr), &[threads, "this machine has", "threads are used"]);
    }
}

#[test]
fn texts_of_a_command_line_are_read_by_one_rule() {
    let test_dir = TestDir::with_run();
    let prompt = "a cat saw three birds (0).\nthe old fox";
    let expected = stdout(test_dir.tril("sample run --max-tokens 9").args(["--prompt", prompt]));
    test_dir.write("prompt.txt", prompt);
    assert_eq!(test_dir.stdout("sample run --max-tokens 9 --prompt-file prompt.txt"), expected);
    let typed = test_dir.tril("sample run --max-tokens 9").args(["--prompt", &prompt.replace('\n', "\\n")]).output();
    assert_eq!(String::from_utf8_lossy(&typed.expect("it runs").stdout), expected);
    for flag in ["--stop", "--prompt", "--ban", "--hide b"] {
        assert_says(&test_dir.refused(&format!("sample run {flag} a\\q")), &["after a backslash come n, t"]);
    }
}

#[test]
fn a_stop_text_of_a_new_line_stops_at_one() {
    let test_dir = TestDir::with_run();
    let output = test_dir.tril("sample run --max-tokens 400 --temperature 3 --stop \\n").output().expect("it runs");
    assert_says(&String::from_utf8_lossy(&output.stderr), &["stopped by: stop text \"\\n\""]);
}

#[test]
fn a_stop_text_that_the_vocabulary_cannot_write_is_named() {
    let test_dir = TestDir::with_run();
    let output = test_dir.tril("sample run --max-tokens 3 --stop a --stop a猫").output().expect("it runs");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !message.contains("--stop \"a\""), "{message}");
    assert_says(&message, &["--stop \"a猫\"", "cannot write it"]);
}

#[test]
fn the_end_of_a_text_can_be_gone_past_and_the_receipt_says_so() {
    let test_dir = TestDir::new();
    test_dir.stdout(TRAIN_DOCUMENTS);
    let sample = "sample run --max-tokens 60 --temperature 3 --receipt receipt.json --logit-bias 40=3";
    test_dir.stdout(sample);
    assert!(tokens_of_receipt(&test_dir) < 60, "the premise: the text ends by itself");
    test_dir.stdout(&format!("{sample} --ignore-eos"));
    assert_eq!(tokens_of_receipt(&test_dir), 60);
    test_dir.stdout("verify run receipt.json");
}

#[test]
fn settings_that_undo_each_other_are_refused_or_told() {
    let test_dir = TestDir::new();
    let refused = |setting: &str| test_dir.refused(&format!("{TRAIN} {setting}"));
    let message = refused("--set optimizer.warmup_steps=9 --set optimizer.decay_steps=7");
    assert_says(&message, &["optimizer.decay_steps = 7", "optimizer.warmup_steps = 9", "never come down"]);
    assert_says(&refused("--set data.validation_fraction=0"), &["validation_fraction"]);
    for (settings, expected) in [
        ("--set optimizer.warmup_steps=9", "optimizer.warmup_steps = 9 is more than train.steps = 6"),
        (
            "--set model.positions=learned --set model.window=0 --set train.seq_len=8",
            "train.seq_len = 8 is less than model.max_seq_len = 16",
        ),
    ] {
        let output = test_dir.tril(&format!("{TRAIN} --force {settings}")).output().expect("it runs");
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{message}");
        assert_says(&message, &[expected]);
    }
}

#[test]
fn a_learning_rate_that_jumps_when_a_run_is_made_longer_is_told_with_what_keeps_it() {
    let test_dir = TestDir::with_run();
    let resume = |settings: &str| {
        let output = test_dir.tril(&format!("train --resume run {settings}")).output().expect("it runs");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let message = resume("--set train.steps=9 --set optimizer.decay_steps=6");
    assert!(!message.contains("learning rate"), "{message}");
    let test_dir = TestDir::with_run();
    let output = test_dir.tril("train --resume run --set train.steps=9").output().expect("it runs");
    let message = String::from_utf8_lossy(&output.stderr);
    assert_says(&message, &["learning rate of step 7", "optimizer.decay_steps = 6 keeps the schedule"]);
}
