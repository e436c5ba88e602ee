//! Runs that cannot be resumed, or not like that. `refused` sees to it that they keep their bytes.

use std::fs;

use crate::commands::test_dir::{TestDir, Tree, assert_says, text};

#[test]
fn a_directory_without_a_run_cannot_be_resumed() {
    let test_dir = TestDir::new();
    fs::create_dir(test_dir.path("empty")).expect("a directory");
    for path in ["empty", "none", "text.txt"] {
        assert_says(&test_dir.refused(&format!("train --resume {path}")), &[path, "holds no run to resume"]);
    }
}

#[test]
fn what_to_do_where_there_is_no_run_to_resume_is_said() {
    let test_dir = TestDir::new();
    assert_says(&test_dir.refused("train --resume none"), &["none", "no run", "--out none"]);
}

#[test]
fn who_names_a_checkpoint_that_a_run_no_longer_keeps_is_told_those_that_it_does() {
    let test_dir = TestDir::with_run();
    for command in ["train --resume run/step-000003", "sample run/step-000003", "eval run/step-000003 text.txt"] {
        assert_says(&test_dir.refused(command), &["run/step-000003", "run keeps run/step-000006"]);
    }
}

#[test]
fn a_run_without_a_checkpoint_yet_cannot_be_resumed_but_begun_anew() {
    let test_dir = TestDir::with_run();
    fs::remove_dir_all(test_dir.path("run/step-000006")).expect("removed");
    test_dir.write("run/checkpoints.json", "{\"best\": null, \"last\": null}");
    for command in ["train --resume run", "sample run"] {
        assert_says(&test_dir.refused(command), &["run", "no checkpoint", "--force"]);
    }
}

#[test]
fn a_checkpoint_outside_its_run_cannot_be_resumed() {
    let test_dir = TestDir::with_run();
    Tree::read(&test_dir.path("run/step-000006")).write(&test_dir.path("alone"));
    assert_says(&test_dir.refused("train --resume alone"), &["alone", "no run to resume", "around this checkpoint"]);
}

#[test]
fn a_run_is_not_resumed_on_another_text() {
    let test_dir = TestDir::with_run();
    let reversed: String = text().chars().rev().collect();
    test_dir.write("other.txt", reversed);
    let message = test_dir.refused("train --resume run --data other.txt");
    assert_says(&message, &["text differs", "resume with the same data", "begin a new run"]);
    let message = test_dir.refused("train --resume run --set data.validation_fraction=0.2");
    assert_says(&message, &["text differs", "resume with the same data"]);
    test_dir.write("other.txt", "猫".repeat(500));
    assert_says(&test_dir.refused("train --resume run --data other.txt"), &["other.txt", "猫"]);
}

#[test]
fn a_run_whose_text_has_moved_says_which_text_it_misses_and_how_to_name_it() {
    let test_dir = TestDir::with_run();
    fs::rename(test_dir.path("text.txt"), test_dir.path("moved.txt")).expect("moved");
    assert_says(&test_dir.refused("train --resume run"), &["text.txt", "os error", "--data"]);
    test_dir.stdout("train --resume run --data moved.txt");
}

#[test]
fn the_shape_of_a_model_does_not_change_on_resuming() {
    let test_dir = TestDir::with_run();
    for setting in ["model.n_layers=3", "model.norm=layer", "model.window=0"] {
        let message = test_dir.refused(&format!("train --resume run --set {setting}"));
        assert_says(&message, &["model.…", "step-000006", "cannot change", "train a new one"]);
    }
}

#[test]
fn the_tokenizer_does_not_change_on_resuming() {
    let message = TestDir::with_run().refused("train --resume run --set tokenizer.kind=byte");
    assert_says(&message, &["tokenizer", "cannot change"]);
}

#[test]
fn a_run_is_not_resumed_to_fewer_steps_than_it_has_taken() {
    let message = TestDir::with_run().refused("train --resume run --set train.steps=3");
    assert_says(&message, &["train.steps = 3", "6"]);
}

#[test]
fn values_that_no_run_can_have_are_refused_on_resuming_too() {
    let test_dir = TestDir::with_run();
    for (setting, expected) in [
        ("optimizer.learning_rate=-3", "optimizer.learning_rate = -3"),
        ("train.dropout=1", "train.dropout = 1"),
        ("train.micro_batches=3", "does not divide"),
        ("train.step=3", "did you mean `steps`?"),
        ("model.n_layers=0", "at least 1"),
    ] {
        assert_says(&test_dir.refused(&format!("train --resume run --set {setting}")), &[expected]);
    }
}

