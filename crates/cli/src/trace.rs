//! `tril sample --trace`: the steps that make each token, as they happen: context, forward pass, last position,
//! distribution, draw, append.

use std::io::{Result, Write};

use anstyle::{AnsiColor, Style};
use tril::{
    FinishReason, GenerateOptions, GenerateRequest, GeneratedText, GeneratedToken, SamplerConfig, TextEvent,
    TextEventKind, Tokenizer,
};
use tril_infer::{CacheMode, PREFILL_CHUNK};
use tril_model::GptConfig;
use unicode_width::UnicodeWidthChar;

use crate::folded::stdout_width;
use crate::shown::{on_one_line, quoted};

/// How many of the most probable tokens are shown.
const CANDIDATES: usize = 5;
/// Columns of a token's text, of a bar, of the line from 0 to 1, and of the text so far.
const WIDE: Columns = Columns { token: 20, bar: 40, line: 36 };
/// What stands before a token, a bar and the line from 0 to 1 in a row.
const BEFORE_BAR: usize = 24;
const BEFORE_LINE: usize = 13;
/// A row of [`WIDE`] has so many.
const WIDE_ROW: usize = 80;
const TEXT: usize = 74;
/// Tokens that fill the columns of the text so far, unless most of them are empty.
const TAIL: usize = 4 * TEXT;

const LABEL: Style = Style::new().dimmed();
const CHOSEN: Style = AnsiColor::Green.on_default().bold();

/// Between two samples.
const RULE: &str = "---------------";

/// Shows samples that are made one after another.
pub struct Traces<'a> {
    tokenizer: &'a Tokenizer,
    config: &'a GptConfig,
    /// The one that is being made, and its number.
    current: Option<(usize, Trace<'a>)>,
}

/// How wide the parts of a row are.
#[derive(Clone, Copy)]
struct Columns {
    token: usize,
    bar: usize,
    line: usize,
}

impl Columns {
    /// As many as the terminal has.
    fn of_terminal() -> Self {
        let Some(width) = stdout_width().filter(|width| *width < WIDE_ROW) else { return WIDE };
        let token = 10;
        let bar = width.saturating_sub(BEFORE_BAR + token).clamp(2, WIDE.bar);
        Self { token, bar, line: width.saturating_sub(BEFORE_LINE).clamp(8, WIDE.line) }
    }
}

/// Shows one sample.
struct Trace<'a> {
    tokenizer: &'a Tokenizer,
    config: &'a GptConfig,
    options: &'a GenerateOptions,
    /// The last tokens of the text so far.
    tail: Vec<u32>,
    /// How many new tokens there are.
    count: usize,
}

impl<'a> Traces<'a> {
    pub fn new(tokenizer: &'a Tokenizer, config: &'a GptConfig) -> Self {
        Self { tokenizer, config, current: None }
    }

    /// Shows what happens to a sample.
    pub fn show(&mut self, event: &TextEvent, request: &'a GenerateRequest, out: &mut impl Write) -> Result<()> {
        let number = event.request;
        let trace = match &mut self.current {
            Some((current, trace)) if *current == number => trace,
            current => {
                if current.is_some() {
                    writeln!(out, "{RULE}")?;
                }
                let trace = Trace::new(self.tokenizer, self.config, &request.options, &request.prompt_ids);
                trace.write_heading(request.prompt_ids.len(), out)?;
                &mut current.insert((number, trace)).1
            }
        };
        match &event.kind {
            TextEventKind::Token(token) => trace.write_step(token, out),
            TextEventKind::Text(_) | TextEventKind::Hidden(_) => Ok(()),
            TextEventKind::Finished(text) => trace.write_end(text, out),
        }
    }
}

impl<'a> Trace<'a> {
    /// Of the sample that these options describe, after a prompt.
    fn new(tokenizer: &'a Tokenizer, config: &'a GptConfig, options: &'a GenerateOptions, prompt: &[u32]) -> Self {
        let tail = prompt[prompt.len().saturating_sub(TAIL)..].to_vec();
        Self { tokenizer, config, options, tail, count: 0 }
    }

    /// What holds for all steps.
    fn write_heading(&self, prompt_len: usize, out: &mut impl Write) -> Result<()> {
        let GenerateOptions { sampler, sample_index, .. } = self.options;
        let (seed, settings) = (sampler.seed, settings(sampler));
        writeln!(out, "{CHOSEN}sample {sample_index}{CHOSEN:#} of seed {seed}; probabilities after {settings}")?;
        let tokens = if prompt_len == 1 { "token" } else { "tokens" };
        self.write_row("prompt", &format!("{prompt_len} {tokens}: {}", self.text()), out)
    }

    /// One step.
    fn write_step(&mut self, token: &GeneratedToken, out: &mut impl Write) -> Result<()> {
        self.count += 1;
        self.write_token(token, out)?;
        self.tail.push(token.sampled.token);
        if self.tail.len() > 2 * TAIL {
            self.tail.drain(..TAIL);
        }
        self.write_row("append", &self.text(), out)
    }

