//! Proofs that a model computes one function, whichever way it is asked: token ids in, a report out.
//!
//! 1. One masked pass gives what any way of going step by step gives.
//! 2. Neither the sequences beside one nor the number of threads changes a logit.
//! 3. Nothing goes from a later token to an earlier position, forward or backward.
//! 4. Gradients through the cache are those of the parallel pass.
//! 5. A row of T tokens is T prefixes, each with a next token.

mod batch_invariance;
mod cache_equivalence;
mod causality;
mod compare;
mod control;
mod gradients;
mod guesses;
mod model_runner;
mod model_under_test;
mod options;
mod own_text;
mod report;
mod text;

use rayon::{ThreadPool, ThreadPoolBuilder};

pub(crate) use compare::allowed_difference;
pub use compare::ulp_distance;
pub use control::Control;
pub use model_under_test::ModelUnderTest;
pub use options::{Limits, ProveOptions, Tolerance};
pub use own_text::{OwnText, TextOrigin};
pub use report::{Proof, ProofId, ProofOutcome, ProofReport, Seconds};

use tril_infer::{InferError, check_ids};

use crate::ProveError;
use batch_invariance::BatchInvariance;
use cache_equivalence::CacheEquivalence;
use causality::Causality;
use compare::Comparison;
use guesses::Guesses;
use model_runner::{ModelRunner, Rows};
use text::{Segment, Segments};

/// Proves what can be proved of a model on a text.
///
/// A text that is longer than the model's context is cut into consecutive segments, each from position 0 on. The same
/// text and options give the same report, but for seconds.
///
/// # Errors
/// [`ProveError::TooShort`] for fewer than two tokens, [`ProveError::Threads`], [`ProveError::Infer`] for an id outside the
/// vocabulary or a device that fails. A proof that does not hold is no error; the report says so.
pub fn prove<S: ModelUnderTest>(model: &S, ids: &[u32], options: &ProveOptions) -> Result<ProofReport, ProveError> {
    check_ids(ids, model.config().vocab_size)?;
    if ids.len() < 2 {
        return Err(ProveError::TooShort { tokens: ids.len() });
    }
    let segments = Segments::new(ids, model.config(), &options.limits);
    let chosen = segments.chosen();
    let prover = Prover::new(model, options, &chosen)?;
    let mut comparisons = prover.empty_rows()?;
    let mut control = Some(Control::default());
    for segment in &chosen {
        let parallel = prover.runner.parallel(&[segment.ids])?;
        for comparison in &mut comparisons {
            prover.prove(comparison, *segment, &parallel)?;
        }
        if let Some(filled) = &mut control
            && !filled.add(&prover.runner, *segment, &parallel)?
        {
            control = None;
        }
    }
    let row = |comparison: Comparison| {
        let possible = possible_cases(comparison.id(), segments.all());
        comparison.finish(possible)
    };
    Ok(ProofReport {
        tokens: ids.len(),
        segments: segments.all().len(),
        proved_tokens: token_count(&chosen),
        proved_segments: chosen.len(),
        tolerance: options.tolerance,
        score_factor: f64::from(options.scale) * f64::from(options.scale),
        thread_counts: options.threads.clone(),
        control,
        proofs: comparisons.into_iter().map(row).collect(),
    })
}

/// What all proofs share.
struct Prover<'a, S: ModelUnderTest> {
    runner: ModelRunner<'a, S>,
    scaled: S,
    with_gradients: S,
    scaled_with_gradients: S,
    options: &'a ProveOptions,
    chosen: &'a [Segment<'a>],
    pools: Vec<ThreadPool>,
}

