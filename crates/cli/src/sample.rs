//! `tril sample`: text from a checkpoint, shown as it is made.

mod in_order;
pub mod prompts;

use std::io::{StdoutLock, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anstream::{AutoStream, ColorChoice, StripStream};
use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::Value;
use tril::{
    FinishReason, GenerateOptions, GenerateRequest, GeneratedText, HiddenParts, Model, ReceiptRecorder, RequestError,
    StopTexts, TextEvent, TextEventKind, Tokenizer,
};
use tril_infer::CacheMode;
use tril_model::memory;

use crate::args::SampleArgs;
use crate::ending::{Ending, overflow_notice, stopped_by};
use crate::folded::Folded;
use crate::output::text_writer;
use crate::progress::token_counter;
use crate::quantity::counted;
use crate::shown::json;
use crate::trace::Traces;
use crate::wrapped::Wrapped;
use crate::{drafts, interrupt, open, runs};
use in_order::InOrder;
use prompts::Prompt;

/// Texts of one command: all of them are known before the first is made.
const MAX_TEXTS: u64 = 100_000;

pub fn run(args: &SampleArgs) -> Result<ExitCode> {
    if let Some(receipt) = &args.receipt {
        open::check_output("--receipt", receipt)?;
    }
    if args.no_cache && args.draft.draft.is_some() {
        bail!("--draft with --no-cache: guesses are checked with the cache; leave one of the two out");
    }
    let device = open::device(&args.compute)?;
    let model = runs::rounded_model(&args.checkpoint, args.weights.format(), &device)?;
    let filters = open::filters(&args.stop, &args.hide, model.tokenizer())?;
    let prompts = prompts(args, model.tokenizer())?;
    let requests =
        prompts.iter().map(|prompt| request(prompt, &model, &filters)).collect::<Result<Vec<GenerateRequest>>>()?;
    let stop = Arc::new(AtomicBool::new(false));
    let _listening = interrupt::listen(&stop, None)?;
    // Steps are shown as they are made, so one text after another.
    let width = if args.trace { 1 } else { args.batch_size.into() };
    let width = width.min(requests.len());
    let caches = memory::cache_bytes(model.config()) * width as u128;
    memory::check(&format!("--batch-size {}: the caches of {width} texts", args.batch_size), caches)?;
    let mut generator = model.generator().with_batch_size(NonZeroUsize::new(width).unwrap_or(NonZeroUsize::MIN));
    let draft = drafts::open(&args.draft, &model, width, &device)?;
    if let Some(draft) = &draft {
        generator = generator.with_draft(draft);
    }
    let mut recorder = args.receipt.as_ref().map(|_| ReceiptRecorder::default());
    for request in &requests {
        // Requests are numbered as they are added, so their numbers are those of the prompts.
        let number = generator.add(request.clone())?;
        if let Some(recorder) = &mut recorder {
            recorder.add(number, request)?;
        }
    }
    let mut shown = Presenter::new(args, &requests, &model)?;
    let counter = token_counter();
    let begin = Instant::now();
    let mut told = args.trace;
    let mut endings: Vec<Option<Ending>> = vec![None; requests.len()];
    let (mut generated, mut hidden) = (0, 0);
    let mut failed: Option<RequestError> = None;
    while let Some(event) = generator.next() {
        match event {
            Ok(event) => {
                if let Some(recorder) = &mut recorder {
                    recorder.record(&event);
                }
                match &event.kind {
                    TextEventKind::Token(token) => {
                        counter.inc(1);
                        if token.dropped > 0 && !told {
                            told = true;
                            let notice = overflow_notice(model.config().max_seq_len, token.dropped);
                            counter.suspend(|| note!("\n{notice}"));
                        }
                    }
                    TextEventKind::Text(_) | TextEventKind::Hidden(_) => {}
                    TextEventKind::Finished(text) => {
                        generated += text.tokens;
                        hidden += text.hidden_tokens;
                        endings[event.request] = Some(Ending::from(&**text));
                    }
                }
                shown.show(&event, &requests[event.request], &prompts[event.request])?;
            }
            // The other texts go on.
            Err(error) => {
                shown.fail(error.request)?;
                failed.get_or_insert(error);
            }
        }
        if stop.load(Ordering::Relaxed)
            && let Some(first) = generator.interrupt_all().first()
        {
            shown.cut(*first);
        }
    }
    counter.finish_and_clear();
    let seconds = begin.elapsed().as_secs_f64();
    let how = if args.no_cache { "without a cache" } else { "with the KV cache" };
    let how = format!("{how}{}", open::rounded(model.weights()));
    let rate = generated as f64 / seconds;
    let endings: Vec<Ending> = endings.into_iter().flatten().collect();
    let hidden = if args.hide.is_empty() { String::new() } else { format!("; {} not shown", counted(hidden, "token")) };
    if !endings.is_empty() {
        let guesses = drafts::told(draft.as_ref(), generator.draft_tally());
        let stopped = stopped_by(&endings);
        let tokens = counted(generated, "token");
        note!("[{tokens} {how} in {seconds:.2} s, {rate:.0} a second{guesses}{hidden}; {stopped}]");
    }
    // Where no text was finished, a receipt that stands there already is worth more.
    if let (Some(recorder), Some(file)) = (recorder.filter(|_| !endings.is_empty()), &args.receipt) {
        recorder.into_receipt(&model, &device)?.write(file)?;
        let (checkpoint, shown) = (open::quoted(&args.checkpoint), open::quoted(file));
        note!("[receipt: {shown}; to check it: {} verify {checkpoint} {shown}]", open::program());
    }
    if let Some(error) = failed {
        let place = if requests.len() > 1 { prompts[error.request].name.clone() } else { String::new() };
        let error = anyhow::Error::from(tril::Error::from(error));
        return Err(if place.is_empty() { error } else { error.context(place) });
    }
    let is_interrupted = endings.iter().any(|ending| ending.finish == FinishReason::Interrupted);
    Ok(if is_interrupted { ExitCode::from(130) } else { ExitCode::SUCCESS })
}

/// The prompts that the command line asks for, each as many times as there are samples of it.
fn prompts(args: &SampleArgs, tokenizer: &Tokenizer) -> Result<Vec<Prompt>> {
    let options = GenerateOptions {
        sampler: args.sampling.config(tokenizer)?,
        sample_index: args.sample_index,
        max_tokens: args.max_tokens,
        stop_token: tokenizer.end_of_text().filter(|_| !args.ignore_eos),
        cache: if args.no_cache { CacheMode::Recompute } else { CacheMode::Cached },
        on_overflow: args.on_overflow.into(),
        alternatives: if args.trace { usize::MAX } else { 0 },
        top_logprobs: 0,
    };
    let single =
        |text: String, name: &str| vec![Prompt { text, name: name.to_owned(), id: None, options: options.clone() }];
    let prompts = match (args.prompt.as_ref().or(args.text.as_ref()), &args.prompt_file, &args.prompts) {
        (Some(text), ..) if text == "-" => single(open::text(Path::new("-"))?, "standard input"),
        (Some(text), ..) => single(text.clone(), "the prompt"),
        (None, Some(path), _) => single(open::text(path)?, &path.to_string_lossy()),
        (None, None, Some(path)) => prompts::read(path, args.jsonl, &options)?,
        (None, None, None) => single(String::new(), "no prompt"),
    };
    let texts = (prompts.len() as u64).saturating_mul(args.num_samples);
    if texts > MAX_TEXTS {
        bail!(
            "--num-samples {}: that makes {texts} texts, and at most {MAX_TEXTS} are made by one command; --sample-index names the first sample of the next one",
            args.num_samples
        );
    }
    let samples = |prompt: Prompt| {
        (0..args.num_samples).map(move |number| {
            let sample_index = prompt.options.sample_index.wrapping_add(number);
            Prompt { options: GenerateOptions { sample_index, ..prompt.options.clone() }, ..prompt.clone() }
        })
    };
    Ok(prompts.into_iter().flat_map(samples).collect())
}

fn request(prompt: &Prompt, model: &Model, (stop, hidden): &(StopTexts, HiddenParts)) -> Result<GenerateRequest> {
    let request = GenerateRequest::new(&prompt.text, model.tokenizer());
    let request = request.map_err(|error| error.in_text(&prompt.name))?;
    if model.tokenizer().has_unknown(&request.prompt_ids) {
        open::note_unknown(&prompt.name, &model.tokenizer().unknown_characters(&prompt.text)?);
    }
    prompt.options.sampler.check(model.config().vocab_size).with_context(|| prompt.name.clone())?;
    Ok(GenerateRequest { options: prompt.options.clone(), stop: stop.clone(), hidden: hidden.clone(), ..request })
}

/// How texts are shown.
enum Presenter<'a> {
    /// One after another, with a rule between them.
    Texts(InOrder<Wrapped<StdoutLock<'static>>>),
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
    finish: FinishReason,
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

impl<'a> Presenter<'a> {
    fn new(args: &SampleArgs, requests: &[GenerateRequest], model: &'a Model) -> Result<Self> {
        // A text is shown as it is, whatever it holds; a trace has colours only where they can be seen.
        let is_plain = args.trace && AutoStream::choice(&std::io::stdout()) == ColorChoice::Never;
        if args.trace {
            let out: Box<dyn Write> = match is_plain {
                true => Box::new(Folded::over(StripStream::new(std::io::stdout().lock()))),
                false => Box::new(Folded::stdout()),
            };
            return Ok(Self::Traces { out, traces: Traces::new(model.tokenizer(), model.config()) });
        }
        if args.jsonl {
            let out: Box<dyn Write> = Box::new(std::io::stdout().lock());
            let (texts, complete) = (vec![String::new(); requests.len()], vec![None; requests.len()]);
            return Ok(Self::Objects { out, texts, complete, current: 0, hides: !args.hide.is_empty() });
        }
        InOrder::new(requests.iter().map(GenerateRequest::shown_prompt).collect(), text_writer()).map(Self::Texts)
    }

    fn show(&mut self, event: &TextEvent, request: &'a GenerateRequest, prompt: &Prompt) -> Result<()> {
        let number = event.request;
        match (self, &event.kind) {
            (Self::Traces { out, traces }, _) => {
                traces.show(event, request, out)?;
                out.flush()?;
            }
            (_, TextEventKind::Token(_) | TextEventKind::Hidden(_)) => {}
            (Self::Texts(texts), TextEventKind::Text(piece)) => texts.piece(number, piece)?,
            (Self::Texts(texts), TextEventKind::Finished(_)) => texts.end(number)?,
            (Self::Objects { texts, .. }, TextEventKind::Text(piece)) => texts[number].push_str(piece),
            (Self::Objects { out, texts, complete, current, hides }, TextEventKind::Finished(finished)) => {
                let text = std::mem::take(&mut texts[number]);
                let not_shown = hides.then_some(finished.hidden_tokens);
                let object = Object { not_shown, ..object(text, finished, request, prompt) };
                complete[number] = Some(json(&object)?);
                write_complete(complete, current, out)?;
            }
        }
        Ok(())
    }

    /// Goes on after a text that failed: what there is of it is shown, and no object of it.
    fn fail(&mut self, number: usize) -> Result<()> {
        match self {
            Self::Texts(texts) => texts.end(number),
            Self::Traces { .. } => Ok(()),
            Self::Objects { out, complete, current, .. } => {
                complete[number] = Some(String::new());
                write_complete(complete, current, out)
            }
        }
    }

    /// No text from this one on will come.
    fn cut(&mut self, number: usize) {
        if let Self::Texts(texts) = self {
            texts.cut(number);
        }
    }
}

/// Writes those objects whose turn has come.
fn write_complete(complete: &mut [Option<String>], current: &mut usize, out: &mut impl Write) -> Result<()> {
    while let Some(line) = complete.get_mut(*current).and_then(Option::take) {
        if !line.is_empty() {
            writeln!(out, "{line}")?;
        }
        *current += 1;
    }
    Ok(out.flush()?)
}

fn object<'a>(text: String, finished: &GeneratedText, request: &GenerateRequest, prompt: &'a Prompt) -> Object<'a> {
    let GeneratedText { finish, stop_text, tokens, logprob, .. } = finished;
    let (finish, stop, tokens, logprob) = (*finish, stop_text.clone(), *tokens, *logprob);
    let (id, prompt, options) = (&prompt.id, prompt.text.as_str(), &request.options);
    let (seed, sample) = (options.sampler.seed, options.sample_index);
    let prompt_tokens = request.prompt_ids.len();
    Object { id, prompt, text, finish, stop, prompt_tokens, tokens, not_shown: None, logprob, seed, sample }
}
