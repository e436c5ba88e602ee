//! `tril lab batch`: one row of training as the problems that it holds.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use tril_lab::{PrefixReport, prefix_problems};

use super::{after_the_end, token_texts, told};
use crate::args::BatchLabArgs;
use crate::output::Form;
use crate::shown::{self, on_one_line, quoted};
use crate::{open, runs};

/// Columns of a context; a longer one is shown from its end.
const CONTEXT: usize = 40;

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

fn write(output: &BatchOutput, out: &mut impl Write) -> std::io::Result<()> {
    let BatchOutput { tokens, report, .. } = output;
    let count = report.problems.len();
    writeln!(out, "{} on {}", shown::path(output.checkpoint.as_ref()), output.device)?;
    writeln!(out, "one row of {} tokens holds {count} problems\n", tokens.len())?;
    writeln!(
        out,
        "{:>3}  {:<CONTEXT$}  {:<16} {:>11} {:>9}",
        "", "the model sees", "what follows", "probability", "loss"
    )?;
    for (index, problem) in report.problems.iter().enumerate() {
        let target = quoted(&tokens[problem.context]);
        writeln!(
            out,
            "{:>3}  {}  {} {:>11.6} {:>9.5}",
            index + 1,
            super::cell(&end_of(&tokens[..problem.context]), CONTEXT),
            super::cell(&target, 16),
            problem.probability,
            problem.loss
        )?;
    }
    writeln!(out)?;
    writeln!(out, "mean of the {count} losses, each prefix alone   {:.17}", report.mean_loss)?;
    writeln!(out, "loss of the row, one parallel masked pass  {:.17}", report.parallel_loss)?;
    match report.equal_bits {
        true => writeln!(out, "pass  all {count} losses and their mean have the same bits both ways")?,
        false => writeln!(out, "the losses differ by up to {:.1e}", report.largest_difference)?,
    }
    let [one, many] = [report.parallel_seconds, report.prefix_seconds].map(|seconds| 1e3 * seconds);
    writeln!(out, "time  {one:.2} ms in one pass, {many:.2} ms in {count}: {:.1} times", many / one)
}

/// The last tokens of a context that fit into its columns.
fn end_of(tokens: &[String]) -> String {
    let text = on_one_line(&tokens.concat());
    let characters: Vec<char> = text.chars().collect();
    match characters.len() {
        long if long > CONTEXT => format!("…{}", characters[long + 1 - CONTEXT..].iter().collect::<String>()),
        _ => text,
    }
}
