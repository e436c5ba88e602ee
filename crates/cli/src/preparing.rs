//! What is shown while a large text is read and turned into tokens: a bar in a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tril_data::{TextEvent, TextStage};

use crate::shown::{on_one_line, plain};

/// Time between plain lines.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Does something for which a text is prepared, and shows how far that is.
pub fn preparing<T>(work: impl FnOnce(&mut dyn FnMut(TextEvent)) -> T) -> T {
    let mut shown = Shown { bar: None, stage: None, last_line: Instant::now() };
    let done = work(&mut |event| shown.event(event));
    if let Some(bar) = &shown.bar {
        bar.finish_and_clear();
    }
    done
}

struct Shown {
    /// There once there is something to show, and stderr is a terminal.
    bar: Option<ProgressBar>,
    stage: Option<TextStage>,
    last_line: Instant,
}

impl Shown {
    fn event(&mut self, event: TextEvent) {
        match event {
            TextEvent::Note(note) => match &self.bar {
                Some(bar) => bar.println(plain(&format!("[{}]", on_one_line(&note)))),
                None => note!("[{}]", on_one_line(&note)),
            },
            TextEvent::Progress { stage, done, total } => self.progress(stage, done, total),
        }
    }

    fn progress(&mut self, stage: TextStage, done: u64, total: u64) {
        let name = match stage {
            TextStage::Reading => "reading the text",
            TextStage::Counting => "counting the text",
            TextStage::Learning => "sampling the text for byte pairs",
            TextStage::Encoding => "turning the text into tokens",
        };
        if self.bar.is_none() && std::io::stderr().is_terminal() {
            let template = "{bar:16} {bytes}/{total_bytes} {bytes_per_sec} {wide_msg}";
            let style = ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_bar());
            self.bar = Some(ProgressBar::new(total).with_style(style.progress_chars("━╸─")));
        }
        let is_new = self.stage.replace(stage) != Some(stage);
        match &self.bar {
            Some(bar) => {
                if is_new {
                    bar.set_length(total);
                    bar.reset_eta();
                    bar.set_message(name);
                }
                bar.set_position(done.min(total));
            }
            None if self.last_line.elapsed() >= LINE_INTERVAL => {
                self.last_line = Instant::now();
                note!("{name}: {} of {} MB", done / 1_000_000, total / 1_000_000);
            }
            None => {}
        }
    }
}
