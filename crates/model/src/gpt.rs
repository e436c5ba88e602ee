//! The model, from token ids to logits.

use std::ops::Range;

use burn::module::{Module, Param};
use burn::nn::{Embedding, Linear};
use burn::tensor::{Device, Int, Tensor};
use tril_kernels::{RotaryTable, StepModel, WeightFormat, linear, with_spin_pool};

use crate::block::Block;
use crate::builder::ParamBuilder;
use crate::derived::Derived;
use crate::dropout::Site;
use crate::forward_context::RowGroup;
use crate::ids::ids_to_tensor;
use crate::norm::Norm;
use crate::parameters::{Initializer, WeightSource};
use crate::tied_head::TiedHead;
use crate::{ForwardContext, GptConfig, HeadId, KvCache, ModelError, Positions, memory};

/// A decoder-only transformer: embeddings, blocks, a last norm, a head.
#[derive(Module, Debug)]
pub struct Gpt {
    pub(crate) token_embedding: Embedding,
    pub(crate) position_embedding: Option<Embedding>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) final_norm: Norm,
    /// Absent where the head shares the token embedding.
    head: Option<Linear>,
    /// What takes its place there.
    tied_head: TiedHead,
    pub(crate) step_model: Derived<StepModel>,
    /// What its matrices were rounded to.
    #[module(skip)]
    pub(crate) weights: WeightFormat,
    #[module(skip)]
    config: GptConfig,
}

impl Gpt {
    /// A fresh model: GPT-2 initialisation, its values a function of the seed.
    ///
    /// # Errors
    /// [`ModelError::Config`] for a config that no model can have; [`ModelError::Memory`] for one that does not fit.
    pub fn new(config: GptConfig, seed: u64, device: &Device) -> Result<Self, ModelError> {
        let config = config.resolve()?;
        memory::check("the sizes in [model]", 4 * memory::parameter_count(&config))?;
        Self::from_source(config, &mut Initializer { seed }, device)
    }

