//! Proofs that a model computes one function, whichever way it is asked: token ids in, a report out.
//!
//! 1. One masked pass gives what any way of going step by step gives.
//! 2. Neither the sequences beside one nor the number of threads changes a logit.
//! 3. Nothing goes from a later token to an earlier position, forward or backward.
//! 4. Gradients through the cache are those of the parallel pass.
//! 5. A row of T tokens is T prefixes, each with a next token.

mod asker;
mod company;
mod compare;
mod future;
mod losses;
mod options;
mod report;
mod steps;
mod subject;
mod text;

use rayon::{ThreadPool, ThreadPoolBuilder};

pub(crate) use compare::tolerance;
pub use compare::ulp_distance;
pub use options::{Demand, Limits, ProveOptions};
pub use report::{Outcome, Proof, ProofId, Report, Seconds};
pub use subject::Subject;

use crate::InferError;
use crate::sequence::check_ids;
use asker::{Asker, Rows};
use company::Company;
use compare::Tally;
use future::Future;
use steps::Steps;
use text::{Segment, Segments};

/// Proves what can be proved of a model on a text.
///
/// A text that is longer than the model's context is cut into consecutive segments, each from position 0 on. The same
/// text and options give the same report, but for seconds.
///
/// # Errors
/// [`InferError::TooShortToProve`] for fewer than two tokens, [`InferError::UnknownToken`], [`InferError::Threads`],
/// [`InferError::Device`]. A proof that does not hold is no error; the report says so.
pub fn prove<S: Subject>(subject: &S, ids: &[u32], options: &ProveOptions) -> Result<Report, InferError> {
    check_ids(ids, subject.config())?;
    if ids.len() < 2 {
        return Err(InferError::TooShortToProve { tokens: ids.len() });
    }
    let segments = Segments::new(ids, subject.config(), &options.limits);
    let chosen = segments.chosen();
    let prover = Prover::new(subject, options, &chosen)?;
    let mut tallies = prover.empty_rows()?;
    for segment in &chosen {
        let parallel = prover.asker.parallel(&[segment.ids])?;
        for tally in &mut tallies {
            prover.prove(tally, *segment, &parallel)?;
        }
    }
    let row = |tally: Tally| {
        let possible = possible_cases(tally.id(), segments.all());
        tally.finish(possible)
    };
    Ok(Report {
        tokens: ids.len(),
        segments: segments.all().len(),
        proved_tokens: token_count(&chosen),
        proved_segments: chosen.len(),
        demand: options.demand,
        score_factor: f64::from(options.scale).powi(2),
        thread_counts: options.threads.clone(),
        proofs: tallies.into_iter().map(row).collect(),
    })
}

/// What all proofs share.
struct Prover<'a, S: Subject> {
    asker: Asker<'a, S>,
    scaled: S,
    with_gradients: S,
    scaled_with_gradients: S,
    options: &'a ProveOptions,
    chosen: &'a [Segment<'a>],
    pools: Vec<ThreadPool>,
}

