//! The hashes that `train --verbose` prints: of the weights and of the optimizer's state, and of nothing else. They name the
//! outcome of a run, whatever the number of threads.

use std::fs;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::test_dir::*;

/// Long and wide enough that operations are worth splitting over threads; with dropout.
const WIDE: &str = "train --verbose smoke.toml --data text.txt --out run --set data.validation_fraction=0.1 \
    --set model.d_model=96 --set model.max_seq_len=32 --set train.seq_len=32 --set train.batch_size=12 \
    --set train.steps=5 --set train.dropout=0.1 --set sample.interval=0 --set sample.max_tokens=1";

pub const GPT2: &str = "--set model.positions=learned --set model.window=0 --set model.norm=layer \
    --set model.norm_bias=true --set model.mlp=gelu_tanh --set model.qkv_bias=true --set model.output_bias=true \
    --set model.mlp_bias=true";

/// Trains the matrices of blocks by Muon: several sizes, wide and tall, two and three side by side.
const MUON: &str = "--set optimizer.kind=muon --set model.n_heads=6 --set model.n_kv_heads=3 --set model.mlp=swiglu \
    --set model.zero_init_outputs=true --set model.tied_head=false --set optimizer.momentum_warmup_steps=3";

const LLAMA: &str = "--set model.n_heads=6 --set model.n_kv_heads=3 --set model.d_head=10 --set model.mlp=swiglu \
    --set model.tied_head=false --set model.window=20";

/// SHA-256 of a file, in hexadecimal digits.
pub fn sha256(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The hashes that `train` printed for the last weights and the last moments.
pub fn hashes(output: &str) -> [String; 2] {
    let after = output.split_once("\nsha256 ").unwrap_or_else(|| panic!("no hash in:\n{output}")).1;
    let mut lines = after.lines().skip(1).map(|line| line.split_whitespace().next().expect("a hash").to_owned());
    [lines.next().expect("of the weights"), lines.next().expect("of the moments")]
}

#[test]
fn train_prints_the_sha256_of_the_weights_and_the_moments_in_the_last_checkpoint() {
    let test_dir = TestDir::new();
    let output = test_dir.stdout(TRAIN);
    let last = checkpoint(&test_dir.path("run"), "last");
    let [model, optimizer] = ["model", "optimizer"].map(|name| sha256(&last.join(format!("{name}.safetensors"))));
    assert_eq!(hashes(&output), [model.clone(), optimizer.clone()]);
    let lines = [format!("sha256 of step-000006:\n  {model} weights\n"), format!("  {optimizer} optimizer\n")];
    assert_says(&output, &[&lines[0], &lines[1]]);
    assert_ne!(model, optimizer);
    let quiet = test_dir.stdout(&format!("{} --force", TRAIN.replace(" --verbose", "")));
    assert!(!quiet.contains("sha256"), "they are for those who ask: {quiet}");
    assert_eq!(
        hashes(&test_dir.stdout("train --resume run --verbose")),
        [model, optimizer],
        "said again when nothing is left to do"
    );
}

#[test]
fn the_hashes_know_of_no_path_evaluation_checkpoint_or_sample() {
    let test_dir = TestDir::new();
    let plain = hashes(&test_dir.stdout(TRAIN));
    let other = "--out elsewhere --set train.eval_interval=5 --set train.checkpoint_interval=1 \
        --set sample.interval=1 --set sample.temperature=0.1 --threads 1";
    let train = TRAIN.replace("--out run", other);
    assert_eq!(hashes(&test_dir.stdout(&train)), plain);
    let seeded = hashes(&test_dir.stdout(&format!("{TRAIN} --force --set train.seed=8")));
    assert!(seeded[0] != plain[0] && seeded[1] != plain[1], "another seed, another model");
}

#[test]
fn both_files_hold_tensors_in_the_order_of_their_names_and_nothing_else() {
    let test_dir = TestDir::with_run();
    let last = checkpoint(&test_dir.path("run"), "last");
    for file in ["model.safetensors", "optimizer.safetensors"] {
        let bytes = fs::read(last.join(file)).expect("a file");
        let header_len = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
        let text = std::str::from_utf8(&bytes[8..8 + header_len]).expect("UTF-8");
        let header: serde_json::Map<String, Value> = serde_json::from_str(text).expect("JSON");
        let mut names: Vec<&String> = header.keys().collect();
        names.sort();
        let mut end = 0;
        for name in names {
            let offsets = &header[name]["data_offsets"];
            assert_eq!(offsets[0].as_u64(), Some(end), "{file}: `{name}` does not follow the name before it");
            assert_eq!(header[name].as_object().map(|fields| fields.len()), Some(3), "{file}: {name}");
            end = offsets[1].as_u64().expect("an offset");
        }
        assert_eq!(8 + header_len as u64 + end, bytes.len() as u64, "{file}");
        assert!(!text.contains("__metadata__"), "{file}: {text}");
    }
}

#[test]
fn one_thread_and_more_train_to_the_same_hashes_in_any_number_of_micro_batches_in_both_families_and_by_muon() {
    for (family, model) in [("gpt2", GPT2), ("llama", LLAMA), ("muon", MUON)] {
        let mut seen = Vec::new();
        for micro_batches in [1, 2, 3] {
            let outcome = |threads: usize| {
                let test_dir = TestDir::new();
                let arguments = format!("{WIDE} {model} --set train.micro_batches={micro_batches} --threads {threads}");
                let output = test_dir.tril(&arguments).output().expect("it runs");
                let stderr = String::from_utf8(output.stderr).expect("UTF-8");
                assert!(stderr.contains(&format!("cpu, {threads} thread")), "{stderr}");
                (hashes(&String::from_utf8(output.stdout).expect("UTF-8")), timeless_metrics(&test_dir.path("run")))
            };
            let one = outcome(1);
            for threads in [2, 3] {
                assert_eq!(outcome(threads), one, "{family}, {micro_batches} micro-batches on {threads} threads");
            }
            seen.push(one.0);
        }
        assert!(seen[0] != seen[1] && seen[1] != seen[2], "{family}: micro-batches round differently, or are not used");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn every_instruction_set_trains_to_the_same_hashes() {
    for model in [GPT2, LLAMA, MUON] {
        let outcome = |set: &str| {
            let test_dir = TestDir::new();
            let output = test_dir.tril(&format!("{WIDE} {model}")).env("TRIL_SIMD", set).output().expect("it runs");
            let stderr = String::from_utf8(output.stderr).expect("UTF-8");
            // Where the processor lacks a set the next one steps in, and there is less to compare.
            let used = stderr.lines().next().and_then(|line| line.rsplit(' ').next()).expect("a set").to_owned();
            (used, hashes(&String::from_utf8(output.stdout).expect("UTF-8")))
        };
        let (used, plain) = outcome("plain");
        assert_eq!(used, "plain");
        for set in ["avx2", "avx512"] {
            let (used, found) = outcome(set);
            assert_eq!(found, plain, "{used}");
        }
    }
}

#[test]
fn an_unknown_instruction_set_is_refused() {
    let test_dir = TestDir::new();
    let message = test_dir.refused_command(test_dir.tril(TRAIN).env("TRIL_SIMD", "sse9"));
    assert_says(&message, &["TRIL_SIMD=sse9", "avx512, avx2 or plain"]);
}