    /// Why there are no more.
    fn write_end(&mut self, text: &GeneratedText, out: &mut impl Write) -> Result<()> {
        if let Some(stop) = &text.stop_token {
            self.count += 1;
            self.write_token(stop, out)?;
            self.write_row("append", "nothing: this token ends the text and is not part of it", out)?;
        }
        let why = match (text.finish, &text.stop_text) {
            (FinishReason::MaxTokens, _) => "the maximum number of tokens".to_owned(),
            (FinishReason::EndOfText, _) => "end of text".to_owned(),
            (FinishReason::ContextFull, _) => "the context is full".to_owned(),
            (FinishReason::StopText, stop) => {
                format!("the stop text {} appeared", quoted(stop.as_deref().unwrap_or_default()))
            }
            (FinishReason::Interrupted, _) => "stopped by an interrupt".to_owned(),
        };
        writeln!(out, "\n{LABEL}end{LABEL:#}  {why}")
    }

    /// All of a step but what it appends.
    fn write_token(&self, token: &GeneratedToken, out: &mut impl Write) -> Result<()> {
        let &GeneratedToken { position, context, computed, dropped, .. } = token;
        let sampled = &token.sampled;
        let count = self.count;
        writeln!(out, "\n{CHOSEN}token {count}{CHOSEN:#}, at position {position} of the text")?;
        let known = match (self.options.cache, context - computed.min(context)) {
            (CacheMode::Recompute, _) => "all computed, as there is no cache".to_owned(),
            (CacheMode::Cached, 0) => "all computed, and cached from now on".to_owned(),
            (CacheMode::Cached, known) => format!("{known} in the cache, {computed} computed"),
        };
        let left = match dropped {
            0 => String::new(),
            dropped => format!("; it was full, so the oldest {dropped} were dropped"),
        };
        self.write_row("context", &format!("{context} token{}: {known}{left}", plural(context)), out)?;
        let GptConfig { d_model, vocab_size, .. } = self.config;
        let chunk = PREFILL_CHUNK.get();
        let in_chunks = self.options.cache == CacheMode::Cached && computed > chunk;
        let chunks = if in_chunks { format!(" in chunks of {chunk}") } else { String::new() };
        let forward =
            format!("[1, {computed}]{chunks} → [1, {computed}, {d_model}] → last position → logits [{vocab_size}]");
        self.write_row("forward", &forward, out)?;
        self.write_candidates(token, out)?;
        let chosen = quoted(&self.tokenizer.token_text(sampled.token));
        let draw = match sampled.uniform {
            None => format!("none: {chosen} is taken, whose logit is the largest"),
            Some(draw) => {
                let (begin, end) = (sampled.cdf_interval.start, sampled.cdf_interval.end);
                format!(
                    "{draw:.6} is in [{begin:.6}, {end:.6})  0{}1",
                    line(draw, begin, end, Columns::of_terminal().line)
                )
            }
        };
        self.write_row("draw", &draw, out)
    }

    /// The most probable tokens, the chosen one, and what all others have together.
    fn write_candidates(&self, token: &GeneratedToken, out: &mut impl Write) -> Result<()> {
        let all = &token.alternatives;
        let place = all.iter().position(|(id, _)| *id == token.sampled.token).unwrap_or(0);
        let Columns { token: width, bar, .. } = Columns::of_terminal();
        let mut label = "probs";
        let mut others = (all.len(), 1.0);
        for (rank, &(id, probability)) in all.iter().enumerate() {
            if rank >= CANDIDATES && rank != place {
                continue;
            }
            others = (others.0 - 1, others.1 - probability);
            let style = if rank == place { CHOSEN } else { Style::new() };
            let mark = if rank == place { "→" } else { " " };
            let text = fit(&quoted(&self.tokenizer.token_text(id)), width);
            let row = format!("{style}{mark} {text}{style:#} {}", chance(probability, bar));
            self.write_row(label, &row, out)?;
            label = "";
        }
        if let (count @ 1.., probability) = others {
            let text = fit(&format!("{count} other{}", plural(count)), width);
            self.write_row("", &format!("  {text} {}", chance(probability.max(0.0), bar)), out)?;
        }
        Ok(())
    }

    fn write_row(&self, label: &str, row: &str, out: &mut impl Write) -> Result<()> {
        writeln!(out, "  {LABEL}{label:<7}{LABEL:#}  {}", row.trim_end())
    }

    /// The end of the text so far, on one line.
    fn text(&self) -> String {
        // Special tokens have no text; where a document begins with one, this is all there is to see.
        let text = match self.tokenizer.decode(&self.tail) {
            Ok(text) if !text.is_empty() => text,
            _ => self.tail.iter().map(|token| self.tokenizer.token_text(*token)).collect(),
        };
        let text = on_one_line(&text);
        let mut width = 0;
        let fits = |character: &char| {
            width += character.width().unwrap_or(0);
            width <= TEXT
        };
        let shown: usize = text.chars().rev().take_while(fits).map(char::len_utf8).sum();
        let cut = if shown < text.len() { "…" } else { "" };
        format!("{cut}{}", &text[text.len() - shown..])
    }
}

