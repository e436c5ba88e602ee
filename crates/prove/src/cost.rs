//! What generating costs: the same tokens by three routes, with the work and the time of every pass, and whether the
//! routes agree.

mod agreement;

use std::num::NonZeroUsize;
use std::time::Instant;

use serde::Serialize;

use tril_infer::{InferError, SamplerConfig, check_prompt, choose};

use crate::work::{pass_bytes, pass_flops};
use crate::{ModelUnderTest, ProveError, Tolerance};
pub use agreement::Agreement;

/// How to measure.
#[derive(Debug, Clone, PartialEq)]
pub struct CostOptions {
    /// Tokens to generate.
    pub max_tokens: usize,
    /// How they are chosen.
    pub sampler: SamplerConfig,
    /// Positions at once where a text enters the cache in chunks.
    pub prefill_chunk: NonZeroUsize,
    /// What the routes must agree in.
    pub tolerance: Tolerance,
    /// Times that a route is taken at most; a pass counts with the median.
    pub runs: usize,
    /// No further run begins after so many seconds of a route.
    pub seconds: f64,
}

/// A way to the same tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// Nothing is kept: every step computes the whole context.
    Recompute,
    /// The prompt enters the cache in one pass, then one position a step.
    Cached,
    /// The prompt and the first half of the new tokens are known and enter the cache in chunks, then one position a step.
    Chunked,
}

/// One pass through the model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PassCost {
    /// Tokens that went before.
    pub position: usize,
    /// Tokens by which it gets further. Without a cache it computes those before as well.
    pub tokens: usize,
    /// Floating-point operations, by [`crate::work`].
    pub flops: u64,
    /// Bytes read, by [`crate::work`].
    pub bytes: u64,
    /// Time of the pass, copying its logits out included: the median of the runs.
    pub seconds: f64,
}

/// A route with all its passes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RouteCost {
    /// Which route.
    pub route: Route,
    /// Sum over the passes.
    pub flops: u64,
    /// Sum over the passes.
    pub bytes: u64,
    /// Sum over the passes.
    pub seconds: f64,
    /// How often it was taken.
    pub runs: usize,
    /// Tokens that were given rather than chosen: the prompt, and for [`Route::Chunked`] half of the rest.
    pub given: usize,
    /// Compared with [`Route::Recompute`]; absent for that one itself.
    pub agreement: Option<Agreement>,
    /// In order of position, from 0 to `prompt_tokens + new_tokens − 1` without a gap.
    pub passes: Vec<PassCost>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CostReport {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens after it.
    pub new_tokens: usize,
    /// Positions of a chunk.
    pub prefill_chunk: usize,
    /// What the routes had to agree in.
    pub tolerance: Tolerance,
    /// Whether they did: the same tokens from logits that are the same.
    pub agree: bool,
    /// One of each, in the order of [`Route`].
    pub routes: Vec<RouteCost>,
}

/// Generates by every route.
///
/// The first route decides what the tokens are; the others have to choose the same ones, from the same logits. Stop
/// tokens are tokens like others here.
///
/// # Errors
/// [`InferError::EmptyPrompt`], [`InferError::UnknownToken`], what
/// [`SamplerConfig::check`] returns; [`ProveError::ContextTooShort`] for more tokens than a context holds; [`InferError::BadLogits`],
/// [`InferError::Device`]. Routes that disagree are no error; the report says so.
pub fn cost<S: ModelUnderTest>(model: &S, prompt: &[u32], options: &CostOptions) -> Result<CostReport, ProveError> {
    check(model, prompt, options)?;
    let end = prompt.len() + options.max_tokens;
    let runner = StrategyRunner { model, options, end };
    let (reference, mut recompute) = runner.measure(Route::Recompute, prompt)?;
    recompute.agreement = None;
    let mut routes = vec![recompute];
    let given = prompt.len() + options.max_tokens / 2;
    for (route, given) in [(Route::Cached, prompt.len()), (Route::Chunked, given)] {
        let (run, mut measured) = runner.measure(route, &reference.ids[..given])?;
        measured.agreement = Some(Agreement::of(&reference, &run, options.tolerance));
        routes.push(measured);
    }
    Ok(CostReport {
        prompt_tokens: prompt.len(),
        new_tokens: options.max_tokens,
        prefill_chunk: options.prefill_chunk.get(),
        tolerance: options.tolerance,
        agree: routes.iter().all(|route| route.agreement.as_ref().is_none_or(|agreement| agreement.agree)),
        routes,
    })
}

