//! Checkpoints that are missing, cut, corrupted, or put together from parts that do not fit.

use std::fs;

use crate::commands::scene::{Scene, TRAIN, Tree, assert_says, checkpoint};

/// A scene with a checkpoint `c` and nothing else of its run.
fn scene_with_checkpoint() -> Scene {
    let scene = Scene::with_run();
    Tree::read(&checkpoint(&scene.path("run"), "best")).write(&scene.path("c"));
    fs::remove_dir_all(scene.path("run")).expect("removed");
    scene
}

/// Asserts that all commands that read a checkpoint refuse it, and say what is listed.
#[track_caller]
fn assert_refused(scene: &Scene, expected: &[&str]) {
    for command in ["sample c --max-tokens 3", "eval c text.txt", "prove c"] {
        assert_says(&scene.refused(command), expected);
    }
}

/// Replaces a part of a file.
fn replace(scene: &Scene, file: &str, from: &str, to: &str) {
    let text = scene.read(file);
    assert!(text.contains(from), "no {from} in {text}");
    scene.write(file, text.replacen(from, to, 1));
}

#[test]
fn the_checkpoint_of_these_tests_is_sound_before_it_is_damaged() {
    let scene = scene_with_checkpoint();
    scene.stdout("sample c --max-tokens 3");
    scene.stdout("eval c text.txt");
}

#[test]
fn a_checkpoint_that_is_not_there_is_refused_with_the_way_to_train_one() {
    let scene = Scene::new();
    fs::create_dir(scene.path("c")).expect("a directory");
    assert_refused(&scene, &["no checkpoint at c", "config.json", "tril train"]);
    fs::remove_dir(scene.path("c")).expect("removed");
    assert_refused(&scene, &["no checkpoint at c", "no such directory", "tril train"]);
}

#[test]
fn a_file_where_a_checkpoint_is_wanted_is_not_offered_as_an_out_directory() {
    let scene = scene_with_checkpoint();
    for file in ["text.txt", "c/model.safetensors"] {
        let message = scene.refused(&format!("sample {file}"));
        assert_says(&message, &[file, "directory"]);
        assert!(!message.contains(&format!("--out {file}")), "{message}");
    }
}

#[test]
fn a_missing_file_of_a_checkpoint_is_named() {
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        let scene = scene_with_checkpoint();
        fs::remove_file(scene.path("c").join(file)).expect("removed");
        assert_refused(&scene, &["no checkpoint at c", &format!("no {file}")]);
    }
}

#[test]
fn weights_cut_anywhere_are_refused() {
    let scene = scene_with_checkpoint();
    let weights = fs::read(scene.path("c/model.safetensors")).expect("weights");
    let header = usize::try_from(u64::from_le_bytes(weights[..8].try_into().expect("8 bytes"))).expect("small");
    let lengths = [0, 4, 8, 9, 8 + header / 2, 8 + header, 8 + header + 1, weights.len() / 2, weights.len() - 1];
    for len in lengths {
        scene.write("c/model.safetensors", &weights[..len]);
        let size = format!("{len} bytes");
        assert_refused(&scene, &["c/model.safetensors", "not a usable checkpoint file", &size, "restore it"]);
    }
    scene.write("c/model.safetensors", [&weights[..], b"more"].concat());
    assert_refused(&scene, &["c/model.safetensors", "not a usable checkpoint file", "restore it"]);
}

#[test]
fn a_header_of_garbage_is_refused() {
    let scene = scene_with_checkpoint();
    let weights = fs::read(scene.path("c/model.safetensors")).expect("weights");
    for garbage in [0..8, 8..40, 8..9, 100..101] {
        let mut damaged = weights.clone();
        damaged[garbage].fill(0xff);
        scene.write("c/model.safetensors", damaged);
        assert_refused(&scene, &["c/model.safetensors", "not a usable checkpoint file", "restore it"]);
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
        let scene = scene_with_checkpoint();
        scene.write("c/config.json", config);
        assert_refused(&scene, &["c/config.json", "not a usable checkpoint file", expected, "restore it"]);
    }
}

#[test]
fn weights_of_another_shape_than_their_config_are_refused() {
    for (from, to, expected) in [
        ("\"d_model\": 16", "\"d_model\": 32", "shape [40, 16], but config.json asks for [40, 32]"),
        ("\"d_model\": 16", "\"d_model\": 16000000", "asks for [40, 16000000]"),
        ("\"n_layers\": 2", "\"n_layers\": 3", "lacks `blocks.2."),
        ("\"n_layers\": 2", "\"n_layers\": 9999999", "lacks `blocks.2."),
        ("\"n_layers\": 2", "\"n_layers\": 1", "`blocks.1."),
        ("\"d_ff\": 64", "\"d_ff\": 65", "65"),
        ("\"tied_head\": true", "\"tied_head\": false", "lacks"),
    ] {
        let scene = scene_with_checkpoint();
        replace(&scene, "c/config.json", from, to);
        assert_refused(&scene, &["c/model.safetensors", "config.json", expected, "restore it"]);
    }
}

#[test]
fn a_tokenizer_that_cannot_be_read_is_refused() {
    for tokenizer in [&b""[..], b"{", b"{}", b"[1, 2]", b"\xff\xff"] {
        let scene = scene_with_checkpoint();
        scene.write("c/tokenizer.json", tokenizer);
        assert_refused(&scene, &["c/tokenizer.json"]);
    }
}

#[test]
fn a_tokenizer_that_cannot_be_read_is_not_offered_to_be_converted_or_left_out() {
    let scene = scene_with_checkpoint();
    scene.write("c/tokenizer.json", b"\xff\xff");
    let message = scene.refused("sample c");
    assert!(!message.contains("iconv") && !message.contains("leave it out"), "{message}");
}

#[test]
fn a_tokenizer_of_another_vocabulary_than_the_model_is_refused() {
    let scene = scene_with_checkpoint();
    scene.write("text.txt", "abcdefg\n".repeat(50));
    scene.stdout(&TRAIN.replace("--out run", "--out other"));
    let other = checkpoint(&scene.path("other"), "best").join("tokenizer.json");
    fs::copy(other, scene.path("c/tokenizer.json")).expect("copied");
    let expected = ["tokenizer.json", "does not fit", "8 tokens", "vocab_size = 40", "restore both"];
    assert_refused(&scene, &expected);
}

#[test]
fn weights_that_are_no_numbers_are_not_sampled_from() {
    let scene = scene_with_checkpoint();
    let mut weights = fs::read(scene.path("c/model.safetensors")).expect("weights");
    let end = weights.len();
    weights[end - 4000..].fill(0xff);
    scene.write("c/model.safetensors", weights);
    let output = scene.tril("sample c --max-tokens 3").output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    assert_says(&String::from_utf8_lossy(&output.stderr), &["error: ", "NaN", "damaged"]);
}

#[test]
fn a_run_whose_index_cannot_be_read_is_refused_by_the_name_of_the_index() {
    let scene = Scene::with_run();
    scene.write("run/checkpoints.json", "{");
    for command in ["sample run", "train --resume run"] {
        assert_says(&scene.refused(command), &["run/checkpoints.json", "restore it"]);
    }
}

#[test]
fn a_checkpoint_whose_index_cannot_be_read_still_samples_by_its_own_name() {
    let scene = Scene::with_run();
    scene.write("run/checkpoints.json", "{");
    scene.stdout("sample run/step-000006 --max-tokens 3");
}
