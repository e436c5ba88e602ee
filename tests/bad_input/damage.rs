//! Checkpoints that are missing, cut, corrupted, or put together from parts that do not fit.

use std::fs;

use crate::commands::test_dir::{TRAIN, TestDir, Tree, assert_says, checkpoint};

/// A test_dir with a checkpoint `c` and nothing else of its run.
fn scene_with_checkpoint() -> TestDir {
    let test_dir = TestDir::with_run();
    Tree::read(&checkpoint(&test_dir.path("run"), "best")).write(&test_dir.path("c"));
    fs::remove_dir_all(test_dir.path("run")).expect("removed");
    test_dir
}

/// Asserts that all commands that read a checkpoint refuse it, and say what is listed.
#[track_caller]
fn assert_refused(test_dir: &TestDir, expected: &[&str]) {
    for command in ["sample c --max-tokens 3", "eval c text.txt", "prove c"] {
        assert_says(&test_dir.refused(command), expected);
    }
}

/// Replaces a part of a file.
fn replace(test_dir: &TestDir, file: &str, from: &str, to: &str) {
    let text = test_dir.read(file);
    assert!(text.contains(from), "no {from} in {text}");
    test_dir.write(file, text.replacen(from, to, 1));
}

#[test]
fn the_checkpoint_of_these_tests_is_sound_before_it_is_damaged() {
    let test_dir = scene_with_checkpoint();
    test_dir.stdout("sample c --max-tokens 3");
    test_dir.stdout("eval c text.txt");
}

#[test]
fn a_checkpoint_that_is_not_there_is_refused_with_the_way_to_train_one() {
    let test_dir = TestDir::new();
    fs::create_dir(test_dir.path("c")).expect("a directory");
    assert_refused(&test_dir, &["no checkpoint at c", "config.json", "tril train"]);
    fs::remove_dir(test_dir.path("c")).expect("removed");
    assert_refused(&test_dir, &["no checkpoint at c", "no such directory", "tril train"]);
}

#[test]
fn a_file_where_a_checkpoint_is_wanted_is_not_offered_as_an_out_directory() {
    let test_dir = scene_with_checkpoint();
    for file in ["text.txt", "c/model.safetensors"] {
        let message = test_dir.refused(&format!("sample {file}"));
        assert_says(&message, &[file, "directory"]);
        assert!(!message.contains(&format!("--out {file}")), "{message}");
    }
}

#[test]
fn a_missing_file_of_a_checkpoint_is_named() {
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        let test_dir = scene_with_checkpoint();
        fs::remove_file(test_dir.path("c").join(file)).expect("removed");
        assert_refused(&test_dir, &["no checkpoint at c", &format!("no {file}")]);
    }
}

#[test]
fn weights_cut_anywhere_are_refused() {
    let test_dir = scene_with_checkpoint();
    let weights = fs::read(test_dir.path("c/model.safetensors")).expect("weights");
    let header = usize::try_from(u64::from_le_bytes(weights[..8].try_into().expect("8 bytes"))).expect("small");
    let lengths = [0, 4, 8, 9, 8 + header / 2, 8 + header, 8 + header + 1, weights.len() / 2, weights.len() - 1];
    for len in lengths {
        test_dir.write("c/model.safetensors", &weights[..len]);
        let size = format!("{len} bytes");
        assert_refused(&test_dir, &["c/model.safetensors", "not a usable checkpoint file", &size, "restore it"]);
    }
    test_dir.write("c/model.safetensors", [&weights[..], b"more"].concat());
    assert_refused(&test_dir, &["c/model.safetensors", "not a usable checkpoint file", "restore it"]);
}

#[test]
fn a_header_of_garbage_is_refused() {
    let test_dir = scene_with_checkpoint();
    let weights = fs::read(test_dir.path("c/model.safetensors")).expect("weights");
    for garbage in [0..8, 8..40, 8..9, 100..101] {
        let mut damaged = weights.clone();
        damaged[garbage].fill(0xff);
        test_dir.write("c/model.safetensors", damaged);
        assert_refused(&test_dir, &["c/model.safetensors", "not a usable checkpoint file", "restore it"]);
    }
}

