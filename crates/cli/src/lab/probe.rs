//! `tril lab probe`: what a model's working does, as a table.

use std::io::{Result as IoResult, Write};
use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use tril_lab::{Change, ChangedWorking, CorrectionReport, ProbeReport, correction, probe};

use super::told;
use crate::args::ProbeLabArgs;
use crate::output::Form;
use crate::shown::{self, on_one_line};
use crate::{open, runs};

/// Everything that is printed.
#[derive(Serialize)]
struct ProbeOutput {
    checkpoint: String,
    #[serde(flatten)]
    report: ProbeReport,
    /// Over many problems.
    correction: CorrectionReport,
}

pub fn run(args: &ProbeLabArgs) -> Result<ExitCode> {
    let device = open::device(&args.compute)?;
    let model = runs::model(&args.checkpoint, &device)?;
    let report = probe(&model, &args.problem).map_err(told)?;
    let correction = correction(&model, args.problems.into()).map_err(told)?;
    let output = ProbeOutput { checkpoint: model.path().display().to_string(), report, correction };
    Form::of(args.json).print(&output, write)?;
    Ok(ExitCode::SUCCESS)
}

fn write(output: &ProbeOutput, out: &mut impl Write) -> IoResult<()> {
    let ProbeReport { problem, completion, right, steps, changes, hidden, .. } = &output.report;
    writeln!(out, "{}", shown::path(output.checkpoint.as_ref()))?;
    let written = on_one_line(&format!("{}={completion}", problem.question));
    writeln!(out, "the model writes  {written}  {}\n", verdict(*right))?;
    writeln!(out, "ln p of the true answer {}, if the working ended after each token", problem.answer)?;
    for step in steps {
        let bar = "█".repeat((20.0 * libm::exp(step.answer_logprob)).round() as usize);
        writeln!(out, "  {:>8.3}  [{}]  {bar}", step.answer_logprob, on_one_line(&step.working))?;
    }
    writeln!(out)?;
    for change in [Change::DigitInPlace, Change::DigitAndOn, Change::CutShort, Change::OfAnother] {
        let of_kind: Vec<&ChangedWorking> = changes.iter().filter(|changed| changed.change == change).collect();
        if of_kind.is_empty() {
            continue;
        }
        writeln!(out, "{}", title(change))?;
        for changed in of_kind {
            let rest = changed.completion.strip_prefix(&changed.given).unwrap_or_default();
            let (given, rest) = (on_one_line(&changed.given), on_one_line(rest));
            writeln!(out, "  {given} → {rest}  {}", verdict(changed.right))?;
        }
    }
    writeln!(out)?;
    let same = if hidden.same_tokens { "the same" } else { "OTHER" };
    writeln!(out, "with the working hidden: {}", on_one_line(&hidden.shown))?;
    writeln!(out, "  {} tokens, {} of them not shown: {same} tokens\n", hidden.tokens, hidden.hidden_tokens)?;
    write_correction(&output.correction, out)
}

fn write_correction(correction: &CorrectionReport, out: &mut impl Write) -> IoResult<()> {
    let CorrectionReport { problems, both_right, answer_wrong, working_wrong, both_wrong, .. } = correction;
    writeln!(out, "{problems} held-out problems    answer right   answer wrong")?;
    writeln!(out, "  working right {both_right:>20} {answer_wrong:>14}")?;
    writeln!(out, "  working wrong {working_wrong:>20} {both_wrong:>14}")?;
    let CorrectionReport { in_place_right, and_on_right, changed, .. } = correction;
    writeln!(out, "one digit of each of {changed} right workings changed:")?;
    writeln!(out, "  {in_place_right} answers are right where the rest of the working stands")?;
    writeln!(out, "  {and_on_right} answers are right where the model goes on from the changed digit")
}

fn verdict(right: bool) -> &'static str {
    if right { "right" } else { "wrong" }
}

fn title(change: Change) -> &'static str {
    match change {
        Change::DigitInPlace => "one digit changed, the rest standing:",
        Change::DigitAndOn => "one digit changed, and the model goes on from there:",
        Change::CutShort => "cut short:",
        Change::OfAnother => "the working of another problem:",
    }
}
