//! `tril train --from`: a new run from the weights and the tokenizer of a model, by all of its weights or by low-rank
//! factors.

use std::fs;

use serde_json::Value;

use super::bits::{GPT2, hashes, sha256};
use super::test_dir::*;

/// From the run that [`TestDir::with_run`] holds, on another text that has no character which the first one lacks.
const TUNE: &str = "train --from run --data other.txt --out tuned --verbose --set data.validation_fraction=0.2 \
    --set sample.max_tokens=5";

/// What would hang on the number of steps.
const FIXED: &str = "--set train.dropout=0.1 --set train.eval_interval=3 --set train.checkpoint_interval=4 \
    --set sample.interval=0 --set optimizer.decay_steps=12 --set optimizer.warmup_steps=2";

const LORA: &str = "--lora 3,6";

/// With a run and another text.
fn with_run() -> TestDir {
    let test_dir = TestDir::with_run();
    let lines: Vec<String> = text().lines().map(|line| line.chars().rev().collect()).collect();
    test_dir.write("other.txt", lines.join("\n"));
    test_dir
}

fn losses(test_dir: &TestDir, run: &str) -> Vec<f64> {
    column(&metrics(&test_dir.path(run)), "evaluation", "loss")
}

#[test]
fn a_run_begins_with_the_weights_and_the_tokenizer_of_another_and_says_which() {
    let test_dir = with_run();
    let output = test_dir.tril(&format!("{TUNE} --steps 12")).output().expect("it runs");
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(output.status.success(), "{stderr}");
    let best = checkpoint(&test_dir.path("run"), "best");
    let origin: Value = serde_json::from_str(&test_dir.read("tuned/from.json")).expect("JSON");
    assert_eq!(origin["weights_sha256"], sha256(&best.join("model.safetensors")));
    assert_eq!(origin["tokenizer_sha256"], sha256(&best.join("tokenizer.json")));
    assert_eq!(origin["path"], "run/step-000006");
    assert_says(&stderr, &["from     run/step-000006 (weights ", "step 0: validation loss", "(best so far)"]);

    // What is measured before the first step is what eval says of the model that it began from.
    let text = test_dir.read("other.txt");
    let held_out: String = text.chars().skip(text.chars().count() * 4 / 5).collect();
    test_dir.write("held.txt", held_out);
    let eval = |run: &str| {
        let report: Value =
            serde_json::from_str(&test_dir.stdout(&format!("eval {run} held.txt --json"))).expect("JSON");
        report["loss"].as_f64().expect("a loss")
    };
    let losses = losses(&test_dir, "tuned");
    assert_eq!(losses[0], eval("run"));
    assert_eq!(*losses.last().expect("some"), eval("tuned/step-000012"));
    assert!(losses.last() < losses.first(), "{losses:?}");

    let last = checkpoint(&test_dir.path("tuned"), "last");
    for file in ["config.json", "tokenizer.json"] {
        assert!(fs::read(last.join(file)).expect("a file") == fs::read(best.join(file)).expect("a file"), "{file}");
    }
    assert_eq!(fs::read(last.join("from.json")).expect("a file"), test_dir.read("tuned/from.json").into_bytes());
}

#[test]
fn a_run_that_learns_nothing_keeps_the_model_that_it_began_from_as_its_best() {
    let test_dir = with_run();
    test_dir.stdout(&format!("{TUNE} --steps 8 --set optimizer.learning_rate=500 --set optimizer.max_grad_norm=0"));
    let best = checkpoint(&test_dir.path("tuned"), "best");
    assert_eq!(best, test_dir.path("tuned/step-000000"));
    let base = checkpoint(&test_dir.path("run"), "best");
    assert_eq!(sha256(&best.join("model.safetensors")), sha256(&base.join("model.safetensors")));
}

