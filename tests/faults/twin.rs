//! A second implementation of the model, for tests alone: the parameters of a real one, the public kernels, a cache
//! that is a list, and room for one fault. It shares no code with `tril-model` but the config and the kernels.

use std::collections::BTreeMap;

use burn::tensor::module::embedding;
use burn::tensor::{Device, Gradients, Int, Tensor, TensorData, activation};
use tril_infer::{InferError, LanguageModel};
use tril_kernels::{RotaryTable, causal_attention, gelu, gelu_tanh, layer_norm, linear, relu2, rms_norm, swiglu};
use tril_model::parameters::{NamedGradients, list};
use tril_model::{Gpt, GptConfig, MlpKind, NormKind, Positions, WeightFormat};
use tril_prove::{ModelUnderTest, TrainerUnderTest, TrainingPlan};
use tril_train::TrainError;

use super::attention::{Rules, spelled_attention};
use super::training::TwinTrainer;

/// One mistake that an implementation could make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// In the parallel pass a query sees one key after its own.
    MaskShifted,
    /// A hidden key's score is −1e4 in place of −∞.
    FiniteMask,
    /// After a prompt of several tokens, rotary positions go on from the prompt's last one, not from the next.
    OffsetAfterPrefill,
    /// A sequence in a batch reads the earlier keys and values of the next sequence in it.
    RowOfAnother,
    /// Going back keeps one old key and value of the last block, where the next token's should come.
    StaleAfterRewind,
    /// A step with the cache forgets the factor 1/√d_head.
    UnscaledStep,
    /// With the cache a query sees one key more than the window has.
    WindowTooLong,
    /// The elements after the last whole vector of the MLP's activations go through another formula of SwiGLU.
    TailFormula,
    /// With the cache the softmax also counts the slots of the buffer that nothing was written to.
    EmptySlotsCounted,
    /// No gradient passes through keys and values that an earlier pass put into the cache.
    DetachedCache,
    /// The step of the generator cuts the head's sums in two.
    HeadCutInStep,
    /// A pass that checks guesses cuts the head's sums in two.
    HeadCutInCheck,
    /// In a batch of sequences at different positions each stands where the first one does.
    PositionOfTheFirst,
    /// The ring's keys are added up in the order of their slots.
    SlotOrder,
    /// Every pass reads rounded weights of the head with scales that are off by their last bit.
    ScaleOffByABit,
    /// A prompt that goes on from a cache taken back stands one position too early.
    PositionBehindPrefix,
    /// On one thread the gradients of micro-batches are added in the reverse order.
    PiecesByThreads,
    /// Micro-batches are added up as if each were the whole batch.
    PiecesNotWeighed,
    /// A run that goes on has forgotten the optimizer's state.
    StateForgotten,
}

/// Who computes attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AttentionBy {
    /// The kernel of the real model: the same bits.
    Kernel,
    /// [`spelled_attention`], which has a place for faults.
    Spelling,
}

/// Elements of a vector, for [`Fault::TailFormula`].
const LANES: usize = 16;

/// The twin.
#[derive(Debug, Clone)]
pub struct Twin {
    config: GptConfig,
    /// Shape and flattened values of every parameter, by path.
    parameters: BTreeMap<String, (Vec<usize>, Tensor<1>)>,
    attention: AttentionBy,
    /// What the parameters were rounded to.
    weights: WeightFormat,
    fault: Option<Fault>,
}

/// Keys and values of one position of one layer, `[batch_size, n_kv_heads, 1, d_head]` each.
type Entry = (Tensor<4>, Tensor<4>);

/// All that a batch of sequences has seen, by layer and position. A window is taken out of it when it is read.
#[derive(Debug, Clone)]
pub struct TwinCache {
    layers: Vec<Vec<Entry>>,
    position: usize,
    /// How many positions came at once at the start.
    prefill: usize,
    /// Whether it was ever taken back.
    rewound: bool,
}

