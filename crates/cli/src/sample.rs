//! `tril sample`: text from a checkpoint, shown as it is made.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use tril_infer::{CacheMode, GenerateOptions, Generator, Step};
use tril_model::Gpt;
use tril_text::{TextError, Tokenizer};

use crate::args::SampleArgs;
use crate::open;

pub fn run(args: &SampleArgs) -> Result<ExitCode> {
    let (device, _) = open::device(&args.compute)?;
    let open::Checkpoint { gpt, tokenizer, .. } = open::checkpoint(&args.checkpoint, &device)?;
    let (prompt, prompt_name) = match (&args.prompt, &args.prompt_file) {
        (Some(text), _) if text == "-" => (open::text(Path::new("-"))?, "standard input".into()),
        (Some(text), _) => (text.clone(), "the prompt".into()),
        (None, Some(path)) => (open::text(path)?, path.to_string_lossy()),
        (None, None) => (String::new(), "no prompt".into()),
    };
    let options = GenerateOptions {
        sampler: args.sampling.config(&tokenizer)?,
        max_tokens: args.max_tokens,
        stop_token: tokenizer.end_of_text(),
        cache: if args.no_cache { CacheMode::Recompute } else { CacheMode::Cached },
        ..GenerateOptions::default()
    };
    let ids = prompt_ids(&tokenizer, &prompt).map_err(|error| error.in_text(&prompt_name))?;
    let mut out = std::io::stdout().lock();
    let begin = Instant::now();
    let mut generated = 0;
    let mut told = false;
    for number in 0..args.num_samples {
        if number > 0 {
            writeln!(out, "\n---------------")?;
        }
        write!(out, "{prompt}")?;
        out.flush()?;
        let options = GenerateOptions { sample_index: args.sample_index.wrapping_add(number), ..options.clone() };
        generated += write_sample(&gpt, &tokenizer, &ids, options, &mut out, |step| {
            if step.dropped > 0 && !told {
                told = true;
                eprintln!(
                    "\n[the context of {} tokens is full: its oldest {} left it and the rest was computed anew; this goes on without further notice]",
                    gpt.config().max_seq_len,
                    step.dropped
                );
            }
        })?;
    }
    writeln!(out)?;
    let seconds = begin.elapsed().as_secs_f64();
    let how = if args.no_cache { "without a cache" } else { "with the KV cache" };
    eprintln!("[{generated} tokens {how} in {seconds:.2} s, {:.0} a second]", generated as f64 / seconds);
    Ok(ExitCode::SUCCESS)
}

/// The ids that a prompt stands for. An empty one begins where a document would: after end-of-text, else after a
/// newline, and in a vocabulary without either after its first token.
pub fn prompt_ids(tokenizer: &Tokenizer, prompt: &str) -> Result<Vec<u32>, TextError> {
    match tokenizer.end_of_text() {
        _ if !prompt.is_empty() => tokenizer.encode(prompt),
        Some(id) => Ok(vec![id]),
        None => Ok(tokenizer.encode("\n").unwrap_or_else(|_| vec![0])),
    }
}

/// Writes what follows the prompt, piece by piece, and lets `watch` see each step; returns how many there were.
pub fn write_sample(
    gpt: &Gpt,
    tokenizer: &Tokenizer,
    prompt: &[u32],
    options: GenerateOptions,
    out: &mut impl Write,
    mut watch: impl FnMut(&Step),
) -> Result<usize> {
    let mut text = tokenizer.stream();
    let mut count = 0;
    for step in Generator::new(gpt, prompt, options)? {
        let step = step?;
        count += 1;
        watch(&step);
        if let Some(piece) = text.push(step.token)? {
            write!(out, "{piece}")?;
            out.flush()?;
        }
    }
    write!(out, "{}", text.finish()?)?;
    Ok(count)
}
