//! `tril lab sums` and `tril lab parity`: what is asked for, what is shown meanwhile, what is printed.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use tril::StepReport;
use tril_lab::{CurvePoint, Experiment, Format, LabObserver, TaskKind};
use tril_model::files;

use super::{kept, plot, table, told};
use crate::args::TrainLabArgs;
use crate::folded::{fold, stderr_width};
use crate::open;
use crate::output::Form;
use crate::shown;
use crate::shown::plain;

/// The seed of the first run.
pub(super) const FIRST_SEED: u64 = 1337;

pub fn run(kind: TaskKind, args: &TrainLabArgs) -> Result<ExitCode> {
    if let Some(svg) = &args.svg {
        open::check_output("--svg", svg)?;
    }
    if let Some(out) = &args.out {
        open::check_directory("--out", out)?;
    }
    let device = open::device(&args.compute)?;
    let mut experiment = if args.quick { Experiment::quick(kind) } else { Experiment::new(kind) };
    if !args.formats.is_empty() {
        experiment.formats = args.formats.iter().map(|name| (*name).into()).collect();
    }
    if let Some(seeds) = args.seeds {
        experiment.seeds = (0..u64::from(seeds)).map(|number| FIRST_SEED + number).collect();
    }
    experiment.tokens = args.tokens.unwrap_or(experiment.tokens);
    open::set_fields(&mut experiment.recipe, &args.set)?;
    let begin = Instant::now();
    let mut progress = Progress::new(&experiment);
    let report = experiment.run(kept(args.out.as_deref(), args.force), &device, &mut progress);
    progress.finish();
    let report = report.map_err(told)?;
    if let Some(svg) = &args.svg {
        files::write_file(svg, plot::render(&report)?.as_bytes())?;
    }
    Form::of(args.json).print(&report, |report, out| {
        table::write(report, out)?;
        args.svg.as_ref().map_or(Ok(()), |svg| writeln!(out, "\nplot  {}", shown::path(svg)))
    })?;
    note!("[{:.0} s on {device}]", begin.elapsed().as_secs_f64());
    Ok(ExitCode::SUCCESS)
}

/// Shows on stderr which run is under way: a bar in a terminal, a line for each run elsewhere.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    run: u64,
    runs: u64,
    name: String,
    accuracy: Option<f64>,
}

impl Progress {
    pub(super) fn new(experiment: &Experiment) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let template = "{bar:16} {pos}/{len} {eta} left {wide_msg}";
            let style = ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_bar());
            ProgressBar::new(1).with_style(style.progress_chars("━╸─"))
        });
        let runs = (experiment.formats.len() * experiment.seeds.len()) as u64;
        Self { bar, run: 0, runs, name: String::new(), accuracy: None }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.tell();
    }

    /// Says what came of the run that has ended.
    fn tell(&self) {
        let Some(accuracy) = self.accuracy else { return };
        let line = format!("{}: {:.1} % of the held-out problems", self.name, 100.0 * accuracy);
        match &self.bar {
            // A line that fills the terminal is cut by the bar.
            Some(bar) => bar.println(fold(&plain(&line), stderr_width().map(|width| width - 1))),
            None => note!("{line}"),
        }
    }
}

impl LabObserver for Progress {
    fn begin(&mut self, format: Format, seed: u64, steps: u64) {
        self.tell();
        self.run += 1;
        self.accuracy = None;
        self.name = format!("run {}/{} {} seed {seed}", self.run, self.runs, format.name());
        if let Some(bar) = &self.bar {
            bar.reset();
            bar.set_length(steps);
        }
    }

    fn step(&mut self, report: &StepReport) {
        let Some(bar) = &self.bar else { return };
        let accuracy = self.accuracy.map_or(String::new(), |share| format!(" · {:.1} % right", 100.0 * share));
        bar.set_message(format!("{} · loss {:.3}{accuracy} ·", self.name, report.loss));
        bar.set_position(report.step);
    }

    fn scored(&mut self, score: &CurvePoint) {
        self.accuracy = Some(score.accuracy);
    }
}