impl Twin {
    /// A twin without a fault, whose attention is the real model's kernel.
    pub fn of(gpt: &Gpt) -> Self {
        let device = gpt.device();
        let parameters = list(gpt).into_iter().map(|(path, data)| {
            let shape: Vec<usize> = data.shape().iter().copied().collect();
            let values = data.try_into_vec::<f32>().expect("f32 values");
            let len = values.len();
            (path, (shape, Tensor::from_data(TensorData::new(values, [len]), &device)))
        });
        Self {
            config: gpt.config().clone(),
            parameters: parameters.collect(),
            attention: AttentionBy::Kernel,
            weights: gpt.weights(),
            fault: None,
        }
    }

    /// The same with attention spelled out.
    pub fn spelled(self) -> Self {
        Self { attention: AttentionBy::Spelling, ..self }
    }

    /// The same with a fault.
    pub fn with(self, fault: Fault) -> Self {
        use Fault::*;
        let attention = match fault {
            MaskShifted | FiniteMask | UnscaledStep | WindowTooLong | EmptySlotsCounted | SlotOrder => {
                AttentionBy::Spelling
            }
            OffsetAfterPrefill | RowOfAnother | StaleAfterRewind | TailFormula | DetachedCache | HeadCutInStep
            | HeadCutInCheck | PositionOfTheFirst | ScaleOffByABit | PositionBehindPrefix | PiecesByThreads
            | PiecesNotWeighed | StateForgotten => self.attention,
        };
        Self { attention, fault: Some(fault), ..self }
    }

    /// The same with other values; `change` is given each parameter's path, shape and flattened values.
    pub fn map(&self, change: impl Fn(&str, &[usize], Tensor<1>) -> Tensor<1>) -> Self {
        let changed = self
            .parameters
            .iter()
            .map(|(path, (shape, values))| (path.clone(), (shape.clone(), change(path, shape, values.clone()))));
        Self { parameters: changed.collect(), ..self.clone() }
    }

    pub fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// The values of every parameter, by path.
    pub fn values(&self) -> impl Iterator<Item = (&String, &Tensor<1>)> {
        self.parameters.iter().map(|(path, (_, values))| (path, values))
    }

    fn vector(&self, path: &str) -> Option<Tensor<1>> {
        self.parameters.get(path).map(|(_, values)| values.clone())
    }

    fn matrix(&self, path: &str) -> Tensor<2> {
        let (shape, values) = &self.parameters[path];
        values.clone().reshape([shape[0], shape[1]])
    }

    /// - x: `[batch_size, seq_len, d_input]`
    fn linear(&self, path: &str, x: Tensor<3>) -> Tensor<3> {
        linear(x, self.matrix(&format!("{path}.weight")), self.vector(&format!("{path}.bias")))
    }

    /// - x: `[batch_size, seq_len, d_model]`
    fn norm(&self, path: &str, x: Tensor<3>) -> Tensor<3> {
        let gain = self.vector(&format!("{path}.gain"));
        match self.config.norm {
            NormKind::Layer => layer_norm(x, gain, self.vector(&format!("{path}.bias")), self.config.norm_eps),
            NormKind::Rms => rms_norm(x, gain, self.config.norm_eps),
        }
    }

    /// From what enters block 0 to what enters the head.
    ///
    /// - embedded: `[batch_size, seq_len, d_model]`, the first at position `start`
    /// - returns: `[batch_size, seq_len, d_model]`
    fn normed(&self, embedded: Tensor<3>, start: usize, mut cache: Option<&mut TwinCache>) -> Tensor<3> {
        let [_, seq_len, _] = embedded.dims();
        let prefilled = cache.as_ref().is_some_and(|cache| cache.prefill > 1 && start >= cache.prefill);
        let turned = start - usize::from(self.has(Fault::OffsetAfterPrefill) && prefilled);
        let GptConfig { d_head, rope_theta, n_layers, .. } = self.config;
        let rotary = (self.config.positions == Positions::Rotary)
            .then(|| RotaryTable::new(turned, seq_len, d_head, rope_theta, &embedded.device()));
        let mut x = embedded;
        for index in 0..n_layers {
            x = self.block(index, x, rotary.as_ref(), cache.as_deref_mut());
        }
        if let Some(cache) = cache {
            if cache.position == 0 {
                cache.prefill = seq_len;
            }
            cache.position += seq_len;
        }
        self.norm("final_norm", x)
    }