fn check<S: ModelUnderTest>(model: &S, prompt: &[u32], options: &CostOptions) -> Result<(), ProveError> {
    options.sampler.check(model.config().vocab_size)?;
    check_prompt(prompt, model.config().vocab_size)?;
    // The last token that is chosen never enters the context.
    let needed = prompt.len().saturating_add(options.max_tokens) - 1;
    match model.config().context_limit() {
        Some(limit) if needed > limit || prompt.len() > limit => {
            Err(ProveError::ContextTooShort { limit, prompt: prompt.len(), new: options.max_tokens })
        }
        _ => Ok(()),
    }
}

/// What came of taking a route once.
pub(crate) struct StrategyRun {
    /// The given tokens and those that were chosen.
    pub ids: Vec<u32>,
    /// The logits that each pass ended with, by the position of the token that they predict, in ascending order.
    pub logits: Vec<(usize, Vec<f32>)>,
    passes: Vec<PassCost>,
}

struct StrategyRunner<'a, S: ModelUnderTest> {
    model: &'a S,
    options: &'a CostOptions,
    /// Tokens at the end, the given ones included.
    end: usize,
}

impl<S: ModelUnderTest> StrategyRunner<'_, S> {
    /// Takes a route as often as is asked for; the run is the first.
    fn measure(&self, route: Route, given: &[u32]) -> Result<(StrategyRun, RouteCost), InferError> {
        let begin = Instant::now();
        let mut first = self.run_once(route, given)?;
        let mut seconds: Vec<Vec<f64>> = first.passes.iter().map(|pass| vec![pass.seconds]).collect();
        let mut runs = 1;
        while runs < self.options.runs && begin.elapsed().as_secs_f64() < self.options.seconds {
            let again = self.run_once(route, given)?;
            seconds.iter_mut().zip(&again.passes).for_each(|(all, pass)| all.push(pass.seconds));
            runs += 1;
        }
        for (pass, seconds) in first.passes.iter_mut().zip(&mut seconds) {
            seconds.sort_by(f64::total_cmp);
            pass.seconds = seconds[(seconds.len() - 1) / 2];
        }
        let passes = std::mem::take(&mut first.passes);
        let measured = RouteCost {
            route,
            flops: passes.iter().map(|pass| pass.flops).sum(),
            bytes: passes.iter().map(|pass| pass.bytes).sum(),
            seconds: passes.iter().map(|pass| pass.seconds).sum(),
            runs,
            given: given.len(),
            agreement: None,
            passes,
        };
        Ok((first, measured))
    }

    fn run_once(&self, route: Route, given: &[u32]) -> Result<StrategyRun, InferError> {
        let Self { model, options, end } = *self;
        let mut cache = (route != Route::Recompute).then(|| model.new_cache());
        let mut run = StrategyRun { ids: given.to_vec(), logits: Vec::new(), passes: Vec::new() };
        let mut position = 0;
        while run.ids.len() < end {
            let fresh = run.ids.len() - position;
            let tokens = if route == Route::Chunked { fresh.min(options.prefill_chunk.get()) } else { fresh };
            let start = if cache.is_some() { position } else { 0 };
            let input = &run.ids[start..position + tokens];
            let begin = Instant::now();
            let logits = model.last_logits(input, cache.as_mut())?;
            let seconds = begin.elapsed().as_secs_f64();
            run.passes.push(PassCost {
                position,
                tokens,
                flops: pass_flops(model.config(), start, input.len(), 1),
                bytes: pass_bytes(model.config(), 1, start, input.len()),
                seconds,
            });
            position += tokens;
            if position == run.ids.len() {
                let choice = choose(&logits, &run.ids, &options.sampler, 0, position)?;
                run.ids.push(choice.token);
            }
            run.logits.push((position, logits));
        }
        Ok(run)
    }
}
