//! How fast a machine trains and generates, and how near that is to what it can do. Random weights and tokens: their
//! values do not change the time. Nothing is written.

mod guesses;
mod machine;
mod profile;

use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use serde::Serialize;
use tril_infer::{GenerateOptions, Generator, InferError, LanguageModel, SamplerConfig, choose};
use tril_kernels::profile::{profiled, restart};
use tril_model::{Gpt, GptConfig, WeightFormat, random};
use tril_train::{OptimizerConfig, TrainConfig, Trainer, TrainingText};

use crate::ProveError;
use crate::work::{pass_flops, step_bytes};
pub use guesses::{GuessReport, PassTime, bench_guesses};
pub use profile::{BenchPart, BenchProfile};

/// Names the weights and the tokens.
const SEED: u64 = 1337;

/// Steps' worth of text to train on: enough that batches differ.
const STEPS_OF_TEXT: usize = 32;

/// Tokens of a prompt: what the generator lets into the cache at once.
const PROMPT: usize = 256;

/// Fewest repetitions that count.
const MIN_REPETITIONS: usize = 3;

/// Part of the time that goes by before repetitions count.
const WARM_UP: f64 = 0.2;

/// At most so many seconds go into measuring the machine.
const MACHINE_SECONDS: f64 = 1.0;

/// What is measured.
#[derive(Debug, Clone, PartialEq)]
pub struct BenchShape {
    /// The model, resolved.
    pub model: GptConfig,
    /// The batch of a training step.
    pub train: TrainConfig,
    /// What a training step changes weights by.
    pub optimizer: OptimizerConfig,
    /// What weights are rounded to; they are trained as they are.
    pub weights: WeightFormat,
}

/// What is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    /// Optimizer steps, as a run takes them.
    Train,
    /// A context's worth of tokens after a first one, each the most probable, with the cache.
    Decode {
        /// Sequences that go together, one token each a pass; at least 1.
        batch_size: usize,
    },
    /// A prompt of 256 tokens, or of as many as the context holds, into an empty cache, and the first token after it.
    Prefill,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct BenchReport {
    /// Numbers that are learnt.
    pub params: usize,
    /// Of the model.
    pub n_layers: usize,
    /// Of the model.
    pub d_model: usize,
    /// Of the model.
    pub vocab_size: usize,
    /// Rows that go together.
    pub batch_size: usize,
    /// Pieces that these are computed in; training only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub micro_batches: Option<usize>,
    /// Tokens of a row.
    pub seq_len: usize,
    /// How fast it went.
    #[serde(flatten)]
    pub rate: BenchRate,
    /// The rates, in tokens a second, that the middle half of the repetitions lie between.
    pub middle_half_tok_s: [f64; 2],
    /// Repetitions that count.
    pub repetitions: usize,
    /// What holds that down.
    #[serde(flatten)]
    pub limit: BenchLimit,
    /// The most memory that the process held, in bytes; null where the system does not tell.
    pub peak_memory_bytes: Option<u64>,
    /// Where the time of a repetition went, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<BenchProfile>,
}

/// Tokens a second, the median of all repetitions.
#[derive(Debug, Clone, Copy, Serialize)]
pub enum BenchRate {
    /// Of training.
    #[serde(rename = "train_tok_s")]
    Train(f64),
    /// Of decoding.
    #[serde(rename = "decode_tok_s")]
    Decode(f64),
    /// Of prefilling.
    #[serde(rename = "prefill_tok_s")]
    Prefill(f64),
}

impl BenchReport {
    /// The rate, of whatever was measured.
    pub fn tokens_per_second(&self) -> f64 {
        match self.rate {
            BenchRate::Train(rate) | BenchRate::Decode(rate) | BenchRate::Prefill(rate) => rate,
        }
    }
}

/// What holds the rate down in the end, and how near it is.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
pub enum BenchLimit {
    /// Arithmetic, in 10⁹ operations a second: the model's, and a large matrix product's.
    Gemm {
        /// The model's.
        gflop_s: f64,
        /// A large matrix product's.
        gemm_gflop_s: f64,
        /// The first over the second.
        gemm_share: f64,
    },
    /// Reading, in 10⁹ bytes a second: weights and cache, and plain memory; null where that was not measured. The share
    /// is above 1 where weights stay in the processor's cache.
    Read {
        /// The model's.
        read_gb_s: f64,
        /// Plain memory's.
        memory_gb_s: Option<f64>,
        /// The first over the second.
        memory_share: Option<f64>,
    },
}

impl BenchLimit {
    /// From operations a second.
    pub fn gemm(used: f64, machine: f64) -> Self {
        Self::Gemm { gflop_s: used / 1e9, gemm_gflop_s: machine / 1e9, gemm_share: used / machine }
    }

