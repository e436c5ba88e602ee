//! Low-rank factors: their gradients are those of their definition, the merged weights follow one formula to the last bit,
//! all else stays as it was, and no result depends on threads or on where a run was stopped.

use std::collections::BTreeMap;

use burn::tensor::Device;
use tril_model::{Gpt, parameters};
use tril_train::optimizer::Optimizer;
use tril_train::{LoraConfig, LowRankFactors, OptimizerConfig, OptimizerKind, TrainConfig, Trainer, TrainingText};

use crate::support::*;

const LORA: LoraConfig = LoraConfig { rank: 3, alpha: 5.0 };

fn train_config() -> TrainConfig {
    TrainConfig { steps: 40, batch_size: 6, seq_len: 9, ..TrainConfig::default() }
}

fn optimizer() -> OptimizerConfig {
    OptimizerConfig { learning_rate: 2e-2, warmup_steps: 2, ..OptimizerConfig::default() }
}

fn text(vocab_size: usize) -> TrainingText {
    let ids = some_ids(1, 400, vocab_size).iter().map(|id| *id as u32).collect();
    TrainingText::new(ids, train_config().seq_len).expect("long enough")
}

fn trainer(gpt: &Gpt, train: TrainConfig) -> Trainer {
    let factors = LowRankFactors::new(gpt, &LORA, train.seed).expect("a sound rank");
    let trainer = Trainer::new(gpt.clone(), Optimizer::default(), 0, train, optimizer()).expect("sound settings");
    trainer.with_factors(factors).expect("AdamW")
}

/// Shape and values by path.
type Named = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn named(tensors: Vec<(String, burn::tensor::TensorData)>) -> Named {
    let values = |data: burn::tensor::TensorData| (data.shape().to_vec(), data.try_into_vec::<f32>().expect("f32"));
    tensors.into_iter().map(|(path, data)| (path, values(data))).collect()
}

fn weights(gpt: &Gpt) -> Named {
    named(parameters::list(gpt))
}

fn is_block_matrix(path: &str, shape: &[usize]) -> bool {
    path.starts_with("blocks.") && shape.len() == 2
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// base + (alpha / rank)·(A·B), as the documentation of the factors says it, in plain arithmetic.
fn merged(factors: &Named, path: &str) -> Vec<f32> {
    let stem = path.strip_suffix(".weight").expect("a weight");
    let (shape, base) = &factors[path];
    let ([_, columns], (_, a), (_, b)) =
        ([shape[0], shape[1]], &factors[&format!("{stem}.lora_a")], &factors[&format!("{stem}.lora_b")]);
    let scale = (LORA.alpha / LORA.rank as f64) as f32;
    let element = |(at, base): (usize, &f32)| {
        let (row, column) = (at / columns, at % columns);
        let product = (0..LORA.rank)
            .fold(0f32, |sum, k| f32::mul_add(a[row * LORA.rank + k], b[k * columns + column], sum));
        base + product * scale
    };
    base.iter().enumerate().map(element).collect()
}

#[test]
fn merged_weights_are_base_plus_scaled_product_to_the_last_bit_and_all_else_keeps_its_bits() {
    for (name, config) in all_configs() {
        let gpt = model(config.clone(), &Device::flex());
        let (before, text) = (weights(&gpt), text(config.vocab_size));
        let mut trainer = trainer(&gpt, train_config());
        assert_eq!(weights(&trainer.model()), before, "{name}: B is zero, so the model begins as it was");
        (0..5).for_each(|_| drop(trainer.step(&text).expect("finite")));
        let after = weights(&trainer.model());
        let factors = named(trainer.factors().expect("factors").tensors());
        for (path, (shape, values)) in &after {
            if is_block_matrix(path, shape) {
                assert_eq!(bits(values), bits(&merged(&factors, path)), "{name}: {path}");
                assert_ne!(values, &before[path].1, "{name}: {path} has learnt");
                assert_eq!(factors[path], before[path], "{name}: what {path} is merged from stays");
            } else {
                assert_eq!(bits(values), bits(&before[path].1), "{name}: {path}");
            }
        }
        assert_eq!(factors.len(), 3 * 4 * config.n_layers, "{name}: {:?}", factors.keys());
    }
}

#[test]
fn gradients_of_factors_are_those_of_the_loss_by_finite_differences() {
    for (name, config) in [("gpt2", gpt2_config()), ("llama", llama_config())] {
        let (gpt, text) = (model(config.clone(), &Device::flex()), text(config.vocab_size));
        // One step away from the beginning, where B and so the gradient of A are zero.
        let mut trainer = trainer(&gpt, train_config());
        trainer.step(&text).expect("finite");
        let tensors = trainer.factors().expect("factors").tensors();
        let (_, gradients) = trainer.gradients(&text).expect("gradients");
        let found: BTreeMap<String, Vec<f32>> =
            gradients.into_iter().map(|(path, gradient)| (path, values(gradient))).collect();
        assert_eq!(found.len(), 2 * 4 * config.n_layers);
        // The loss of the same batch with one number of one factor moved.
        let loss = |path: &str, at: usize, by: f32| {
            let mut moved = named(tensors.clone());
            moved.get_mut(path).expect("a factor").1[at] += by;
            let factors = LowRankFactors::from_tensors(moved, &gpt, &LORA, &Device::flex()).expect("whole");
            let trainer = Trainer::new(gpt.clone(), Optimizer::default(), 1, train_config(), optimizer());
            let trainer = trainer.expect("sound").with_factors(factors).expect("AdamW");
            trainer.gradients(&text).expect("gradients").0
        };
        for (path, gradient) in &found {
            let largest = gradient.iter().fold(0f32, |max, value| max.max(value.abs()));
            let at = gradient.iter().position(|value| value.abs() == largest).expect("a largest one");
            let step = 1e-2;
            let measured = (loss(path, at, step) - loss(path, at, -step)) / (2.0 * f64::from(step));
            let expected = f64::from(gradient[at]);
            assert!((measured / expected - 1.0).abs() < 0.03, "{name}, {path}: {measured} and {expected}");
        }
    }
}
