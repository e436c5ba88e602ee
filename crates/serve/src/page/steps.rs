//! One parallel pass and many steps with a cache, side by side: the same numbers, and what each way costs.

use serde::Serialize;
use tril::Model;
use tril::model::GptConfig;
use tril::prove::work::{pass_bytes, pass_flops};

use super::look::{Looked, Wanted, fingerprint, look};
use super::text::PageText;
use super::{PageError, page_text};

/// A text by three routes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Steps {
    /// The text.
    #[serde(flatten)]
    pub text: PageText,
    /// Tokens that a query sees, itself among them; null if all before it.
    pub window: Option<usize>,
    /// All positions in one masked pass.
    pub parallel: RouteWork,
    /// One position a pass, keys and values of the earlier ones kept.
    pub cached: RouteWork,
    /// The whole text so far in each pass, nothing kept.
    pub recomputed: RouteWork,
    /// A row for each position.
    pub rows: Vec<StepsRow>,
    /// The attention of each head as the steps with the cache had it.
    pub attention: Vec<CachedHead>,
    /// Logits of the steps with the cache, compared with those of the pass.
    pub logits_cached: Equality,
    /// Logits of the steps without a cache, compared with those of the pass.
    pub logits_recomputed: Equality,
    /// Attention weights of the steps with the cache, compared with those of the pass.
    pub attention_cached: Equality,
    /// Attention weights of the pass on later positions, compared with 0.
    pub attention_above: Equality,
}

/// What a route costs, as `tril_prove::work` counts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouteWork {
    /// Floating-point operations of all passes.
    pub flops: u64,
    /// Bytes that all passes read.
    pub bytes: u64,
    /// The passes, in order.
    pub passes: Vec<PassWork>,
}

/// One pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PassWork {
    /// Position of the first token that it computes.
    pub start: usize,
    /// Tokens that it computes.
    pub tokens: usize,
    /// Its operations.
    pub flops: u64,
    /// The bytes that it reads.
    pub bytes: u64,
    /// Positions whose keys and values the next pass can read.
    pub kept: usize,
    /// The bytes of these.
    pub kept_bytes: u64,
}

/// The logits of one position by each route, as the first 16 hexadecimal digits of the SHA-256 of little-endian f32.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepsRow {
    /// By the parallel pass.
    pub parallel: String,
    /// By a step with the cache.
    pub cached: String,
    /// By a pass over everything so far.
    pub recomputed: String,
}

/// Where one head looked, step by step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CachedHead {
    /// The block, from 0.
    pub layer: usize,
    /// The query head in it, from 0.
    pub head: usize,
    /// A row for each step.
    pub rows: Vec<CachedRow>,
}

/// One step's weights.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CachedRow {
    /// Position of the oldest key.
    pub first_key: usize,
    /// The weights of the keys from there to the step's own.
    pub weights: Vec<f32>,
}

/// Numbers that were compared, bit by bit.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Equality {
    /// How many.
    pub numbers: usize,
    /// How many have other bits.
    pub different: usize,
    /// The largest absolute difference.
    pub max_difference: f32,
}

impl Equality {
    /// Compares more numbers.
    pub(super) fn add(&mut self, left: &[f32], right: &[f32]) {
        debug_assert_eq!(left.len(), right.len());
        self.numbers += left.len();
        for (left, right) in left.iter().zip(right) {
            if left.to_bits() != right.to_bits() {
                self.different += 1;
                self.max_difference = self.max_difference.max((left - right).abs());
            }
        }
    }
}

/// Takes a text through the model by each route.
///
/// # Errors
/// As [`page_text`]; [`PageError::Tril`] for a device that gives no result.
pub fn steps(model: &Model, text: &str) -> Result<Steps, PageError> {
    let text = page_text(model, text)?;
    let ids = text.ids();
    let (gpt, config) = (model.gpt(), model.config());
    let parallel = look(gpt, &ids, None, &[], Wanted::Everything)?;
    let of_parallel = |position: usize| row(&parallel, position, config.vocab_size);
    let mut attention: Vec<CachedHead> = parallel
        .heads
        .iter()
        .map(|found| CachedHead { layer: found.layer, head: found.head, rows: Vec::new() })
        .collect();
    let [mut logits_cached, mut logits_recomputed, mut attention_cached, mut attention_above] =
        [Equality::default(); 4];
    let mut rows = Vec::with_capacity(ids.len());
    let mut cache = gpt.new_cache(1);
    for (position, id) in ids.iter().enumerate() {
        let cached = look(gpt, &[*id], Some(&mut cache), &[], Wanted::Everything)?;
        let recomputed = look(gpt, &ids[..=position], None, &[], Wanted::Logits)?;
        let recomputed = row(&recomputed, position, config.vocab_size);
        logits_cached.add(of_parallel(position), &cached.logits);
        logits_recomputed.add(of_parallel(position), recomputed);
        rows.push(StepsRow {
            parallel: fingerprint(of_parallel(position)),
            cached: fingerprint(&cached.logits),
            recomputed: fingerprint(recomputed),
        });
        for ((found, kept), pass) in cached.heads.into_iter().zip(&mut attention).zip(&parallel.heads) {
            let weights = found.rows.into_iter().next().unwrap_or_default();
            let of_pass = &pass.rows[position];
            attention_cached.add(&of_pass[found.first_key..=position], &weights);
            let above = &of_pass[position + 1..];
            attention_above.add(above, &vec![0.0; above.len()]);
            kept.rows.push(CachedRow { first_key: found.first_key, weights });
        }
    }
    let tokens = ids.len();
    Ok(Steps {
        window: config.window(),
        parallel: route([(0, tokens, tokens)].into_iter(), config, Keeps::Nothing),
        cached: route((0..tokens).map(|start| (start, 1, 1)), config, Keeps::All),
        recomputed: route((0..tokens).map(|last| (0, last + 1, 1)), config, Keeps::Nothing),
        rows,
        attention,
        logits_cached,
        logits_recomputed,
        attention_cached,
        attention_above,
        text,
    })
}

/// The logits of one position of a pass from position 0.
fn row(looked: &Looked, position: usize, vocab_size: usize) -> &[f32] {
    &looked.logits[position * vocab_size..(position + 1) * vocab_size]
}

/// What a route's passes leave for the next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keeps {
    Nothing,
    All,
}

/// The work of passes, each as its first position, its tokens, and how many of them need logits.
fn route(passes: impl Iterator<Item = (usize, usize, usize)>, config: &GptConfig, keeps: Keeps) -> RouteWork {
    let passes: Vec<PassWork> = passes
        .map(|(start, tokens, logits)| {
            // What the next query sees beside itself.
            let seen = config.window().map_or(start + tokens, |window| (start + tokens).min(window - 1));
            let kept = if keeps == Keeps::All { seen } else { 0 };
            PassWork {
                start,
                tokens,
                flops: pass_flops(config, start, tokens, logits),
                bytes: pass_bytes(config, 1, start, tokens),
                kept,
                kept_bytes: 4 * 2 * (config.n_layers * config.n_kv_heads * config.d_head * kept) as u64,
            }
        })
        .collect();
    RouteWork {
        flops: passes.iter().map(|pass| pass.flops).sum(),
        bytes: passes.iter().map(|pass| pass.bytes).sum(),
        passes,
    }
}
