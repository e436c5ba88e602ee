//! The report of `tril prove` as a table, 100 columns wide or a proof in two lines where the terminal is narrower, and what
//! it means in plain words.

use std::io::{Result, Write};

use tril_prove::{Control, Proof, ProofId, ProofOutcome, Tolerance};

use super::ProveOutput;
use crate::folded::is_narrow;
use crate::shown;

/// Writes the table and the summary.
pub fn write(finding: &ProveOutput, out: &mut impl Write) -> Result<()> {
    let report = &finding.report;
    writeln!(out, "{} on {}", shown::path(&finding.checkpoint), finding.device)?;
    let pieces = match report.segments {
        1 => "in one piece".to_owned(),
        count => format!("in {count} pieces, each from position 0 on"),
    };
    writeln!(out, "{}: {} tokens, {pieces}", finding.text, report.tokens)?;
    if report.proved_segments < report.segments {
        let (tokens, segments) = (report.proved_tokens, report.proved_segments);
        writeln!(out, "examined: {tokens} tokens, {segments} of the pieces, evenly spread")?;
    }
    let heads = ["tried", "compared", "differ", "ULP", "first", "demand"];
    let [tried, compared, differ, ulps, first, demand] = heads;
    match is_narrow() {
        true => writeln!(out)?,
        false => writeln!(out, "\n{tried:>56} {compared:>8} {differ:>7} {ulps:>5} {first:>7} {demand:>7}")?,
    }
    let mut claim = 0;
    for proof in &report.proofs {
        if proof.claim != claim {
            claim = proof.claim;
            writeln!(out, "{claim} {}", title(claim))?;
        }
        write_row(finding, proof, out)?;
    }
    if let Some(control) = &report.control {
        write_control(control, out)?;
    }
    out.write_all(LEGEND.as_bytes())?;
    write_summary(finding, out)
}

/// What the columns are.
const LEGEND: &str = "
compared: positions, over all that was tried. differ: the largest absolute difference (in claim 4 as
a share of the largest gradient), and again in units in the last place (ULP). first: the first
position that differs by more than is allowed: equal bits, exact zeros, or a difference.
";

fn title(claim: usize) -> &'static str {
    match claim {
        1 => "One parallel pass = many steps",
        2 => "Batching changes nothing",
        3 => "The mask is the graph",
        4 => "Gradients flow the same way",
        _ => "One row is T problems",
    }
}

fn write_row(finding: &ProveOutput, proof: &Proof, out: &mut impl Write) -> Result<()> {
    let label = label(finding, proof.id);
    let outcome = match proof.outcome {
        ProofOutcome::Pass => "pass",
        ProofOutcome::Fail => "FAIL",
        ProofOutcome::Open => "open",
        ProofOutcome::NotApplicable => {
            let reason = proof.reason.as_deref().unwrap_or_default();
            return match is_narrow() {
                true => writeln!(out, "  {label:<29} {:>4}\n    {reason}", "n/a"),
                false => writeln!(out, "  {label:<29} {reason:<63} {:>4}", "n/a"),
            };
        }
    };
    let cases = match proof.possible_cases {
        Some(possible) => format!("{} of {possible} {}", proof.cases, proof.id.cases()),
        None => format!("{} {}", proof.cases, proof.id.cases()),
    };
    let difference = proof.max_difference.map_or("-".to_owned(), scientific);
    let ulps = proof.max_ulps.map_or("-".to_owned(), in_ulps);
    let first = proof.first_difference.map_or("-".to_owned(), |position| position.to_string());
    let demand = match (proof.tolerance, proof.id) {
        (Some(tolerance), _) => format!("≤{}", scientific(tolerance)),
        (None, ProofId::LaterGradients | ProofId::ScaledLaterGradients) => "zero".to_owned(),
        (None, _) => "equal".to_owned(),
    };
    let positions = proof.positions;
    if is_narrow() {
        writeln!(out, "  {label:<29} {outcome:>4}")?;
        return writeln!(
            out,
            "    {cases}, {positions} compared; differ {difference} ({ulps} ULP), first {first}, demand {demand}"
        );
    }
    writeln!(
        out,
        "  {label:<29} {cases:>24} {positions:>8} {difference:>7} {ulps:>5} {first:>7} {demand:>7} {outcome:>4}"
    )
}

/// The row that must differ, beside those that must not.
fn write_control(control: &Control, out: &mut impl Write) -> Result<()> {
    let Control { positions, positions_that_differ, max_difference, max_ulps } = control;
    let differ = format!("{positions_that_differ} differ");
    let (difference, outcome) = (scientific(*max_difference), if control.differs() { "seen" } else { "open" });
    let ulps = in_ulps(*max_ulps);
    writeln!(out, "Control: what must differ")?;
    let label = "the head's sums cut in two";
    if is_narrow() {
        writeln!(out, "  {label:<29} {outcome:>4}")?;
        writeln!(out, "    {differ}, {positions} compared; differ {difference} ({ulps} ULP), demand differ")?;
    } else {
        writeln!(
            out,
            "  {label:<29} {differ:>24} {positions:>8} {difference:>7} {ulps:>5} {:>7} {:>7} {outcome:>4}",
            "-", "differ"
        )?;
    }
    if !control.differs() {
        writeln!(out, "  The sums come out the same in either order: on this text, equal bits show nothing.")?;
    }
    Ok(())
}

