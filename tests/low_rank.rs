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
    let ids: Vec<u32> = some_ids(1, 400, vocab_size).iter().map(|id| *id as u32).collect();
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
        let product =
            (0..LORA.rank).fold(0f32, |sum, k| f32::mul_add(a[row * LORA.rank + k], b[k * columns + column], sum));
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
        for _ in 0..5 {
            trainer.step(&text).expect("finite");
        }
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

#[test]
fn training_learns_by_factors_alone_the_same_way_in_any_number_of_micro_batches() {
    let (gpt, text) = (model(llama_config(), &Device::flex()), text(llama_config().vocab_size));
    let run = |micro_batches| {
        let mut trainer = trainer(&gpt, TrainConfig { micro_batches, dropout: 0.1, ..train_config() });
        let losses: Vec<f64> = (0..40).map(|_| trainer.step(&text).expect("finite").loss).collect();
        (losses, weights(&trainer.model()))
    };
    let (losses, whole) = run(1);
    assert!(losses[39] < losses[0] - 0.3, "{losses:?}");
    for micro_batches in [2, 3] {
        let (pieces, found) = run(micro_batches);
        let furthest = losses.iter().zip(&pieces).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(furthest < 1e-3, "{micro_batches} pieces: {furthest}");
        for (path, (_, values)) in &found {
            let difference = max_difference(values, &whole[path].1);
            assert!(difference < 1e-2, "{micro_batches} pieces, {path}: {difference}");
        }
    }
}

#[test]
fn a_rank_that_saves_nothing_muon_and_damaged_factors_are_refused() {
    let gpt = model(llama_config(), &Device::flex());
    let error = |lora: LoraConfig| LowRankFactors::new(&gpt, &lora, 1).expect_err("refused").to_string();
    assert!(LowRankFactors::new(&gpt, &LoraConfig { rank: 24, alpha: 0.0 }, 1).is_ok(), "attention.output is 24 × 28");
    let message = error(LoraConfig { rank: 25, alpha: 0.0 });
    assert!(
        message.contains("lora.rank = 25 is more than the 24") && message.contains("attention.output"),
        "{message}"
    );
    for alpha in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(error(LoraConfig { rank: 2, alpha }).starts_with("lora.alpha = "));
    }
    let factors = LowRankFactors::new(&gpt, &LORA, 1).expect("sound");
    let muon = OptimizerConfig { kind: OptimizerKind::Muon, ..optimizer() };
    let trainer = Trainer::new(gpt.clone(), Optimizer::default(), 0, train_config(), muon).expect("sound");
    let message = trainer.with_factors(factors.clone()).err().expect("Muon trains no factors").to_string();
    assert!(message.starts_with("optimizer.kind = \"muon\": "), "{message}");

    let read = |tensors: Named| {
        let read = LowRankFactors::from_tensors(tensors, &gpt, &LORA, &Device::flex());
        read.map(|factors| factors.tensors()).map_err(|error| error.to_string())
    };
    let tensors = named(factors.tensors());
    assert_eq!(named(read(tensors.clone()).expect("whole")), tensors);
    let path = "blocks.1.mlp.down.lora_b";
    let mut lacking = tensors.clone();
    let (shape, values) = lacking.remove(path).expect("a factor");
    assert!(read(lacking.clone()).expect_err("it lacks one").contains(path));
    lacking.insert(path.to_owned(), (vec![shape[1], shape[0]], values));
    assert!(read(lacking).expect_err("turned").contains("has shape [28, 3], not [3, 28]"));
    let mut more = tensors;
    more.insert("blocks.2.mlp.down.lora_b".to_owned(), (vec![1, 1], vec![0.0]));
    assert!(read(more).expect_err("one more").contains("blocks.2.mlp.down.lora_b"));
}

#[test]
fn the_draw_of_a_factor_is_named_by_the_seed_and_its_path_and_has_the_size_of_its_inputs() {
    let gpt = model(gpt2_config(), &Device::flex());
    let tensors = |seed| named(LowRankFactors::new(&gpt, &LORA, seed).expect("sound").tensors());
    let (first, again, other) = (tensors(1), tensors(1), tensors(2));
    assert_eq!(first, again);
    let mut seen = std::collections::BTreeSet::new();
    for (path, (shape, values)) in &first {
        if path.ends_with("lora_b") {
            assert!(values.iter().all(|value| *value == 0.0), "{path}");
        } else if path.ends_with("lora_a") {
            assert_ne!(values, &other[path].1, "{path}");
            assert!(seen.insert(bits(values)), "{path} has the draws of another");
            let square = values.iter().map(|value| value * value).sum::<f32>() / values.len() as f32;
            assert!((0.4..2.0).contains(&(square * shape[0] as f32)), "{path}: {square} for {} inputs", shape[0]);
        }
    }
    assert_eq!(seen.len(), 4 * gpt2_config().n_layers);
}
