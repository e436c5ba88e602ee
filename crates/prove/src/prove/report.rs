//! What the proofs found: one row a proof.

use serde::Serialize;

use super::Control;
use crate::Tolerance;

/// One proof; a row of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProofId {
    /// The whole context computed again at each step.
    Recomputed,
    /// The cache, one token at a time.
    Cached,
    /// Prefill of a length, then one token at a time.
    Prefilled,
    /// Prefill in chunks of one size.
    Chunked,
    /// The cache past the window, fed in ways that move its contents at every phase.
    Ring,
    /// The cache taken back and continued with other tokens.
    Rewound,
    /// A sequence alone and in each row of a batch.
    Batched,
    /// The same with the cache.
    BatchedCached,
    /// Several numbers of threads.
    Threads,
    /// Later tokens replaced.
    LaterTokens,
    /// Gradients of a position's loss at later positions.
    LaterGradients,
    /// [`ProofId::LaterTokens`] with attention scores made large.
    ScaledLaterTokens,
    /// [`ProofId::LaterGradients`] with attention scores made large.
    ScaledLaterGradients,
    /// Gradients of all parameters, by the parallel pass and through the cache.
    CacheGradients,
    /// A row's loss and its prefixes', each run alone.
    PrefixProblems,
    /// The step by which text is generated.
    Generated,
    /// Sequences at different positions that join and leave.
    Ragged,
    /// The step that reads rounded weights in fewer bytes; a row of models that have such weights.
    Packed,
    /// Passes that check guesses, right ones and wrong ones.
    Guessed,
    /// A text that goes on from the cache of another request.
    PrefixReused,
    /// Steps of training in micro-batches, on several numbers of threads.
    Accumulated,
    /// A step's gradient in micro-batches and of the whole batch.
    MicroBatches,
    /// A run of training that is stopped and goes on from what it saved.
    Resumed,
}

impl ProofId {
    /// All proofs, in the order of the report.
    pub const ALL: [Self; 23] = [
        Self::Recomputed,
        Self::Cached,
        Self::Prefilled,
        Self::Chunked,
        Self::Ring,
        Self::Rewound,
        Self::Generated,
        Self::Packed,
        Self::Guessed,
        Self::PrefixReused,
        Self::Batched,
        Self::BatchedCached,
        Self::Ragged,
        Self::Threads,
        Self::LaterTokens,
        Self::LaterGradients,
        Self::ScaledLaterTokens,
        Self::ScaledLaterGradients,
        Self::CacheGradients,
        Self::PrefixProblems,
        Self::Accumulated,
        Self::MicroBatches,
        Self::Resumed,
    ];

    /// Which of the six claims it belongs to, from 1.
    pub fn claim(self) -> usize {
        match self {
            Self::Recomputed
            | Self::Cached
            | Self::Prefilled
            | Self::Chunked
            | Self::Ring
            | Self::Rewound
            | Self::Generated
            | Self::PrefixReused
            | Self::Guessed
            | Self::Packed => 1,
            Self::Batched | Self::BatchedCached | Self::Ragged | Self::Threads => 2,
            Self::LaterTokens | Self::LaterGradients | Self::ScaledLaterTokens | Self::ScaledLaterGradients => 3,
            Self::CacheGradients => 4,
            Self::PrefixProblems => 5,
            Self::Accumulated | Self::MicroBatches | Self::Resumed => 6,
        }
    }

