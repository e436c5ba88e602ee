//! One more token of each of several sequences, in one go: what generation does most.

use tril_kernels::{
    StepActivation, StepBlock, StepHeads, StepModel, StepSequences, StepWeights, supports, with_spin_pool,
};

use crate::block::Block;
use crate::builder::for_step;
use crate::{ForwardContext, Gpt, KvCache, MlpKind, memory};

impl Gpt {
    /// The logits of one more token of each sequence, as [`Gpt::last_logits`] gives them: the same bits, sooner. `None` where
    /// that way is the only one: on another device than the CPU, with gradients, or where a cache has to make room.
    ///
    /// - ids: one for each sequence of the caches, in order
    /// - returns: `[ids.len() · vocab_size]`, row by row
    pub fn step(&self, ids: &[u32], caches: &mut [KvCache]) -> Option<Vec<f32>> {
        let embedding = self.token_embedding.weight.val();
        let is_plain = !embedding.device().is_autodiff() && self.blocks.iter().all(|block| block.attention.is_masked);
        if !is_plain || !supports(&embedding) || !caches.iter().all(KvCache::has_room) {
            return None;
        }
        let model = self.step_model.get_or_make(|| self.make_step_model());
        let ranges = ForwardContext { caches, ..ForwardContext::default() }.row_ranges(ids.len());
        let embed = |(rows, start): &(std::ops::Range<usize>, usize)| {
            self.embed(self.inputs(&ids[rows.clone()], rows.len()), *start).try_into_vec_as::<f32>()
        };
        let embedded: Result<Vec<Vec<f32>>, _> = ranges.iter().map(embed).collect();
        let embedded = embedded.ok()?.concat(); // [ids.len(), d_model]
        let multiply_adds = ids.len() * self.config().block_weights();
        let logits = with_spin_pool(&embedding.device(), multiply_adds, || {
            let groups = ranges.into_iter().zip(caches.iter_mut());
            let mut sequences: Vec<StepSequences<'_>> = groups
                .map(|((rows, start), cache)| {
                    let rotary = self.row_group(rows.clone(), start, 1, &embedding.device()).rotary;
                    let (held, buffers) = cache.buffers();
                    StepSequences { batch_size: rows.len(), held, rotary, buffers }
                })
                .collect();
            model.step(embedded, &mut sequences)
        });
        caches.iter_mut().for_each(|cache| cache.advance(1));
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
        let blocks = self.blocks.iter().map(Block::for_step).collect();
        StepModel::new(blocks, self.final_norm.for_step(), self.head(), heads, kept)
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
