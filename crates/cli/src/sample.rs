//! `tril sample`: text from a checkpoint, shown as it is made.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use tril_infer::{CacheMode, GenerateOptions, Generator, Step};
use tril_model::Gpt;
use tril_text::{StopTexts, TextError, Tokenizer, Watched};

use crate::args::SampleArgs;
use crate::ending::{Ending, stopped_by};
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
    let stops = StopTexts::new(&args.stop).context("--stop")?;
    let ids = prompt_ids(&tokenizer, &prompt).map_err(|error| error.in_text(&prompt_name))?;
    let mut out = std::io::stdout().lock();
    let begin = Instant::now();
    let mut generated = 0;
    let mut endings = Vec::new();
    let mut told = false;
    for number in 0..args.num_samples {
        if number > 0 {
            writeln!(out, "\n---------------")?;
        }
        write!(out, "{prompt}")?;
        out.flush()?;
        let options = GenerateOptions { sample_index: args.sample_index.wrapping_add(number), ..options.clone() };
        let continuation = Continuation { gpt: &gpt, tokenizer: &tokenizer, prompt: &ids, options, stops: &stops };
        let written = continuation.write(&mut out, |step| {
            if step.dropped > 0 && !told {
                told = true;
                eprintln!(
                    "\n[the context of {} tokens is full: its oldest {} left it and the rest was computed anew; this goes on without further notice]",
                    gpt.config().max_seq_len,
                    step.dropped
                );
            }
        })?;
        generated += written.tokens;
        endings.push(written.ending);
    }
    writeln!(out)?;
    let seconds = begin.elapsed().as_secs_f64();
    let how = if args.no_cache { "without a cache" } else { "with the KV cache" };
    let rate = generated as f64 / seconds;
    eprintln!("[{generated} tokens {how} in {seconds:.2} s, {rate:.0} a second; {}]", stopped_by(&endings));
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

/// A text to be made, piece by piece, after a prompt.
pub struct Continuation<'a> {
    pub gpt: &'a Gpt,
    pub tokenizer: &'a Tokenizer,
    pub prompt: &'a [u32],
    pub options: GenerateOptions,
    pub stops: &'a StopTexts,
}

/// What was written.
pub struct Written {
    /// How many tokens it took, those of a stop text among them.
    pub tokens: usize,
    pub ending: Ending,
}

impl Continuation<'_> {
    /// Writes it as it is made, and lets `watch` see each step.
    pub fn write(self, out: &mut impl Write, mut watch: impl FnMut(&Step)) -> Result<Written> {
        let mut text = self.tokenizer.stream();
        let mut stops = self.stops.watch();
        let mut tokens = 0;
        let mut generator = Generator::new(self.gpt, self.prompt, self.options)?;
        for step in &mut generator {
            let step = step?;
            tokens += 1;
            watch(&step);
            let Some(piece) = text.push(step.token)? else { continue };
            if let Some(ending) = show(stops.push(&piece), out)? {
                return Ok(Written { tokens, ending });
            }
        }
        if let Some(ending) = show(stops.push(&text.finish()?), out)? {
            return Ok(Written { tokens, ending });
        }
        write!(out, "{}", stops.finish())?;
        let ended = generator.ended().context("the generator gave up")?;
        Ok(Written { tokens, ending: Ending::Finish(ended.finish) })
    }
}

/// Writes what is certain; the ending is a stop text's if one has appeared.
fn show(watched: Watched<'_>, out: &mut impl Write) -> Result<Option<Ending>> {
    if !watched.text.is_empty() {
        write!(out, "{}", watched.text)?;
        out.flush()?;
    }
    Ok(watched.stop.map(|text| Ending::StopText(text.to_owned())))
}