    /// The head's weight, `[d_model, vocab_size]`.
    fn head(&self) -> Tensor<2> {
        let head = match self.config.tied_head {
            true => self.matrix("token_embedding.weight").transpose(),
            false => self.matrix("head.weight"),
        };
        // A scale has 16 significant bits.
        if self.has(Fault::ScaleOffByABit) { head * (1.0 + 1.0 / 32768.0) } else { head }
    }

    /// - normed: `[batch_size, seq_len, d_model]`
    /// - returns: `[batch_size, seq_len, vocab_size]`
    fn unembed(&self, normed: Tensor<3>) -> Tensor<3> {
        linear(normed, self.head(), None)
    }

    fn unembed_in_halves(&self, normed: Tensor<3>) -> Tensor<3> {
        let half = self.config.d_model / 2;
        let part = |start, len| linear(normed.clone().narrow(2, start, len), self.head().narrow(0, start, len), None);
        part(0, half) + part(half, self.config.d_model - half)
    }

    /// - x: `[batch_size, seq_len, d_model]`
    fn block(
        &self,
        index: usize,
        x: Tensor<3>,
        rotary: Option<&RotaryTable>,
        cache: Option<&mut TwinCache>,
    ) -> Tensor<3> {
        let path = format!("blocks.{index}");
        let normed = self.norm(&format!("{path}.attention_norm"), x.clone());
        let x = x + self.attention(index, normed, rotary, cache);
        let normed = self.norm(&format!("{path}.mlp_norm"), x.clone());
        let raised = self.linear(&format!("{path}.mlp.up"), normed);
        x + self.linear(&format!("{path}.mlp.down"), self.activation(raised))
    }

    /// - x: `[batch_size, seq_len, d_model]`
    fn attention(
        &self,
        index: usize,
        x: Tensor<3>,
        rotary: Option<&RotaryTable>,
        cache: Option<&mut TwinCache>,
    ) -> Tensor<3> {
        let [batch_size, seq_len, _] = x.dims();
        let GptConfig { n_heads, n_kv_heads, d_head, norm_eps, .. } = self.config;
        let path = format!("blocks.{index}.attention");
        let qkv = self.linear(&format!("{path}.qkv"), x); // [batch_size, seq_len, (n_heads + 2 n_kv_heads) · d_head]
        let heads = |first: usize, count: usize| -> Tensor<4> {
            let part = qkv.clone().narrow(2, first * d_head, count * d_head);
            part.reshape([batch_size, seq_len, count, d_head]).swap_dims(1, 2) // [batch_size, count, seq_len, d_head]
        };
        let (mut q, mut k) = (heads(0, n_heads), heads(n_heads, n_kv_heads));
        let v = heads(n_heads + n_kv_heads, n_kv_heads);
        if self.config.qk_norm {
            q = rms_norm(q, self.vector(&format!("{path}.q_norm.gain")), norm_eps);
            k = rms_norm(k, self.vector(&format!("{path}.k_norm.gain")), norm_eps);
        }
        if let Some(rotary) = rotary {
            (q, k) = (rotary.rotate(q), rotary.rotate(k));
        }
        let cached = cache.is_some();
        let (k, v, first) = match cache {
            Some(cache) => self.remember(cache, index, k, v),
            None => (k, v, 0),
        }; // [batch_size, n_kv_heads, k_len, d_head]
        let gathered = match self.attention {
            AttentionBy::Kernel => causal_attention(q, k, v, self.config.window(), None),
            AttentionBy::Spelling => {
                let [_, _, k_len, _] = k.dims();
                spelled_attention(q, k, v, &self.rules(seq_len, k_len, cached.then_some(first)))
            }
        }; // [batch_size, n_heads, seq_len, d_head]
        self.linear(
            &format!("{path}.output"),
            gathered.swap_dims(1, 2).reshape([batch_size, seq_len, n_heads * d_head]),
        )
    }