impl<'a, S: Subject> Prover<'a, S> {
    fn new(subject: &'a S, options: &'a ProveOptions, chosen: &'a [Segment<'a>]) -> Result<Self, InferError> {
        let pool = |threads: &usize| ThreadPoolBuilder::new().num_threads(*threads).build();
        let pools = options.threads.iter().map(pool).collect::<Result<_, _>>();
        let scaled = subject.scaled(options.scale);
        Ok(Self {
            asker: Asker::new(subject),
            with_gradients: subject.with_gradients(),
            scaled_with_gradients: scaled.with_gradients(),
            scaled,
            options,
            chosen,
            pools: pools.map_err(|error| InferError::Threads(error.to_string()))?,
        })
    }

    /// One row a proof, each with what it demands.
    fn empty_rows(&self) -> Result<Vec<Tally>, InferError> {
        let ProveOptions { demand, gradient_tolerance, loss_tolerance, .. } = *self.options;
        let first = self.chosen.first().map_or(&[][..], |segment| segment.ids);
        let plain = tolerance(demand, &self.asker.parallel(&[first])?.values);
        let scaled = tolerance(demand, &Asker::new(&self.scaled).parallel(&[first])?.values);
        let row = |id| {
            let tolerance = match id {
                ProofId::LaterGradients | ProofId::ScaledLaterGradients => None,
                ProofId::CacheGradients => Some(gradient_tolerance),
                ProofId::PrefixProblems => Some(loss_tolerance),
                ProofId::ScaledLaterTokens => scaled,
                _ => plain,
            };
            Tally::new(id, tolerance)
        };
        Ok(ProofId::ALL.into_iter().map(row).collect())
    }

    /// Adds what one segment shows to one row.
    fn prove(&self, tally: &mut Tally, segment: Segment<'_>, parallel: &Rows) -> Result<(), InferError> {
        let id = tally.id();
        if let Some(reason) = self.absent(id, segment) {
            tally.absent(reason);
            return Ok(());
        }
        let (asker, seed, limits) = (&self.asker, self.options.seed, &self.options.limits);
        let cases = (limits.pass_tokens / token_count(self.chosen)).max(2);
        let steps = Steps { asker, segment, parallel, cases, seed };
        let company = Company { asker, segment, parallel, seed };
        match id {
            ProofId::Recomputed => steps.recomputed(tally),
            ProofId::Cached => steps.cached(tally),
            ProofId::Prefilled => steps.prefilled(tally),
            ProofId::Chunked => steps.chunked(tally),
            ProofId::Ring => steps.ring(tally),
            ProofId::Rewound => steps.rewound(tally),
            ProofId::Batched => company.batched(tally),
            ProofId::BatchedCached => company.batched_cached(tally),
            ProofId::Threads => company.threads(tally, &self.pools),
            ProofId::LaterTokens => self.future(&self.asker, segment, cases).tokens(tally),
            ProofId::LaterGradients => self.future(&Asker::new(&self.with_gradients), segment, cases).gradients(tally),
            ProofId::ScaledLaterTokens => self.future(&Asker::new(&self.scaled), segment, cases).tokens(tally),
            ProofId::ScaledLaterGradients => {
                self.future(&Asker::new(&self.scaled_with_gradients), segment, cases).gradients(tally)
            }
            ProofId::CacheGradients => {
                losses::cache_gradients(&Asker::new(&self.with_gradients), segment, limits, tally)
            }
            ProofId::PrefixProblems => losses::prefix_problems(asker, segment, limits, tally),
        }
    }

    fn future<'b>(&self, asker: &'b Asker<'b, S>, segment: Segment<'b>, cases: usize) -> Future<'b, S> {
        let losses = (self.options.limits.losses / self.chosen.len()).max(1);
        Future { asker, segment, cases, losses, limits: self.options.limits, seed: self.options.seed }
    }

    /// Why a proof has nothing to look at in a segment, if it has not.
    fn absent(&self, id: ProofId, segment: Segment<'_>) -> Option<&'static str> {
        use ProofId::*;
        let config = self.asker.subject.config();
        let draws_tokens = matches!(id, Rewound | Batched | BatchedCached);
        let looks_ahead = matches!(id, LaterTokens | LaterGradients | ScaledLaterTokens | ScaledLaterGradients);
        let alone = matches!(id, Recomputed | Cached | Batched | BatchedCached | Threads);
        let scales = matches!(id, ScaledLaterTokens | ScaledLaterGradients);
        if segment.ids.len() < 2 && !alone {
            Some("a context of one token has no later one")
        } else if config.vocab_size < 2 && (draws_tokens || looks_ahead) {
            Some("a vocabulary of one token leaves nothing to choose")
        } else if scales && config.qk_norm && !config.norm_gain {
            Some("query-key norm without gain bounds attention scores")
        } else if id == Threads && !tril_kernels::is_cpu(&self.asker.subject.device()) {
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
        Recomputed | Cached => Some(token_count(segments)),
        Prefilled | Chunked | LaterTokens | LaterGradients | ScaledLaterTokens | ScaledLaterGradients
        | CacheGradients | PrefixProblems => Some(token_count(segments) - segments.len()),
        Ring | Rewound | Batched | BatchedCached | Threads => None,
    }
}

fn token_count(segments: &[Segment<'_>]) -> usize {
    segments.iter().map(|segment| segment.ids.len()).sum()
}
