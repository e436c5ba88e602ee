//! `tril bench`: tokens a second of training and generation on this machine, and how near that is to what it can do.
//! Random weights and tokens: their values do not change the time. Nothing is written.

mod machine;
mod report;
mod subject;

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use tril_infer::{GenerateOptions, Generator, InferError, SamplerConfig, choose};
use tril_model::{ForwardContext, Gpt, GptConfig, random};
use tril_prove::work::{pass_bytes, pass_flops};
use tril_train::{Trainer, TrainingText};

use crate::args::{BenchCommand, BenchOptions};
use crate::open;
use report::{Limit, Rate, Report};
use subject::Subject;

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

pub fn run(command: &BenchCommand) -> Result<ExitCode> {
    let options = match command {
        BenchCommand::Train(options) | BenchCommand::Prefill(options) | BenchCommand::Decode { options, .. } => options,
    };
    let device = open::device(&options.compute)?;
    let subject = Subject::open(options)?;
    let gpt = Gpt::new(subject.model.clone(), SEED, device.inner())?;
    let params = gpt.num_params();
    let measured = match command {
        BenchCommand::Train(_) => train(&subject, gpt, options)?,
        BenchCommand::Decode { batch_size, .. } => decode(&subject, &gpt, (*batch_size).into(), options)?,
        BenchCommand::Prefill(_) => prefill(&subject, &gpt, options)?,
    };
    let Measured { rows, seq_len, ref seconds, .. } = measured;
    // Before the machine is measured, which takes memory of its own.
    let peak_memory_bytes = machine::peak_memory();
    let [fast, median, slow] = quartiles(seconds);
    let tok_s = |seconds: f64| (rows * seq_len) as f64 / seconds;
    let machine_seconds = options.seconds.min(MACHINE_SECONDS);
    let report = Report {
        of: subject.name.clone(),
        device: device.to_string(),
        threads: rayon::current_num_threads(),
        params,
        n_layers: subject.model.n_layers,
        d_model: subject.model.d_model,
        vocab_size: subject.model.vocab_size,
        batch_size: rows,
        micro_batches: matches!(command, BenchCommand::Train(_)).then_some(subject.train.micro_batches),
        seq_len,
        rate: (measured.rate)(tok_s(median)),
        middle_half_tok_s: [tok_s(slow), tok_s(fast)],
        repetitions: seconds.len(),
        limit: match measured.work {
            Work::Flops(flops) => Limit::gemm(flops / median, machine::gemm_rate(device.inner(), machine_seconds)?),
            Work::Bytes(bytes) => Limit::read(bytes / median, machine::read_rate(device.inner(), machine_seconds)?),
        },
        peak_memory_bytes,
    };
    let mut out = std::io::stdout().lock();
    if options.json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    } else {
        report.write(&subject, &mut out)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What was repeated, and how long it took.
struct Measured {
    rate: fn(f64) -> Rate,
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
fn train(subject: &Subject, gpt: Gpt, options: &BenchOptions) -> Result<Measured> {
    let Subject { model, train, optimizer, .. } = subject;
    let (rows, seq_len) = (train.batch_size, train.seq_len);
    let mut trainer = Trainer::new(gpt, Default::default(), 0, train.clone(), optimizer.clone())?;
    let text = TrainingText::new(ids(STEPS_OF_TEXT * rows * seq_len + 1, model.vocab_size), seq_len)?;
    let seconds = repeat(options.seconds, || {
        trainer.step(&text)?;
        Ok(())
    })?;
    let work = Work::Flops(rows as f64 * training_flops(model, seq_len));
    Ok(Measured { rate: Rate::Train, rows, seq_len, work, seconds })
}

/// A context's worth of tokens after a first one, each the most probable, with the cache.
fn decode(subject: &Subject, gpt: &Gpt, rows: usize, options: &BenchOptions) -> Result<Measured> {
    let seq_len = subject.model.max_seq_len;
    let seconds = repeat(options.seconds, || match rows {
        1 => generate(gpt, &ids(1, subject.model.vocab_size), seq_len),
        _ => decode_together(gpt, rows, seq_len),
    })?;
    let work = Work::Bytes(decoding_bytes(&subject.model, rows, seq_len));
    Ok(Measured { rate: Rate::Decode, rows, seq_len, work, seconds })
}

/// One prompt into an empty cache, and the first token after it.
fn prefill(subject: &Subject, gpt: &Gpt, options: &BenchOptions) -> Result<Measured> {
    let seq_len = PROMPT.min(subject.model.max_seq_len);
    let prompt = ids(seq_len, subject.model.vocab_size);
    let seconds = repeat(options.seconds, || generate(gpt, &prompt, 1))?;
    let work = Work::Flops(pass_flops(&subject.model, 0, seq_len, 1) as f64);
    Ok(Measured { rate: Rate::Prefill, rows: 1, seq_len, work, seconds })
}

/// Operations of a training step over one row of `len` tokens: the backward pass has two products for each of the
/// forward pass, one for the gradient of each side.
fn training_flops(config: &GptConfig, len: usize) -> f64 {
    3.0 * pass_flops(config, 0, len, len) as f64
}

/// Bytes that must be read, at least, to generate `len` tokens in each of `rows` rows that go together.
fn decoding_bytes(config: &GptConfig, rows: usize, len: usize) -> f64 {
    (0..len).map(|position| pass_bytes(config, rows, position, 1) as f64).sum()
}

/// Has the generator continue a prompt.
fn generate(gpt: &Gpt, prompt: &[u32], max_tokens: usize) -> Result<()> {
    let options = GenerateOptions { sampler: greedy(), max_tokens, ..GenerateOptions::default() };
    for step in Generator::new(gpt, prompt, options)? {
        step?;
    }
    Ok(())
}

/// The generator's loop for several rows that share every pass.
fn decode_together(gpt: &Gpt, rows: usize, tokens: usize) -> Result<()> {
    let device: Device = gpt.device();
    let sampler = greedy();
    let mut cache = gpt.new_cache(rows);
    let mut last: Vec<i32> = ids(rows, gpt.config().vocab_size).into_iter().map(|id| id as i32).collect();
    for position in 1..=tokens {
        let input = Tensor::from_data(TensorData::new(last, [rows, 1]), &device);
        let pass = ForwardContext::cached(&mut cache);
        let logits = gpt.last_logits(input, pass); // [rows, vocab_size]
        let logits = logits.try_into_vec_as::<f32>().map_err(InferError::device)?;
        let chosen = logits.chunks(gpt.config().vocab_size).zip(0..);
        let chosen = chosen.map(|(logits, row)| Ok(choose(logits, &[], &sampler, row, position)?.token as i32));
        last = chosen.collect::<Result<_>>()?;
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
fn repeat(seconds: f64, mut work: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    let begin = Instant::now();
    loop {
        work()?;
        if begin.elapsed().as_secs_f64() >= WARM_UP * seconds {
            break;
        }
    }
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
