//! The first half of a block: each position gathers from itself and from what came before it.

use std::ops::Range;

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;
use tril_kernels::{RotaryTable, attention_probs, causal_attention};

use crate::dropout::Site;
use crate::norm::Norm;
use crate::parameters::{Init, Maker, apply};
use crate::pass::LayerPass;
use crate::{GptConfig, ModelError};

/// Rows of a batch that stand at one position, and how it turns their queries and keys.
pub(crate) struct Span {
    pub rows: Range<usize>,
    pub rotary: Option<RotaryTable>,
}

/// Causal self-attention with grouped key/value heads.
///
/// The parallel pass and the step with a cache are this one function: they differ in where keys and values come from
/// and in the positions that the rotary table was made for.
#[derive(Module, Debug)]
pub struct Attention {
    /// To queries, keys and values, in this order.
    qkv: Linear,
    output: Linear,
    q_norm: Option<Norm>,
    k_norm: Option<Norm>,
    #[module(skip)]
    n_heads: usize,
    #[module(skip)]
    n_kv_heads: usize,
    #[module(skip)]
    d_head: usize,
    #[module(skip)]
    window: Option<usize>,
}

impl Attention {
    pub(crate) fn new(config: &GptConfig, path: &str, maker: &mut Maker<'_>) -> Result<Self, ModelError> {
        let qkv_width = (config.n_heads + 2 * config.n_kv_heads) * config.d_head;
        let mut head_norm = |name: &str| -> Result<Option<Norm>, ModelError> {
            if !config.qk_norm {
                return Ok(None);
            }
            Norm::for_heads(config, &format!("{path}.{name}"), maker).map(Some)
        };
        let (q_norm, k_norm) = (head_norm("q_norm")?, head_norm("k_norm")?);
        Ok(Self {
            qkv: maker.linear(
                &format!("{path}.qkv"),
                [config.d_model, qkv_width],
                config.qkv_bias,
                Init::Normal(super::gpt::INIT_STD),
            )?,
            output: maker.linear(
                &format!("{path}.output"),
                [config.n_heads * config.d_head, config.d_model],
                config.output_bias,
                super::gpt::residual_init(config),
            )?,
            q_norm,
            k_norm,
            n_heads: config.n_heads,
            n_kv_heads: config.n_kv_heads,
            d_head: config.d_head,
            window: config.window(),
        })
    }

    /// - x: `[batch_size, seq_len, d_model]`
    pub(crate) fn forward(&self, x: Tensor<3>, spans: &[Span], pass: &mut LayerPass<'_>) -> Tensor<3> {
        let [batch_size, seq_len, _] = x.dims();
        let qkv = apply(&self.qkv, x); // [batch_size, seq_len, (n_heads + 2 n_kv_heads) · d_head]
        pass.observe("attention.qkv", || qkv.clone());
        let all_heads = qkv.reshape([batch_size, seq_len, self.n_heads + 2 * self.n_kv_heads, self.d_head]);
        let heads = |first: usize, count: usize| {
            all_heads.clone().narrow(2, first, count).swap_dims(1, 2) // [batch_size, count, seq_len, d_head]
        };
        let mut q = heads(0, self.n_heads);
        let mut k = heads(self.n_heads, self.n_kv_heads);
        let v = heads(self.n_heads + self.n_kv_heads, self.n_kv_heads);
        drop(all_heads);
        if let (Some(q_norm), Some(k_norm)) = (&self.q_norm, &self.k_norm) {
            (q, k) = (q_norm.forward_heads(q), k_norm.forward_heads(k));
        }
        let gathered = match spans {
            [all] => self.gather([q, k, v], all, 0, pass),
            _ => {
                assert!(pass.dropout.is_none(), "dropout is for training, which has no caches");
                let of = |x: &Tensor<4>, span: &Span| x.clone().slice_dim(0, span.rows.clone());
                let parts = spans.iter().enumerate();
                let parts =
                    parts.map(|(i, span)| self.gather([of(&q, span), of(&k, span), of(&v, span)], span, i, pass));
                Tensor::cat(parts.collect(), 0)
            }
        }; // [batch_size, n_heads, seq_len, d_head]
        let gathered = gathered.swap_dims(1, 2).reshape([batch_size, seq_len, self.n_heads * self.d_head]);
        pass.observe("attention.gathered", || gathered.clone());
        let output = apply(&self.output, gathered); // [batch_size, seq_len, d_model]
        pass.observe("attention", || output.clone());
        output
    }

    /// What the queries of one span gather from its keys and values, and from those in its cache, number `cache`, if
    /// there are caches.
    ///
    /// - q: `[rows, n_heads, seq_len, d_head]`; k, v: `[rows, n_kv_heads, seq_len, d_head]`
    /// - returns: `[rows, n_heads, seq_len, d_head]`
    fn gather(&self, [q, k, v]: [Tensor<4>; 3], span: &Span, cache: usize, pass: &mut LayerPass<'_>) -> Tensor<4> {
        let (q, k) = match &span.rotary {
            Some(rotary) => (rotary.rotate(q), rotary.rotate(k)),
            None => (q, k),
        };
        let (k, v) = match pass.caches.get_mut(cache) {
            Some(cache) => cache.layer(pass.index).append(k, v),
            None => (k, v),
        }; // [rows, n_kv_heads, k_len, d_head]
        if pass.caches.len() < 2 {
            pass.observe("attention.probs", || attention_probs(q.clone(), k.clone(), self.window));
        }
        let ([rows, _, seq_len, _], [_, _, k_len, _]) = (q.dims(), k.dims());
        let dropout = pass.dropout.map(|dropout| {
            dropout.factors([rows, self.n_heads, seq_len, k_len], pass.index, Site::Attention, &q.device())
        });
        causal_attention(q, k, v, self.window, dropout)
    }
}