#[test]
fn a_config_that_cannot_be_read_is_refused() {
    for (config, expected) in [
        ("", "EOF"),
        ("{\"n_layers\": 2", "EOF"),
        ("7", "line 1"),
        ("{\"n_layerz\": 2}", "`n_layerz`"),
        ("{}", "vocab_size = 0"),
        ("\u{0}", "line 1"),
    ] {
        let test_dir = scene_with_checkpoint();
        test_dir.write("c/config.json", config);
        assert_refused(&test_dir, &["c/config.json", "not a usable checkpoint file", expected, "restore it"]);
    }
}

#[test]
fn weights_of_another_shape_than_their_config_are_refused() {
    for (from, to, expected) in [
        ("\"d_model\": 16", "\"d_model\": 32", "shape [40, 16], but config.json asks for [40, 32]"),
        ("\"d_model\": 16", "\"d_model\": 1600000", "asks for [40, 1600000]"),
        ("\"n_layers\": 2", "\"n_layers\": 3", "lacks `blocks.2."),
        ("\"n_layers\": 2", "\"n_layers\": 9999", "lacks `blocks.2."),
        ("\"n_layers\": 2", "\"n_layers\": 1", "`blocks.1."),
        ("\"d_ff\": 64", "\"d_ff\": 65", "65"),
        ("\"tied_head\": true", "\"tied_head\": false", "lacks"),
    ] {
        let test_dir = scene_with_checkpoint();
        replace(&test_dir, "c/config.json", from, to);
        assert_refused(&test_dir, &["c/model.safetensors", "config.json", expected, "restore it"]);
    }
}

#[test]
fn a_tokenizer_that_cannot_be_read_is_refused() {
    for tokenizer in [&b""[..], b"{", b"{}", b"[1, 2]", b"\xff\xff"] {
        let test_dir = scene_with_checkpoint();
        test_dir.write("c/tokenizer.json", tokenizer);
        assert_refused(&test_dir, &["c/tokenizer.json"]);
    }
}

#[test]
fn a_tokenizer_that_cannot_be_read_is_not_offered_to_be_converted_or_left_out() {
    let test_dir = scene_with_checkpoint();
    test_dir.write("c/tokenizer.json", b"\xff\xff");
    let message = test_dir.refused("sample c");
    assert!(!message.contains("iconv") && !message.contains("leave it out"), "{message}");
}

#[test]
fn a_tokenizer_of_another_vocabulary_than_the_model_is_refused() {
    let test_dir = scene_with_checkpoint();
    test_dir.write("text.txt", "abcdefg\n".repeat(50));
    test_dir.stdout(&TRAIN.replace("--out run", "--out other"));
    let other = checkpoint(&test_dir.path("other"), "best").join("tokenizer.json");
    fs::copy(other, test_dir.path("c/tokenizer.json")).expect("copied");
    let expected = ["tokenizer.json", "does not fit", "8 tokens", "vocab_size = 40", "restore both"];
    assert_refused(&test_dir, &expected);
}

#[test]
fn weights_that_are_no_numbers_are_not_sampled_from() {
    let test_dir = scene_with_checkpoint();
    let mut weights = fs::read(test_dir.path("c/model.safetensors")).expect("weights");
    let end = weights.len();
    weights[end - 4000..].fill(0xff);
    test_dir.write("c/model.safetensors", weights);
    let output = test_dir.tril("sample c --max-tokens 3").output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    assert_says(&String::from_utf8_lossy(&output.stderr), &["error: ", "NaN", "damaged"]);
}

#[test]
fn a_run_whose_index_cannot_be_read_is_refused_by_the_name_of_the_index() {
    let test_dir = TestDir::with_run();
    test_dir.write("run/checkpoints.json", "{");
    for command in ["sample run", "train --resume run"] {
        assert_says(&test_dir.refused(command), &["run/checkpoints.json", "restore it"]);
    }
}

#[test]
fn a_checkpoint_whose_index_cannot_be_read_still_samples_by_its_own_name() {
    let test_dir = TestDir::with_run();
    test_dir.write("run/checkpoints.json", "{");
    test_dir.stdout("sample run/step-000006 --max-tokens 3");
}
