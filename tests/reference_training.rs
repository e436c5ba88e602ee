//! The gradient of every parameter and ten steps of training are those of PyTorch: `scripts/make_reference_fixture.py`
//! wrote `tests/fixtures`, with a model of its own in float64.

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::tensor::Device;
use serde::Deserialize;
use tril_model::parameters::{self, Init, WeightSource};
use tril_model::tensor_file::{NamedTensors, read_tensors};
use tril_model::{Gpt, GptConfig, ModelError};
use tril_train::{OptimizerConfig, StepReport, TrainConfig, Trainer, TrainingText};

use crate::support::*;

/// Of a parameter's gradient: the largest difference over the largest element. Of a loss: the difference in nats.
const TOLERANCE: f64 = 1e-4;

/// A model, a text and what PyTorch made of them.
#[derive(Deserialize)]
struct Case {
    model: GptConfig,
    train: TrainConfig,
    optimizer: OptimizerConfig,
    ids: Vec<u32>,
    /// Of each step and the one after the last, where the window of each row begins.
    starts: Vec<Vec<usize>>,
    steps: Vec<Step>,
    /// Of the batch after the last.
    next_loss: f64,
    /// `weights/…` and `gradients/…` of the first step, each with the path of its parameter.
    #[serde(skip)]
    tensors: NamedTensors,
}

#[derive(Deserialize)]
struct Step {
    loss: f64,
    grad_norm: f64,
    learning_rate: f64,
}

fn cases() -> BTreeMap<String, Case> {
    let dir = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures"));
    let text = std::fs::read_to_string(dir.join("training.json")).expect("the fixture");
    let mut cases: BTreeMap<String, Case> = serde_json::from_str(&text).expect("JSON of cases");
    for (name, case) in &mut cases {
        case.tensors = read_tensors(&dir.join(format!("{name}.safetensors"))).expect("the fixture's tensors");
    }
    cases
}

impl Case {
    fn gpt(&self, device: &Device) -> Gpt {
        let mut weights = Weights(&self.tensors);
        let gpt = Gpt::from_source(self.model.clone(), &mut weights, device).expect("the fixture's weights");
        let ours: Vec<String> = parameters::list(&gpt).iter().map(|(path, _)| format!("weights/{path}")).collect();
        let theirs: Vec<&String> = self.tensors.keys().filter(|name| name.starts_with("weights/")).collect();
        assert_eq!(ours.iter().collect::<Vec<_>>(), theirs, "both models have the same parameters");
        gpt
    }

    fn text(&self) -> TrainingText {
        TrainingText::new(self.ids.clone(), self.train.seq_len).expect("long enough")
    }

    fn trainer(&self, train: TrainConfig, optimizer: OptimizerConfig, device: &Device) -> Trainer {
        Trainer::new(self.gpt(device), Default::default(), 0, train, optimizer).expect("sound settings")
    }
}

/// The weights of a fixture.
struct Weights<'a>(&'a NamedTensors);

impl WeightSource for Weights<'_> {
    fn values(&mut self, path: &str, shape: &[usize], _init: Init) -> Result<Vec<f32>, ModelError> {
        let (found, values) = self.0.get(&format!("weights/{path}")).unwrap_or_else(|| panic!("no `{path}`"));
        assert_eq!(found, shape, "{path}");
        Ok(values.clone())
    }
}

/// What each step of a trainer reports, and by how many nats the losses differ from the reference's at most, the loss
/// after the last step included.
fn ten_steps(mut trainer: Trainer, case: &Case) -> (Vec<StepReport>, f64) {
    let text = case.text();
    let reports: Vec<StepReport> = case.steps.iter().map(|_| trainer.step(&text).expect("finite")).collect();
    let (next_loss, _) = trainer.gradients(&text).expect("finite");
    assert!(next_loss.is_finite(), "{next_loss} after the last step");
    let of_steps = reports.iter().zip(&case.steps).map(|(found, expected)| (found.loss - expected.loss).abs());
    let difference = of_steps.fold((next_loss - case.next_loss).abs(), f64::max);
    (reports, difference)
}