impl<'a, S: ModelUnderTest> Prover<'a, S> {
    fn new(model: &'a S, options: &'a ProveOptions, chosen: &'a [Segment<'a>]) -> Result<Self, ProveError> {
        let pool = |threads: &usize| ThreadPoolBuilder::new().num_threads(*threads).build();
        let pools = options.threads.iter().map(pool).collect::<Result<_, _>>();
        let scaled = model.scaled(options.scale);
        Ok(Self {
            runner: ModelRunner::new(model),
            with_gradients: model.with_gradients(),
            scaled_with_gradients: scaled.with_gradients(),
            scaled,
            options,
            chosen,
            pools: pools?,
        })
    }

    /// One row a proof, each with what it demands.
    fn empty_rows(&self) -> Result<Vec<Comparison>, InferError> {
        let ProveOptions { tolerance, gradient_tolerance, loss_tolerance, .. } = *self.options;
        let first = self.chosen.first().map_or(&[][..], |segment| segment.ids);
        let plain = allowed_difference(tolerance, &self.runner.parallel(&[first])?.values);
        let scaled = allowed_difference(tolerance, &ModelRunner::new(&self.scaled).parallel(&[first])?.values);
        let row = |id| {
            let tolerance = match id {
                ProofId::LaterGradients | ProofId::ScaledLaterGradients => None,
                ProofId::CacheGradients => Some(gradient_tolerance),
                ProofId::PrefixProblems => Some(loss_tolerance),
                ProofId::ScaledLaterTokens => scaled,
                _ => plain,
            };
            Comparison::new(id, tolerance)
        };
        Ok(ProofId::ALL.into_iter().map(row).collect())
    }

    /// Adds what one segment shows to one row.
    fn prove(&self, comparison: &mut Comparison, segment: Segment<'_>, parallel: &Rows) -> Result<(), InferError> {
        let id = comparison.id();
        if let Some(reason) = self.absent(id, segment) {
            comparison.absent(reason);
            return Ok(());
        }
        let (runner, seed, limits) = (&self.runner, self.options.seed, &self.options.limits);
        let cases = (limits.pass_tokens / token_count(self.chosen)).max(2);
        let steps = CacheEquivalence { runner, segment, parallel, cases, seed };
        let invariance = BatchInvariance { runner, segment, parallel, seed };
        match id {
            ProofId::Recomputed => steps.recomputed(comparison),
            ProofId::Cached => steps.cached(comparison),
            ProofId::Prefilled => steps.prefilled(comparison),
            ProofId::Chunked => steps.chunked(comparison),
            ProofId::Ring => steps.ring(comparison),
            ProofId::Rewound => steps.rewound(comparison),
            ProofId::Generated => steps.generated(comparison),
            ProofId::Guessed => Guesses { runner, segment, parallel, seed }.checked(comparison),
            ProofId::Batched => invariance.batched(comparison),
            ProofId::BatchedCached => invariance.batched_cached(comparison),
            ProofId::Ragged => invariance.ragged(comparison),
            ProofId::Threads => invariance.threads(comparison, &self.pools),
            ProofId::LaterTokens => self.causality(&self.runner, segment, cases).tokens(comparison),
            ProofId::LaterGradients => {
                self.causality(&ModelRunner::new(&self.with_gradients), segment, cases).gradients(comparison)
            }
            ProofId::ScaledLaterTokens => {
                self.causality(&ModelRunner::new(&self.scaled), segment, cases).tokens(comparison)
            }
            ProofId::ScaledLaterGradients => {
                self.causality(&ModelRunner::new(&self.scaled_with_gradients), segment, cases).gradients(comparison)
            }
            ProofId::CacheGradients => {
                gradients::cache_gradients(&ModelRunner::new(&self.with_gradients), segment, limits, comparison)
            }
            ProofId::PrefixProblems => gradients::prefix_problems(runner, segment, limits, comparison),
        }
    }

    fn causality<'b>(&self, runner: &'b ModelRunner<'b, S>, segment: Segment<'b>, cases: usize) -> Causality<'b, S> {
        let losses = (self.options.limits.losses / self.chosen.len()).max(1);
        Causality { runner, segment, cases, losses, limits: self.options.limits, seed: self.options.seed }
    }

    /// Why a proof has nothing to look at in a segment, if it has not.
    fn absent(&self, id: ProofId, segment: Segment<'_>) -> Option<&'static str> {
        use ProofId::*;
        let config = self.runner.model.config();
        let draws_tokens = matches!(id, Rewound | Guessed | Batched | BatchedCached | Ragged);
        let looks_ahead = matches!(id, LaterTokens | LaterGradients | ScaledLaterTokens | ScaledLaterGradients);
        let alone =
            matches!(id, Recomputed | Cached | Generated | Guessed | Batched | BatchedCached | Ragged | Threads);
        let scales = matches!(id, ScaledLaterTokens | ScaledLaterGradients);
        if segment.ids.len() < 2 && !alone {
            Some("a context of one token has no later one")
        } else if config.vocab_size < 2 && (draws_tokens || looks_ahead) {
            Some("a vocabulary of one token leaves nothing to choose")
        } else if scales && config.qk_norm && !config.norm_gain {
            Some("query-key norm without gain bounds attention scores")
        } else if id == Threads && !tril_kernels::is_cpu(&self.runner.model.device()) {
            Some("this device does not compute on this process's threads")
        } else if matches!(id, CacheGradients | PrefixProblems) && segment.start > 0 {
            Some("the first segment speaks for all")
        } else {
            None
        }
    }
}

/// How many cases a proof has in a whole text, where they can be counted.
fn possible_cases(id: ProofId, segments: &[Segment<'_>]) -> Option<usize> {
    use ProofId::*;
    match id {
        Recomputed | Cached | Generated => Some(token_count(segments)),
        Prefilled | Chunked | LaterTokens | LaterGradients | ScaledLaterTokens | ScaledLaterGradients
        | CacheGradients | PrefixProblems => Some(token_count(segments) - segments.len()),
        Ring | Rewound | Guessed | Batched | BatchedCached | Ragged | Threads => None,
    }
}

fn token_count(segments: &[Segment<'_>]) -> usize {
    segments.iter().map(|segment| segment.ids.len()).sum()
}