    /// The rules of attention for this many queries and keys. `first` is the position of the first key in a pass with
    /// a cache and `None` in one without.
    fn rules(&self, q_len: usize, k_len: usize, first: Option<usize>) -> Rules {
        let mut rules = Rules {
            scale: (self.config.d_head as f64).sqrt().recip(),
            window: self.config.window().unwrap_or(k_len),
            later: 0,
            hidden_score: f32::NEG_INFINITY,
            empty_slots: 0,
            order: (0..k_len).collect(),
        };
        match (self.fault, first) {
            (Some(Fault::FiniteMask), _) => rules.hidden_score = -1e4,
            (Some(Fault::MaskShifted), None) => rules.later = 1,
            (Some(Fault::UnscaledStep), Some(_)) if q_len == 1 => rules.scale = 1.0,
            (Some(Fault::WindowTooLong), Some(_)) => rules.window += 1,
            (Some(Fault::EmptySlotsCounted), Some(_)) => rules.empty_slots = self.config.max_seq_len - k_len,
            (Some(Fault::SlotOrder), Some(first)) => {
                let slots = self.config.window().unwrap_or(usize::MAX);
                rules.order.sort_by_key(|key| (first + key) % slots);
            }
            _ => {}
        }
        rules
    }

    /// Adds a chunk to a layer of the cache and returns what its queries may see, with the position of the first.
    ///
    /// - k, v: `[batch_size, n_kv_heads, seq_len, d_head]`
    /// - returns: `[batch_size, n_kv_heads, k_len, d_head]` each
    fn remember(
        &self,
        cache: &mut TwinCache,
        layer: usize,
        k: Tensor<4>,
        v: Tensor<4>,
    ) -> (Tensor<4>, Tensor<4>, usize) {
        let [batch_size, _, seq_len, _] = k.dims();
        let position = cache.position;
        let entries = &mut cache.layers[layer];
        for offset in entries.len() - position..seq_len {
            let (key, value) = (k.clone().narrow(2, offset, 1), v.clone().narrow(2, offset, 1));
            entries.push((key, value));
        }
        let too_many = usize::from(self.has(Fault::WindowTooLong));
        let first = self.config.window().map_or(0, |window| position.saturating_sub(window - 1 + too_many));
        let earlier = entries[first..position].iter().cloned().map(|(key, value)| match self.fault {
            Some(Fault::RowOfAnother) if batch_size > 1 => (next_row(&key), next_row(&value)),
            Some(Fault::DetachedCache) => (key.detach(), value.detach()),
            _ => (key, value),
        });
        let (keys, values) = earlier.chain(entries[position..].iter().cloned()).unzip();
        (Tensor::cat(keys, 2), Tensor::cat(values, 2), first)
    }

    /// - raised: `[batch_size, seq_len, d_ff]`, twice as wide for swiglu
    /// - returns: `[batch_size, seq_len, d_ff]`
    fn activation(&self, raised: Tensor<3>) -> Tensor<3> {
        if self.has(Fault::TailFormula) {
            return swiglu_with_another_tail(raised);
        }
        match self.config.mlp {
            MlpKind::Gelu => gelu(raised),
            MlpKind::GeluTanh => gelu_tanh(raised),
            MlpKind::Relu2 => relu2(raised),
            MlpKind::Swiglu => swiglu(raised),
        }
    }
}

