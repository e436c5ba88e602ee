//! Several steps of Muon beside AdamW against a small implementation in f64, from the same gradients.

use std::collections::BTreeMap;

use tril_model::{Gpt, GptConfig, parameters};
use tril_train::optimizer::Optimizer;
use tril_train::{Decay, OptimizerConfig, OptimizerKind, TrainConfig, Trainer, TrainingText};

use crate::support::*;

/// Of a weight's way since the beginning: the largest difference over the largest way of an element.
const TOLERANCE: f64 = 1e-3;

const STEPS: u64 = 8;

fn settings() -> (TrainConfig, OptimizerConfig) {
    let train = TrainConfig { steps: STEPS, batch_size: 4, seq_len: 9, micro_batches: 2, ..TrainConfig::default() };
    let optimizer = OptimizerConfig {
        kind: OptimizerKind::Muon,
        learning_rate: 0.01,
        min_learning_rate: 0.002,
        muon_learning_rate: 0.03,
        warmup_steps: 2,
        decay: Decay::Linear,
        decay_start: 4,
        momentum: 0.9,
        momentum_start: 0.5,
        momentum_warmup_steps: 5,
        weight_decay: 0.3,
        max_grad_norm: 0.0,
        ..OptimizerConfig::default()
    };
    (train, optimizer)
}

/// The settings of each step, written out: rates as a share of the highest, and the momentum.
const SHARES: [f64; STEPS as usize] = [0.5, 1.0, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2];
const MOMENTA: [f64; STEPS as usize] = [0.58, 0.66, 0.74, 0.82, 0.9, 0.9, 0.9, 0.9];

