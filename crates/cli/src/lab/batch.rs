//! `tril lab batch`: one row of training as the problems that it holds.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use tril_lab::{PrefixProblem, PrefixReport, prefix_problems};
use unicode_width::UnicodeWidthChar;

use super::{after_the_end, token_texts, told};
use crate::args::BatchLabArgs;
use crate::folded::stdout_width;
use crate::output::Form;
use crate::shown::{self, TextWriter, on_one_line, quoted};
use crate::{open, runs};

/// Columns of a context, at most; a longer one is shown from its end.
const CONTEXT: usize = 40;
/// The least of them. In a narrower terminal, what follows stands below the context.
const LEAST_CONTEXT: usize = 20;
/// Columns of what follows.
const TARGET: usize = 16;
/// Columns of all the rest of a row.
const REST: usize = 5 + 2 + TARGET + 1 + 11 + 1 + 9;

/// Everything that is printed.
#[derive(Serialize)]
struct BatchOutput {
    checkpoint: String,
    device: String,
    tokens: Vec<String>,
    #[serde(flatten)]
    report: PrefixReport,
}

pub fn run(args: &BatchLabArgs) -> Result<ExitCode> {
    let device = open::device(&args.compute)?;
    let model = runs::model(&args.checkpoint, &device)?;
    let mut ids = after_the_end(&model, &args.text, "the text")?;
    ids.extend(model.tokenizer().end_of_text());
    let report = prefix_problems(model.gpt(), &ids).map_err(told)?;
    let output = BatchOutput {
        checkpoint: model.path().display().to_string(),
        device: device.to_string(),
        tokens: token_texts(&model, &ids),
        report,
    };
    Form::of(args.json).print(&output, write)?;
    // Other devices sum in orders of their own.
    let holds = output.report.equal_bits || device.instruction_set().is_none();
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write(output: &BatchOutput, out: &mut TextWriter<impl Write>) -> std::io::Result<()> {
    let BatchOutput { tokens, report, .. } = output;
    let count = report.problems.len();
    writeln!(out, "{} on {}", shown::path(output.checkpoint.as_ref()), output.device)?;
    writeln!(out, "one row of {} tokens holds {count} problems\n", tokens.len())?;
    let columns = stdout_width().map_or(CONTEXT, |width| width.saturating_sub(REST).min(CONTEXT));
    if columns >= LEAST_CONTEXT {
        writeln!(
            out,
            "{:>3}  {:<columns$}  {:<TARGET$} {:>11} {:>9}",
            "", "the model sees", "what follows", "probability", "loss"
        )?;
    } else {
        writeln!(out, "the model sees\n  what follows, its probability, the loss")?;
    }
    for (index, problem) in report.problems.iter().enumerate() {
        write_row(tokens, index, problem, columns, out)?;
    }
    writeln!(out)?;
    writeln!(out, "mean of the {count} losses, each prefix alone   {:.17}", report.mean_loss)?;
    writeln!(out, "loss of the row, one parallel masked pass  {:.17}", report.parallel_loss)?;
    match report.equal_bits {
        true => {
            out.outcome("pass")?;
            writeln!(out, "  all {count} losses and their mean have the same bits both ways")?;
        }
        false => writeln!(out, "the losses differ by up to {:.1e}", report.largest_difference)?,
    }
    let [one, many] = [report.parallel_seconds, report.prefix_seconds].map(|seconds| 1e3 * seconds);
    writeln!(out, "time  {one:.2} ms in one pass, {many:.2} ms in {count}: {:.1} times", many / one)
}

fn write_row(
    tokens: &[String],
    index: usize,
    problem: &PrefixProblem,
    columns: usize,
    out: &mut impl Write,
) -> std::io::Result<()> {
    let PrefixProblem { context, probability, loss, .. } = problem;
    let (seen, target) = (&tokens[..*context], super::cell(&quoted(&tokens[*context]), TARGET));
    let number = index + 1;
    if columns >= LEAST_CONTEXT {
        let seen = super::cell(&end_of(seen, columns), columns);
        return writeln!(out, "{number:>3}  {seen}  {target} {probability:>11.6} {loss:>9.5}");
    }
    let room = stdout_width().unwrap_or(CONTEXT).saturating_sub(5).min(CONTEXT);
    writeln!(out, "{number:>3}  {}", end_of(seen, room))?;
    writeln!(out, "     {} {probability:.6} {loss:.5}", target.trim_end())
}

/// The end of a context, as much of it as fits into so many columns.
fn end_of(tokens: &[String], columns: usize) -> String {
    let text = on_one_line(&tokens.concat());
    let width = |character: &char| character.width().unwrap_or(0);
    if text.chars().map(|character| width(&character)).sum::<usize>() <= columns {
        return text;
    }
    let mut used = 1;
    let fits = |character: &char| {
        used += width(character);
        used <= columns
    };
    let end: Vec<char> = text.chars().rev().take_while(fits).collect();
    std::iter::once('…').chain(end.into_iter().rev()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_shown_from_its_end_whatever_columns_its_characters_take() {
        let tokens = ["春眠", "不覺", "曉"].map(str::to_owned);
        assert_eq!(end_of(&tokens, 10), "春眠不覺曉");
        assert_eq!(end_of(&tokens, 9), "…眠不覺曉");
        assert_eq!(end_of(&tokens, 8), "…不覺曉");
        assert_eq!(end_of(&["one".into(), "two".into()], 4), "…two");
    }
}
