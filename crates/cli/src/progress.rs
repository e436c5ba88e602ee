//! What a training run shows while it goes: a bar in a terminal, plain lines elsewhere, samples in both.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anstyle::Style;
use indicatif::{ProgressBar, ProgressStyle};
use tril::{Evaluation, GenerateRequest, StepReport, TextGenerator, Tokenizer, TrainObserver, Training};
use tril_model::Gpt;

use crate::folded::{fold, stderr_width};
use crate::plot::spark::{Thinned, sparkline};
use crate::quantity;
use crate::shown::plain;
use crate::style::{self, BEST, PROMPT};

/// Most tokens of a sample that is shown while a run goes on.
const MAX_TOKENS: usize = 1000;
/// Columns of the bar, and on a terminal that is narrower than `NARROW`.
const BAR_COLUMNS: [usize; 2] = [12, 6];
const NARROW: usize = 60;
/// Most and least columns of the line of losses beside the bar.
const SPARK_COLUMNS: [usize; 2] = [12, 4];
/// Stands before each line of a sample.
const MARGIN: &str = "  │ ";
/// Time between plain lines.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Shows a run on stderr.
pub struct Progress {
    /// `None` where stderr is no terminal.
    bar: Option<ProgressBar>,
    steps: u64,
    first_step: u64,
    begin: Instant,
    /// Time spent in steps alone, and target tokens seen in it.
    training: (f64, usize),
    last_line: Option<Instant>,
    validation_loss: Option<f64>,
    losses: Thinned,
    tokenizer: Arc<Tokenizer>,
    sample: GenerateRequest,
    /// Steps between samples; 0 for none.
    interval: u64,
}

impl Progress {
    /// For a run as it stands.
    pub fn new(training: &Training) -> Self {
        let (step, steps) = (training.step(), training.recipe().train.steps);
        let bar = std::io::stderr().is_terminal().then(|| {
            let template = format!("{{bar:{}}} {{pos}}/{{len}} {{wide_msg}}", bar_columns());
            let style = ProgressStyle::with_template(&template).unwrap_or(ProgressStyle::default_bar());
            ProgressBar::new(steps).with_position(step).with_style(style.progress_chars("━╸─"))
        });
        if let Some(bar) = &bar {
            bar.reset_eta();
        }
        let now = Instant::now();
        Self {
            bar,
            steps,
            first_step: step,
            begin: now,
            training: (0.0, 0),
            last_line: None,
            validation_loss: None,
            losses: Thinned::default(),
            tokenizer: Arc::clone(training.tokenizer()),
            sample: training.sample().clone(),
            interval: training.recipe().sample.interval,
        }
    }

    /// Takes the bar away, so that what follows stands on its own.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Writes lines that fit, in which nothing but our styles acts on a terminal.
    fn lines(&self, lines: &str) {
        match &self.bar {
            Some(bar) => bar.println(lines.trim_end()),
            None => {
                let _ = std::io::stderr().write_all(lines.as_bytes());
            }
        }
    }

    fn time_left(&self, step: u64) -> Duration {
        let done = (step - self.first_step).max(1) as f64;
        self.begin.elapsed().mul_f64((self.steps - step) as f64 / done)
    }
}

fn bar_columns() -> usize {
    BAR_COLUMNS[usize::from(stderr_width().is_some_and(|width| width < NARROW))]
}

/// What stands beside the bar: all of it where there is room, and else without what is missed least.
///
/// - parts: loss, validation loss, speed and time left; empty where there is none
/// - losses: those of the run, for a line of them
fn beside_bar(parts: [&str; 4], losses: &[f64], room: usize) -> String {
    let [loss, validation, rate, left] = parts;
    let all = format!("{loss}{validation}{rate}{left}");
    let columns = room.saturating_sub(all.chars().count() + 1).min(SPARK_COLUMNS[0]);
    if columns >= SPARK_COLUMNS[1] {
        return format!("{} {all}", sparkline(losses, columns));
    }
    let shorter = [all, format!("{loss}{validation}{left}"), format!("{loss}{left}")];
    shorter.into_iter().find(|message| message.chars().count() <= room).unwrap_or_else(|| loss.to_owned())
}

/// A line of a sample with its margin, in as many as the terminal needs for it.
fn lines_of_sample(line: &str) -> Vec<String> {
    let width = stderr_width().map_or(usize::MAX, |width| width - MARGIN.chars().count());
    match line.is_empty() {
        true => vec![format!("{MARGIN}\n")],
        false => textwrap::wrap(line, width).iter().map(|part| format!("{MARGIN}{part}\n")).collect(),
    }
}