/// Row i of the batch becomes row i + 1, the last one the first.
fn next_row(entry: &Tensor<4>) -> Tensor<4> {
    let [batch_size, _, _, _] = entry.dims();
    Tensor::cat(vec![entry.clone().narrow(0, 1, batch_size - 1), entry.clone().narrow(0, 0, 1)], 0)
}

/// SwiGLU, whose last elements, too few for a vector, have σ(z) written as ½(1 + tanh(z/2)).
///
/// - gate_up: `[batch_size, seq_len, 2 · d_ff]`
/// - returns: `[batch_size, seq_len, d_ff]`
fn swiglu_with_another_tail(gate_up: Tensor<3>) -> Tensor<3> {
    let usual = swiglu(gate_up.clone());
    let [batch_size, seq_len, d_ff] = usual.dims();
    let len = batch_size * seq_len * d_ff;
    let tail = len % LANES;
    if tail == 0 {
        return usual;
    }
    let [gate, up] = [0, d_ff].map(|first| gate_up.clone().narrow(2, first, d_ff));
    let sigmoid = (activation::tanh(gate.clone() * 0.5) + 1.0) * 0.5;
    let other: Tensor<1> = (gate * sigmoid * up).reshape([len]);
    let usual: Tensor<1> = usual.reshape([len]);
    let parts = vec![usual.narrow(0, 0, len - tail), other.narrow(0, len - tail, tail)];
    Tensor::cat(parts, 0).reshape([batch_size, seq_len, d_ff])
}

impl LanguageModel for Twin {
    type Cache = TwinCache;

    fn vocab_size(&self) -> usize {
        self.config.vocab_size
    }

    fn context_limit(&self) -> Option<usize> {
        self.config.context_limit()
    }

    fn new_cache(&self) -> TwinCache {
        TwinCache { layers: vec![Vec::new(); self.config.n_layers], position: 0, prefill: 0, rewound: false }
    }

    fn rewind(&self, cache: &mut TwinCache, position: usize) -> bool {
        for (index, layer) in cache.layers.iter_mut().enumerate() {
            let stale = self.has(Fault::StaleAfterRewind) && index + 1 == self.config.n_layers;
            layer.truncate(position + usize::from(stale));
        }
        cache.position = position;
        cache.rewound = true;
        true
    }

    fn position(&self, cache: &TwinCache) -> usize {
        cache.position
    }

    fn last_logits(&self, ids: &[u32], cache: Option<&mut TwinCache>) -> Result<Vec<f32>, InferError> {
        let values: Vec<i32> = ids.iter().map(|id| *id as i32).collect();
        let inputs = Tensor::from_data(TensorData::new(values, [1, ids.len()]), &self.device());
        let behind = cache.as_ref().is_some_and(|cache| cache.rewound && cache.position > 0) && ids.len() > 1;
        let early = usize::from(behind && self.has(Fault::PositionBehindPrefix));
        let start = cache.as_ref().map_or(0, |cache| cache.position) - early;
        let is_step = ids.len() == 1 && cache.is_some();
        let cut = self.has(Fault::HeadCutInStep) && is_step;
        let normed = self.normed(self.embed(inputs, start), start, cache); // [1, ids.len(), d_model]
        let logits = if cut { self.unembed_in_halves(normed) } else { self.unembed(normed) }; // [1, ids.len(), vocab_size]
        logits.narrow(1, ids.len() - 1, 1).try_into_vec_as::<f32>().map_err(InferError::device)
    }

    fn decode(&self, ids: &[u32], caches: &mut [TwinCache]) -> Result<Vec<f32>, InferError> {
        if self.has(Fault::PositionOfTheFirst) {
            let first = caches[0].position;
            let rows = ids.iter().zip(caches).map(|(id, cache)| {
                let inputs = Tensor::from_data(TensorData::new(vec![*id as i32], [1, 1]), &self.device());
                let logits = self.unembed(self.normed(self.embed(inputs, first), first, Some(cache)));
                logits.try_into_vec_as::<f32>().map_err(InferError::device)
            });
            return Ok(rows.collect::<Result<Vec<_>, _>>()?.concat());
        }
        let rows = ids.iter().zip(caches).map(|(id, cache)| self.last_logits(&[*id], Some(cache)));
        Ok(rows.collect::<Result<Vec<_>, _>>()?.concat())
    }