#[test]
fn what_contradicts_the_model_is_refused_by_field_and_nothing_is_written() {
    let test_dir = with_run();
    test_dir.write("own.toml", "[model]\nn_layers = 3\n[train]\nsteps = 2");
    test_dir.write("fits.toml", "[model]\nn_layers = 2\nd_ff = 0\n[train]\nsteps = 2\nseq_len = 8");
    test_dir.write("猫.txt", "猫 ".repeat(500));
    for (arguments, fragments) in [
        ("own.toml", &["model.n_layers = 3, but run/step-000006 has 2"][..]),
        ("--set model.mlp=swiglu", &["model.mlp = \"swiglu\", but ", "has \"relu2\""]),
        ("--set tokenizer.kind=byte", &["tokenizer.kind = \"byte\"", "comes with its weights"]),
        ("--set train.seq_len=17", &["train.seq_len = 17 is longer than the 16 positions"]),
        ("--set train.step=1", &["--set train.step=1", "did you mean `steps`?"]),
        ("--set train.steps=many", &["--set train.steps=many", "a whole number"]),
        ("--lora 17", &["lora.rank = 17 is more than the 16"]),
        ("--lora 0", &["--lora", "`0` is no rank"]),
        ("--lora 4 --set optimizer.kind=muon", &["optimizer.kind = \"muon\"", "AdamW"]),
        ("--lora 4 --set optimizer.momentum=0.5", &["optimizer.momentum=0.5", "this is Muon's"]),
        ("--set lora.alpha=2", &["lora.alpha = 2 without a lora.rank"]),
        ("--data 猫.txt", &["猫.txt", "the vocabulary lacks '猫'"]),
        ("--data none.txt", &["none.txt"]),
    ] {
        let arguments = match arguments.contains("--data") {
            true => format!("{} {arguments}", TUNE.replace("--data other.txt", "")),
            false => format!("{TUNE} {arguments}"),
        };
        for arguments in [arguments.clone(), arguments + " --dry-run"] {
            assert_says(&test_dir.refused(&arguments), fragments);
        }
    }
    assert_says(&test_dir.refused("train --from none --data other.txt"), &["no checkpoint at none"]);
    assert_says(&test_dir.refused(&format!("{TRAIN} --force --lora 2")), &["--lora 2", "--from names it"]);
    assert_says(&test_dir.refused(&format!("{TRAIN} --force --set lora.rank=2")), &["lora.rank = 2", "a checkpoint"]);
    // What it does not contradict is taken.
    test_dir.stdout(&format!("{TUNE} fits.toml"));
    assert_eq!(checkpoint(&test_dir.path("tuned"), "last"), test_dir.path("tuned/step-000002"));
    test_dir.stdout(&format!("{TUNE} smoke.toml --force"));
}

#[test]
fn a_dry_run_says_how_much_would_be_trained() {
    let test_dir = with_run();
    let before = Tree::read(&test_dir.path("."));
    let whole = test_dir.stdout(&format!("{TUNE} --dry-run --steps 2"));
    assert!(!whole.contains("trained  "), "{whole}");
    let output = test_dir.stdout(&format!("{TUNE} {LORA} --dry-run --steps 2"));
    // Rank 3 beside matrices of 16 × 48, 16 × 16, 16 × 64 and 64 × 16, twice.
    let params = 2 * 3 * ((16 + 48) + (16 + 16) + (16 + 64) + (64 + 16));
    assert_says(
        &output,
        &[&format!("trained  {params} parameters: factors of rank 3, times 2\n"), "2 steps of 32 × 16"],
    );
    assert!(Tree::read(&test_dir.path(".")) == before, "nothing is written");
}

#[test]
fn every_checkpoint_of_low_rank_factors_is_a_whole_model_that_other_commands_take_for_any() {
    let test_dir = with_run();
    test_dir.stdout(&format!("{TUNE} {LORA} --steps 12 --set optimizer.learning_rate=0.05"));
    let losses = losses(&test_dir, "tuned");
    assert!(losses.last() < losses.first(), "{losses:?}");
    let last = checkpoint(&test_dir.path("tuned"), "last");
    fs::create_dir(test_dir.path("alone")).expect("a directory");
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        fs::copy(last.join(file), test_dir.path("alone").join(file)).expect("copied");
    }
    let sample = |run: &str| test_dir.stdout(&format!("sample {run} -p a -n 40"));
    assert_eq!(sample("alone"), sample("tuned/step-000012"));
    assert_ne!(sample("alone"), sample("run"), "it has learnt something else");
    test_dir.tril("prove alone").assert().success();
    // And one that another run can begin from.
    test_dir.stdout("train --from tuned --data text.txt --out again --lora 2 --steps 3 --set sample.max_tokens=5");
    let origin: Value = serde_json::from_str(&test_dir.read("again/from.json")).expect("JSON");
    assert_eq!(
        origin["weights_sha256"],
        sha256(&checkpoint(&test_dir.path("tuned"), "best").join("model.safetensors"))
    );
}

#[test]
fn a_tuned_run_ends_in_the_same_bits_on_any_number_of_threads_and_after_it_was_stopped() {
    for (name, flags) in [("all weights", ""), ("low-rank factors", LORA)] {
        let (test_dir, through) = (with_run(), with_run());
        let flags = format!("{flags} {FIXED}");
        let expected = hashes(&through.stdout(&format!("{TUNE} {flags} --steps 12 --threads 1")));
        test_dir.stdout(&format!("{TUNE} {flags} --steps 5 --threads 3"));
        // The model that it began from is needed no more.
        fs::remove_dir_all(test_dir.path("run")).expect("removed");
        let resumed = hashes(&test_dir.stdout("train --resume tuned --verbose --steps 12 --threads 2"));
        assert_eq!(resumed, expected, "{name}");
        let [left, right] = [&test_dir, &through].map(|test_dir| checkpoint(&test_dir.path("tuned"), "last"));
        let differences = Tree::read(&left).differences(&Tree::read(&right));
        assert_eq!(differences, Vec::<String>::new(), "{name}");
        assert_eq!(left.join("lora.safetensors").exists(), !flags.starts_with(" "), "{name}");
        // A branch takes all with it.
        test_dir.stdout("train --resume tuned --out branch --verbose --steps 13");
        test_dir.stdout("train --resume branch --steps 14");
        assert_eq!(test_dir.read("branch/from.json"), test_dir.read("tuned/from.json"), "{name}");
        let refused = test_dir.refused("train --resume tuned --steps 20 --set lora.rank=5");
        assert_says(&refused, &["lora.…", "cannot change"]);
    }
}