#[test]
fn samples_that_cannot_be_are_refused_on_resuming_before_anything_changes() {
    let test_dir = TestDir::with_run();
    assert_says(&test_dir.refused("train --resume run --set sample.temperature=-1"), &["temperature = -1"]);
}

#[test]
fn a_damaged_part_of_what_resuming_needs_is_named() {
    for file in ["optimizer.safetensors", "train.json", "model.safetensors", "config.toml", "tokenizer.json"] {
        let path = format!("run/step-000006/{file}");
        let test_dir = TestDir::with_run();
        let bytes = fs::read(test_dir.path(&path)).expect("a file");
        // In the middle of a field, where there are some: half a table of settings is one.
        let half = bytes.len() / 2;
        let cut = bytes[..half].iter().rposition(|byte| *byte == b'=').map_or(half, |at| at + 1);
        test_dir.write(&path, &bytes[..cut]);
        assert_says(&test_dir.refused("train --resume run"), &[&path]);
    }
}

#[test]
fn a_missing_part_of_what_resuming_needs_is_named_with_what_to_do() {
    for file in ["optimizer.safetensors", "train.json", "config.toml"] {
        let path = format!("run/step-000006/{file}");
        let test_dir = TestDir::with_run();
        fs::remove_file(test_dir.path(&path)).expect("removed");
        assert_says(&test_dir.refused("train --resume run"), &[&path, "restore it"]);
    }
}

#[test]
fn an_emptied_recipe_in_a_checkpoint_is_named() {
    let test_dir = TestDir::with_run();
    test_dir.write("run/step-000006/config.toml", "");
    assert_says(&test_dir.refused("train --resume run"), &["run/step-000006/config.toml"]);
}

#[test]
fn moments_of_another_model_are_refused() {
    let test_dir = TestDir::with_run();
    let other = TestDir::new();
    other.stdout(&format!("{} --set model.n_layers=1", crate::commands::test_dir::TRAIN));
    let moments = fs::read(other.path("run/step-000006/optimizer.safetensors")).expect("moments");
    test_dir.write("run/step-000006/optimizer.safetensors", moments);
    assert_says(&test_dir.refused("train --resume run"), &["run/step-000006/optimizer.safetensors", "restore it"]);
}

#[test]
fn going_on_from_an_earlier_checkpoint_is_refused_while_it_would_remove_later_ones() {
    let test_dir = TestDir::with_run();
    let earlier = Tree::read(&test_dir.path("run/step-000006"));
    test_dir.stdout("train --resume run --set train.steps=9");
    earlier.write(&test_dir.path("run/step-000006"));
    let message = test_dir.refused("train --resume run/step-000006 --set train.steps=12");
    assert_says(&message, &["run/step-000006", "run/step-000009", "--out", "--force"]);
    // The last one may be named, too.
    test_dir.stdout("train --resume run/step-000009 --set train.steps=12");
}

#[test]
fn a_new_run_from_a_checkpoint_does_not_take_a_directory_that_is_taken() {
    let test_dir = TestDir::with_run();
    Tree::read(&test_dir.path("run")).write(&test_dir.path("other"));
    for (out, expected) in [("other", "already holds a run"), (".", "not empty"), ("run", "already holds a run")] {
        assert_says(&test_dir.refused(&format!("train --resume run --out {out}")), &[expected]);
    }
    assert_says(&test_dir.refused("train --resume run --out run --force"), &["another process"]);
}

#[test]
fn an_index_that_names_what_lies_outside_its_run_is_refused() {
    let test_dir = TestDir::with_run();
    Tree::read(&test_dir.path("run/step-000006")).write(&test_dir.path("elsewhere"));
    for name in ["../elsewhere", "step-000006/../../elsewhere", "..", "/etc"] {
        test_dir.write("run/checkpoints.json", format!("{{\"best\": {name:?}, \"last\": \"step-000006\"}}"));
        for command in ["sample run", "eval run text.txt", "train --resume run"] {
            assert_says(&test_dir.refused(command), &["run/checkpoints.json", name]);
        }
    }
}

#[test]
fn a_directory_with_files_that_are_called_as_those_of_a_run_is_no_run() {
    for file in ["config.toml", "metrics.jsonl", "checkpoints.json"] {
        let test_dir = TestDir::new();
        fs::create_dir(test_dir.path("run")).expect("a directory");
        test_dir.write(&format!("run/{file}"), "{\"of\": \"the user's\"}");
        for force in ["", " --force"] {
            let message = test_dir.refused(&format!("{}{force}", crate::commands::test_dir::TRAIN));
            assert_says(&message, &["run"]);
            assert!(!message.contains("--force"), "{message}");
        }
    }
}
