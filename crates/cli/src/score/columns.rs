//! A scored text in plain columns, and the heading and the summary that other forms share.

use std::io::{Result, Write};

use unicode_width::UnicodeWidthStr;

use super::cells::Cell;
use super::{Scored, Token};
use crate::folded::stdout_width;
use crate::quantity::counted;
use crate::shown::{on_one_line, quoted};

/// How many of the most surprising places are named.
const MOST_SURPRISING: usize = 10;

/// How much text is shown before such a place, in characters.
const BEFORE: usize = 30;

/// The same in a narrow terminal.
const BEFORE_SHORT: usize = 10;

/// Width of the column of tokens.
const TOKEN_WIDTH: usize = 18;

/// Writes one row a token, then the summary.
pub fn write(scored: &Scored, out: &mut impl Write) -> Result<()> {
    write_heading(scored, out)?;
    let form = RowForm::of_terminal();
    let [byte, context, logprob, rank, entropy] = ["byte", "context", "logprob", "rank", "entropy"];
    let token = padded("token");
    match form {
        RowForm::Whole => writeln!(
            out,
            "\n{byte:>8} {context:>7} {logprob:>9} {rank:>6} {entropy:>7}  {token} first choice, if different"
        )?,
        RowForm::OneChoice => {
            writeln!(out, "\n{byte:>8} {context:>7} {logprob:>9} {rank:>6} {entropy:>7}  {token} first choice")?;
        }
        RowForm::Short => writeln!(out, "\n{byte:>8} {logprob:>9} {rank:>6}  token")?,
    }
    for token in &scored.tokens {
        write_row(scored, token, form, out)?;
    }
    writeln!(out)?;
    write_most_surprising(scored, out)?;
    write_summary(scored, out)
}

/// How much of a row there is room for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RowForm {
    /// All of it.
    Whole,
    /// With short headings.
    OneChoice,
    /// Place, log-probability, rank and token.
    Short,
}

impl RowForm {
    fn of_terminal() -> Self {
        match stdout_width() {
            Some(..76) => Self::Short,
            Some(76..96) => Self::OneChoice,
            _ => Self::Whole,
        }
    }
}

fn write_row(scored: &Scored, Token { id, bytes, score }: &Token, form: RowForm, out: &mut impl Write) -> Result<()> {
    let (byte, text) = (bytes.start, quoted(&scored.tokenizer.token_text(*id)));
    let Some(score) = score else {
        return match form {
            RowForm::Short => writeln!(out, "{byte:>8} {:>9} {:>6}  {text}", "-", "-"),
            _ => writeln!(
                out,
                "{byte:>8} {:>7} {:>9} {:>6} {:>7}  {} {}",
                0,
                "-",
                "-",
                "-",
                padded(&text),
                if form == RowForm::Whole { "(nothing predicts it)" } else { "(not predicted)" }
            ),
        };
    };
    let (context, logprob, rank, entropy) = (score.context, score.logprob, score.rank, score.entropy);
    if form == RowForm::Short {
        return writeln!(out, "{byte:>8} {logprob:>9.4} {rank:>6}  {text}");
    }
    write!(out, "{byte:>8} {context:>7} {logprob:>9.4} {rank:>6} {entropy:>7.4}  ")?;
    match score.alternatives.first().filter(|_| rank > 1) {
        Some(first) => writeln!(out, "{} {}", padded(&text), choice(scored, *first)),
        None => writeln!(out, "{text}"),
    }
}

/// Such as `"the" 31.2 %`.
pub fn choice(scored: &Scored, (id, logprob): (u32, f64)) -> String {
    format!("{} {}", quoted(&scored.tokenizer.token_text(id)), percent(libm::exp(logprob)))
}

/// A probability to two digits or three.
pub fn percent(probability: f64) -> String {
    match 100.0 * probability {
        percent if percent >= 99.95 => format!("{percent:.0} %"),
        percent if percent >= 0.95 => format!("{percent:.1} %"),
        percent if percent >= 0.0095 => format!("{percent:.2} %"),
        percent => format!("{percent:.1e} %"),
    }
}

/// A text with spaces up to the column's width, as a terminal counts it.
fn padded(text: &str) -> String {
    format!("{text}{}", " ".repeat(TOKEN_WIDTH.saturating_sub(text.width())))
}

/// What was scored, by what.
pub fn write_heading(scored: &Scored, out: &mut impl Write) -> Result<()> {
    writeln!(out, "{} under {}", on_one_line(&scored.file), on_one_line(&scored.checkpoint))
}

/// Writes the places that the model held least probable.
pub fn write_most_surprising(scored: &Scored, out: &mut impl Write) -> Result<()> {
    let mut cells: Vec<(f64, &Cell)> =
        scored.cells.iter().filter_map(|cell| Some((scored.surprise(cell)?, cell))).collect();
    cells.sort_by(|(a, _), (b, _)| b.total_cmp(a)); // the earlier first among equals
    cells.truncate(MOST_SURPRISING);
    writeln!(out, "most surprising")?;
    for (surprise, cell) in cells {
        let before = &scored.text[..cell.bytes.start];
        let line = 1 + before.matches('\n').count();
        // In a narrow terminal what was expected has a line of its own.
        let is_short = RowForm::of_terminal() == RowForm::Short;
        let most = if is_short { BEFORE_SHORT } else { BEFORE };
        let start = before.char_indices().rev().take(most).last().map_or(before.len(), |(start, _)| start);
        let before = on_one_line(&before[start..]);
        let spaces = " ".repeat(if is_short { 0 } else { BEFORE.saturating_sub(before.width()) });
        let text = quoted(&scored.text[cell.bytes.clone()]);
        write!(out, "{surprise:>7.2} nats  line {line:<5} {spaces}{before} {text}")?;
        // What was expected instead can be told of a single token, not of a character in pieces.
        let token = &scored.tokens[cell.tokens.start];
        let first = token.score.as_ref().and_then(|score| score.alternatives.first());
        match first.filter(|first| cell.tokens.len() == 1 && first.0 != token.id) {
            Some(first) if is_short => writeln!(out, "\n{:>12}expected {}", "", choice(scored, *first))?,
            Some(first) => writeln!(out, ", expected {}", choice(scored, *first))?,
            None => writeln!(out)?,
        }
    }
    writeln!(out)
}

/// Writes the numbers of the whole text.
pub fn write_summary(scored: &Scored, out: &mut impl Write) -> Result<()> {
    let summary = &scored.summary;
    writeln!(out, "loss           {:.4} nats a token", summary.loss)?;
    writeln!(out, "entropy        {:.4} nats a token: the loss that the model itself expected", summary.entropy)?;
    writeln!(out, "perplexity     {:.3}", summary.perplexity)?;
    writeln!(out, "bits per byte  {:.4}", summary.bits_per_byte)?;
    let [first, five] = [summary.first_choice, summary.first_five].map(|share| 100.0 * share);
    writeln!(out, "first choice   {first:.1} % of the tokens; among the first five {five:.1} %")?;
    writeln!(out, "over           {}, {}", counted(summary.tokens, "token"), counted(summary.bytes, "byte"))?;
    let (seq_len, windows) = (summary.seq_len, summary.windows);
    match windows {
        1 => writeln!(out, "context        everything before a token"),
        _ => writeln!(
            out,
            "context        1 to {seq_len} tokens: {windows} windows, each from an empty context, as in tril eval"
        ),
    }
}
