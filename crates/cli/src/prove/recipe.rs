//! `tril prove --recipe`: whether this machine trains a shipped recipe to the bits that others have got.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;
use tril::{
    ComputeDevice, Evaluation, HashCheck, KnownHashes, Machine, Recipe, RecipeCheck, StepReport, TrainObserver,
};
use tril_model::Gpt;

use crate::output::Form;
use crate::shown::TextWriter;
use crate::{interrupt, quantity};

/// Everything that is printed.
#[derive(Serialize)]
struct RecipeOutput {
    recipe: String,
    machine: Machine,
    threads: usize,
    /// Both hashes are those that are known.
    pass: bool,
    #[serde(flatten)]
    check: RecipeCheck,
}

/// Trains the recipe in a directory that is gone afterwards.
pub fn run(name: &str, form: Form, device: &ComputeDevice) -> Result<ExitCode> {
    let (recipe, known) = KnownHashes::of(name, device)?;
    let begin = Instant::now();
    let stop = Arc::new(AtomicBool::new(false));
    let _listening = interrupt::listen(&stop, Some("stopping after this step; a second Ctrl-C stops at once"))?;
    let dir = tempfile::Builder::new()
        .prefix("tril-prove-")
        .tempdir()
        .context("cannot make a directory to train in; TMPDIR says where it would be")?;
    note!("[training {name}: {}, in {}]", steps(&recipe), crate::shown::path(dir.path()));
    let mut observer = Evaluations { steps: recipe.train.steps };
    let check = known.check(recipe, &dir.path().join("run"), device, &mut observer, &stop)?;
    let Some(check) = check else {
        note!("[stopped; nothing is known of this machine]");
        return Ok(ExitCode::from(130));
    };
    let (machine, threads, pass) = (Machine::of(device), rayon::current_num_threads(), check.is_equal());
    form.print(&RecipeOutput { recipe: name.to_owned(), machine, threads, pass, check }, write)?;
    note!("[trained in {}]", quantity::duration(begin.elapsed().as_secs_f64()));
    Ok(if pass { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn steps(recipe: &Recipe) -> String {
    format!(
        "{} of {} × {} tokens",
        quantity::counted(recipe.train.steps, "step"),
        recipe.train.batch_size,
        recipe.train.seq_len
    )
}

/// Says now and then how far it is.
struct Evaluations {
    steps: u64,
}

impl TrainObserver for Evaluations {
    fn step(&mut self, _report: &StepReport, _tokens: usize, _seconds: f64) {}

    fn evaluation(&mut self, step: u64, evaluation: &Evaluation, _is_best: bool) {
        note!("step {step}/{}  validation loss {:.4}", self.steps, evaluation.loss);
    }

    fn model(&mut self, _step: u64, _model: &dyn Fn() -> Gpt) {}
}

fn write(output: &RecipeOutput, out: &mut TextWriter<impl Write>) -> std::io::Result<()> {
    let RecipeOutput { recipe, machine, threads, pass, check } = output;
    let threads = quantity::counted(*threads as u64, "thread");
    writeln!(out, "{recipe}: {} on {machine}, {threads}\n", quantity::counted(check.steps, "step"))?;
    for (what, hash) in [("weights", &check.weights), ("optimizer", &check.optimizer)] {
        write_hash(what, hash, out)?;
    }
    if *pass {
        writeln!(out, "\nShown: this machine trains {recipe} to the bits that are in the table of this program.")?;
        writeln!(out, "Not shown: anything about other recipes, texts or devices.")
    } else {
        writeln!(
            out,
            "\nThis machine does not train {recipe} to the bits that are in the table of this program. To find why:"
        )?;
        writeln!(
            out,
            "- run it again with TRIL_SIMD=plain before it: if that passes, the fault is in vector instructions"
        )?;
        writeln!(
            out,
            "- run `cargo test --release` in its source: if that fails, the program was changed or built wrongly"
        )?;
        writeln!(out, "- if neither tells, report the first line above and both hashes")
    }
}

fn write_hash(what: &str, hash: &HashCheck, out: &mut TextWriter<impl Write>) -> std::io::Result<()> {
    out.outcome(if hash.is_equal() { "pass" } else { "FAIL" })?;
    writeln!(out, "  {what:<9}  {}", hash.found)?;
    if !hash.is_equal() {
        writeln!(out, "      {:<9}  {}", "known", hash.known)?;
    }
    Ok(())
}
