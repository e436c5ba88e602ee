//! `tril verify --text` and `--ids`: how much of a text without a receipt is what checkpoint, settings and draws give.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;
use tril::{BareTextCheck, GenerateOptions, Tokenizer, WeightFormat};
use tril_prove::{Mismatch, Tolerance, Verdict};

use super::{exit_code, name_of};
use crate::args::VerifyArgs;
use crate::output::Form;
use crate::shown::{self, TextWriter, on_one_line, quoted};
use crate::{open, quantity, runs};

/// Tokens of the text that are quoted before the first that is another.
const BEFORE: usize = 12;

/// Everything that is printed.
#[derive(Serialize)]
struct BareOutput {
    checkpoint: PathBuf,
    device: String,
    weights: WeightFormat,
    text: String,
    prompt_tokens: usize,
    seed: u64,
    sample_index: u64,
    tolerance: Tolerance,
    verdict: Verdict,
    /// Share of the tokens that are what the draw gives.
    share: f64,
    #[serde(flatten)]
    check: BareTextCheck,
}

pub fn run(args: &VerifyArgs) -> Result<ExitCode> {
    let device = open::device(&args.compute)?;
    let model = runs::rounded_model(&args.checkpoint, args.bare.weights.format(), &device)?;
    let tokenizer = model.tokenizer();
    let options = GenerateOptions {
        sampler: args.sampling.config(tokenizer)?,
        sample_index: args.bare.sample_index,
        stop_token: tokenizer.end_of_text().filter(|_| !args.bare.ignore_eos),
        on_overflow: args.bare.on_overflow.into(),
        ..GenerateOptions::default()
    };
    let prompt = args.bare.prompt.as_deref().unwrap_or_default();
    let prompt_ids = tokenizer.encode_prompt(prompt).map_err(|error| error.in_text("the prompt"))?;
    let tolerance = args.tolerance.map_or(Tolerance::EqualBits, Tolerance::Within);
    let begin = Instant::now();
    let (name, check) = match (&args.text, &args.ids) {
        (Some(path), _) => {
            let (name, text) = (name_of(path), open::text(path)?);
            let check = model.grade_text(prompt, &text, &options, tolerance).with_context(|| name.clone())?;
            (name, check)
        }
        (None, Some(path)) => {
            let (name, ids) = (name_of(path), open::text(path)?);
            let ids = read_ids(&ids).with_context(|| name.clone())?;
            let check = model.grade_ids(prompt_ids.clone(), ids, &options, tolerance).with_context(|| name.clone())?;
            (name, check)
        }
        (None, None) => bail!("name a receipt, or a text with --text or --ids"),
    };
    let verdict = check.grade.verdict();
    let output = BareOutput {
        checkpoint: model.path().to_owned(),
        device: device.to_string(),
        weights: model.weights(),
        text: name,
        prompt_tokens: prompt_ids.len(),
        seed: options.sampler.seed,
        sample_index: options.sample_index,
        tolerance,
        verdict,
        share: check.grade.share(),
        check,
    };
    Form::of(args.json).print(&output, |output, out| write(output, &prompt_ids, tokenizer, out))?;
    note!("[verified in {:.2} s]", begin.elapsed().as_secs_f64());
    Ok(exit_code(verdict))
}

/// A list in JSON, or numbers with blanks or commas between them.
fn read_ids(text: &str) -> Result<Vec<u32>> {
    let inner = text.trim();
    let inner = inner.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(inner);
    let words = inner.split(|letter: char| letter.is_whitespace() || letter == ',').filter(|word| !word.is_empty());
    words
        .map(|word| {
            word.parse()
                .map_err(|_| anyhow!("{word:?} is not a token's id, which is a whole number from 0 to {}", u32::MAX))
        })
        .collect()
}

fn write(
    output: &BareOutput,
    prompt: &[u32],
    tokenizer: &Tokenizer,
    out: &mut TextWriter<impl Write>,
) -> std::io::Result<()> {
    let BareOutput { checkpoint, device, text, prompt_tokens, seed, sample_index, tolerance, check, share, .. } =
        output;
    let grade = &check.grade;
    let tokens = |count: usize| quantity::counted(count as u64, "token");
    writeln!(out, "{} on {device}{}", shown::path(checkpoint), open::rounded(output.weights))?;
    writeln!(out, "{}: {} after a prompt of {}", on_one_line(text), tokens(grade.tokens), tokens(*prompt_tokens))?;
    writeln!(out, "draws: seed {seed}, sample {sample_index}")?;
    match tolerance {
        Tolerance::EqualBits => writeln!(out, "demanded: the tokens that the draws give")?,
        Tolerance::Within(share) => {
            writeln!(out, "demanded: tokens that the draws give where logits differ by up to {share} of the largest")?;
        }
    }
    writeln!(
        out,
        "\n{:>7} {:>7} {:>7} {:>7} {:>8}  {:>13}",
        "tokens", "same", "near", "other", "share", "same by chance"
    )?;
    let percent = |part: f64| format!("{:.1} %", 100.0 * part);
    let by_chance =
        if grade.tokens == 0 { "-".to_owned() } else { percent(grade.same_by_chance / grade.tokens as f64) };
    let (same, near, other) = (grade.same, grade.near, grade.other);
    writeln!(out, "{:>7} {same:>7} {near:>7} {other:>7} {:>8}  {by_chance:>14}", grade.tokens, percent(*share))?;
    if let Some(first) = &grade.first {
        write_first(first, prompt, &check.ids, tokenizer, out)?;
    }
    write_result(check, out)
}