/// What is done to logits before probabilities are shown, in its order.
fn settings(config: &SamplerConfig) -> String {
    let count = |what: &str, count: usize| (count > 0).then(|| format!("{count} {what}"));
    let unless = |what: &str, value: f64, none: f64| (value != none).then(|| format!("{what} {value}"));
    let is_drawn = config.temperature > 0.0;
    let filters = [
        (config.top_k > 0).then(|| format!("top-k {}", config.top_k)),
        unless("typical-p", config.typical_p, 1.0),
        unless("top-p", config.top_p, 1.0),
        unless("min-p", config.min_p, 0.0),
    ];
    let all = [
        unless("repetition penalty", config.repetition_penalty, 1.0),
        unless("presence penalty", config.presence_penalty, 0.0),
        unless("frequency penalty", config.frequency_penalty, 0.0),
        count("biases", config.logit_bias.len()),
        count("bans", config.banned.len()),
        Some(format!("temperature {}", config.temperature)),
    ];
    let all = all.into_iter().chain(filters.into_iter().filter(|_| is_drawn));
    all.flatten().collect::<Vec<_>>().join(", ")
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// A text in exactly so many columns.
fn fit(text: &str, columns: usize) -> String {
    let widths = || text.chars().map(|character| character.width().unwrap_or(0));
    let total: usize = widths().sum();
    if total <= columns {
        return format!("{text}{}", " ".repeat(columns - total));
    }
    let mut fitted = String::new();
    let mut width = 0;
    for (character, more) in text.chars().zip(widths()) {
        if width + more >= columns {
            break;
        }
        fitted.push(character);
        width += more;
    }
    format!("{fitted}…{}", " ".repeat(columns - 1 - width))
}

/// A probability as a number and as a bar of at most so many columns, whose last block is as wide as eighths of a column can tell.
fn chance(probability: f64, columns: usize) -> String {
    let eighths = ((probability * (columns * 8) as f64).round() as usize).max(1);
    let last = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'][eighths % 8];
    let bar = "█".repeat(eighths / 8) + last.to_string().trim();
    format!("{:>6.2} %  {bar}", 100.0 * probability)
}

/// The line from 0 to 1 in so many columns: where a token's share lies in it, and the draw.
fn line(draw: f64, begin: f64, end: f64, columns: usize) -> String {
    let column = |place: usize| {
        let (from, to) = (place as f64 / columns as f64, (place + 1) as f64 / columns as f64);
        if (from..to).contains(&draw) {
            '┃'
        } else if begin < to && end > from {
            '▒'
        } else {
            '·'
        }
    };
    (0..columns).map(column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(text: &str) -> String {
        super::fit(text, WIDE.token)
    }

    fn chance(probability: f64) -> String {
        super::chance(probability, WIDE.bar)
    }

    fn line(draw: f64, begin: f64, end: f64) -> String {
        super::line(draw, begin, end, WIDE.line)
    }

    #[test]
    fn texts_of_any_width_take_the_same_columns() {
        let width = |text: &str| text.chars().map(|character| character.width().unwrap_or(0)).sum::<usize>();
        let long = "明月幾時有把酒問青天不知";
        for text in ["", "a", "明月", "a明", "exactly twenty chars", "one more than twenty!", long, &format!("a{long}")]
        {
            assert_eq!(width(&fit(text)), WIDE.token, "{:?}", fit(text));
        }
        assert_eq!(fit("exactly twenty chars"), "exactly twenty chars");
        assert!(fit("one more than twenty!").ends_with('…'));
    }

    #[test]
    fn bars_are_as_long_as_the_probability_and_never_empty() {
        assert_eq!(chance(1.0), format!("100.00 %  {}", "█".repeat(WIDE.bar)));
        assert_eq!(chance(0.5), format!(" 50.00 %  {}", "█".repeat(WIDE.bar / 2)));
        assert_eq!(chance(0.51), format!(" 51.00 %  {}▍", "█".repeat(20)));
        assert_eq!(chance(1e-9), "  0.00 %  ▏");
    }

    #[test]
    fn the_line_shows_the_share_and_the_draw_in_it() {
        let quarters = line(0.3, 0.25, 0.5);
        assert_eq!(quarters, format!("{}▒┃{}{}", "·".repeat(9), "▒".repeat(7), "·".repeat(18)));
        assert_eq!(line(0.0, 0.0, 1.0), format!("┃{}", "▒".repeat(35)));
        assert_eq!(line(1.0_f64.next_down(), 0.999_999, 1.0), format!("{}┃", "·".repeat(35)), "narrower than a column");
    }
}
