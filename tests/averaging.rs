//! The average of weights: it is what its formula says, it is what is measured and saved, and training goes on as without it.

use std::fs;

use burn::tensor::Device;
use tril_model::{Gpt, parameters};
use tril_train::{LoraConfig, LowRankFactors, OptimizerConfig, OptimizerKind, TrainConfig, Trainer, TrainingText};

use crate::commands::test_dir::{TRAIN, TestDir, Tree, assert_says, checkpoint, column, metrics, timeless_metrics};
use crate::support::*;

fn train_config(ema_decay: f64) -> TrainConfig {
    TrainConfig {
        steps: 30,
        batch_size: 6,
        seq_len: 9,
        micro_batches: 3,
        dropout: 0.1,
        ema_decay,
        ..Default::default()
    }
}

fn trainer(train: TrainConfig, kind: OptimizerKind, device: &Device) -> Trainer {
    let optimizer = OptimizerConfig { kind, warmup_steps: 5, ..OptimizerConfig::default() };
    Trainer::new(model(llama_config(), device), Default::default(), 0, train, optimizer).expect("sound settings")
}

fn training_text() -> TrainingText {
    let ids: Vec<u32> = some_ids(1, 400, llama_config().vocab_size).iter().map(|id| *id as u32).collect();
    TrainingText::new(ids, train_config(0.0).seq_len).expect("long enough")
}

fn weights(gpt: &Gpt) -> Vec<(String, Vec<f32>)> {
    let named = parameters::list(gpt).into_iter();
    named.map(|(path, data)| (path, data.try_into_vec::<f32>().expect("f32"))).collect()
}

#[test]
fn the_average_follows_its_formula_and_the_weights_that_are_trained_have_the_bits_of_a_run_without_one() {
    let text = training_text();
    for (device_name, device) in devices() {
        for (kind, decay, gradient_checkpointing) in
            [(OptimizerKind::Adamw, 0.9, false), (OptimizerKind::Muon, 0.5, false), (OptimizerKind::Muon, 0.99, true)]
        {
            let train = |decay| TrainConfig { gradient_checkpointing, ..train_config(decay) };
            let mut averaged = trainer(train(decay), kind, &device);
            let mut plain = trainer(train(0.0), kind, &device);
            let mut expected: Vec<Vec<f64>> = weights(&plain.model())
                .into_iter()
                .map(|(_, values)| values.into_iter().map(f64::from).collect())
                .collect();
            for step in 1..=30 {
                let (with, without) = (averaged.step(&text).expect("sound"), plain.step(&text).expect("sound"));
                assert_eq!(with.loss, without.loss, "{device_name}, {kind:?}: the loss of step {step}");
                // (1 + step) / (10 + step) at first, written out.
                let kept = f64::min(decay, (1.0 + step as f64) / (10.0 + step as f64));
                for (average, (_, weights)) in expected.iter_mut().zip(weights(&plain.model())) {
                    for (average, weight) in average.iter_mut().zip(weights) {
                        *average = kept * *average + (1.0 - kept) * f64::from(weight);
                    }
                }
            }
            assert_eq!(weights(&averaged.raw_model()), weights(&plain.model()), "{device_name}, {kind:?}");
            assert!(averaged.has_average() && !plain.has_average());
            let mut moved = 0.0f64;
            for (((path, found), expected), (_, raw)) in
                weights(&averaged.model()).iter().zip(&expected).zip(weights(&averaged.raw_model()))
            {
                for ((found, expected), raw) in found.iter().zip(expected).zip(raw) {
                    assert!((f64::from(*found) - expected).abs() < 1e-6, "{device_name}, {kind:?}, {path}: {found}");
                    moved = moved.max((f64::from(raw) - expected).abs());
                }
            }
            assert!(moved > 1e-4, "{device_name}, {kind:?}: the average is not where the weights are: {moved}");
        }
    }
}

#[test]
fn an_average_of_weights_that_low_rank_factors_merge_into_is_refused_by_name() {
    let (_, device) = devices().remove(0);
    let gpt = model(llama_config(), &device);
    let factors = LowRankFactors::new(&gpt, &LoraConfig { rank: 2, alpha: 0.0 }, 1).expect("factors");
    let trainer = trainer(train_config(0.9), OptimizerKind::Adamw, &device);
    let message = trainer.with_factors(factors).map(|_| ()).expect_err("refused").to_string();
    assert_says(&message, &["train.ema_decay = 0.9", "low-rank", "train.ema_decay=0"]);
}

/// [`TRAIN`] with an average, a schedule that knows of twelve steps, and dropout.
fn averaged(steps: usize, more: &str) -> String {
    format!(
        "{TRAIN} --set train.ema_decay=0.9 --set optimizer.decay_steps=12 --set train.dropout=0.1 \
         --set train.steps={steps} {more}"
    )
}

