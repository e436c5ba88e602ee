//! A chain of thought, shown and hidden: the same tokens. By a model of the lab that writes its working.

use std::path::Path;

use serde::Serialize;
use tril::infer::GeneratedToken;
use tril::prove::work::pass_flops;
use tril::{ComputeDevice, ExistingFiles, HiddenParts, Model, StepReport};
use tril_lab::{
    CurvePoint, Experiment, Format, KeptModels, LabModelInfo, LabObserver, ProbeReport, TaskKind, WORKING_MARKERS,
    probe, request,
};

use super::PageError;

/// Tokens that a model of sums learns from; with fewer, long sums go wrong.
const SUMS_TOKENS: u64 = 1_000_000;

/// A problem, and how a model answered it.
#[derive(Debug, Clone, Serialize)]
pub struct Working {
    /// What the model is given.
    pub prompt: String,
    /// What it wrote, token by token.
    pub tokens: Vec<WorkingPart>,
    /// The ids that were generated with the working hidden from the reader.
    pub hidden_ids: Vec<u32>,
    /// What the reader then saw.
    pub shown: String,
    /// Operations of the prompt and all these tokens, with a cache: the same whether the working is shown or not.
    pub flops: u64,
    /// What becomes of the answer if the working is changed.
    pub probe: ProbeReport,
}

/// A token of an answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorkingPart {
    /// Its id.
    pub id: u32,
    /// Its text.
    pub text: String,
    /// Its probability.
    pub p: f64,
    /// Whether it is part of the working, its brackets included.
    pub hidden: bool,
}

/// Whether a model of the lab writes something between brackets.
pub(super) fn writes_working(info: &LabModelInfo) -> bool {
    matches!(info.format, Format::Worked | Format::Mended | Format::Filler)
}

/// Asks a problem, once with the working shown and once with it hidden.
///
/// # Errors
/// [`PageError::Lab`] for a model of another kind, or what is no problem of its task.
pub fn working(model: &Model, problem: &str) -> Result<Working, PageError> {
    let probe = probe(model, problem)?;
    let format = probe.info.format;
    let prompt = format.prompt(&probe.problem);
    let mut plain = request(model.tokenizer(), &probe.info.task, &prompt, format.completion(&probe.problem).len() + 8)?;
    let before = plain.prompt_ids.len();
    plain.prefix_cache = None;
    let mut hiding = plain.clone();
    hiding.hidden = HiddenParts::new([WORKING_MARKERS])?;
    let (plain, hiding) = (model.generate(plain)?, model.generate(hiding)?);
    let (open, close) = WORKING_MARKERS;
    let mut is_inside = false;
    let part = |token: &GeneratedToken| {
        let text = model.tokenizer().token_text(token.sampled.token);
        is_inside |= text == open;
        let hidden = is_inside;
        is_inside &= text != close;
        WorkingPart { id: token.sampled.token, text, p: libm::exp(token.sampled.logprob), hidden }
    };
    let tokens: Vec<WorkingPart> = plain.tokens.iter().map(part).collect();
    let config = model.config();
    let steps = (0..tokens.len()).map(|step| match step {
        0 => pass_flops(config, 0, before, 1),
        step => pass_flops(config, before + step - 1, 1, 1),
    });
    Ok(Working {
        flops: steps.sum(),
        hidden_ids: hiding.tokens.iter().map(|token| token.sampled.token).collect(),
        shown: format!("{prompt}{}", hiding.text),
        tokens,
        prompt,
        probe,
    })
}

/// Trains a small model that writes its working, in some seconds for parity and some minutes for sums.
///
/// - out: a directory in which its checkpoint is kept
/// - observe: sees steps taken, all steps, and the loss
///
/// # Errors
/// [`PageError::Lab`].
pub fn train_working(kind: TaskKind, out: &Path, observe: &mut dyn FnMut(u64, u64, f64)) -> Result<Model, PageError> {
    let device = ComputeDevice::cpu();
    let quick = Experiment::quick(kind);
    let tokens = if kind == TaskKind::Sums { SUMS_TOKENS } else { quick.tokens };
    let experiment = Experiment { formats: vec![Format::Worked], tokens, scorings: 1, held_out: 20, ..quick };
    let kept = KeptModels { dir: out, existing: ExistingFiles::Replace };
    let report = experiment.run(Some(kept), &device, &mut Watch { steps: 0, observe })?;
    let checkpoint = report.formats.into_iter().flat_map(|format| format.runs).find_map(|run| run.checkpoint);
    Ok(Model::open(checkpoint.ok_or(PageError::NoWorking)?, &device)?)
}

struct Watch<'a> {
    steps: u64,
    observe: &'a mut dyn FnMut(u64, u64, f64),
}

impl LabObserver for Watch<'_> {
    fn begin(&mut self, _format: Format, _seed: u64, steps: u64) {
        self.steps = steps;
    }

    fn step(&mut self, report: &StepReport) {
        (self.observe)(report.step, self.steps, report.loss);
    }

    fn scored(&mut self, _score: &CurvePoint) {}
}