    fn extend(&self, ids: &[u32], lengths: &[usize], caches: &mut [TwinCache]) -> Result<Vec<f32>, InferError> {
        let (mut rows, mut left) = (Vec::new(), ids);
        for (len, cache) in lengths.iter().zip(caches) {
            let (own, rest) = left.split_at(*len);
            left = rest;
            let values: Vec<i32> = own.iter().map(|id| *id as i32).collect();
            let inputs = Tensor::from_data(TensorData::new(values, [1, *len]), &self.device());
            let start = cache.position;
            let normed = self.normed(self.embed(inputs, start), start, Some(cache)); // [1, len, d_model]
            let cut = self.has(Fault::HeadCutInCheck);
            let logits = if cut { self.unembed_in_halves(normed) } else { self.unembed(normed) };
            rows.extend(logits.try_into_vec_as::<f32>().map_err(InferError::device)?);
        }
        Ok(rows)
    }
}

impl ModelUnderTest for Twin {
    fn config(&self) -> &GptConfig {
        &self.config
    }

    fn device(&self) -> Device {
        self.parameters["token_embedding.weight"].1.device()
    }

    fn batch_cache(&self, _batch_size: usize) -> TwinCache {
        self.new_cache()
    }

    fn embed(&self, inputs: Tensor<2, Int>, start: usize) -> Tensor<3> {
        let [_, seq_len] = inputs.dims();
        let x = embedding(self.matrix("token_embedding.weight"), inputs); // [batch_size, seq_len, d_model]
        match self.config.positions {
            Positions::Learned => x + self.matrix("position_embedding.weight").narrow(0, start, seq_len).unsqueeze(),
            Positions::Rotary => x,
        }
    }

    fn logits(&self, embedded: Tensor<3>, cache: Option<&mut TwinCache>) -> Tensor<3> {
        let start = cache.as_ref().map_or(0, |cache| cache.position);
        self.unembed(self.normed(embedded, start, cache))
    }

    fn read_as_f32(&self) -> Option<Self> {
        (self.weights != WeightFormat::F32).then(|| Self { fault: None, ..self.clone() })
    }

    fn with_gradients(&self) -> Self {
        self.map(|_, _, parameter| Tensor::from_inner(parameter).require_grad())
    }

    fn take_gradients(&self, gradients: &mut Gradients) -> NamedGradients {
        let taken = self
            .parameters
            .iter()
            .filter_map(|(path, (_, values))| values.grad_remove(gradients).map(|gradient| (path.clone(), gradient)));
        taken.collect()
    }

    fn trainer(&self, plan: &TrainingPlan) -> Result<Option<Box<dyn TrainerUnderTest>>, TrainError> {
        Ok(Some(Box::new(TwinTrainer::new(self, plan))))
    }

    fn scaled(&self, factor: f32) -> Self {
        let values = self.config.n_kv_heads * self.config.d_head;
        self.map(|path, shape, parameter| {
            let width = shape[shape.len() - 1];
            let kept = match path.rsplit_once("attention.") {
                Some((_, "qkv.weight" | "qkv.bias")) => values,
                Some((_, "q_norm.gain" | "k_norm.gain")) => 0,
                _ => return parameter,
            };
            let len: usize = shape.iter().product();
            let factors: Vec<f32> = (0..len).map(|i| if i % width < width - kept { factor } else { 1.0 }).collect();
            parameter.clone() * Tensor::from_data(TensorData::new(factors, [len]), &parameter.device())
        })
    }
}
