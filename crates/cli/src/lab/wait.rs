//! `tril lab wait`: which model takes a mistake back, as a table.

use std::io::{Result as IoResult, Write};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use tril_lab::{Format, GivenStep, WAIT, WaitExperiment, WaitReport, wait};

use super::train::{FIRST_SEED, Progress};
use super::{kept, told};
use crate::args::WaitLabArgs;
use crate::folded::stdout_width;
use crate::open;
use crate::output::Form;
use crate::quantity::{counted, grouped};

pub fn run(args: &WaitLabArgs) -> Result<ExitCode> {
    if let Some(out) = &args.out {
        open::check_directory("--out", out)?;
    }
    let device = open::device(&args.compute)?;
    let mut experiment = if args.quick { WaitExperiment::quick() } else { WaitExperiment::new() };
    if let Some(seeds) = args.seeds {
        experiment.seeds = (0..u64::from(seeds)).map(|number| FIRST_SEED + number).collect();
    }
    experiment.tokens = args.tokens.unwrap_or(experiment.tokens);
    experiment.problems = args.problems.into();
    open::set_fields(&mut experiment.recipe, &args.set)?;
    let begin = Instant::now();
    let mut progress = Progress::new(&experiment.experiment());
    let report = wait(&experiment, kept(args.out.as_deref(), args.force), &device, &mut progress);
    progress.finish();
    Form::of(args.json).print(&report.map_err(told)?, write)?;
    note!("[{:.0} s on {device}]", begin.elapsed().as_secs_f64());
    Ok(ExitCode::SUCCESS)
}

fn write(report: &WaitReport, out: &mut impl Write) -> IoResult<()> {
    let WaitReport { tokens, parameters, problems, examples, runs } = report;
    let seeds = counted((runs.len() / 2) as u64, "seed");
    let (tokens, parameters) = (grouped(*tokens as f64), grouped(*parameters as f64));
    writeln!(out, "{WAIT}: {parameters} parameters, {tokens} tokens a run, {seeds}\n")?;
    for (format, example) in examples {
        writeln!(out, "{:<7} {example}", format.name())?;
    }
    let is_narrow = stdout_width().is_some_and(|width| width < 80);
    if is_narrow {
        writeln!(out, "\nafter the question stands")?;
    } else {
        writeln!(out, "\n{:<31} {:>23} {:>23}", "", "worked", "mended")?;
        let heads = format!("{:>11} {:>11}", format!("\"{WAIT}\""), "right");
        writeln!(out, "{:<31} {heads} {heads}", "after the question stands")?;
    }
    for given in GivenStep::ALL {
        let cells = [Format::Worked, Format::Mended].map(|format| {
            let of = |part: &dyn Fn(&tril_lab::StepCounts) -> usize| {
                let shares = runs.iter().filter(|run| run.format == format).flat_map(|run| &run.counts);
                let shares = shares.filter(|(other, _)| *other == given);
                range(&shares.map(|(_, counts)| 100.0 * part(counts) as f64 / counts.asked as f64).collect::<Vec<_>>())
            };
            [of(&|counts| counts.waits), of(&|counts| counts.right)]
        });
        if is_narrow {
            writeln!(out, "{}", name(given))?;
            for (format, [waits, right]) in ["worked", "mended"].iter().zip(&cells) {
                writeln!(out, "  {format}  \"{WAIT}\" {waits}, right {right}")?;
            }
        } else {
            let cells: String = cells.iter().flatten().map(|cell| format!(" {cell:>11}")).collect();
            writeln!(out, "{:<31}{cells}", name(given))?;
        }
    }
    writeln!(out, "\nin % of {problems} held-out problems a run: how often the model writes \"{WAIT}\" (as the")?;
    writeln!(out, "next step, where some are given), and how often its answer is right; lowest–highest seed")
}

/// Of several seeds the lowest and the highest.
fn range(shares: &[f64]) -> String {
    let low = shares.iter().copied().fold(f64::INFINITY, f64::min);
    let high = shares.iter().copied().fold(0.0, f64::max);
    if shares.len() == 1 { format!("{low:.1}") } else { format!("{low:.1}–{high:.1}") }
}

fn name(given: GivenStep) -> &'static str {
    match given {
        GivenStep::Nothing => "nothing",
        GivenStep::Drawn => "nothing; drawn, temperature 1",
        GivenStep::Right => "steps, all right",
        GivenStep::WrongDigit => "the last with a wrong digit",
        GivenStep::WrongCarry => "the last with a wrong carry",
    }
}