fn configs() -> [(&'static str, GptConfig); 2] {
    [("llama", GptConfig { qk_norm: true, ..llama_config() }), ("gpt2", gpt2_config())]
}

fn trainer(config: &GptConfig, optimizer: OptimizerConfig) -> Trainer {
    let gpt = Gpt::new(config.clone(), 5, &burn::tensor::Device::flex()).expect("a sound config");
    Trainer::new(gpt, Optimizer::default(), 0, settings().0, optimizer).expect("sound settings")
}

fn text(vocab_size: usize) -> TrainingText {
    let ids: Vec<u32> = some_ids(1, 300, vocab_size).iter().map(|id| *id as u32).collect();
    TrainingText::new(ids, 9).expect("long enough")
}

type Weights = BTreeMap<String, (Vec<usize>, Vec<f64>)>;

fn weights(gpt: &Gpt) -> Weights {
    let wide = |data: burn::tensor::TensorData| data.iter::<f64>().collect();
    parameters::list(gpt).into_iter().map(|(path, data)| (path, (data.shape().to_vec(), wide(data)))).collect()
}

/// Trains with the given settings, and takes the steps of [`settings`] in f64 beside it from the gradients that it
/// computes. Returns the weights at the beginning, the trainer's at the end, and those in f64.
fn both_ways(config: &GptConfig, optimizer: OptimizerConfig) -> [Weights; 3] {
    let mut trainer = trainer(config, optimizer);
    let text = text(config.vocab_size);
    let begin = weights(&trainer.model());
    let mut reference = begin.clone();
    let mut states: BTreeMap<String, [Vec<f64>; 2]> = BTreeMap::new();
    let resolved = trainer.model().config().clone();
    for step in 1..=STEPS as usize {
        let (_, gradients) = trainer.gradients(&text).expect("finite");
        for (path, gradient) in gradients {
            let gradient: Vec<f64> = values(gradient).into_iter().map(f64::from).collect();
            let (shape, weight) = reference.get_mut(&path).expect("a parameter");
            let zero = || [vec![0.0; weight.len()], vec![0.0; weight.len()]];
            let state = states.entry(path.clone()).or_insert_with(zero);
            let matrix = path.starts_with("blocks.") && shape.len() == 2;
            if matrix {
                muon(weight, &mut state[0], &gradient, shape[0], &columns(&path, &resolved), step);
            } else {
                adamw(weight, state, &gradient, shape.len() == 2, step);
            }
        }
        trainer.step(&text).expect("finite");
    }
    [begin, weights(&trainer.model()), reference]
}

fn columns(path: &str, config: &GptConfig) -> Vec<usize> {
    let GptConfig { n_heads, n_kv_heads, d_head, d_model, d_ff, .. } = *config;
    match path.rsplit('.').nth(1) {
        Some("qkv") => vec![n_heads * d_head, n_kv_heads * d_head, n_kv_heads * d_head],
        Some("up") if config.mlp == tril_model::MlpKind::Swiglu => vec![d_ff, d_ff],
        Some("up") => vec![d_ff],
        _ => vec![d_model],
    }
}

fn muon(weight: &mut [f64], mean: &mut [f64], gradient: &[f64], rows: usize, widths: &[usize], step: usize) {
    let (rate, beta) = (0.03 * SHARES[step - 1], MOMENTA[step - 1]);
    let total = weight.len() / rows;
    let mut look_ahead = vec![0.0; weight.len()];
    for i in 0..weight.len() {
        mean[i] = beta * mean[i] + (1.0 - beta) * gradient[i];
        look_ahead[i] = beta * mean[i] + (1.0 - beta) * gradient[i];
    }
    let mut first = 0;
    for width in widths {
        let part = Matrix::new(rows, *width, |i, j| look_ahead[i * total + first + j]);
        let direction = part.orthogonalized();
        let scale = (*width as f64 / rows as f64).max(1.0).sqrt();
        for i in 0..rows {
            for j in 0..*width {
                let weight = &mut weight[i * total + first + j];
                *weight -= rate * (0.3 * *weight + scale * direction.at(i, j));
            }
        }
        first += width;
    }
}

fn adamw(weight: &mut [f64], [first, second]: &mut [Vec<f64>; 2], gradient: &[f64], decays: bool, step: usize) {
    let rate = 0.01 * SHARES[step - 1];
    for i in 0..weight.len() {
        first[i] = 0.9 * first[i] + 0.1 * gradient[i];
        second[i] = 0.99 * second[i] + 0.01 * gradient[i] * gradient[i];
        let mean = first[i] / (1.0 - 0.9f64.powi(step as i32));
        let root = (second[i] / (1.0 - 0.99f64.powi(step as i32))).sqrt();
        let decay = if decays { 0.3 * weight[i] } else { 0.0 };
        weight[i] -= rate * (mean / (root + 1e-8) + decay);
    }
}

/// A matrix in f64, as simple as it can be.
#[derive(Clone)]
struct Matrix {
    rows: usize,
    columns: usize,
    values: Vec<f64>,
}

impl Matrix {
    fn new(rows: usize, columns: usize, value: impl Fn(usize, usize) -> f64) -> Self {
        let values = (0..rows * columns).map(|at| value(at / columns, at % columns)).collect();
        Self { rows, columns, values }
    }

    fn at(&self, i: usize, j: usize) -> f64 {
        self.values[i * self.columns + j]
    }

    fn times(&self, other: &Self) -> Self {
        let sum = |i, j| (0..self.columns).map(|p| self.at(i, p) * other.at(p, j)).sum();
        Self::new(self.rows, other.columns, sum)
    }

    fn transposed(&self) -> Self {
        Self::new(self.columns, self.rows, |i, j| self.at(j, i))
    }

    fn norm(&self) -> f64 {
        self.values.iter().map(|value| value * value).sum::<f64>().sqrt()
    }

    /// By the steps that were published, on the whole matrix, whichever side is longer.
    fn orthogonalized(&self) -> Self {
        let norm = self.norm() + 1e-7;
        let x = Self::new(self.rows, self.columns, |i, j| self.at(i, j) / norm);
        let gram = if self.rows < self.columns { x.times(&x.transposed()) } else { x.transposed().times(&x) };
        let bound = (gram.times(&gram).norm().sqrt() + 1e-7).sqrt();
        let mut x = Self::new(self.rows, self.columns, |i, j| x.at(i, j) / bound);
        for [a, b, c] in tril_kernels::NEWTON_SCHULZ {
            let cube = x.times(&x.transposed()).times(&x);
            let fifth = x.times(&x.transposed()).times(&cube);
            x = Self::new(self.rows, self.columns, |i, j| a * x.at(i, j) + b * cube.at(i, j) + c * fifth.at(i, j));
        }
        x
    }
}

#[test]
fn several_steps_of_muon_beside_adamw_are_those_of_an_implementation_in_f64() {
    for (name, config) in configs() {
        let [begin, found, expected] = both_ways(&config, settings().1);
        for (path, (_, begin)) in &begin {
            let (found, expected) = (&found[path].1, &expected[path].1);
            let way = begin.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / way;
            println!("{off:.1e} {name}: {path}");
            assert!(off < TOLERANCE, "{name}: {path} is off by {off} of its way");
        }
    }
}

#[test]
fn other_settings_of_muon_lead_elsewhere() {
    let (_, config) = configs()[0].clone();
    let given = settings().1;
    let faults = [
        ("another rate", OptimizerConfig { muon_learning_rate: 0.031, ..given.clone() }),
        ("another momentum", OptimizerConfig { momentum: 0.89, ..given.clone() }),
        ("another beginning of it", OptimizerConfig { momentum_start: 0.45, ..given.clone() }),
        ("a slower rise of it", OptimizerConfig { momentum_warmup_steps: 6, ..given.clone() }),
        ("a later decay", OptimizerConfig { decay_start: 5, ..given.clone() }),
        ("a cosine", OptimizerConfig { decay: Decay::Cosine, ..given.clone() }),
        ("no weight decay", OptimizerConfig { weight_decay: 0.0, ..given.clone() }),
        ("AdamW alone", OptimizerConfig { kind: OptimizerKind::Adamw, ..given.clone() }),
    ];
    for (fault, optimizer) in faults {
        let [begin, found, expected] = both_ways(&config, optimizer);
        let off = |path: &str| {
            let (begin, found, expected) = (&begin[path].1, &found[path].1, &expected[path].1);
            let way = begin.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / way
        };
        let off = off("blocks.1.mlp.up.weight");
        println!("{off:.1e} {fault}");
        assert!(off > 5.0 * TOLERANCE, "{fault} would go unnoticed: it moves weights by {off} of their way");
    }
}