/// A distance in at most five characters.
fn in_ulps(ulps: u32) -> String {
    if ulps < 100_000 { ulps.to_string() } else { format!("{:.0e}", f64::from(ulps)) }
}

fn label(finding: &ProveOutput, id: ProofId) -> String {
    let factor = scientific(finding.report.score_factor);
    match id {
        ProofId::Recomputed => "whole context at each step",
        ProofId::Cached => "cache, token by token",
        ProofId::Prefilled => "prefill, then token by token",
        ProofId::Chunked => "prefill in chunks",
        ProofId::Ring => "ring cache past the window",
        ProofId::Rewound => "cache rewound, other tokens",
        ProofId::Generated => "the step of the generator",
        ProofId::Batched => "alone and in a batch, any row",
        ProofId::BatchedCached => "the same with the cache",
        ProofId::Ragged => "joining, leaving, elsewhere",
        ProofId::Threads => return format!("on {} threads", numbers(&finding.report.thread_counts)),
        ProofId::LaterTokens => "later token, earlier logits",
        ProofId::LaterGradients => "gradients at later tokens",
        ProofId::ScaledLaterTokens => return format!("tokens, scores × {factor}"),
        ProofId::ScaledLaterGradients => return format!("gradients, scores × {factor}"),
        ProofId::CacheGradients => "parallel, and with the cache",
        ProofId::PrefixProblems => "a row and its prefixes",
    }
    .to_owned()
}

fn write_summary(finding: &ProveOutput, out: &mut impl Write) -> Result<()> {
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
        let (label, reason) = (label(finding, proof.id), proof.reason.as_deref().unwrap_or_default());
        writeln!(out, "{word}  {label}: {reason}.")?;
    }
    let shown: Vec<usize> = (1..=5).filter(|claim| is_shown(finding, *claim)).collect();
    if !shown.is_empty() {
        writeln!(out, "\nShown for this checkpoint, on this text and this device:")?;
    }
    for claim in shown {
        writeln!(out, "{}", meaning(finding, claim))?;
    }
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

/// Some proof of the claim passed and none failed.
fn is_shown(finding: &ProveOutput, claim: usize) -> bool {
    let of_claim = || finding.report.proofs.iter().filter(|proof| proof.claim == claim);
    of_claim().any(|proof| proof.outcome == ProofOutcome::Pass)
        && of_claim().all(|proof| !matches!(proof.outcome, ProofOutcome::Fail | ProofOutcome::Open))
}

/// A claim in plain words.
fn meaning(finding: &ProveOutput, claim: usize) -> String {
    let report = &finding.report;
    let (same, nothing) = match report.tolerance {
        Tolerance::EqualBits => ("the same bits", "nothing"),
        Tolerance::Within(_) => ("the same within rounding", "nothing but rounding"),
    };
    let passed = |id| report.proof(id).is_some_and(|proof| proof.outcome == ProofOutcome::Pass);
    match claim {
        1 => format!(
            "- Predictions for a whole text, made in one pass as in training, are {same} as those made one\n  \
               token at a time as in generation. The cache saves work and changes {nothing}."
        ),
        2 => {
            let batch = [ProofId::Batched, ProofId::BatchedCached, ProofId::Ragged].into_iter().any(passed);
            let what = match (batch, passed(ProofId::Threads)) {
                (true, true) => "What else is in the batch, and how many threads compute,",
                (true, false) => "What else is in the batch",
                (false, _) => "How many threads compute",
            };
            format!("- {what} changes {nothing} in a prediction.")
        }
        3 => "- No position sees a later token: not when it predicts, and not when it learns.".to_owned(),
        4 => "- Learning through the cache, step by step, would change every weight in the same way.".to_owned(),
        _ => {
            let proof = report.proof(ProofId::PrefixProblems);
            let cases = proof.map_or(0, |proof| proof.cases);
            let times = proof.and_then(|proof| proof.seconds).map_or(String::new(), |seconds| {
                let [together, apart] = [seconds.together, seconds.apart].map(|seconds| seconds * 1e3);
                format!(":\n  {together:.1} ms in one pass, {apart:.1} ms one by one")
            });
            format!("- A row of {cases} tokens is {cases} problems, each a text and its next token{times}.")
        }
    }
}

/// Such as 1, 2 and 8.
fn numbers(numbers: &[usize]) -> String {
    match numbers {
        [] => "no".to_owned(),
        [one] => one.to_string(),
        [more @ .., last] => {
            let more: Vec<String> = more.iter().map(ToString::to_string).collect();
            format!("{} and {last}", more.join(", "))
        }
    }
}

/// A number in at most seven characters.
fn scientific(value: f64) -> String {
    let short = format!("{value:.0e}");
    match short.parse::<f64>() {
        _ if value == 0.0 => "0".to_owned(),
        Ok(parsed) if parsed == value => short,
        _ => format!("{value:.1e}"),
    }
}
