//! What the table of `tril prove` comes to, in plain words: what was shown, claim by claim, and what was not. Nothing is
//! claimed for a row that was not run.

use std::io::{Result, Write};

use textwrap::Options;
use tril_prove::{Proof, ProofId, ProofOutcome, ProofReport, Tolerance};

use super::ProveOutput;
use super::table::{label, title};
use crate::shown::TextWriter;

/// Columns of the widest line.
const WIDTH: usize = 100;

/// The claims by their numbers.
const CLAIMS: std::ops::RangeInclusive<usize> = 1..=6;

/// What the rows of one claim come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Every row that applies has passed, and there is one.
    Shown,
    /// Some row failed or was left open; these are told by themselves.
    NotShown,
    /// No row applies.
    NotApplicable,
}

/// Writes the summary.
pub fn write(finding: &ProveOutput, out: &mut TextWriter<impl Write>) -> Result<()> {
    let report = &finding.report;
    let outcomes = [ProofOutcome::Pass, ProofOutcome::Fail, ProofOutcome::Open, ProofOutcome::NotApplicable];
    let [passed, failed, open, absent] = outcomes.map(|outcome| report.count(outcome));
    let left_open = if open > 0 { format!("{open} open, ") } else { String::new() };
    writeln!(out, "\n{passed} pass, {failed} fail, {left_open}{absent} n/a.")?;
    for proof in &report.proofs {
        let word = match proof.outcome {
            ProofOutcome::Fail => "FAIL",
            ProofOutcome::Open => "open",
            ProofOutcome::Pass | ProofOutcome::NotApplicable => continue,
        };
        let (label, reason) = (label(finding, proof.id), reason(proof));
        out.outcome(word)?;
        writeln!(out, "  {label}: {reason}.")?;
    }
    write_shown(finding, out)?;
    if failed > 0 {
        let equal = report.tolerance == Tolerance::EqualBits;
        let bits =
            if equal { " One differing bit is a failure; the table shows how large the difference is." } else { "" };
        writeln!(out, "\nA claim that failed is not true of this checkpoint as this program runs it.{bits}")?;
    }
    if open > 0 {
        writeln!(
            out,
            "\nA claim that is open is neither shown nor refuted: nothing moves in this model on this text, so"
        )?;
        writeln!(out, "nothing could have been seen. Train the model, or prove it on another text.")?;
    }
    writeln!(
        out,
        "\nNot shown: anything about cases that were not tried, another text or another device, and whether"
    )?;
    writeln!(out, "the model's predictions are any good, which is what `tril eval` measures.")
}

/// The claims that were shown, each with what of it did not apply; then those of which nothing did.
fn write_shown(finding: &ProveOutput, out: &mut impl Write) -> Result<()> {
    let of = |wanted: Standing| CLAIMS.filter(move |claim| standing(&finding.report, *claim) == wanted);
    if of(Standing::Shown).next().is_some() {
        writeln!(out, "\nShown for this checkpoint, on this text and this device:")?;
    }
    for claim in of(Standing::Shown) {
        writeln!(out, "{}", wrapped(&meaning(&finding.report, claim), "- "))?;
        if let Some(absent) = absent(finding, claim) {
            writeln!(out, "{}", wrapped(&format!("Not tried, because it does not apply: {absent}."), "  "))?;
        }
    }
    if of(Standing::NotApplicable).next().is_some() {
        writeln!(out, "\nNot shown, because nothing of it applies:")?;
    }
    for claim in of(Standing::NotApplicable) {
        let absent = absent(finding, claim).unwrap_or_default();
        writeln!(out, "{}", wrapped(&format!("{}: {absent}.", title(claim)), "- "))?;
    }
    Ok(())
}

fn standing(report: &ProofReport, claim: usize) -> Standing {
    let of_claim = || report.proofs.iter().filter(|proof| proof.claim == claim);
    if of_claim().any(|proof| matches!(proof.outcome, ProofOutcome::Fail | ProofOutcome::Open)) {
        Standing::NotShown
    } else if of_claim().any(|proof| proof.outcome == ProofOutcome::Pass) {
        Standing::Shown
    } else {
        Standing::NotApplicable
    }
}