    /// What is compared.
    pub fn compared(self) -> &'static str {
        match self {
            Self::Recomputed => "parallel logits with the whole context computed again at each step",
            Self::Cached => "parallel logits with the cache, one token at a time",
            Self::Prefilled => "parallel logits with a prefill of one length, then one token at a time",
            Self::Chunked => "parallel logits with a prefill in chunks of one size",
            Self::Ring => "the mask's band over the whole text with the ring cache past the window",
            Self::Rewound => "parallel logits of an edited text with a cache taken back to before the edit",
            Self::Generated => "parallel logits with those of the step that generates text",
            Self::Packed => "the step's logits by rounded weights in fewer bytes with those by the same numbers as f32",
            Self::Guessed => "parallel logits with those of passes that check guesses, some of them wrong",
            Self::Batched => "parallel logits alone with those in each row of a batch, other lengths beside it",
            Self::BatchedCached => "logits by the cache alone with those in each row of a batch",
            Self::Ragged => "parallel logits with those of a batch whose sequences stand elsewhere, join and leave",
            Self::Threads => "logits, parallel and by the cache, on several numbers of threads",
            Self::LaterTokens => "earlier logits before and after a later token is replaced",
            Self::LaterGradients => "zero with the gradient of a position's loss at every later position",
            Self::ScaledLaterTokens => "earlier logits, a later token replaced, attention scores made large",
            Self::ScaledLaterGradients => "zero with gradients at later positions, attention scores made large",
            Self::CacheGradients => "every parameter's gradient by the parallel pass with that through the cache",
            Self::PrefixReused => "parallel logits with those of a text that goes on from another request's cache",
            Self::Accumulated => "weights and optimizer after steps in micro-batches, on several numbers of threads",
            Self::MicroBatches => "every parameter's gradient of a batch with that of its micro-batches",
            Self::Resumed => "weights and optimizer of a run in one go with those of one stopped and gone on",
            Self::PrefixProblems => "the losses of one row with those of its prefixes, each run alone",
        }
    }

    /// What its cases are, in the plural.
    pub fn cases(self) -> &'static str {
        match self {
            Self::Recomputed | Self::Cached | Self::Generated | Self::Packed | Self::CacheGradients => "steps",
            Self::Prefilled => "lengths",
            Self::Chunked => "sizes",
            Self::Ring => "ways to feed it",
            Self::Rewound => "edits",
            Self::Guessed => "passes",
            Self::Batched | Self::BatchedCached | Self::Ragged => "batches",
            Self::Threads => "thread counts",
            Self::LaterTokens | Self::ScaledLaterTokens => "tokens",
            Self::LaterGradients | Self::ScaledLaterGradients => "losses",
            Self::PrefixProblems => "prefixes",
            Self::PrefixReused => "prompts",
            Self::Accumulated => "thread counts",
            Self::MicroBatches => "ways to cut it",
            Self::Resumed => "stops",
        }
    }
}

/// How a proof ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ProofOutcome {
    /// It was tried and holds.
    #[serde(rename = "pass")]
    Pass,
    /// It was tried and does not hold.
    #[serde(rename = "fail")]
    Fail,
    /// It was tried and could not have failed, because nothing moves in this model on this text, so it shows nothing.
    #[serde(rename = "open")]
    Open,
    /// It does not apply to this model or text, so it shows nothing.
    #[serde(rename = "n/a")]
    NotApplicable,
}

/// A row of the report.
///
/// Fields without a value were not measured: there is no distance in ULP between two gradients' shares, and none at all
/// where nothing was compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Proof {
    /// Which proof.
    pub id: ProofId,
    /// Which of the six claims it belongs to, from 1.
    pub claim: usize,
    /// What was compared.
    pub compared: &'static str,
    /// How it ended.
    pub outcome: ProofOutcome,
    /// Why, where it did not pass.
    pub reason: Option<String>,
    /// Cases tried, such as prefixes or replaced tokens.
    pub cases: usize,
    /// Cases there are in the whole text, if they can be counted; those not tried were left out to save time.
    pub possible_cases: Option<usize>,
    /// Comparisons of one position, over all cases.
    pub positions: usize,
    /// What was demanded: `None` is equal bits, or exact zeros.
    pub tolerance: Option<f64>,
    /// Largest absolute difference of two finite numbers; for gradients by two routes, as a share of the largest one.
    pub max_difference: Option<f64>,
    /// Largest distance in units in the last place, see [`crate::ulp_distance`].
    pub max_ulps: Option<u32>,
    /// First position in the text that differs by more than is allowed.
    pub first_difference: Option<usize>,
    /// Numbers compared that were NaN or infinite on either side.
    pub not_finite: usize,
    /// Seconds that one pass and its prefixes took, in [`ProofId::PrefixProblems`].
    pub seconds: Option<Seconds>,
}

/// What the same losses cost in two ways.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Seconds {
    /// All positions in one pass.
    pub together: f64,
    /// One pass for each prefix.
    pub apart: f64,
}

/// All rows, and what they are about.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProofReport {
    /// Length of the text.
    pub tokens: usize,
    /// Consecutive pieces that the text was cut into, each no longer than the model's context.
    pub segments: usize,
    /// Tokens in the segments that were looked at; all, unless the text is long.
    pub proved_tokens: usize,
    /// Segments that were looked at.
    pub proved_segments: usize,
    /// What claims 1 to 3 demand.
    pub tolerance: Tolerance,
    /// What attention scores were multiplied by in the second half of claim 3.
    pub score_factor: f64,
    /// Numbers of threads that were compared.
    pub thread_counts: Vec<usize>,
    /// What must differ; `None` for a model that has no such thing.
    pub control: Option<Control>,
    /// One row a proof, in the order of [`ProofId::ALL`]; [`ProofId::Packed`] only of a model whose weights were rounded.
    pub proofs: Vec<Proof>,
}

impl ProofReport {
    /// The row of one proof.
    pub fn proof(&self, id: ProofId) -> Option<&Proof> {
        self.proofs.iter().find(|proof| proof.id == id)
    }

    /// How many rows ended like this.
    pub fn count(&self, outcome: ProofOutcome) -> usize {
        self.proofs.iter().filter(|proof| proof.outcome == outcome).count()
    }
}