    /// From bytes a second.
    pub fn read(used: f64, machine: Option<f64>) -> Self {
        let share = machine.map(|machine| used / machine);
        Self::Read { read_gb_s: used / 1e9, memory_gb_s: machine.map(|machine| machine / 1e9), memory_share: share }
    }
}

/// Measures a workload for `seconds`, after a warm-up of a fifth of it, and then what the machine can do.
///
/// # Errors
/// [`ProveError::Model`] and [`ProveError::Train`] for a shape that cannot be, [`ProveError::Infer`] for a device that
/// fails.
pub fn bench(shape: &BenchShape, workload: Workload, seconds: f64, device: &Device) -> Result<BenchReport, ProveError> {
    let gpt = Gpt::new(shape.model.clone(), SEED, device)?.with_weights(shape.weights);
    let params = gpt.num_params();
    let measured = measure(shape, gpt, workload, seconds)?;
    finish(shape, workload, seconds, device, params, measured)
}

/// The same, and where the time went. Looking at a clock around each part takes some time of its own.
///
/// # Errors
/// As [`fn@bench`].
pub fn bench_with_profile(
    shape: &BenchShape,
    workload: Workload,
    seconds: f64,
    device: &Device,
) -> Result<BenchReport, ProveError> {
    let gpt = Gpt::new(shape.model.clone(), SEED, device)?.with_weights(shape.weights);
    let params = gpt.num_params();
    let (measured, parts) = profiled(|| measure(shape, gpt, workload, seconds));
    let measured = measured?;
    let workers = match workload {
        Workload::Train => shape.train.micro_batches.min(rayon::current_num_threads()),
        Workload::Decode { .. } | Workload::Prefill => 1,
    };
    let profile = BenchProfile::new(&parts, &measured.seconds, workers);
    let report = finish(shape, workload, seconds, device, params, measured)?;
    Ok(BenchReport { profile: Some(profile), ..report })
}

fn measure(shape: &BenchShape, gpt: Gpt, workload: Workload, seconds: f64) -> Result<Measured, ProveError> {
    match workload {
        Workload::Train => train(shape, gpt, seconds),
        Workload::Decode { batch_size } => decode(shape, &gpt, batch_size, seconds),
        Workload::Prefill => prefill(shape, &gpt, seconds),
    }
}

/// Adds to what was measured what the machine can do.
fn finish(
    shape: &BenchShape,
    workload: Workload,
    asked_seconds: f64,
    device: &Device,
    params: usize,
    measured: Measured,
) -> Result<BenchReport, ProveError> {
    let Measured { rows, seq_len, ref seconds, .. } = measured;
    // Before the machine is measured, which takes memory of its own.
    let peak_memory_bytes = machine::peak_memory();
    let [fast, median, slow] = quartiles(seconds);
    let tok_s = |seconds: f64| (rows * seq_len) as f64 / seconds;
    let machine_seconds = asked_seconds.min(MACHINE_SECONDS);
    Ok(BenchReport {
        params,
        n_layers: shape.model.n_layers,
        d_model: shape.model.d_model,
        vocab_size: shape.model.vocab_size,
        batch_size: rows,
        micro_batches: (workload == Workload::Train).then_some(shape.train.micro_batches),
        seq_len,
        rate: (measured.rate)(tok_s(median)),
        middle_half_tok_s: [tok_s(slow), tok_s(fast)],
        repetitions: seconds.len(),
        limit: match measured.work {
            Work::Flops(flops) => BenchLimit::gemm(flops / median, machine::gemm_rate(device, machine_seconds)?),
            Work::Bytes(bytes) => BenchLimit::read(bytes / median, machine::read_rate(device, machine_seconds)?),
        },
        peak_memory_bytes,
        profile: None,
    })
}

/// What was repeated, and how long it took.
struct Measured {
    rate: fn(f64) -> BenchRate,
    /// Rows and tokens a row of one repetition.
    rows: usize,
    seq_len: usize,
    /// Of one repetition.
    work: Work,
    /// Of each repetition, in ascending order.
    seconds: Vec<f64>,
}

/// What a repetition asks of the machine: floating-point operations, or bytes read.
enum Work {
    Flops(f64),
    Bytes(f64),
}

/// Optimizer steps, as `tril train` takes them.
fn train(shape: &BenchShape, gpt: Gpt, seconds: f64) -> Result<Measured, ProveError> {
    let BenchShape { model, train, optimizer, .. } = shape;
    let (rows, seq_len) = (train.batch_size, train.seq_len);
    let mut trainer = Trainer::new(gpt, Default::default(), 0, train.clone(), optimizer.clone())?;
    let text = TrainingText::new(ids(STEPS_OF_TEXT * rows * seq_len + 1, model.vocab_size), seq_len)?;
    let seconds = repeat(seconds, || {
        trainer.step(&text)?;
        Ok(())
    })?;
    let work = Work::Flops(rows as f64 * training_flops(model, seq_len));
    Ok(Measured { rate: BenchRate::Train, rows, seq_len, work, seconds })
}

