//! `tril score`: each token of a text with its probability, its rank and the model's uncertainty: as colours in a
//! terminal, as columns elsewhere, as JSON, or as a page.

mod cells;
mod columns;
mod page;
mod terminal;

use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::process::ExitCode;

use anstream::AutoStream;
use anyhow::{Context, Result, bail};
use clap::ColorChoice;
use serde::{Serialize, Serializer};
use tril::WeightFormat;
use tril_infer::{ScoreOptions, TokenScore, score};
use tril_model::files;
use tril_text::Tokenizer;

use crate::args::ScoreArgs;
use crate::output::Form;
use crate::shown;
use crate::{open, runs};
use cells::{Cell, cells};

/// Alternatives that a page names at each place.
const ALTERNATIVES: usize = 5;

/// A token of the text. The first has no score: nothing predicts it.
pub struct Token {
    pub id: u32,
    /// Where it stands in the file.
    pub bytes: Range<usize>,
    pub score: Option<TokenScore>,
}

/// A text as a model sees it.
pub struct Scored<'a> {
    pub checkpoint: String,
    pub weights: WeightFormat,
    pub file: String,
    pub text: &'a str,
    pub tokenizer: &'a Tokenizer,
    pub tokens: Vec<Token>,
    /// What is shown in one colour.
    pub cells: Vec<Cell>,
    pub summary: Summary,
}

/// The text as a whole. Loss, perplexity, bits and counts are those of `tril eval`.
#[derive(Debug, Serialize)]
pub struct Summary {
    pub loss: f64,
    pub perplexity: f64,
    pub bits_per_byte: f64,
    /// Tokens that are predicted: all but the first.
    pub tokens: usize,
    /// What these stand for.
    pub bytes: usize,
    /// Mean entropy, in nats.
    pub entropy: f64,
    /// Share of the tokens that are the model's first choice.
    pub first_choice: f64,
    /// Share of the tokens that are among the model's first five.
    pub first_five: f64,
    /// Tokens that a window predicts, each window from an empty context.
    pub seq_len: usize,
    pub windows: usize,
}

