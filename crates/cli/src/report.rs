//! `tril report`: everything that the page shows of a text, in one file that opens without a network.

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use tril_lab::LabError;
use tril_model::files;
use tril_serve::page::{self, PageError, PageSource, ReportOptions};

use crate::args::ReportArgs;
use crate::quantity::counted;
use crate::shown::{self, TextWriter};
use crate::{open, runs};

pub fn run(args: &ReportArgs) -> Result<ExitCode> {
    open::check_output("OUT.html", &args.out)?;
    let device = open::device(&args.compute)?;
    let text = match (&args.text, &args.prompt) {
        (Some(path), _) => Some(open::text(path)?),
        (None, prompt) => prompt.clone(),
    };
    let others = args.run.iter().map(|run| runs::existing(run)).collect::<Result<Vec<_>>>()?;
    // Read before anything is computed, so that what is wrong with them is told at once.
    page::training(&others).map_err(told)?;
    let mut source = PageSource::new(runs::model(&args.checkpoint, &device)?).with_runs(others);
    if let Some(path) = &args.working {
        let working = runs::model(path, &device)?;
        tril_lab::LabModelInfo::of(&working).map_err(|error| told(error.into())).context("--working")?;
        source = source.with_working(working);
    }
    let begin = Instant::now();
    let report = page::report(&source, &ReportOptions { text }, &mut |what| {
        note!("[{}]", doing(what));
    });
    let report = report.map_err(told)?;
    if report.pass.text.left_out > 0 {
        let shown = report.pass.text.tokens.len();
        note!("[the first {shown} tokens of the text are shown; {} are left out]", report.pass.text.left_out);
    }
    let html = page::report_html(&report).map_err(told)?;
    files::write_file(&args.out, html.as_bytes())?;
    let mut out = TextWriter::plain(std::io::stdout().lock());
    writeln!(out, "report  {}", shown::path(&args.out))?;
    writeln!(out, "text    {}", counted(report.pass.text.tokens.len(), "token"))?;
    writeln!(out, "size    {} kB, {} kB of it the page itself", html.len() / 1000, page::page_bytes() / 1000)?;
    note!("[{:.1} s on {device}]", begin.elapsed().as_secs_f64());
    Ok(ExitCode::SUCCESS)
}

/// What is computed, in words.
fn doing(what: &str) -> &str {
    match what {
        "pass" => "one pass: attention, each layer's prediction",
        "steps" => "the same step by step, with a cache and without",
        "heads" => "each head switched off",
        "changes" => "each token replaced",
        "training" => "the run",
        "proofs" => "the proofs, as tril prove has them",
        "working" => "a chain of thought, shown and hidden",
        other => other,
    }
}

/// An error of the layers below is told as theirs.
fn told(error: PageError) -> anyhow::Error {
    match error {
        PageError::Tril(error) | PageError::Lab(LabError::Tril(error)) => error.into(),
        PageError::Lab(error) => error.into(),
        error => anyhow!(error),
    }
}
