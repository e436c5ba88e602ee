//! All views of one text, recorded.

use serde::Serialize;
use tril::Model;
use tril_lab::LabModelInfo;

use super::change::changed;
use super::look::{Wanted, look};
use super::{
    Change, HeadsOff, ModelFacts, Pass, Proofs, SCHEMA, Steps, TrainingRun, Working, facts, heads, page_text, pass,
    proofs, steps, training, working,
};
use super::{PageError, PageSource, PageText};

/// The problem of a number of digits or bits that a report asks the lab's model.
const PROBLEM_LENGTH: usize = 3;

/// What a report is to hold.
#[derive(Debug, Clone, Default)]
pub struct ReportOptions {
    /// The text; the model writes one where none is given.
    pub text: Option<String>,
}

/// All views of one text. Each field but the first three is what the server answers at `/page/…` too.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The version of this document, [`SCHEMA`].
    pub schema: u32,
    /// The text, as far as its tokens are shown.
    pub text: String,
    /// For each position but the first, one token replaced by what the model held most probable there, or next to that.
    pub changes: Vec<Change>,
    /// `GET /page/model`
    pub model: ModelFacts,
    /// `POST /page/pass`
    pub pass: Pass,
    /// `POST /page/steps`
    pub steps: Steps,
    /// `POST /page/heads`
    pub heads: HeadsOff,
    /// `GET /page/training`
    pub training: Vec<TrainingRun>,
    /// `POST /page/prove`
    pub proofs: Proofs,
    /// `POST /page/working`, where a model of the lab was given.
    pub working: Option<Working>,
}

/// The text of the tokens that are shown, without the end of another before them.
fn shown_part(model: &Model, seen: &PageText) -> Result<String, PageError> {
    let ids = seen.ids();
    let begin = usize::from(model.tokenizer().end_of_text() == ids.first().copied());
    Ok(model.tokenizer().decode(&ids[begin..])?)
}

/// Computes every view.
///
/// - observe: is told what is computed next
///
/// # Errors
/// As the views.
pub fn report(
    source: &PageSource,
    options: &ReportOptions,
    observe: &mut dyn FnMut(&str),
) -> Result<Report, PageError> {
    let model = &source.model;
    // What cannot be is told at once.
    options.text.as_ref().map(|text| page_text(model, text)).transpose()?;
    observe("model");
    let facts = facts(source)?;
    let text = options.text.clone().unwrap_or_else(|| facts.text.clone());
    observe("pass");
    let pass = pass(model, &text)?;
    observe("steps");
    let steps = steps(model, &text)?;
    observe("heads");
    let heads = heads(model, &text)?;
    observe("changes");
    let seen = page_text(model, &text)?;
    let text = if seen.left_out > 0 { shown_part(model, &seen)? } else { text };
    let before = look(model.gpt(), &seen.ids(), None, &[], Wanted::Residuals)?;
    let change = |position: usize| {
        let own = seen.tokens[position].id;
        let other = pass.rows[position - 1].next.iter().find(|candidate| candidate.id != own);
        let other = other.map_or((own + 1) % model.config().vocab_size as u32, |candidate| candidate.id);
        changed(model, &seen, &before, position, other)
    };
    let changes = (1..seen.tokens.len()).map(change).collect::<Result<_, _>>()?;
    observe("training");
    let training = training(&source.runs)?;
    observe("proofs");
    let proofs = proofs(model, None)?;
    let working = match &source.working {
        Some(model) => {
            observe("working");
            let info = LabModelInfo::of(model)?;
            let length = info.task.lengths().into_iter().min_by_key(|length| length.abs_diff(PROBLEM_LENGTH));
            let problem = info.task.held_out(info.seed, length.unwrap_or(PROBLEM_LENGTH), 1);
            problem.first().map(|problem| working(model, &problem.question)).transpose()?
        }
        None => None,
    };
    Ok(Report { schema: SCHEMA, text, changes, model: facts, pass, steps, heads, training, proofs, working })
}
