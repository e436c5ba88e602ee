//! `tril bench encode`: bytes and tokens a second of a text that becomes tokens.

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use tril::Tokenizer;
use tril_model::checkpoint;
use tril_train::RunDir;

use crate::args::EncodeBenchArgs;
use crate::open;
use crate::output::Form;
use crate::quantity::grouped;

/// What was measured: of as many repetitions as fit, the fastest.
#[derive(Debug, Serialize)]
struct Encoding {
    bytes: usize,
    tokens: usize,
    threads: usize,
    repetitions: usize,
    megabytes_per_second: f64,
    tokens_per_second: f64,
}

pub fn run(args: &EncodeBenchArgs) -> Result<ExitCode> {
    if let Some(threads) = args.threads {
        tril::use_threads(threads.into()).context("--threads")?;
    }
    let text = open::text(&args.text)?;
    if text.is_empty() {
        bail!("{}: the text is empty; give one with text in it", args.text.display());
    }
    let path = &args.tokenizer;
    let file = if path.is_dir() { RunDir::find_checkpoint(path)?.join(checkpoint::TOKENIZER) } else { path.clone() };
    let tokenizer = Tokenizer::open(&file)?;
    let name = args.text.display().to_string();
    let tokens = tokenizer.encode(&text).map_err(|error| error.in_text(&name))?.len();
    let (begin, mut repetitions, mut fastest) = (Instant::now(), 0, f64::INFINITY);
    while repetitions == 0 || begin.elapsed().as_secs_f64() < args.seconds {
        let one = Instant::now();
        tokenizer.encode(&text)?;
        fastest = fastest.min(one.elapsed().as_secs_f64());
        repetitions += 1;
    }
    let found = Encoding {
        bytes: text.len(),
        tokens,
        threads: rayon::current_num_threads(),
        repetitions,
        megabytes_per_second: text.len() as f64 / 1e6 / fastest,
        tokens_per_second: tokens as f64 / fastest,
    };
    Form::of(args.json).print(&found, |found, out| {
        let Encoding { bytes, tokens, threads, repetitions, megabytes_per_second, tokens_per_second } = found;
        let (bytes, tokens) = (grouped(*bytes as f64), grouped(*tokens as f64));
        writeln!(out, "text      {bytes} bytes, {tokens} tokens")?;
        let rate = grouped(tokens_per_second.round());
        writeln!(
            out,
            "encoding  {megabytes_per_second:.1} MB/s, {rate} tok/s, {threads} threads; fastest of {repetitions}"
        )
    })?;
    Ok(ExitCode::SUCCESS)
}
