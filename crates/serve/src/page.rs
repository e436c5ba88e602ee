//! The page: what a model computes on a text, in numbers that a browser draws. The same documents are spoken by the server
//! ([`router`]) and recorded in an offline file ([`report`], [`report_html`]); `docs/page.md` describes each of their fields.
//!
//! Each view has a file: `pass` (attention, logit lens), `steps` (one pass beside many), `heads` (one switched off), `change`
//! (a token replaced), `training`, `proofs`, `working`, `write`. `look` runs the model for them; `html` puts the page together.

mod change;
mod error;
mod facts;
mod heads;
mod html;
mod look;
mod pass;
mod proofs;
mod report;
mod router;
mod serving;
mod steps;
mod text;
mod training;
mod working;
mod write;

use std::path::{Path, PathBuf};

use tril::Model;

pub use change::{Change, ChangedResidual, ChangedRow, change};
pub use error::PageError;
pub use facts::{ModelFacts, facts};
pub use heads::{HeadOff, HeadsOff, heads};
pub use html::{PAGE_BYTES, asset, live_html, page_bytes, report_html};
pub use pass::{HeadWeights, LensLayer, LensRow, Pass, TokenSeen, pass};
pub use proofs::{Proofs, proofs};
pub use report::{Report, ReportOptions, report};
pub use router::router;
#[doc(hidden)]
pub use serving::ServedPage;
pub use steps::{CachedHead, CachedRow, Equality, PassWork, RouteWork, Steps, StepsRow, steps};
pub use text::{Candidate, PageText, PageToken, max_tokens, own_text, page_text};
pub use training::{EvaluationPoint, RunSample, TrainingRun, read_run, training};
pub use working::{Working, WorkingPart, train_working, working};
pub use write::{WriteEvent, WriteRequest, WrittenToken, write};

/// The version of all documents. It changes when a field changes its meaning or goes.
pub const SCHEMA: u32 = 1;

/// What a page is about.
#[derive(Clone)]
pub struct PageSource {
    /// The model that is shown.
    pub model: Model,
    /// Runs whose training is drawn, the model's own first, where it has one.
    pub runs: Vec<PathBuf>,
    /// A model of the lab that writes its working, for the view on chains of thought.
    pub working: Option<Model>,
}

impl PageSource {
    /// A page about a model, with the run that it comes from.
    pub fn new(model: Model) -> Self {
        let runs = run_of(model.path()).into_iter().collect();
        let working = tril_lab::LabModelInfo::of(&model).is_ok_and(|info| working::writes_working(&info));
        let working = working.then(|| model.clone());
        Self { model, runs, working }
    }

    /// A page about the first of several models: the runs of the others are drawn over its own, and a model of the lab among
    /// them is the one of the view on chains of thought. `None` where there is no model.
    pub fn of_models<'a>(models: impl IntoIterator<Item = &'a Model>) -> Option<Self> {
        let mut sources = models.into_iter().map(|model| Self::new(model.clone()));
        let first = sources.next()?;
        Some(sources.fold(first, |page, other| {
            let working = page.working.clone().or(other.working);
            Self { working, ..page.with_runs(other.runs) }
        }))
    }

    /// With other runs drawn over it.
    #[must_use]
    pub fn with_runs(mut self, runs: impl IntoIterator<Item = PathBuf>) -> Self {
        for run in runs {
            if !self.runs.contains(&run) {
                self.runs.push(run);
            }
        }
        self
    }

    /// With a model of the lab for the view on chains of thought.
    #[must_use]
    pub fn with_working(self, working: Model) -> Self {
        Self { working: Some(working), ..self }
    }

    /// What the model is called: its run's name, or its own.
    pub fn name(&self) -> String {
        let path = self.runs.first().map_or(self.model.path(), PathBuf::as_path);
        path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
    }
}

/// The run that a checkpoint lies in.
fn run_of(checkpoint: &Path) -> Option<PathBuf> {
    let run = checkpoint.parent()?;
    run.join("metrics.jsonl").is_file().then(|| run.to_owned())
}