/// Counts tokens on stderr while a text goes somewhere else than to the terminal; in a terminal the text itself shows.
pub fn token_counter() -> ProgressBar {
    if std::io::stdout().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{human_pos} tokens, {per_sec}").unwrap_or(ProgressStyle::default_bar());
    ProgressBar::no_length().with_style(style)
}

impl TrainObserver for Progress {
    fn step(&mut self, report: &StepReport, tokens: usize, seconds: f64) {
        self.training = (self.training.0 + seconds, self.training.1 + tokens);
        let rate = self.training.1 as f64 / self.training.0;
        let validation = self.validation_loss.map_or(String::new(), |loss| format!(" · val {loss:.3}"));
        let StepReport { step, loss, .. } = *report;
        let left = match self.time_left(step).as_secs_f64() {
            seconds if seconds < 1.0 => String::new(),
            seconds => format!(" · {} left", quantity::duration(seconds)),
        };
        self.losses.push(loss);
        let (loss, rate) = (format!("loss {loss:.3}"), format!(" · {rate:.0} tok/s"));
        match &self.bar {
            Some(bar) => {
                let taken = format!(" {step}/{} ", self.steps).len() + bar_columns();
                let room = stderr_width().map_or(usize::MAX, |width| width.saturating_sub(taken));
                bar.set_message(beside_bar([&loss, &validation, &rate, &left], self.losses.values(), room));
                bar.set_position(step);
            }
            None if self.last_line.is_none_or(|last| last.elapsed() >= LINE_INTERVAL) => {
                self.last_line = Some(Instant::now());
                note!("step {step}/{} {loss}{validation}{rate}{left}", self.steps);
            }
            None => {}
        }
    }

    fn evaluation(&mut self, step: u64, evaluation: &Evaluation, is_best: bool) {
        self.validation_loss = Some(evaluation.loss);
        let best = if is_best { " (best so far)" } else { "" };
        let Evaluation { loss, bits_per_byte, .. } = evaluation;
        let line = format!("step {step}: validation loss {loss:.4}, {bits_per_byte:.3} bits per byte{best}\n");
        let style = if is_best { style::on_stderr(BEST) } else { Style::new() };
        self.lines(&style::lines_in(style, &fold(&line, stderr_width())));
    }

    fn model(&mut self, step: u64, model: &dyn Fn() -> Gpt) {
        if self.interval == 0 || !step.is_multiple_of(self.interval) || step == self.steps {
            return;
        }
        let generator = TextGenerator::new(Arc::new(model()), Arc::clone(&self.tokenizer));
        // A sample is a look out of the window: if it cannot be made, the run goes on and the line says why.
        // A look takes as long as a look may: however many tokens a sample of the end has.
        let mut sample = self.sample.clone();
        sample.options.max_tokens = sample.options.max_tokens.min(MAX_TOKENS);
        let prompt = &self.sample.prompt;
        let (shown, letters) = match generator.complete(sample) {
            Ok(completion) => {
                let letters = prompt.chars().filter(|character| !character.is_whitespace()).count();
                (format!("{prompt}{}", completion.text), letters)
            }
            Err(error) => (format!("[no sample: {error}]"), 0),
        };
        let shown: String = plain(shown.trim()).lines().flat_map(lines_of_sample).collect();
        let shown = style::beginning_in(style::on_stderr(PROMPT), &shown, letters, MARGIN);
        self.lines(&format!("step {step}, a sample:\n{shown}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_beside_the_bar_fits_and_ends_with_the_time_left_wherever_it_can() {
        let parts = ["loss 2.966", " · val 3.203", " · 12107 tok/s", " · 12 s left"];
        let losses = [4.0, 3.0, 2.0];
        for (room, expected) in [
            (usize::MAX, "█▅▁ loss 2.966 · val 3.203 · 12107 tok/s · 12 s left"),
            (53, "█▅▁ loss 2.966 · val 3.203 · 12107 tok/s · 12 s left"),
            (52, "loss 2.966 · val 3.203 · 12107 tok/s · 12 s left"),
            (47, "loss 2.966 · val 3.203 · 12 s left"),
            (33, "loss 2.966 · 12 s left"),
            (21, "loss 2.966"),
        ] {
            assert_eq!(beside_bar(parts, &losses, room), expected, "{room}");
        }
        let many: Vec<f64> = (0..100).map(f64::from).collect();
        for room in 53..80 {
            assert!(beside_bar(parts, &many, room).chars().count() <= room);
        }
    }
}
