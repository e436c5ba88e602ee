//! `tril sample`: text from a checkpoint, shown as it is made.

mod prompts;
mod together;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anstream::{AutoStream, ColorChoice, StripStream};
use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;
use tril_infer::{CacheMode, Finish, GenerateOptions};
use tril_text::{TextError, Tokenizer};

use crate::args::SampleArgs;
use crate::ending::{Ending, stopped_by};
use crate::progress::token_counter;
use crate::receipt::{Machine, Recorder};
use crate::trace::Traces;
use crate::view::Filters;
use crate::{interrupt, open};
use prompts::Prompt;
use together::InOrder;
pub use together::{Job, Told, Writer, Written};

pub fn run(args: &SampleArgs) -> Result<ExitCode> {
    if let Some(receipt) = &args.receipt {
        open::check_output("--receipt", receipt)?;
    }
    let (device, device_name) = open::device(&args.compute)?;
    let open::Checkpoint { gpt, tokenizer, path } = open::checkpoint(&args.checkpoint, &device)?;
    let filters = Filters::new(&args.stop, &args.hide)?;
    let prompts = prompts(args, &tokenizer)?;
    let jobs = prompts.iter().map(|prompt| job(prompt, &tokenizer)).collect::<Result<Vec<_>>>()?;
    let stop = Arc::new(AtomicBool::new(false));
    interrupt::listen(&stop, None)?;
    let mut shown = Shown::new(args, &prompts, &filters, Traces::new(&tokenizer, gpt.config()))?;
    let mut recorder = args.receipt.as_ref().map(|_| Recorder::new(&tokenizer, jobs.len()));
    let counter = token_counter();
    let begin = Instant::now();
    let mut told = args.trace;
    let mut endings: Vec<Option<Ending>> = vec![None; jobs.len()];
    let (mut generated, mut not_shown) = (0, 0);
    let writer = Writer { gpt: &gpt, tokenizer: &tokenizer, filters: &filters, stop: &stop };
    // Steps are shown as they are made, so one text after another.
    let width = if args.trace { 1 } else { args.batch_size.into() };
    writer.write(&jobs, width, |number, what| {
        if let Some(recorder) = &mut recorder {
            recorder.tell(number, &what);
        }
        match &what {
            Told::Step(step) => {
                counter.inc(1);
                if step.dropped > 0 && !told {
                    told = true;
                    counter.suspend(|| note!("\n{}", overflow_notice(gpt.config().max_seq_len, step.dropped)));
                }
            }
            Told::Piece(_) | Told::Never => {}
            Told::End(written) => {
                generated += written.tokens;
                not_shown += written.not_shown;
                endings[number] = Some(written.ending.clone());
            }
        }
        shown.tell(number, what, &jobs[number], &prompts[number])
    })?;
    counter.finish_and_clear();
    let seconds = begin.elapsed().as_secs_f64();
    let how = if args.no_cache { "without a cache" } else { "with the KV cache" };
    let rate = generated as f64 / seconds;
    let endings: Vec<Ending> = endings.into_iter().flatten().collect();
    let hidden = if args.hide.is_empty() { String::new() } else { format!("; {not_shown} tokens not shown") };
    note!("[{generated} tokens {how} in {seconds:.2} s, {rate:.0} a second{hidden}; {}]", stopped_by(&endings));
    if let (Some(recorder), Some(file)) = (recorder, &args.receipt) {
        let texts = prompts.iter().map(|prompt| prompt.text.as_str()).zip(&jobs);
        recorder.write(file, &path, Machine::this(&device, &device_name), &args.stop, texts)?;
        let (checkpoint, shown) = (open::quoted(&args.checkpoint), open::quoted(file));
        note!("[receipt: {shown}; to check it: {} verify {checkpoint} {shown}]", open::program());
    }
    Ok(if endings.contains(&Ending::Interrupted) { ExitCode::from(130) } else { ExitCode::SUCCESS })
}

/// What is said when tokens have left a full context.
pub fn overflow_notice(limit: usize, dropped: usize) -> String {
    format!(
        "[the context of {limit} tokens is full: its oldest {dropped} left it and the rest was computed anew; this goes on without further notice]"
    )
}

/// The prompts that the command line asks for, each as many times as there are samples of it.
fn prompts(args: &SampleArgs, tokenizer: &Tokenizer) -> Result<Vec<Prompt>> {
    let options = GenerateOptions {
        sampler: args.sampling.config(tokenizer)?,
        sample_index: args.sample_index,
        max_tokens: args.max_tokens,
        stop_token: tokenizer.end_of_text(),
        cache: if args.no_cache { CacheMode::Recompute } else { CacheMode::Cached },
        on_overflow: args.on_overflow.into(),
        alternatives: if args.trace { usize::MAX } else { 0 },
    };
    let single =
        |text: String, name: &str| vec![Prompt { text, name: name.to_owned(), id: None, options: options.clone() }];
    let prompts = match (&args.prompt, &args.prompt_file, &args.prompts) {
        (Some(text), ..) if text == "-" => single(open::text(Path::new("-"))?, "standard input"),
        (Some(text), ..) => single(text.clone(), "the prompt"),
        (None, Some(path), _) => single(open::text(path)?, &path.to_string_lossy()),
        (None, None, Some(path)) if args.jsonl => prompts::objects(path, &options)?,
        (None, None, Some(path)) => prompts::lines(path, &options)?,
        (None, None, None) => single(String::new(), "no prompt"),
    };
    let samples = |prompt: Prompt| {
        (0..args.num_samples).map(move |number| {
            let sample_index = prompt.options.sample_index.wrapping_add(number);
            Prompt { options: GenerateOptions { sample_index, ..prompt.options.clone() }, ..prompt.clone() }
        })
    };
    Ok(prompts.into_iter().flat_map(samples).collect())
}