    /// A model whose parameters come from `source`.
    ///
    /// # Errors
    /// [`ModelError::Config`], and what the source returns.
    pub fn from_source(config: GptConfig, source: &mut dyn WeightSource, device: &Device) -> Result<Self, ModelError> {
        let config = config.resolve()?;
        let builder = &mut ParamBuilder { source, device };
        let embedding = |builder: &mut ParamBuilder<'_>, path: &str, rows: usize| -> Result<Embedding, ModelError> {
            let weight: Param<Tensor<2>> = builder.param(path, [rows, config.d_model], config.embedding_init())?;
            Ok(Embedding { weight })
        };
        Ok(Self {
            token_embedding: embedding(builder, "token_embedding.weight", config.vocab_size)?,
            position_embedding: match config.positions {
                Positions::Learned => Some(embedding(builder, "position_embedding.weight", config.max_seq_len)?),
                Positions::Rotary => None,
            },
            blocks: (0..config.n_layers)
                .map(|layer| Block::new(&config, &format!("blocks.{layer}"), builder))
                .collect::<Result<_, _>>()?,
            final_norm: Norm::new(&config, "final_norm", builder)?,
            head: if config.tied_head {
                None
            } else {
                Some(builder.linear("head", [config.d_model, config.vocab_size], false, config.head_init())?)
            },
            tied_head: TiedHead::default(),
            step_model: Derived::default(),
            weights: WeightFormat::F32,
            config,
        })
    }

    /// The same model with the mask removed: every position sees every other, later ones too. What it learns is of no use,
    /// since a text that is being generated has no later tokens; `tril lab mask` shows it. No config, recipe or checkpoint
    /// has such a model: it is masked again once it is saved and read.
    #[doc(hidden)]
    #[must_use]
    pub fn without_mask(self) -> Self {
        Self { blocks: self.blocks.into_iter().map(Block::without_mask).collect(), ..self }
    }

    /// The resolved config.
    pub fn config(&self) -> &GptConfig {
        &self.config
    }

    /// The device that the parameters are on.
    pub fn device(&self) -> Device {
        self.token_embedding.weight.val().device()
    }

    /// An empty cache for `batch_size` sequences, on the model's device. What a pass adds to it belongs to the weights of
    /// that pass.
    pub fn new_cache(&self, batch_size: usize) -> KvCache {
        KvCache::new(&self.config, batch_size, &self.device())
    }

    /// Token ids as this model takes them, on its device.
    ///
    /// - ids: of `batch_size` sequences, one after another, all of one length
    /// - returns: `[batch_size, seq_len]`
    pub fn inputs(&self, ids: &[u32], batch_size: usize) -> Tensor<2, Int> {
        ids_to_tensor(ids, [batch_size, ids.len() / batch_size], &self.device())
    }

    /// One parallel pass over whole texts: row i of the logits predicts token i + 1 from tokens 0 to i.
    ///
    /// - inputs: `[batch_size, seq_len]`
    /// - returns: logits, `[batch_size, seq_len, vocab_size]`
    pub fn forward(&self, inputs: Tensor<2, Int>) -> Tensor<3> {
        self.forward_with(inputs, ForwardContext::default())
    }

    /// Any pass: after what caches hold, with dropout, looked at, or with heads switched off.
    ///
    /// - inputs: `[batch_size, seq_len]`
    /// - returns: logits, `[batch_size, seq_len, vocab_size]`
    pub fn forward_with(&self, inputs: Tensor<2, Int>, ctx: ForwardContext<'_>) -> Tensor<3> {
        self.unembed(self.hidden(inputs, ctx))
    }

    /// The logits that a generator asks for: those of the last position alone.
    ///
    /// - inputs: `[batch_size, seq_len]`
    /// - returns: `[batch_size, vocab_size]`
    pub fn last_logits(&self, inputs: Tensor<2, Int>, ctx: ForwardContext<'_>) -> Tensor<2> {
        let [batch_size, seq_len] = inputs.dims();
        let multiply_adds = batch_size * seq_len * self.config.block_weights();
        with_spin_pool(&self.device(), multiply_adds, || {
            let hidden = self.hidden(inputs, ctx).narrow(1, seq_len - 1, 1); // [batch_size, 1, d_model]
            self.unembed(hidden).squeeze_dim(1)
        })
    }

    /// The activations after the last norm, which the head turns into logits.
    ///
    /// - inputs: `[batch_size, seq_len]`
    /// - returns: `[batch_size, seq_len, d_model]`
    pub fn hidden(&self, inputs: Tensor<2, Int>, ctx: ForwardContext<'_>) -> Tensor<3> {
        let [batch_size, _] = inputs.dims();
        let mut x = match &ctx.row_ranges(batch_size)[..] {
            [(_, start)] => self.embed(inputs, *start),
            ranges => {
                let embed =
                    |(rows, start): &(_, _)| self.embed(inputs.clone().slice_dim(0, Range::clone(rows)), *start);
                Tensor::cat(ranges.iter().map(embed).collect(), 0)
            }
        }; // [batch_size, seq_len, d_model]
        if let Some(dropout) = ctx.dropout {
            x = dropout.apply(x, 0, Site::Embedding);
        }
        self.hidden_from(x, ctx)
    }

    /// What enters block 0: each token's embedding, plus its position's where positions are learned.
    ///
    /// - inputs: `[batch_size, seq_len]`, the first at absolute position `start`
    /// - returns: `[batch_size, seq_len, d_model]`
    pub fn embed(&self, inputs: Tensor<2, Int>, start: usize) -> Tensor<3> {
        let [_, seq_len] = inputs.dims();
        let x = self.token_embedding.forward(inputs); // [batch_size, seq_len, d_model]
        match &self.position_embedding {
            Some(positions) => {
                let limit = self.config.max_seq_len;
                assert!(start + seq_len <= limit, "positions {start} to {} of {limit}", start + seq_len);
                x + positions.weight.val().narrow(0, start, seq_len).unsqueeze()
            }
            None => x,
        }
    }

    /// The rest of [`Gpt::hidden`], for a caller that holds what enters block 0; dropout is not applied to that itself.
    ///
    /// - embedded: `[batch_size, seq_len, d_model]`
    /// - returns: `[batch_size, seq_len, d_model]`
    pub fn hidden_from(&self, embedded: Tensor<3>, mut ctx: ForwardContext<'_>) -> Tensor<3> {
        let [batch_size, seq_len, _] = embedded.dims();
        let device = embedded.device();
        let ranges = ctx.row_ranges(batch_size).into_iter();
        let groups: Vec<RowGroup> = ranges.map(|(rows, start)| self.row_group(rows, start, seq_len, &device)).collect();
        let n_layers = self.blocks.len();
        if let Some(HeadId { layer, .. }) = ctx.disabled_heads.iter().find(|disabled| disabled.layer >= n_layers) {
            panic!("a head of layer {layer} of {n_layers} is to be switched off");
        }
        let mut x = embedded;
        ctx.observe("embedding", &x);
        for (index, block) in self.blocks.iter().enumerate() {
            x = block.forward(x, &groups, &mut ctx.layer(index));
        }
        let x = self.final_norm.forward(x); // [batch_size, seq_len, d_model]
        ctx.observe("final_norm", &x);
        for cache in ctx.caches {
            cache.advance(seq_len);
        }
        x
    }

    /// What attention must know of rows that stand at one position.
    pub(crate) fn row_group(&self, rows: Range<usize>, start: usize, seq_len: usize, device: &Device) -> RowGroup {
        if let Some(limit) = self.config.context_limit() {
            assert!(start + seq_len <= limit, "positions {start} to {} of a context of {limit}", start + seq_len);
        }
        let GptConfig { positions, d_head, rope_theta, .. } = self.config;
        let rotary =
            (positions == Positions::Rotary).then(|| RotaryTable::new(start, seq_len, d_head, rope_theta, device));
        RowGroup { rows, start, rotary }
    }

    /// The head: the last step of [`Gpt::forward`] alone, for a caller that holds what it takes or wants the logits of a
    /// few positions at a time.
    ///
    /// - hidden: `[batch_size, seq_len, d_model]`, of [`Gpt::hidden`] or [`Gpt::hidden_from`]
    /// - returns: logits, `[batch_size, seq_len, vocab_size]`
    pub fn unembed(&self, hidden: Tensor<3>) -> Tensor<3> {
        linear(hidden, self.head(), None)
    }

    /// The same numbers but for rounding: each logit's sum over `d_model` is cut in two, and the halves are added at the end,
    /// as kernels do that split a long sum for the sake of speed. A control for whoever compares bits: these differ.
    ///
    /// - hidden: `[batch_size, seq_len, d_model]`
    /// - returns: logits, `[batch_size, seq_len, vocab_size]`
    pub fn unembed_in_halves(&self, hidden: Tensor<3>) -> Tensor<3> {
        let ([_, _, d_model], head) = (hidden.dims(), self.head());
        let half = |start, len| linear(hidden.clone().narrow(2, start, len), head.clone().narrow(0, start, len), None);
        let middle = d_model / 2;
        if middle == 0 { self.unembed(hidden) } else { half(0, middle) + half(middle, d_model - middle) }
    }

    /// What the model would predict if the blocks that are still to come added nothing: the last norm and the head,
    /// applied to the residual stream anywhere (the logit lens, nostalgebraist 2020). Of the residual stream after the
    /// last block these are the logits.
    ///
    /// - residual: `[batch_size, seq_len, d_model]`
    /// - returns: logits, `[batch_size, seq_len, vocab_size]`
    pub fn logit_lens(&self, residual: Tensor<3>) -> Tensor<3> {
        self.unembed(self.final_norm.forward(residual))
    }

    #[cfg(test)]
    pub(crate) fn tied_head_for_tests(&self) -> &TiedHead {
        &self.tied_head
    }

    /// The head's weight, `[d_model, vocab_size]`.
    pub(crate) fn head(&self) -> Tensor<2> {
        match &self.head {
            Some(head) => head.weight.val(),
            None => self.tied_head.weight(self.token_embedding.weight.val()),
        }
    }
}