/// The rows of a claim that were not run, each with the reason; rows of one reason together.
fn absent(finding: &ProveOutput, claim: usize) -> Option<String> {
    let rows = finding.report.proofs.iter().filter(|proof| proof.claim == claim);
    let mut by_reason: Vec<(&str, Vec<String>)> = Vec::new();
    for proof in rows.filter(|proof| proof.outcome == ProofOutcome::NotApplicable) {
        let (reason, name) = (reason(proof), label(finding, proof.id));
        match by_reason.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, names)) => names.push(name),
            None => by_reason.push((reason, vec![name])),
        }
    }
    let told: Vec<String> =
        by_reason.iter().map(|(reason, names)| format!("{} ({reason})", names.join("; "))).collect();
    (!told.is_empty()).then(|| told.join("; "))
}

fn reason(proof: &Proof) -> &str {
    proof.reason.as_deref().unwrap_or_default()
}

/// A paragraph of at most [`WIDTH`] columns; what follows its first line stands below the text.
fn wrapped(text: &str, bullet: &str) -> String {
    textwrap::fill(text, Options::new(WIDTH).initial_indent(bullet).subsequent_indent("  ").break_words(false))
}

/// What the rows of a claim that passed show, in plain words.
fn meaning(report: &ProofReport, claim: usize) -> String {
    use ProofId::*;
    let (same, nothing) = match report.tolerance {
        Tolerance::EqualBits => ("the same bits", "nothing"),
        Tolerance::Within(_) => ("the same within rounding", "nothing but rounding"),
    };
    let passed = |id: &ProofId| report.proof(*id).is_some_and(|proof| proof.outcome == ProofOutcome::Pass);
    let any = |ids: &[ProofId]| ids.iter().any(passed);
    match claim {
        1 => {
            let cache = if any(&[Cached, Prefilled, Chunked, Ring, Rewound, PrefixReused]) {
                format!(" The cache saves work and changes {nothing}.")
            } else {
                String::new()
            };
            format!(
                "Predictions for a whole text, made in one pass as in training, are {same} as those made one \
                 token at a time as in generation.{cache}"
            )
        }
        2 => {
            let what = match (any(&[Batched, BatchedCached, Ragged]), passed(&Threads)) {
                (true, true) => "What else is in the batch, and how many threads compute,",
                (true, false) => "What else is in the batch",
                (false, _) => "How many threads compute",
            };
            format!("{what} changes {nothing} in a prediction.")
        }
        3 => match (any(&[LaterTokens, ScaledLaterTokens]), any(&[LaterGradients, ScaledLaterGradients])) {
            (true, true) => "No position sees a later token: not when it predicts, and not when it learns.",
            (true, false) => "No position sees a later token when it predicts.",
            (false, _) => "No position sees a later token when it learns.",
        }
        .to_owned(),
        4 => "Learning through the cache, step by step, would change every weight in the same way.".to_owned(),
        6 => {
            let exact = match (passed(&Accumulated), passed(&Resumed)) {
                (true, true) => Some("whether threads are few or many, and whether it was stopped and went on or not"),
                (true, false) => Some("whether threads are few or many"),
                (false, true) => Some("whether it was stopped and went on or not"),
                (false, false) => None,
            };
            let exact = exact.map(|what| {
                format!("Training that goes on from these weights, with an optimizer that begins anew, ends in the same bits, {what}.")
            });
            let pieces = passed(&MicroBatches).then(|| {
                "A batch that is computed in pieces has the gradient of the whole within rounding.".to_owned()
            });
            exact.into_iter().chain(pieces).collect::<Vec<_>>().join(" ")
        }
        _ => {
            let proof = report.proof(PrefixProblems);
            let cases = proof.map_or(0, |proof| proof.cases);
            let times = proof.and_then(|proof| proof.seconds).map_or(String::new(), |seconds| {
                let [together, apart] = [seconds.together, seconds.apart].map(|seconds| seconds * 1e3);
                format!(":\n{together:.1} ms in one pass, {apart:.1} ms one by one")
            });
            format!("A row of {cases} tokens is {cases} problems, each a text and its next token{times}.")
        }
    }
}
