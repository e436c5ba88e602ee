//! One more token of each of several sequences, or some more, in one go: what generation does most.

use tril_kernels::{
    StepActivation, StepBlock, StepEmbedding, StepHeads, StepModel, StepSequences, StepWeights, supports,
    with_spin_pool,
};

use crate::block::Block;
use crate::builder::for_step;
use crate::{ForwardContext, Gpt, KvCache, MlpKind, memory};

impl Gpt {
    /// The logits of one more token of each sequence, as [`Gpt::last_logits`] gives them: the same bits, sooner. `None` where
    /// that way is the only one: on another device than the CPU, with gradients, or where a cache has no room.
    ///
    /// - ids: one for each sequence of the caches, in order
    /// - returns: `[ids.len() · vocab_size]`, row by row
    pub fn step(&self, ids: &[u32], caches: &mut [KvCache]) -> Option<Vec<f32>> {
        self.steps(ids, &vec![1; caches.len()], caches)
    }

    /// The same for several tokens of each sequence, which read the weights once: the logits of each, as
    /// [`Gpt::forward_with`] gives them.
    ///
    /// - ids: those of each sequence, one sequence after another
    /// - lengths: how many tokens each sequence of a cache has, one number a cache
    /// - returns: `[ids.len() · vocab_size]`, row by row
    pub fn steps(&self, ids: &[u32], lengths: &[usize], caches: &mut [KvCache]) -> Option<Vec<f32>> {
        let embedding = self.token_embedding.weight.val();
        let is_plain = !embedding.device().is_autodiff() && self.blocks.iter().all(|block| block.attention.is_masked);
        let mut rooms = caches.iter_mut().zip(lengths);
        if !is_plain || !supports(&embedding) || !rooms.all(|(cache, len)| cache.make_room(*len)) {
            return None;
        }
        let model = self.step_model.get_or_make(|| self.make_step_model());
        let batch_size = caches.iter().map(KvCache::batch_size).sum();
        let ranges = ForwardContext { caches, ..ForwardContext::default() }.row_ranges(batch_size);
        let multiply_adds = ids.len() * self.config().block_weights();
        let logits = with_spin_pool(&embedding.device(), multiply_adds, || {
            let groups = ranges.into_iter().zip(caches.iter_mut()).zip(lengths);
            let mut sequences: Vec<StepSequences<'_>> = groups
                .map(|(((rows, start), cache), len)| {
                    let rotary = self.row_group(rows.clone(), start, *len, &embedding.device()).rotary;
                    let (held, buffers) = cache.buffers();
                    StepSequences { batch_size: rows.len(), start, len: *len, held, rotary, buffers }
                })
                .collect();
            model.step(ids, &mut sequences)
        });
        caches.iter_mut().zip(lengths).for_each(|(cache, len)| cache.advance(*len));
        Some(logits)
    }

    pub(crate) fn make_step_model(&self) -> StepModel {
        let config = self.config();
        // A copy is a matter of speed: where there is no memory for it, weights are read where they lie.
        let kept = match memory::fits(memory::generating_bytes(config, self.weights)) {
            true => StepWeights::Copied(self.weights),
            false => StepWeights::InPlace,
        };
        let heads = StepHeads {
            n_heads: config.n_heads,
            n_kv_heads: config.n_kv_heads,
            d_head: config.d_head,
            window: config.window(),
        };
        let embedding = StepEmbedding {
            tokens: self.token_embedding.weight.val(),
            positions: self.position_embedding.as_ref().map(|positions| positions.weight.val()),
        };
        let blocks = self.blocks.iter().map(Block::for_step).collect();
        StepModel::new(embedding, blocks, self.final_norm.for_step(), self.head(), heads, kept)
    }
}

impl Block {
    fn for_step(&self) -> StepBlock {
        let Self { attention_norm, attention, mlp_norm, mlp } = self;
        let head_norms = attention.q_norm.as_ref().zip(attention.k_norm.as_ref());
        StepBlock {
            attention_norm: attention_norm.for_step(),
            qkv: for_step(&attention.qkv),
            head_norms: head_norms.map(|(q_norm, k_norm)| [q_norm.for_step(), k_norm.for_step()]),
            output: for_step(&attention.output),
            mlp_norm: mlp_norm.for_step(),
            up: for_step(&mlp.up),
            activation: match mlp.kind {
                MlpKind::Gelu => StepActivation::Gelu,
                MlpKind::GeluTanh => StepActivation::GeluTanh,
                MlpKind::Relu2 => StepActivation::Relu2,
                MlpKind::Swiglu => StepActivation::Swiglu,
            },
            down: for_step(&mlp.down),
        }
    }
}