#[test]
fn what_is_saved_measured_and_sampled_is_the_average_and_the_weights_lie_beside_it() {
    let test_dir = TestDir::new();
    test_dir.stdout(&averaged(12, ""));
    let plain = TestDir::new();
    plain.stdout(&averaged(12, "--set train.ema_decay=0"));
    let [with, without] = [&test_dir, &plain].map(|dir| metrics(&dir.path("run")));
    assert_eq!(column(&with, "step", "loss"), column(&without, "step", "loss"), "training is the same");
    let [with, without] = [with, without].map(|records| column(&records, "evaluation", "loss"));
    assert!(with.iter().zip(&without).all(|(with, without)| with != without), "{with:?} and {without:?}");

    let [last, plain_last] = [&test_dir, &plain].map(|dir| checkpoint(&dir.path("run"), "last"));
    let read = |path: std::path::PathBuf| fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(read(last.join("raw.safetensors")) == read(plain_last.join("model.safetensors")), "the same weights");
    assert!(read(last.join("model.safetensors")) != read(last.join("raw.safetensors")));
    assert!(read(last.join("optimizer.safetensors")) == read(plain_last.join("optimizer.safetensors")));
    assert!(!plain_last.join("raw.safetensors").exists());

    let measured = test_dir.stdout("eval run/step-000012 --split validation --json");
    let measured: serde_json::Value = serde_json::from_str(&measured).expect("JSON");
    let off = measured["loss"].as_f64().expect("a number") / with.last().expect("an evaluation") - 1.0;
    assert!(off.abs() < 1e-6, "what is measured is what is saved: {off}");
    assert_ne!(test_dir.stdout("sample run --max-tokens 100"), plain.stdout("sample run --max-tokens 100"));
}

#[test]
fn an_averaged_run_that_stops_and_goes_on_ends_in_the_same_bytes() {
    for more in ["", "--set optimizer.kind=muon --set train.micro_batches=2 --set train.patience=9"] {
        let (parts, whole) = (TestDir::new(), TestDir::new());
        parts.stdout(&averaged(5, more));
        parts.stdout("train --resume run --set train.steps=9 --threads 1");
        parts.stdout("train --resume run --set train.steps=12");
        whole.stdout(&averaged(12, more));
        let last = |dir: &TestDir| {
            let tree = Tree::read(&checkpoint(&dir.path("run"), "last")).0.into_iter();
            tree.filter(|(path, _)| path.extension().is_some_and(|kind| kind == "safetensors")).collect::<Vec<_>>()
        };
        assert!(last(&parts).len() == 3 && last(&parts) == last(&whole), "model, weights and optimizer: {more}");
        let losses = |dir: &TestDir| column(&metrics(&dir.path("run")), "evaluation", "loss").pop();
        assert_eq!(losses(&parts), losses(&whole));
    }
}

#[test]
fn a_run_goes_on_without_its_average_from_the_weights_and_with_one_from_where_they_stand() {
    let (averaged_run, plain) = (TestDir::new(), TestDir::new());
    averaged_run.stdout(&averaged(6, ""));
    plain.stdout(&averaged(6, "--set train.ema_decay=0"));
    // Without: as if there had never been one.
    averaged_run.stdout("train --resume run --out without --steps 12 --set train.ema_decay=0");
    plain.stdout("train --resume run --out without --steps 12");
    let file = |dir: &TestDir, run: &str, name: &str| fs::read(checkpoint(&dir.path(run), "last").join(name)).ok();
    for name in ["model.safetensors", "optimizer.safetensors"] {
        assert!(file(&averaged_run, "without", name) == file(&plain, "without", name), "{name}");
    }
    assert_eq!(file(&averaged_run, "without", "raw.safetensors"), None);
    // With: the weights are those of the run without.
    plain.stdout("train --resume run --out with --steps 12 --set train.ema_decay=0.9");
    assert!(file(&plain, "with", "raw.safetensors") == file(&plain, "without", "model.safetensors"));
    assert!(file(&plain, "with", "model.safetensors") != file(&plain, "without", "model.safetensors"));
    // A copy of the run has all of its files.
    assert_eq!(timeless_metrics(&averaged_run.path("without")).len(), timeless_metrics(&plain.path("without")).len());
}

#[test]
fn a_checkpoint_without_its_weights_or_with_damaged_ones_is_not_gone_on_with_and_still_writes() {
    let test_dir = TestDir::new();
    test_dir.stdout(&averaged(6, ""));
    let raw = checkpoint(&test_dir.path("run"), "last").join("raw.safetensors");
    let sound = fs::read(&raw).expect("weights");
    fs::write(&raw, &sound[..sound.len() / 2]).expect("written");
    assert_says(&test_dir.refused("train --resume run --steps 12"), &["raw.safetensors"]);
    fs::remove_file(&raw).expect("removed");
    assert_says(&test_dir.refused("train --resume run --steps 12"), &["raw.safetensors", "no such file"]);
    assert!(!test_dir.stdout("sample run --max-tokens 5").is_empty());
}