pub fn run(args: &ScoreArgs) -> Result<ExitCode> {
    if let Some(page) = &args.html {
        open::check_output("--html", page)?;
    }
    let device = open::device(&args.compute)?;
    let model = runs::rounded_model(&args.checkpoint, args.weights.format(), &device)?;
    let (gpt, tokenizer, path) = (model.gpt(), model.tokenizer(), model.path());
    let is_stdin = args.file == Path::new("-");
    let file = if is_stdin { "standard input".to_owned() } else { args.file.display().to_string() };
    let text = open::text(&args.file)?;
    let tokens = tokenizer.encode_with_ranges(&text).map_err(|error| error.in_text(&file))?;
    let ids: Vec<u32> = tokens.iter().map(|(id, _)| *id).collect();
    let seq_len = gpt.config().max_seq_len;
    let alternatives = if args.html.is_some() { ALTERNATIVES } else { 1 };
    let scores = score(gpt, &ids, &ScoreOptions { seq_len, alternatives }).with_context(|| file.clone())?;
    let bytes = tokenizer.spelt_bytes(&tokens).iter().skip(1).map(|(_, bytes)| bytes).sum();
    open::note_unknown(&file, &tokenizer.unknown_characters(&text)?);
    let summary = Summary::of(&scores, bytes, seq_len);
    if !summary.loss.is_finite() {
        let loss = summary.loss;
        bail!("{}: the loss is {loss}: its weights are damaged or its training diverged; use another", path.display());
    }
    let scores = std::iter::once(None).chain(scores.into_iter().map(Some));
    let tokens: Vec<Token> =
        tokens.into_iter().zip(scores).map(|((id, bytes), score)| Token { id, bytes, score }).collect();
    let scored = Scored {
        checkpoint: path.display().to_string(),
        weights: model.weights(),
        file,
        text: &text,
        tokenizer,
        cells: cells(&tokens, &text),
        tokens,
        summary,
    };
    let page = args.html.as_ref().map_or_else(String::new, |_| page::render(&scored));
    if let Some(target) = &args.html {
        files::write_file(target, page.as_bytes())?;
    }
    let coloured = !args.json && args.html.is_none() && is_coloured(args.color);
    let form = if coloured { Form::Colours } else { Form::of(args.json) };
    form.print(&scored, |scored, out| match &args.html {
        Some(target) => {
            columns::write_heading(scored, out)?;
            columns::write_summary(scored, out)?;
            writeln!(out, "page           {}, {} kB", shown::path(target), page.len().div_ceil(1000))
        }
        None if coloured => terminal::write(scored, out),
        None => columns::write(scored, out),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Whether the text is shown in colours. `auto` follows the usual rules: NO_COLOR, CLICOLOR_FORCE, TERM, and whether
/// standard output is a terminal.
fn is_coloured(choice: ColorChoice) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never,
    }
}

impl Summary {
    fn of(scores: &[TokenScore], bytes: usize, seq_len: usize) -> Self {
        let tokens = scores.len();
        let mean = |value: fn(&TokenScore) -> f64| scores.iter().map(value).sum::<f64>() / tokens as f64;
        let within = |rank| scores.iter().filter(|score| score.rank <= rank).count() as f64 / tokens as f64;
        let loss = mean(|score| -score.logprob);
        Self {
            loss,
            perplexity: libm::exp(loss),
            bits_per_byte: loss * tokens as f64 / std::f64::consts::LN_2 / bytes as f64,
            tokens,
            bytes,
            entropy: mean(|score| score.entropy),
            first_choice: within(1),
            first_five: within(5),
            seq_len,
            windows: tokens.div_ceil(seq_len),
        }
    }
}

impl Scored<'_> {
    /// The scores of a cell's tokens; fewer than it has tokens if the text's first is among them.
    pub fn scores(&self, cell: &Cell) -> impl Iterator<Item = &TokenScore> {
        self.tokens[cell.tokens.clone()].iter().filter_map(|token| token.score.as_ref())
    }

    /// −ln p of all that is predicted in a cell, in nats; `None` where nothing is.
    pub fn surprise(&self, cell: &Cell) -> Option<f64> {
        self.scores(cell).map(|score| -score.logprob).reduce(|sum, one| sum + one)
    }

    /// Whether a window but the first begins in a cell: a token of it is predicted from a single one.
    pub fn begins_window(&self, cell: &Cell) -> bool {
        let is_first = |index: usize| self.tokens[index].score.as_ref().is_some_and(|score| score.context == 1);
        cell.tokens.clone().any(|index| index > 1 && is_first(index))
    }
}

impl Serialize for Scored<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Json::of(self).serialize(serializer)
    }
}

/// The whole as one object.
#[derive(Serialize)]
struct Json<'a> {
    checkpoint: &'a str,
    /// What weights were rounded to.
    weights: WeightFormat,
    file: &'a str,
    summary: &'a Summary,
    tokens: Vec<JsonToken>,
}

#[derive(Serialize)]
struct JsonToken {
    id: u32,
    /// The token by itself; `<0xE4>` for a byte that is no character.
    text: String,
    /// From and to, in the file.
    bytes: [usize; 2],
    logprob: Option<f64>,
    rank: Option<usize>,
    entropy: Option<f64>,
    /// Tokens before it in its window.
    context: usize,
}

impl<'a> Json<'a> {
    fn of(scored: &'a Scored) -> Self {
        let token = |Token { id, bytes, score }: &Token| JsonToken {
            id: *id,
            text: scored.tokenizer.token_text(*id),
            bytes: [bytes.start, bytes.end],
            logprob: score.as_ref().map(|score| score.logprob),
            rank: score.as_ref().map(|score| score.rank),
            entropy: score.as_ref().map(|score| score.entropy),
            context: score.as_ref().map_or(0, |score| score.context),
        };
        let Scored { checkpoint, weights, file, summary, .. } = scored;
        Self { checkpoint, weights: *weights, file, summary, tokens: scored.tokens.iter().map(token).collect() }
    }
}
