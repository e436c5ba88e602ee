//! Arguments that mean nothing, or nothing together.

use std::collections::BTreeSet;
use std::fs;

use crate::commands::test_dir::{TRAIN, TestDir, assert_says};

#[test]
fn a_device_that_is_not_compiled_in_is_refused_with_the_way_to_have_it() {
    let test_dir = TestDir::with_run();
    let features = [
        ("ndarray", cfg!(feature = "ndarray")),
        ("vulkan", cfg!(feature = "vulkan")),
        ("wgpu", cfg!(feature = "wgpu")),
        ("cuda", cfg!(feature = "cuda")),
    ];
    for (name, _) in features.into_iter().filter(|(_, compiled_in)| !compiled_in) {
        let feature = format!("--features {name}");
        for command in ["sample run", "eval run text.txt", &format!("{TRAIN}2")] {
            let message = test_dir.refused(&format!("{command} --device {name}"));
            assert_says(&message, &["--device", name, "not compiled", &feature, "--device cpu"]);
        }
    }
    if !cfg!(feature = "remote") {
        let message = test_dir.refused("sample run --device remote:localhost:7070");
        assert_says(&message, &["remote:localhost:7070", "not compiled", "--features remote"]);
        assert_says(&test_dir.refused("serve-device"), &["serving a device", "not compiled", "--features remote"]);
    }
}

#[test]
fn a_device_that_is_none_is_refused_with_those_that_are() {
    let test_dir = TestDir::with_run();
    for device in ["gpu", "cuda:x", "CPU"] {
        let message = test_dir.refused(&format!("sample run --device {device}"));
        assert_says(&message, &[&format!("`{device}`"), "not a device", "auto, cpu, ndarray, wgpu"]);
    }
    for device in ["remote", "remote:", "remote:host", "remote:host:0", "remote:http://host:1"] {
        let message = test_dir.refused(&format!("sample run --device {device}"));
        assert_says(&message, &[&format!("`{device}`"), "remote:HOST:PORT"]);
    }
    assert_says(&test_dir.refused("sample run --device cpu:1"), &["`cpu:1`", "only wgpu, vulkan and cuda"]);
}

#[test]
fn a_number_of_threads_that_cannot_be_is_refused() {
    let test_dir = TestDir::with_run();
    for threads in ["0", "-1", "two"] {
        assert_says(&test_dir.refused(&format!("sample run --threads={threads}")), &["--threads", threads]);
    }
}

#[test]
fn a_temperature_that_no_distribution_has_is_refused() {
    let test_dir = TestDir::with_run();
    for (temperature, shown) in [("-1", "-1"), ("nan", "NaN"), ("inf", "inf")] {
        let message = test_dir.refused(&format!("sample run --temperature={temperature}"));
        assert_says(&message, &["temperature", shown, "0 (greedy) or a number from 1e-9"]);
    }
    assert_says(&test_dir.refused("sample run --temperature=hot"), &["--temperature", "hot"]);
}

#[test]
fn a_negative_temperature_after_a_space_is_refused_as_a_temperature() {
    let message = TestDir::with_run().refused("sample run --temperature -1");
    assert_says(&message, &["temperature", "0 (greedy) or a number from 1e-9"]);
}

#[test]
fn settings_of_the_sampler_that_mean_nothing_are_refused_with_what_they_may_be() {
    let test_dir = TestDir::with_run();
    for (flag, value, shown) in [
        ("--top-p", "2", ["top_p = 2", "from 0 to 1"]),
        ("--min-p", "-1", ["min_p = -1", "from 0 to 1"]),
        ("--typical-p", "nan", ["typical_p = NaN", "from 0 to 1"]),
        ("--repetition-penalty", "0", ["repetition_penalty = 0", "a number from 0.01"]),
        ("--presence-penalty", "-inf", ["presence_penalty = -inf", "from -100 to 100"]),
        ("--frequency-penalty", "inf", ["frequency_penalty = inf", "from -100 to 100"]),
        ("--logit-bias", "5", ["--logit-bias", "ID=VALUE, such as 42=-1.5"]),
        ("--logit-bias", "e=1", ["--logit-bias", "tokenizer.json"]),
        ("--logit-bias", "5=much", ["\"much\"", "not a number"]),
        ("--logit-bias", "5=inf", ["inf", "a finite number, or -inf to ban"]),
        ("--logit-bias", "999=1", ["--logit-bias: no token 999", "tokenizer.json"]),
        ("--ban-id", "999", ["--ban-id: no token 999", "tokenizer.json"]),
        ("--ban-id", "e", ["--ban-id", "tokenizer.json"]),
        ("--ban", "the", ["--ban \"the\": it is 3 tokens here", "\"h\""]),
        ("--ban", "猫", ["--ban", "vocabulary lacks '猫'"]),
    ] {
        assert_says(&test_dir.refused(&format!("sample run {flag}={value}")), &shown);
    }
    assert_says(&test_dir.refused("sample run --ban="), &["--ban \"\"", "not a token"]);
    let twice = test_dir.refused("sample run --logit-bias 5=1 --logit-bias 5=1");
    assert_says(&twice, &["--logit-bias", "token 5", "two values"]);
    let characters: BTreeSet<char> = crate::commands::test_dir::text().chars().collect();
    let all: String = (0..characters.len()).map(|id| format!(" --ban-id {id}")).collect();
    assert_says(
        &test_dir.refused(&format!("sample run{all}")),
        &["every possible token is banned", "leave at least one"],
    );
}

