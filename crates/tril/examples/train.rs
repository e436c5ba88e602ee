//! A run from a recipe and a text: watched as it goes, stopped half-way, and resumed to the same bits as if it had never
//! stopped.
//!
//!     cargo run --release -p tril --example train -- my_text.txt runs/mine

#![expect(clippy::print_stdout, reason = "this is what it does")]

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};

use tril::model::Gpt;
use tril::{
    ComputeDevice, Evaluation, ExistingRun, Recipe, ResumeChanges, StepReport, TrainObserver, TrainOutcome, Training,
};

/// Prints every tenth loss, and asks the run to stop at a step.
struct Watch<'a> {
    stop_at: u64,
    stop: &'a AtomicBool,
}

impl TrainObserver for Watch<'_> {
    fn step(&mut self, report: &StepReport, tokens: usize, seconds: f64) {
        if report.step.is_multiple_of(10) {
            println!("step {:3}: loss {:.3}, {:.0} tokens a second", report.step, report.loss, tokens as f64 / seconds);
        }
        if report.step == self.stop_at {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    fn evaluation(&mut self, step: u64, evaluation: &Evaluation, _is_best: bool) {
        println!("step {step:3}: validation loss {:.4}", evaluation.loss);
    }

    fn model(&mut self, _step: u64, _model: &dyn Fn() -> Gpt) {}
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let text = args.next().ok_or("usage: train TEXT RUN")?;
    let run = args.next().ok_or("usage: train TEXT RUN")?;
    let device = ComputeDevice::cpu();

    let mut recipe = Recipe::shipped("smoke")?;
    recipe.data.source = text;
    recipe.set("train.steps=40")?;
    let stop = AtomicBool::new(false);
    let mut training = Training::begin(recipe, &run, ExistingRun::Keep, &device)?;
    let outcome = training.train(&mut Watch { stop_at: 20, stop: &stop }, &stop)?;
    println!("{outcome:?}");
    drop(training);

    let stop = AtomicBool::new(false);
    let mut training = Training::resume(&run, &ResumeChanges::default(), &device)?;
    println!("resumed at step {}", training.step());
    match training.train(&mut Watch { stop_at: u64::MAX, stop: &stop }, &stop)? {
        TrainOutcome::Finished { evaluation, .. } | TrainOutcome::NoProgress { evaluation, .. } => {
            println!("finished with a loss of {:.4}", evaluation.loss);
        }
        TrainOutcome::Stopped { step, .. } => println!("stopped at step {step}"),
    }
    let completion = training.model()?.generate(training.sample().clone())?;
    println!("---\n{}{}", training.sample().prompt, completion.text);
    Ok(())
}