#[test]
fn the_reference_learnt_from_the_windows_that_training_learns_from() {
    let mut differ = String::new();
    for (name, case) in cases() {
        let TrainConfig { steps, batch_size, seed, .. } = case.train;
        let text = case.text();
        let starts = |step| (0..batch_size).map(|row| text.window_start(seed, step, row, batch_size)).collect();
        let ours: Vec<Vec<usize>> = (1..=steps + 1).map(starts).collect();
        if case.starts != ours {
            differ += &format!("{name:?}: {ours:?},\n");
        }
    }
    assert!(differ.is_empty(), "put these into STARTS of the script and run it:\n{differ}");
}

#[test]
fn every_parameter_has_the_gradient_of_the_reference() {
    for (device_name, device) in devices() {
        for (name, case) in cases() {
            let trainer = case.trainer(case.train.clone(), case.optimizer.clone(), &device);
            let (loss, gradients) = trainer.gradients(&case.text()).expect("finite");
            let off = (loss - case.steps[0].loss).abs();
            assert!(off < TOLERANCE, "{device_name}, {name}: the loss is off by {off}");
            let weights = case.tensors.keys().filter_map(|name| name.strip_prefix("weights/"));
            assert!(weights.eq(gradients.keys()), "{name}: every parameter has a gradient");
            for (path, gradient) in gradients {
                let (_, expected) = &case.tensors[&format!("gradients/{path}")];
                let off = relative_difference(&values(gradient), expected);
                println!("{off:.1e} {device_name}, {name}: {path}");
                assert!(off < TOLERANCE, "{device_name}, {name}: the gradient of {path} is off by {off}");
            }
        }
    }
}

#[test]
fn ten_steps_of_clipped_adamw_have_the_losses_of_the_reference_in_one_batch_and_in_several() {
    for (device_name, device) in devices() {
        for (name, case) in cases() {
            let limit = case.optimizer.max_grad_norm;
            let clipped = case.steps.iter().filter(|step| step.grad_norm > limit).count();
            assert!((2..9).contains(&clipped), "{name}: {clipped} steps are clipped, which shows too little");
            for micro_batches in [1, 2, 3] {
                let train = TrainConfig { micro_batches, ..case.train.clone() };
                let (reports, off) = ten_steps(case.trainer(train, case.optimizer.clone(), &device), &case);
                for (found, expected) in reports.iter().zip(&case.steps) {
                    let norm = (found.grad_norm / expected.grad_norm - 1.0).abs();
                    assert!(norm < TOLERANCE, "{device_name}, {name}: {found:?}, not a norm of {}", expected.grad_norm);
                    assert!((found.learning_rate - expected.learning_rate).abs() < 1e-12, "{name}: {found:?}");
                }
                println!("{off:.1e} {device_name}, {name}, {micro_batches} micro-batches");
                assert!(off < TOLERANCE, "{device_name}, {name}: the losses differ by {off}");
            }
        }
    }
}

#[test]
fn other_settings_of_the_optimizer_lead_to_other_losses() {
    let (_, device) = devices().remove(0);
    for (name, case) in cases() {
        let given = case.optimizer.clone();
        let faults = [
            ("no decay", OptimizerConfig { weight_decay: 0.0, ..given.clone() }),
            ("no clipping", OptimizerConfig { max_grad_norm: 0.0, ..given.clone() }),
            ("a tenth more clipping", OptimizerConfig { max_grad_norm: given.max_grad_norm * 0.9, ..given.clone() }),
            ("another beta1", OptimizerConfig { beta1: 0.88, ..given.clone() }),
            ("another beta2", OptimizerConfig { beta2: 0.98, ..given.clone() }),
            ("a shorter warm-up", OptimizerConfig { warmup_steps: given.warmup_steps - 1, ..given.clone() }),
            ("a later floor", OptimizerConfig { decay_steps: given.decay_steps + 1, ..given.clone() }),
        ];
        for (fault, optimizer) in faults {
            let (_, difference) = ten_steps(case.trainer(case.train.clone(), optimizer, &device), &case);
            println!("{name}, {fault}: {difference:.1e}");
            assert!(
                difference > 10.0 * TOLERANCE,
                "{name}: {fault} would go unnoticed, it moves losses by {difference}"
            );
        }
    }
}
