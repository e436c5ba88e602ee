//! Gradient checkpointing and late reading: what saves memory and time changes no number, and hides no mistake.

use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use tril::{ComputeDevice, Corpus, DeviceChoice, Document, ExistingRun, Model, Recipe, Training};
use tril_model::{Gpt, GptConfig};
use tril_train::{
    Evaluation, LoraConfig, LowRankFactors, OptimizerConfig, OptimizerKind, StepReport, TrainConfig, TrainObserver,
    Trainer, TrainingText,
};

use crate::commands::test_dir::{TRAIN, TestDir, Tree, text, timeless_metrics};
use crate::support::*;

fn train_config() -> TrainConfig {
    TrainConfig { steps: 6, batch_size: 6, seq_len: 9, ..TrainConfig::default() }
}

fn training_text(vocab_size: usize) -> TrainingText {
    let ids: Vec<u32> = some_ids(1, 400, vocab_size).iter().map(|id| *id as u32).collect();
    TrainingText::new(ids, train_config().seq_len).expect("long enough")
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Loss and gradients of a step's batch, by path.
fn gradients(config: &GptConfig, train: &TrainConfig, lora: &LoraConfig, device: &Device) -> Vec<(String, Vec<f32>)> {
    let gpt = model(config.clone(), device);
    let factors = lora.is_used().then(|| LowRankFactors::new(&gpt, lora, 3).expect("factors"));
    let trainer = Trainer::new(gpt, Default::default(), 0, train.clone(), OptimizerConfig::default()).expect("sound");
    let trainer = match factors {
        Some(factors) => trainer.with_factors(factors).expect("AdamW"),
        None => trainer,
    };
    let (loss, gradients) = trainer.gradients(&training_text(config.vocab_size)).expect("finite");
    let named = gradients.into_iter().map(|(path, gradient)| (path, values(gradient)));
    [("the loss".to_owned(), vec![loss as f32])].into_iter().chain(named).collect()
}

#[test]
fn blocks_that_are_computed_again_give_every_gradient_the_same_bits_on_the_cpu_and_the_same_number_elsewhere() {
    for (device_name, device) in devices() {
        for (name, config) in all_configs() {
            for (dropout, micro_batches, rank) in [(0.0, 1, 0), (0.2, 3, 0), (0.1, 2, 4)] {
                let lora = LoraConfig { rank, alpha: 0.0 };
                let with = |gradient_checkpointing| {
                    let train = TrainConfig { dropout, micro_batches, gradient_checkpointing, ..train_config() };
                    gradients(&config, &train, &lora, &device)
                };
                let (kept, again) = (with(false), with(true));
                assert_eq!(kept.len(), again.len(), "{device_name}, {name}: all parameters");
                for ((path, kept), (other, again)) in kept.iter().zip(&again) {
                    assert_eq!(path, other, "{device_name}, {name}");
                    if device_name == "cpu" {
                        assert_eq!(bits(kept), bits(again), "{name}, dropout {dropout}, rank {rank}: {path}");
                    } else if kept.iter().any(|value| *value != 0.0) {
                        // A key's bias has a gradient of zero but for rounding.
                        let largest = kept.iter().fold(1e-3f32, |largest, value| largest.max(value.abs()));
                        let off = max_difference(kept, again) / largest;
                        assert!(off < 1e-5, "{device_name}, {name}: {path} is off by {off}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_run_with_gradient_checkpointing_leaves_the_files_of_one_without() {
    let test_dir = TestDir::new();
    for kind in [OptimizerKind::Adamw, OptimizerKind::Muon] {
        let kind = format!("{kind:?}").to_lowercase();
        let train = |out: &str, more: &str| {
            let line = TRAIN.replace("--out run", &format!("--out {kind}-{out}"));
            test_dir.stdout(&format!(
                "{line} --set train.dropout=0.1 --set train.micro_batches=2 --set optimizer.kind={kind} {more}"
            ));
            test_dir.path(&format!("{kind}-{out}"))
        };
        let kept = train("kept", "");
        let again = train("again", "--set train.gradient_checkpointing=true --set train.fetch_interval=2");
        assert_eq!(timeless_metrics(&kept), timeless_metrics(&again));
        let files = |run| {
            let tree = Tree::read(run).0.into_iter();
            tree.filter(|(path, _)| path.extension().is_some_and(|kind| kind == "safetensors")).collect::<Vec<_>>()
        };
        assert!(files(&kept).len() >= 2 && files(&kept) == files(&again), "weights and optimizer to the last byte");
    }
}

/// Counts how often reports come, and how many.
#[derive(Default)]
struct Readings {
    /// Steps that were told of since the model was last shown, which it is after every step.
    told: usize,
    readings: Vec<usize>,
}

impl TrainObserver for Readings {
    fn step(&mut self, _report: &StepReport, _tokens: usize, _seconds: f64) {
        self.told += 1;
    }

    fn evaluation(&mut self, _step: u64, _evaluation: &Evaluation, _is_best: bool) {}

    fn model(&mut self, _step: u64, _model: &dyn Fn() -> Gpt) {
        if self.told > 0 {
            self.readings.push(std::mem::take(&mut self.told));
        }
    }
}

/// The devices of this build that every machine has; tests of a GPU call what is here too.
fn compute_devices() -> Vec<ComputeDevice> {
    let names = ["cpu", "ndarray"].into_iter().filter(|name| DeviceChoice::compiled_in().contains(name));
    let open = |name: &str| ComputeDevice::open(name.parse().expect("a device")).expect("it is there");
    names.map(open).collect()
}

fn training(dir: &TestDir, settings: &[&str], device: &ComputeDevice) -> Training {
    let mut recipe = Recipe::shipped("smoke").expect("a recipe");
    recipe.set_all(&["data.validation_fraction=0.1", "train.eval_interval=1000"]).expect("fields");
    recipe.set_all(&["train.checkpoint_interval=1000"]).expect("a field");
    recipe.set_all(settings).expect("fields");
    let corpus = Corpus::new("text", vec![Document::new("text", text())]);
    let run = dir.path(&device.choice().to_string().replace(':', "-"));
    Training::begin_on(&corpus, recipe, run, ExistingRun::Replace, device).expect("a run")
}

#[test]
fn losses_are_read_every_so_many_steps_off_the_cpu_and_none_is_left_out() {
    compute_devices().iter().for_each(is_read_every_so_many_steps);
}

pub fn is_read_every_so_many_steps(device: &ComputeDevice) {
    let dir = TestDir::new();
    let mut seen = Readings::default();
    let mut training =
        training(&dir, &["train.steps=23", "train.eval_interval=12", "train.checkpoint_interval=15"], device);
    training.train(&mut seen, &AtomicBool::new(false)).expect("trained");
    // The first step, the tenth, the twelfth before it is measured, the fifteenth before it is saved, and so on.
    let expected = if device.is_cpu() { vec![1; 23] } else { vec![1, 9, 2, 3, 5, 3] };
    assert_eq!(seen.readings, expected, "{device}");
    let steps = timeless_metrics(training.dir().path()).into_iter().filter(|line| line["kind"] == "step");
    let steps: Vec<u64> = steps.map(|line| line["step"].as_u64().expect("a number")).collect();
    assert_eq!(steps, (1..=23).collect::<Vec<_>>(), "{device}");
}

#[test]
fn what_breaks_between_two_readings_ends_the_run_before_it_is_measured_or_saved() {
    compute_devices().iter().for_each(breaks_in_time);
}

pub fn breaks_in_time(device: &ComputeDevice) {
    let dir = TestDir::new();
    let broken = [
        "optimizer.learning_rate=1e30",
        "optimizer.min_learning_rate=1e30",
        "optimizer.warmup_steps=0",
        "optimizer.max_grad_norm=0",
        "train.fetch_interval=50",
        "train.steps=40",
    ];
    for more in [&[][..], &["train.eval_interval=7"], &["train.checkpoint_interval=5"]] {
        let settings: Vec<&str> = broken.iter().chain(more).copied().collect();
        let mut training = training(&dir, &settings, device);
        let error = training.train(&mut Readings::default(), &AtomicBool::new(false)).expect_err("it diverges");
        assert!(!error.is_user_error(), "{device}: exit code 1");
        assert!(error.to_string().contains("saved nothing of it"), "{device}: {error}");
        let saved = Tree::read(training.dir().path()).0.into_keys();
        let saved: Vec<_> = saved.filter(|path| path.ends_with("model.safetensors")).collect();
        assert_eq!(saved, Vec::<std::path::PathBuf>::new(), "{device}, {more:?}");
    }
    // What was saved before is the best that there is, and whole.
    let settings: Vec<&str> =
        broken.iter().chain(&["train.checkpoint_interval=1", "train.fetch_interval=3"]).copied().collect();
    let mut training = training(&dir, &settings, device);
    training.train(&mut Readings::default(), &AtomicBool::new(false)).expect_err("it diverges");
    let last = training.dir().last().expect("the first step was sound");
    Model::open(last, &ComputeDevice::cpu()).expect("a whole checkpoint");
}