fn job(prompt: &Prompt, tokenizer: &Tokenizer) -> Result<Job> {
    let ids = prompt_ids(tokenizer, &prompt.text).map_err(|error| error.in_text(&prompt.name))?;
    prompt.options.sampler.check(tokenizer.vocab_size()).with_context(|| prompt.name.clone())?;
    Ok(Job { prompt: prompt.text.clone(), ids, options: prompt.options.clone() })
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

/// How texts are shown.
enum Shown<'a> {
    /// One after another, with a rule between them.
    Texts(InOrder<Box<dyn Write>>),
    /// The steps of each.
    Traces { out: Box<dyn Write>, traces: Traces<'a> },
    /// An object a line, in their order.
    Objects { out: Box<dyn Write>, texts: Vec<String>, complete: Vec<Option<String>>, current: usize, hides: bool },
}

/// A text as an object.
#[derive(Serialize)]
struct Object<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: &'a Option<Value>,
    prompt: &'a str,
    text: String,
    /// "max_tokens", "end_of_text", "context_full", "stop_text" or "interrupted".
    finish: &'static str,
    /// Which stop text.
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<String>,
    prompt_tokens: usize,
    tokens: usize,
    /// How many of them `--hide` leaves out of the text, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_shown: Option<usize>,
    /// Sum of ln of the model's own probability of these tokens.
    logprob: f64,
    seed: u64,
    sample: u64,
}

impl<'a> Shown<'a> {
    fn new(args: &SampleArgs, prompts: &[Prompt], filters: &Filters, traces: Traces<'a>) -> Result<Self> {
        let stdout = std::io::stdout().lock();
        // A text is shown as it is, whatever it holds; a trace has colours only where they can be seen.
        let is_plain = args.trace && AutoStream::choice(&stdout) == ColorChoice::Never;
        let out: Box<dyn Write> = if is_plain { Box::new(StripStream::new(stdout)) } else { Box::new(stdout) };
        if args.trace {
            return Ok(Self::Traces { out, traces });
        }
        if args.jsonl {
            let (texts, complete) = (vec![String::new(); prompts.len()], vec![None; prompts.len()]);
            return Ok(Self::Objects { out, texts, complete, current: 0, hides: !args.hide.is_empty() });
        }
        InOrder::new(prompts.iter().map(|prompt| filters.opening(&prompt.text)).collect(), out).map(Self::Texts)
    }

    fn tell(&mut self, number: usize, what: Told<'_>, job: &'a Job, prompt: &Prompt) -> Result<()> {
        match (self, what) {
            (Self::Texts(texts), Told::Never) => texts.cut(number),
            (_, Told::Never) => {}
            (Self::Traces { out, traces }, what) => {
                traces.tell(number, &what, job, out)?;
                out.flush()?;
            }
            (_, Told::Step(_)) => {}
            (Self::Texts(texts), Told::Piece(piece)) => texts.piece(number, piece)?,
            (Self::Texts(texts), Told::End(_)) => texts.end(number)?,
            (Self::Objects { texts, .. }, Told::Piece(piece)) => texts[number].push_str(piece),
            (Self::Objects { out, texts, complete, current, hides }, Told::End(written)) => {
                let text = std::mem::take(&mut texts[number]);
                let not_shown = hides.then_some(written.not_shown);
                let object = Object { not_shown, ..object(text, written, job, prompt) };
                complete[number] = Some(serde_json::to_string(&object)?);
                while let Some(line) = complete.get_mut(*current).and_then(Option::take) {
                    writeln!(out, "{line}")?;
                    *current += 1;
                }
                out.flush()?;
            }
        }
        Ok(())
    }
}

fn object<'a>(text: String, written: Written, job: &Job, prompt: &'a Prompt) -> Object<'a> {
    let Written { tokens, logprob, ending, .. } = written;
    let (finish, stop) = match ending {
        Ending::Finish(Finish::MaxTokens) => ("max_tokens", None),
        Ending::Finish(Finish::EndOfText) => ("end_of_text", None),
        Ending::Finish(Finish::ContextFull) => ("context_full", None),
        Ending::StopText(text) => ("stop_text", Some(text)),
        Ending::Interrupted => ("interrupted", None),
    };
    let (id, prompt, options) = (&prompt.id, prompt.text.as_str(), &job.options);
    let (seed, sample) = (options.sampler.seed, options.sample_index);
    let prompt_tokens = job.ids.len();
    Object { id, prompt, text, finish, stop, prompt_tokens, tokens, not_shown: None, logprob, seed, sample }
}
