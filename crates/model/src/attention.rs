//! The first half of a block: each position gathers from itself and from what came before it.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;
use tril_kernels::{causal_attention, split_heads};

use crate::block_matrix::BlockMatrixKind;
use crate::builder::{ParamBuilder, apply};
use crate::forward_context::{LayerContext, RowGroup};
use crate::norm::Norm;
use crate::observer::{AttentionProbs, Observation};
use crate::unmasked::unmasked_attention;
use crate::{GptConfig, ModelError};

/// Causal self-attention with grouped key/value heads.
///
/// The parallel pass and the step with a cache are this one function: they differ in where keys and values come from
/// and in the positions that the rotary table was made for.
#[derive(Module, Debug)]
pub struct Attention {
    /// To queries, keys and values, in this order.
    pub(crate) qkv: Linear,
    pub(crate) output: Linear,
    pub(crate) q_norm: Option<Norm>,
    pub(crate) k_norm: Option<Norm>,
    #[module(skip)]
    n_heads: usize,
    #[module(skip)]
    n_kv_heads: usize,
    #[module(skip)]
    d_head: usize,
    #[module(skip)]
    window: Option<usize>,
    /// False in a demonstration alone: see [`crate::Gpt::without_mask`].
    #[module(skip)]
    pub(crate) is_masked: bool,
}

impl Attention {
    pub(crate) fn new(config: &GptConfig, block: &str, builder: &mut ParamBuilder<'_>) -> Result<Self, ModelError> {
        let mut head_norm = |name: &str| -> Result<Option<Norm>, ModelError> {
            if !config.qk_norm {
                return Ok(None);
            }
            Norm::for_heads(config, &format!("{block}.attention.{name}"), builder).map(Some)
        };
        let (q_norm, k_norm) = (head_norm("q_norm")?, head_norm("k_norm")?);
        Ok(Self {
            qkv: builder.block_matrix(block, &config.block_matrix(BlockMatrixKind::Qkv))?,
            output: builder.block_matrix(block, &config.block_matrix(BlockMatrixKind::AttentionOutput))?,
            q_norm,
            k_norm,
            n_heads: config.n_heads,
            n_kv_heads: config.n_kv_heads,
            d_head: config.d_head,
            window: config.window(),
            is_masked: true,
        })
    }

    /// Has every query see every key.
    pub(crate) fn without_mask(self) -> Self {
        Self { is_masked: false, ..self }
    }

    /// - x: `[batch_size, seq_len, d_model]`
    pub(crate) fn forward(&self, x: Tensor<3>, groups: &[RowGroup], ctx: &mut LayerContext<'_>) -> Tensor<3> {
        let [batch_size, seq_len, _] = x.dims();
        let qkv = apply(&self.qkv, x); // [batch_size, seq_len, (n_heads + 2 n_kv_heads) · d_head]
        ctx.observe("attention.qkv", &qkv);
        let all_heads = qkv.reshape([batch_size, seq_len, self.n_heads + 2 * self.n_kv_heads, self.d_head]);
        let [mut q, mut k, v] = split_heads(all_heads, [self.n_heads, self.n_kv_heads, self.n_kv_heads]);
        if let (Some(q_norm), Some(k_norm)) = (&self.q_norm, &self.k_norm) {
            (q, k) = (q_norm.forward_heads(q), k_norm.forward_heads(k));
        }
        let attended = match groups {
            [all] => self.attend([q, k, v], all, 0, ctx),
            _ => {
                assert!(ctx.dropout.is_none(), "dropout is for training, which has no caches");
                let of = |x: &Tensor<4>, group: &RowGroup| x.clone().slice_dim(0, group.rows.clone());
                let parts = groups.iter().enumerate();
                let parts =
                    parts.map(|(i, group)| self.attend([of(&q, group), of(&k, group), of(&v, group)], group, i, ctx));
                Tensor::cat(parts.collect(), 0)
            }
        }; // [batch_size, n_heads, seq_len, d_head]
        let attended = ctx.disabled_heads().fold(attended, switch_off);
        let attended = attended.swap_dims(1, 2).reshape([batch_size, seq_len, self.n_heads * self.d_head]);
        ctx.observe("attention.attended", &attended);
        let output = apply(&self.output, attended); // [batch_size, seq_len, d_model]
        ctx.observe("attention", &output);
        output
    }

    /// What the queries of one group take from its keys and values, and from those in its cache, number `cache`, if
    /// there are caches.
    ///
    /// - q: `[rows, n_heads, seq_len, d_head]`; k, v: `[rows, n_kv_heads, seq_len, d_head]`
    /// - returns: `[rows, n_heads, seq_len, d_head]`
    fn attend(
        &self,
        [q, k, v]: [Tensor<4>; 3],
        group: &RowGroup,
        cache: usize,
        ctx: &mut LayerContext<'_>,
    ) -> Tensor<4> {
        let (q, k) = match &group.rotary {
            Some(rotary) => (rotary.rotate(q), rotary.rotate(k)),
            None => (q, k),
        };
        let (k, v) = match ctx.caches.get_mut(cache) {
            Some(cache) => cache.layer(ctx.index).append(k, v),
            None => (k, v),
        }; // [rows, n_kv_heads, k_len, d_head]
        let ([rows, _, seq_len, _], [_, _, k_len, _]) = (q.dims(), k.dims());
        let layer = ctx.index;
        ctx.observe_with(|| {
            Observation::Attention(AttentionProbs {
                layer,
                rows: group.rows.clone(),
                first_query: group.start,
                first_key: group.start + seq_len - k_len,
                q: &q,
                k: &k,
                window: self.window,
                is_masked: self.is_masked,
            })
        });
        if !self.is_masked {
            return unmasked_attention(q, k, v);
        }
        let dropout = ctx.dropout.map(|dropout| {
            dropout.attention_factors([rows, self.n_heads, seq_len, k_len], self.window, ctx.index, &q.device())
        });
        causal_attention(q, k, v, self.window, dropout)
    }
}

/// Puts zeros in the place of one head's output.
///
/// - attended: `[batch_size, n_heads, seq_len, d_head]`
fn switch_off(attended: Tensor<4>, head: usize) -> Tensor<4> {
    let [batch_size, n_heads, seq_len, d_head] = attended.dims();
    assert!(head < n_heads, "head {head} of {n_heads} is to be switched off");
    let zeros = Tensor::zeros([batch_size, 1, seq_len, d_head], &attended.device());
    attended.slice_assign([0..batch_size, head..head + 1, 0..seq_len, 0..d_head], zeros)
}