/// The first token that is another, and its odds.
fn write_first(
    first: &Mismatch,
    prompt: &[u32],
    ids: &[u32],
    tokenizer: &Tokenizer,
    out: &mut impl Write,
) -> std::io::Result<()> {
    let Mismatch { index, position, token, is_near, probability, missed_by, expected, expected_probability } = first;
    let name = |id: u32| format!("{} (id {id})", quoted(&tokenizer.token_text(id)));
    let what = if *is_near { "near" } else { "other" };
    writeln!(
        out,
        "\nThe first {what}: new token {}, {}, at position {position} of the text.",
        index + 1,
        name(*token)
    )?;
    match expected {
        None => writeln!(out, "      The context was full before it, which should have ended the text.")?,
        Some(expected) => {
            let given = format!("{}, of probability {}", name(expected.token), probable(*expected_probability));
            match expected.uniform {
                Some(draw) => writeln!(out, "      The draw {draw:.6} gives {given}.")?,
                None => writeln!(out, "      At temperature 0 the largest logit gives {given}.")?,
            }
            match (expected.token == *token, missed_by) {
                (true, _) => writeln!(out, "      It ends a text, and this one goes on.")?,
                (false, Some(missed)) => writeln!(
                    out,
                    "      Its own probability is {}; the draw misses its share of [0, 1) by {missed:.1e}.",
                    probable(*probability)
                )?,
                (false, None) => writeln!(out, "      The settings leave it no probability.")?,
            }
        }
    }
    let before: Vec<u32> = prompt.iter().chain(&ids[..*index]).copied().collect();
    let tail = &before[before.len().saturating_sub(BEFORE)..];
    let cut = if tail.len() < before.len() { "…" } else { "" };
    let text: String = tail.iter().map(|id| tokenizer.token_text(*id)).collect();
    writeln!(out, "      It comes after: {cut}{}", on_one_line(&text))
}

/// A probability for people, never a rounded 0.
fn probable(probability: f64) -> String {
    if probability >= 1e-3 || probability == 0.0 {
        format!("{:.1} %", 100.0 * probability)
    } else {
        format!("{probability:.0e}")
    }
}

fn write_result(check: &BareTextCheck, out: &mut TextWriter<impl Write>) -> std::io::Result<()> {
    let grade = &check.grade;
    writeln!(out)?;
    match grade.verdict() {
        Verdict::Pass => {
            out.outcome("PASS")?;
            writeln!(out, "  Every token is the one that this checkpoint, these settings and these draws give.")?;
            match grade.digits {
                Some(digits) if digits >= 1.0 => {
                    writeln!(out, "      Other draws give this very text once in 10^{digits:.0} times.")?;
                }
                _ => {
                    writeln!(out, "      Other draws give it as well: these settings leave hardly anything to chance.")?
                }
            }
        }
        Verdict::Undecided if grade.tokens == 0 => writeln!(out, "UNDECIDED  There is no token to look at.")?,
        Verdict::Undecided => {
            writeln!(
                out,
                "UNDECIDED  {} of {} are near: rounding within the tolerance may have",
                grade.near, grade.tokens
            )?;
            writeln!(out, "      chosen them. Nothing is wrong, and not everything is known to be right.")?;
        }
        Verdict::Fail => {
            out.outcome("FAIL")?;
            writeln!(out, "  {} of {} are not what checkpoint, settings and draws give.", grade.other, grade.tokens)?;
            writeln!(
                out,
                "      One of these is another, or the text was changed: few that differ speak for a change,"
            )?;
            writeln!(out, "      a share like that by chance for other draws.")?;
        }
    }
    if check.has_replacements && grade.verdict() != Verdict::Pass {
        writeln!(
            out,
            "The text has U+FFFD, which may stand for bytes that are no character. Their tokens cannot be told"
        )?;
        writeln!(out, "from it; --ids takes what was made as it is.")?;
    }
    if check.is_cut {
        writeln!(out, "The text ends inside a token, which was not looked at.")?;
    }
    writeln!(out, "Not checked: whether the text was cut at its end.")
}