/// A context's worth of tokens after a first one, each the most probable, with the cache.
fn decode(shape: &BenchShape, gpt: &Gpt, rows: usize, seconds: f64) -> Result<Measured, ProveError> {
    let seq_len = shape.model.max_seq_len;
    let seconds = repeat(seconds, || match rows {
        1 => generate(gpt, &ids(1, shape.model.vocab_size), seq_len),
        _ => decode_together(gpt, rows, seq_len),
    })?;
    let work = Work::Bytes(decoding_bytes(shape, rows, seq_len));
    Ok(Measured { rate: BenchRate::Decode, rows, seq_len, work, seconds })
}

/// One prompt into an empty cache, and the first token after it.
fn prefill(shape: &BenchShape, gpt: &Gpt, seconds: f64) -> Result<Measured, ProveError> {
    let seq_len = PROMPT.min(shape.model.max_seq_len);
    let prompt = ids(seq_len, shape.model.vocab_size);
    let seconds = repeat(seconds, || generate(gpt, &prompt, 1))?;
    let work = Work::Flops(pass_flops(&shape.model, 0, seq_len, 1) as f64);
    Ok(Measured { rate: BenchRate::Prefill, rows: 1, seq_len, work, seconds })
}

/// Operations of a training step over one row of `len` tokens: the backward pass has two products for each of the
/// forward pass, one for the gradient of each side.
fn training_flops(config: &GptConfig, len: usize) -> f64 {
    3.0 * pass_flops(config, 0, len, len) as f64
}

/// Bytes that must be read, at least, to generate `len` tokens in each of `rows` rows that go together.
fn decoding_bytes(BenchShape { model, weights, .. }: &BenchShape, rows: usize, len: usize) -> f64 {
    (0..len).map(|position| step_bytes(model, *weights, rows, position) as f64).sum()
}

/// Has the generator continue a prompt.
fn generate(gpt: &Gpt, prompt: &[u32], max_tokens: usize) -> Result<(), ProveError> {
    let options = GenerateOptions { sampler: greedy(), max_tokens, ..GenerateOptions::default() };
    for step in Generator::new(gpt, prompt, options)? {
        step?;
    }
    Ok(())
}

/// The generator's loop for several rows that share every pass.
fn decode_together(gpt: &Gpt, rows: usize, tokens: usize) -> Result<(), ProveError> {
    let sampler = greedy();
    let mut cache = gpt.new_cache(rows);
    let mut last = ids(rows, gpt.config().vocab_size);
    for position in 1..=tokens {
        let logits = gpt.decode(&last, std::slice::from_mut(&mut cache))?; // [rows, vocab_size]
        let chosen = logits.chunks(gpt.config().vocab_size).zip(0..);
        let chosen = chosen.map(|(logits, row)| Ok(choose(logits, &[], &sampler, row, position)?.token));
        last = chosen.collect::<Result<_, InferError>>()?;
    }
    Ok(())
}

fn greedy() -> SamplerConfig {
    SamplerConfig { temperature: 0.0, ..SamplerConfig::default() }
}

/// Token ids without a pattern.
fn ids(len: usize, vocab_size: usize) -> Vec<u32> {
    (0..len as u64).map(|place| ((random::hash([SEED, place]) >> 16) % vocab_size as u64) as u32).collect()
}

/// Repeats some work for `seconds` after a warm-up; the seconds of each repetition, in ascending order.
fn repeat(seconds: f64, mut work: impl FnMut() -> Result<(), ProveError>) -> Result<Vec<f64>, ProveError> {
    let begin = Instant::now();
    loop {
        work()?;
        if begin.elapsed().as_secs_f64() >= WARM_UP * seconds {
            break;
        }
    }
    restart();
    let begin = Instant::now();
    let mut found = Vec::new();
    while found.len() < MIN_REPETITIONS || begin.elapsed().as_secs_f64() < seconds {
        let begin = Instant::now();
        work()?;
        found.push(begin.elapsed().as_secs_f64());
    }
    found.sort_by(f64::total_cmp);
    Ok(found)
}

/// The values of a sorted list with a quarter, half and three quarters of it below, or the nearest that there are.
fn quartiles(sorted: &[f64]) -> [f64; 3] {
    let last = sorted.len() - 1;
    [last / 4, last / 2, last - last / 4].map(|index| sorted[index])
}
