//! The report of `tril verify` as a table, at most 100 columns wide but for texts and hashes, and what it means.

use std::io::{Result, Write};

use tril::{FinishReason, Receipt, ReceiptCheck, ReceiptPrompt, ReceiptSample, SampleCheck, SampledToken, Tokenizer};
use tril_prove::{Failure, Fault, Tolerance, Verdict};

use super::VerifyOutput;
use crate::ending::reason;
use crate::folded::is_narrow;
use crate::open;
use crate::quantity::counted;
use crate::shown::{self, TextWriter, on_one_line, quoted};

/// Tokens of the text that a failure quotes before its place.
const BEFORE: usize = 12;

/// Writes the table, the first failure of each sample, and the result.
pub fn write(
    output: &VerifyOutput,
    receipt: &Receipt,
    tokenizer: &Tokenizer,
    out: &mut TextWriter<impl Write>,
) -> Result<()> {
    let VerifyOutput { checkpoint, device, receipt: name, check: finding } = output;
    writeln!(out, "{} on {device}{}", shown::path(checkpoint), open::rounded(finding.weights))?;
    let count = receipt.samples().count();
    writeln!(out, "{}: {}", on_one_line(name), counted(count, "sample"))?;
    let stated = format!("tril {}, on {}, from {}", receipt.tril, finding.made_on, receipt.checkpoint);
    writeln!(out, "stated, not checked: {}", on_one_line(&stated))?;
    match finding.tolerance {
        Tolerance::EqualBits => writeln!(out, "demanded: the same bits")?,
        Tolerance::Within(share) => writeln!(out, "demanded: equal draws, and logits within {share} of the largest")?,
    }
    if let Some(fault) = &finding.fault {
        writeln!(out)?;
        out.outcome("FAIL")?;
        return writeln!(out, "  {}.\nNo token was checked.", on_one_line(fault));
    }
    let heads =
        ["prompt", "sample", "tokens", "checked", "undecided", "failed", "contexts", "logprob differs", "ended by"];
    let [prompt, sample, tokens, checked, undecided, failed, contexts, differs, ended] = heads;
    if is_narrow() {
        writeln!(out)?;
    } else {
        writeln!(
            out,
            "\n{prompt:>6} {sample:>6} {tokens:>8} {checked:>8} {undecided:>10} {failed:>7} {contexts:>9} {differs:>16}  {ended}"
        )?;
    }
    for sample in &finding.samples {
        write_row(sample, out)?;
    }
    writeln!(out)?;
    for (checked, (_, continued, sample)) in finding.samples.iter().zip(receipt.samples()) {
        write_failures(checked, sample, continued, tokenizer, out)?;
    }
    write_result(finding, out)
}

fn write_row(sample: &SampleCheck, out: &mut TextWriter<impl Write>) -> Result<()> {
    let SampleCheck { prompt, sample_index, tokens, finish, verdict, verification, .. } = sample;
    let (checked, undecided, failed) = (verification.checked, verification.undecided, verification.failed);
    let (contexts, difference) = (verification.contexts, verification.max_logprob_difference);
    let difference = if difference == 0.0 { "0".to_owned() } else { format!("{difference:.1e}") };
    let finish = reason(*finish);
    let outcome = match verdict {
        Verdict::Pass => "pass",
        Verdict::Undecided => "open",
        Verdict::Fail => "FAIL",
    };
    if is_narrow() {
        write!(out, "prompt {prompt}, sample {sample_index}  ")?;
        out.outcome(outcome)?;
        return writeln!(
            out,
            "\n  {}, {checked} checked, {undecided} undecided, {failed} failed, {}; logprobs differ by {difference}; ended by {finish}",
            counted(*tokens, "token"),
            counted(contexts, "context")
        );
    }
    write!(
        out,
        "{prompt:>6} {sample_index:>6} {tokens:>8} {checked:>8} {undecided:>10} {failed:>7} {contexts:>9} {difference:>16}  {finish:<13} "
    )?;
    out.outcome(outcome)?;
    writeln!(out)
}

fn write_failures(
    checked: &SampleCheck,
    sample: &ReceiptSample,
    continued: &ReceiptPrompt,
    tokenizer: &Tokenizer,
    out: &mut TextWriter<impl Write>,
) -> Result<()> {
    let of = format!("prompt {}, sample {}", checked.prompt, checked.sample_index);
    if let Some(failure) = &checked.verification.first_failure {
        let Failure { index, position, claim, .. } = failure;
        let (place, name) = (index + 1, name(&claim.sampled, tokenizer));
        out.outcome("FAIL")?;
        writeln!(out, "  {of}: its token {place}, {name}, at position {position} of the text:")?;
        for line in explain(failure, tokenizer) {
            writeln!(out, "      {line}")?;
        }
        let before = continued.prompt.tokens.iter().map(|token| token.id);
        let before: Vec<u32> = before.chain(sample.tokens[..*index].iter().map(|token| token.id)).collect();
        let tail = &before[before.len().saturating_sub(BEFORE)..];
        let cut = if tail.len() < before.len() { "…" } else { "" };
        let text: String = tail.iter().map(|id| tokenizer.token_text(*id)).collect();
        writeln!(out, "      It comes after: {cut}{}", on_one_line(&text))?;
    }
    for fault in checked.text.iter().chain(&checked.verification.ending) {
        out.outcome("FAIL")?;
        writeln!(out, "  {of}: {}.", on_one_line(fault))?;
    }
    Ok(())
}