#[test]
fn an_empty_stop_text_is_refused() {
    let message = TestDir::with_run().refused("sample run --stop=");
    assert_says(&message, &["--stop", "empty", "at least one character"]);
}

#[test]
fn two_prompts_are_refused() {
    let test_dir = TestDir::with_run();
    let message = test_dir.refused("sample run --prompt a --prompt-file text.txt");
    assert_says(&message, &["--prompt", "--prompt-file", "cannot be used with"]);
}

#[test]
fn no_samples_are_refused() {
    assert_says(&TestDir::with_run().refused("sample run --num-samples 0"), &["--num-samples", "0"]);
}

#[test]
fn what_begins_a_run_does_not_go_with_resume() {
    let test_dir = TestDir::with_run();
    assert_says(&test_dir.refused("train --resume run smoke.toml"), &["--resume", "cannot be used with"]);
}

#[test]
fn a_directory_that_holds_a_run_is_refused_with_three_ways_out() {
    let test_dir = TestDir::with_run(); // `refused` sees to it that it keeps its bytes
    assert_says(&test_dir.refused(TRAIN), &["run already holds a run", "--resume run", "--force", "--out"]);
}

#[test]
fn a_directory_that_holds_something_else_is_refused_with_force_too() {
    let test_dir = TestDir::new();
    for file in ["run/step-123456/precious/thesis.txt", "run/config.toml"] {
        let path = test_dir.path(file);
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        fs::write(&path, "years of work").expect("written");
        for force in ["", " --force"] {
            assert_says(&test_dir.refused(&format!("{TRAIN}{force}")), &["run", "was not made by a run"]);
        }
        fs::remove_dir_all(test_dir.path("run")).expect("removed");
    }
}

#[test]
fn a_run_removes_no_file_and_follows_no_link_that_it_has_not_made() {
    let test_dir = TestDir::with_run();
    let (thesis, inside) =
        (test_dir.path("run/step-123456/precious/thesis.txt"), test_dir.path("run/step-000006/notes.txt"));
    for path in [&thesis, &inside, &test_dir.path("elsewhere/train.json")] {
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        fs::write(path, "years of work").expect("written");
    }
    #[cfg(unix)]
    std::os::unix::fs::symlink(test_dir.path("elsewhere"), test_dir.path("run/step-999999")).expect("linked");
    test_dir.stdout("train --resume run --set train.steps=9");
    test_dir.stdout(&format!("{TRAIN} --force --set train.steps=3"));
    for path in [&thesis, &inside, &test_dir.path("elsewhere/train.json")] {
        assert_eq!(fs::read_to_string(path).expect("still there"), "years of work", "{}", path.display());
    }
    assert!(!test_dir.path("run/step-000006/model.safetensors").exists(), "what the run made is gone");
}

#[test]
fn a_directory_whose_run_has_no_checkpoint_yet_is_not_offered_to_be_resumed() {
    let test_dir = TestDir::with_run();
    fs::remove_dir_all(test_dir.path("run/step-000006")).expect("removed");
    test_dir.write("run/checkpoints.json", "{\"best\": null, \"last\": null}");
    let message = test_dir.refused(TRAIN);
    assert_says(&message, &["run", "--force", "--out"]);
    assert!(!message.contains("--resume"), "it would be refused in turn: {message}");
}

#[test]
fn an_out_that_is_a_file_is_refused_with_what_to_do() {
    let test_dir = TestDir::new();
    for out in ["text.txt", "text.txt/run"] {
        let message = test_dir.refused(&TRAIN.replace("--out run", &format!("--out {out}")));
        assert_says(&message, &[out, "--out"]);
    }
}

#[test]
fn a_command_without_a_checkpoint_is_refused_with_its_usage() {
    let test_dir = TestDir::new();
    assert_says(&test_dir.refused("sample"), &["<CHECKPOINT>", "Usage: tril sample"]);
    assert_says(&test_dir.refused("eval run"), &["<FILE|DIR|NAME>", "Usage: tril eval"]);
    assert_says(&test_dir.refused("trian"), &["'trian'", "'train'"]);
}

#[test]
fn a_page_that_could_not_be_written_is_refused_before_anything_is_computed() {
    let test_dir = TestDir::with_run();
    assert_says(&test_dir.refused("score run text.txt --html run"), &["--html run", "directory", "name of a file"]);
    let message = test_dir.refused("score run text.txt --html none/page.html");
    assert_says(&message, &["--html none/page.html", "no directory none", "make it first"]);
    assert_says(
        &test_dir.refused("score run text.txt --html a.html --json"),
        &["--html", "--json", "cannot be used with"],
    );
}
