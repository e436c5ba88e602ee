//! The binary on the device: every command, and what goes wrong.

use crate::commands::test_dir::{TRAIN, TestDir};

use super::device;

/// The losses of a run's metrics, in order.
fn losses(dir: &TestDir, run: &str) -> Vec<f64> {
    let metrics = dir.read(&format!("{run}/metrics.jsonl"));
    let line = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["loss"].as_f64();
    metrics.lines().filter_map(line).collect()
}

#[test]
fn a_run_has_the_cpus_losses_and_its_checkpoint_the_same_text_scores_and_proofs() {
    if device("commands on wgpu").is_none() {
        return;
    }
    let dir = TestDir::with_run();
    dir.tril(&format!("{} --device wgpu", TRAIN.replace("--out run", "--out gpu"))).assert().success();
    let (found, expected) = (losses(&dir, "gpu"), losses(&dir, "run"));
    assert!(found.len() == expected.len() && found.len() > 6, "{found:?}");
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-4, "{found}, not {expected}");
    }
    // Stopped and gone on with there, too.
    dir.tril("train --resume gpu --set train.steps=8 --device wgpu").assert().success();

    let on = |arguments: &str, device: &str| dir.stdout(&format!("{arguments} --device {device}"));
    for same in ["sample run --temperature 0 --max-tokens 40", "sample run --temperature 0 --max-tokens 9 --no-cache"] {
        assert_eq!(on(same, "wgpu"), on(same, "cpu"), "{same}");
    }
    let bits = |device: &str| {
        let found: serde_json::Value =
            serde_json::from_str(&on("eval run text.txt --json", device)).expect("a JSON object");
        found["bits_per_byte"].as_f64().expect("a number")
    };
    assert!((bits("wgpu") - bits("cpu")).abs() < 1e-4);
    let proofs = on("prove run --prompt the.old.fox.saw.a.red.kite --json", "wgpu");
    let proofs: serde_json::Value = serde_json::from_str(&proofs).expect("a JSON object");
    assert_eq!(proofs["pass"], true, "{proofs}");
    for works in [
        "score run text.txt --json",
        "cost run --max-tokens 4 --json",
        "bench train --set train.batch_size=2 --set train.micro_batches=1 --set model.n_layers=1 --seconds 0.1 --json",
        "bench decode --set model.max_seq_len=8 --set train.seq_len=8 --set model.n_layers=1 --seconds 0.1 --json",
    ] {
        let printed = on(works, "wgpu");
        serde_json::from_str::<serde_json::Value>(&printed).unwrap_or_else(|error| panic!("{works}: {error}"));
    }
    // What one device wrote holds on the other, within a tolerance.
    dir.tril("sample run --max-tokens 12 --receipt receipt.json --device wgpu").assert().success();
    dir.tril("verify run receipt.json --tolerance 1e-4").assert().success();
    let answer = dir.tril("chat run --max-tokens 5 --device wgpu").write_stdin("the\n").output().expect("it runs");
    assert!(answer.status.success() && !answer.stdout.is_empty());
}

#[test]
fn what_is_there_is_listed_and_examined_and_auto_takes_no_program_on_the_cpu() {
    if device("the list of devices").is_none() {
        return;
    }
    let dir = TestDir::new();
    let list: serde_json::Value = serde_json::from_str(&dir.stdout("devices --json")).expect("a JSON object");
    let list = list["devices"].as_array().expect("a list");
    let gpu = list.iter().find(|device| device["device"] == "wgpu:0").expect("the first adapter");
    assert!(gpu["compiled_in"] == true && gpu["present"] == true && gpu["driver"].as_str().is_some());
    let software = gpu["software"] == true;
    assert_eq!(gpu["auto"] == true, !software, "{gpu}");
    let name = gpu["name"].as_str().expect("a name");
    let printed = dir.stdout("doctor --device wgpu");
    assert!(printed.contains("ok    wgpu:0") && printed.contains("proofs hold"), "{printed}");
    if software {
        let printed = dir.stdout("doctor");
        assert!(printed.contains(name) && printed.contains("tril doctor --device wgpu:0 tries it"), "{printed}");
        assert!(printed.contains("--device auto takes cpu"), "{printed}");
    }
}

#[test]
fn a_device_that_cannot_be_had_or_is_too_small_has_one_message_and_loses_nothing() {
    if device("bad cases of wgpu").is_none() {
        return;
    }
    let dir = TestDir::with_run();
    // More than an adapter of two gigabytes has, or a buffer of any adapter.
    let huge = "train smoke.toml --data text.txt --set data.validation_fraction=0.1 --out huge --device cpu \
                --set train.steps=0 --set model.max_seq_len=16777216 --set model.d_model=64 --set model.window=0";
    dir.tril(huge).assert().success();
    let lost = dir.tril("sample huge --max-tokens 2 --device wgpu").output().expect("it runs");
    let message = String::from_utf8_lossy(&lost.stderr);
    assert_eq!(lost.status.code(), Some(1), "{message}");
    for part in ["error: wgpu:0, ", "allocate", "smaller", "device cpu"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(message.lines().count() <= 2, "one message and a hint: {message}");
    let message = dir.refused("sample run --device wgpu:9");
    assert!(message.contains("wgpu:9") && message.contains("numbered from 0"), "{message}");
    let mut command = dir.tril("sample run --device wgpu");
    // No Vulkan, and no OpenGL either.
    for files in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "__EGL_VENDOR_LIBRARY_FILENAMES"] {
        command.env(files, "/dev/null");
    }
    let message = dir.refused_command(&mut command);
    assert!(message.contains("no such device was found") && message.contains("driver"), "{message}");
}
