//! The report of `tril prove` as a table, 100 columns wide or a proof in two lines where the terminal is narrower; what it
//! means is said by `closing`.

use std::io::{Result, Write};

use tril_prove::{Control, Proof, ProofId, ProofOutcome};

use super::{ProveOutput, closing};
use crate::folded::is_narrow;
use crate::shown::TextWriter;
use crate::{open, shown};

/// Writes the table and the summary.
pub fn write(finding: &ProveOutput, out: &mut TextWriter<impl Write>) -> Result<()> {
    let report = &finding.report;
    let rounded = open::rounded(finding.weights);
    writeln!(out, "{} on {}{rounded}", shown::path(&finding.checkpoint), finding.device)?;
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
    closing::write(finding, out)
}

/// What the columns are.
const LEGEND: &str = "
compared: positions, over all that was tried. differ: the largest absolute difference (of gradients
as a share of the largest), and again in units in the last place (ULP). first: the first position
that differs by more than is allowed: equal bits, exact zeros, or a difference.
";

/// What a claim is called.
pub fn title(claim: usize) -> &'static str {
    match claim {
        1 => "One parallel pass = many steps",
        2 => "Batching changes nothing",
        3 => "The mask is the graph",
        4 => "Gradients flow the same way",
        5 => "One row is T problems",
        _ => "Training ends in the same weights",
    }
}

fn write_row(finding: &ProveOutput, proof: &Proof, out: &mut TextWriter<impl Write>) -> Result<()> {
    let label = label(finding, proof.id);
    let outcome = match proof.outcome {
        ProofOutcome::Pass => "pass",
        ProofOutcome::Fail => "FAIL",
        ProofOutcome::Open => "open",
        ProofOutcome::NotApplicable => {
            let reason = proof.reason.as_deref().unwrap_or_default();
            return match is_narrow() {
                true => writeln!(out, "  {label:<29}  n/a\n    {reason}"),
                false => writeln!(out, "  {label:<29} {reason:<63}  n/a"),
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
        write!(out, "  {label:<29} ")?;
        out.outcome(outcome)?;
        return writeln!(
            out,
            "\n    {cases}, {positions} compared; differ {difference} ({ulps} ULP), first {first}, demand {demand}"
        );
    }
    write!(out, "  {label:<29} {cases:>24} {positions:>8} {difference:>7} {ulps:>5} {first:>7} {demand:>7} ")?;
    out.outcome(outcome)?;
    writeln!(out)
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

/// What a row is called.
pub fn label(finding: &ProveOutput, id: ProofId) -> String {
    let factor = scientific(finding.report.score_factor);
    match id {
        ProofId::Recomputed => "whole context at each step",
        ProofId::Cached => "cache, token by token",
        ProofId::Prefilled => "prefill, then token by token",
        ProofId::Chunked => "prefill in chunks",
        ProofId::Ring => "ring cache past the window",
        ProofId::Rewound => "cache rewound, other tokens",
        ProofId::Generated => "the step of the generator",
        ProofId::Packed => "weights in fewer bytes",
        ProofId::Guessed => "guesses checked together",
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
        ProofId::PrefixReused => "another request's cache",
        ProofId::Accumulated => "micro-batches, any threads",
        ProofId::MicroBatches => "a batch and its pieces",
        ProofId::Resumed => "stopped, saved, gone on",
    }
    .to_owned()
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