#[test]
fn a_run_whose_factors_are_gone_or_damaged_is_not_resumed() {
    let test_dir = with_run();
    test_dir.stdout(&format!("{TUNE} {LORA} --steps 2"));
    let path = checkpoint(&test_dir.path("tuned"), "last").join("lora.safetensors");
    let whole = fs::read(&path).expect("a file");
    fs::write(&path, &whole[..whole.len() / 2]).expect("written");
    assert_says(&test_dir.refused("train --resume tuned --steps 4"), &["lora.safetensors"]);
    fs::remove_file(&path).expect("removed");
    assert_says(&test_dir.refused("train --resume tuned --steps 4"), &["lora.safetensors", "no such file"]);
}

#[test]
fn a_run_that_replaces_a_tuned_one_leaves_nothing_of_it() {
    let test_dir = with_run();
    test_dir.stdout(&format!("{TUNE} {LORA} --steps 2 --log csv --log tensorboard"));
    test_dir.stdout(&format!("{} --force", TRAIN.replace("--out run", "--out tuned")));
    let names: Vec<String> =
        Tree::read(&test_dir.path("tuned")).0.keys().map(|path| path.display().to_string()).collect();
    let stale = ["from.json", "lora.safetensors", "metrics.csv", "events.out.tfevents.tril"];
    assert!(!names.iter().any(|name| stale.iter().any(|stale| name.ends_with(stale))), "{names:?}");
}

/// The names of GPT-2's parameters in Hugging Face layout by ours.
fn gpt2_name(path: &str) -> String {
    let names = [
        ("token_embedding", "wte"),
        ("position_embedding", "wpe"),
        ("blocks.", "h."),
        ("attention_norm.", "ln_1."),
        ("mlp_norm.", "ln_2."),
        ("final_norm.", "ln_f."),
        ("attention.qkv", "attn.c_attn"),
        ("attention.output", "attn.c_proj"),
        ("mlp.up", "mlp.c_fc"),
        ("mlp.down", "mlp.c_proj"),
        (".gain", ".weight"),
    ];
    names.iter().fold(format!("transformer.{path}"), |path, (ours, theirs)| path.replace(ours, theirs))
}

#[test]
fn a_model_in_hugging_face_layout_is_as_good_as_a_checkpoint_and_told_by_the_same_hash() {
    let test_dir = TestDir::new();
    test_dir.stdout(&format!("{TRAIN} {GPT2}"));
    let last = checkpoint(&test_dir.path("run"), "last");
    let tensors = tril_model::tensor_file::read_tensors(&last.join("model.safetensors")).expect("tensors");
    let tensors: Vec<_> = tensors
        .into_iter()
        .map(|(path, (shape, values))| (gpt2_name(&path), burn::tensor::TensorData::new(values, shape)))
        .collect();
    fs::create_dir(test_dir.path("hf")).expect("a directory");
    test_dir.write("hf/model.safetensors", tril_model::tensor_file::tensors_to_bytes(&tensors).expect("bytes"));
    fs::copy(last.join("tokenizer.json"), test_dir.path("hf/tokenizer.json")).expect("copied");
    let vocab_size = text().chars().collect::<std::collections::BTreeSet<char>>().len();
    test_dir.write(
        "hf/config.json",
        format!(
            "{{\"model_type\": \"gpt2\", \"vocab_size\": {vocab_size}, \"n_positions\": 16, \"n_embd\": 16, \"n_layer\": 2, \"n_head\": 2}}"
        ),
    );
    for from in ["hf", "run/step-000006"] {
        test_dir.stdout(&format!(
            "{} {LORA} --steps 3 --force",
            TUNE.replace("from run", &format!("from {from}")).replace("other", "text")
        ));
        let origin: Value = serde_json::from_str(&test_dir.read("tuned/from.json")).expect("JSON");
        assert_eq!(origin["path"], from);
        assert_eq!(origin["weights_sha256"], sha256(&last.join("model.safetensors")), "{from}");
        assert_eq!(origin["tokenizer_sha256"], sha256(&last.join("tokenizer.json")), "{from}");
    }
    let both = ["tuned", "again"].map(|out| {
        let from = if out == "tuned" { "hf" } else { "run/step-000006" };
        let train = format!(
            "train --from {from} --data text.txt --out {out} --force --verbose --steps 3 --set sample.max_tokens=5"
        );
        hashes(&test_dir.stdout(&train))
    });
    assert_eq!(both[0], both[1], "the same weights learn the same");
    assert_says(
        &test_dir.refused("train --from hf --data text.txt --set tokenizer.kind=char"),
        &["tokenizer.kind = \"char\""],
    );
}