/// What is wrong, line by line.
fn explain(failure: &Failure, tokenizer: &Tokenizer) -> Vec<String> {
    let Failure { fault, claim, expected, given, .. } = failure;
    let claim = &claim.sampled;
    let interval = |token: &SampledToken| format!("[{}, {})", token.cdf_interval.start, token.cdf_interval.end);
    let drawn = |draw: Option<f64>| draw.map_or("none".to_owned(), |draw| draw.to_string());
    let Some(expected) = expected else {
        return vec![match fault {
            Fault::NoRoom => "The context was already full, which should have ended the text.".to_owned(),
            _ => "The model has no such token.".to_owned(),
        }];
    };
    match fault {
        Fault::Uniform => vec![
            format!("The draw that seed, sample and position name is {},", drawn(expected.uniform)),
            format!("the one in the receipt is {}.", drawn(claim.uniform)),
        ],
        Fault::Token => vec![
            match expected.uniform {
                Some(draw) => format!("Its draw {draw} lies in {},", interval(expected)),
                None => "Nothing is drawn at temperature 0, and the largest logit".to_owned(),
            },
            match (given, expected.uniform) {
                (_, None) => format!("is that of {}.", name(expected, tokenizer)),
                (Some((_, Some(its))), _) => {
                    format!("the share of {}; its own is [{}, {}).", name(expected, tokenizer), its.start, its.end)
                }
                _ => {
                    format!("the share of {}; its own token has none: the filters drop it.", name(expected, tokenizer))
                }
            },
        ],
        Fault::CdfInterval => vec![
            format!("Its share of [0, 1) is {},", interval(expected)),
            format!("the one in the receipt is {}.", interval(claim)),
        ],
        Fault::Logprob => vec![
            format!("Its log-probability is {},", given.as_ref().map_or(expected.logprob, |(logprob, _)| *logprob)),
            format!("the one in the receipt is {}.", claim.logprob),
        ],
        _ => vec![
            "It is an end-of-text token inside the text, or is said to end the text and is not that token.".to_owned(),
        ],
    }
}

fn name(token: &SampledToken, tokenizer: &Tokenizer) -> String {
    format!("{} (id {})", quoted(&tokenizer.token_text(token.token)), token.token)
}

fn write_result(finding: &ReceiptCheck, out: &mut impl Write) -> Result<()> {
    let failed = finding.samples.iter().filter(|sample| sample.verdict == Verdict::Fail).count();
    if failed > 0 {
        let all = finding.samples.len();
        writeln!(out, "\n{failed} of {all} failed: this checkpoint did not generate the text as the receipt says.")?;
        let first = |sample: &SampleCheck| sample.verification.first_failure.as_ref().map(|failure| failure.fault);
        if finding.samples.iter().any(|sample| first(sample) == Some(Fault::Token)) {
            writeln!(out, "Tokens after a wrong one have another context and may fail for that alone.")?;
        }
        if finding.tolerance == Tolerance::EqualBits && finding.made_on != finding.checked_on {
            writeln!(out, "Where another device rounds otherwise, --tolerance 1e-3 says how far logits may be apart.")?;
        }
        return Ok(());
    }
    let cut = finding.samples.iter().filter(|sample| sample.finish == FinishReason::Interrupted).count();
    if cut > 0 {
        writeln!(out, "That {cut} of them ended by an interrupt is stated, not checked.")?;
    }
    let empty = finding.samples.iter().filter(|sample| sample.verification.checked == 0).count();
    let undecided: usize = finding.samples.iter().map(|sample| sample.verification.undecided).sum();
    if finding.verdict == Verdict::Pass {
        return writeln!(out, "Every token is the one that this checkpoint, these settings and its draw give.");
    }
    if empty > 0 {
        writeln!(out, "UNDECIDED  {empty} of {} without a token to check.", counted(finding.samples.len(), "sample"))?;
    }
    if undecided > 0 {
        writeln!(
            out,
            "UNDECIDED  {}: rounding within the tolerance may have chosen another one there.",
            counted(undecided, "token")
        )?;
    }
    writeln!(out, "Nothing is wrong, and not everything is known to be right.")
}
