//! One position of each of several sequences, or some positions of each, through all blocks in one go.
//!
//! The same row functions as the operations that it stands for, in the same order, so it gives the same bits; but no
//! tensor is made, no graph is asked, and a thread that stands by meets the same columns of the weights token after
//! token, so that its core's cache can keep them.

mod attention;
mod numbers;
mod packed;

use std::marker::PhantomData;
use std::sync::LazyLock;

use burn::backend::flex::FlexTensor;
use burn::tensor::{Device, Tensor};

use super::activation::{Activation, Forward, GatedRow, Gelu, GeluTanh, Relu2};
use super::gemm::SharedRows;
use super::operation::{constant, plain};
use super::rows::own;
use super::simd::vectorized;
use super::spin_pool;
use crate::RotaryTable;
use crate::profile::timed;
use crate::step::{
    StepActivation, StepBlock, StepEmbedding, StepHeads, StepLinear, StepNorm, StepSequences, StepWeights,
};
use crate::weights::WeightFormat;
use attention::{AttentionScratch, AttentionStep};
use numbers::{Block, Embedding, Linear, Norm, share};

/// A model whose numbers are at hand for [`StepModel::step`].
#[derive(Debug, Clone)]
pub struct StepModel {
    embedding: Embedding,
    blocks: Vec<Block>,
    final_norm: Norm,
    head: Linear,
    heads: StepHeads,
    d_model: usize,
}

/// A sequence, where its new keys and values go, and those that its queries see.
struct Place<'a> {
    /// Which sequences, and which of them.
    group: usize,
    sequence: usize,
    /// Its first row among all that enter, and how many it has: one a position.
    first_row: usize,
    len: usize,
    /// Positions in the buffers before those.
    held: usize,
    rotary: Option<&'a RotaryTable>,
}

/// The buffers of one block of one group of sequences.
struct Buffers<'a> {
    keys: SharedRows<'a>,
    values: SharedRows<'a>,
    capacity: usize,
}

impl StepModel {
    /// A model of tensors on the CPU, without gradients.
    ///
    /// - head: `[d_model, vocab_size]`
    pub fn new(
        embedding: StepEmbedding,
        blocks: Vec<StepBlock>,
        final_norm: StepNorm,
        head: Tensor<2>,
        heads: StepHeads,
        kept: StepWeights,
    ) -> Self {
        let [d_model, _] = head.dims();
        Self {
            embedding: embedding.into(),
            blocks: blocks.into_iter().map(|block| Block::new(block, kept)).collect(),
            final_norm: final_norm.into(),
            head: Linear::new(StepLinear { weight: head, bias: None }, kept),
            heads,
            d_model,
        }
    }

    /// Bytes that the copies of its weights take.
    pub fn copied_bytes(&self) -> usize {
        self.blocks.iter().flat_map(Block::linears).chain([&self.head]).map(Linear::bytes).sum()
    }

    /// Bytes that a copy of a matrix takes, in panels of whole vectors.
    ///
    /// - size: `[d_input, d_output]`
    pub fn bytes_of(size: [usize; 2], format: WeightFormat) -> u128 {
        Linear::copied_bytes(size, format)
    }

    /// Whether a matrix is read in fewer bytes.
    pub fn is_packed(&self) -> bool {
        let is_packed = |linear: &Linear| matches!(linear.weight, numbers::Weight::Packed(_));
        self.blocks.iter().flat_map(Block::linears).chain([&self.head]).any(is_packed)
    }

    /// The logits of the new positions of each sequence, whose keys and values go into the buffers. A position sees those
    /// before it, the new ones too, and none after it.
    ///
    /// - ids: of the new tokens, `[rows]`, the sequences in order, and of each its positions
    /// - returns: `[rows, vocab_size]`, row by row
    pub fn step(&self, ids: &[u32], sequences: &mut [StepSequences<'_>]) -> Vec<f32> {
        let d_model = self.d_model;
        let positions: Vec<usize> = sequences.iter().flat_map(positions).collect();
        let rows = ids.len();
        assert_eq!(rows, positions.len(), "tokens, and positions of the sequences");
        let mut x = self.embedding.rows(ids, &positions, d_model);
        let mut taken: Vec<Vec<[FlexTensor; 2]>> = sequences.iter_mut().map(take).collect();
        let places = places(sequences);
        let mut scratch = Scratch::new(self, rows);
        for (layer, block) in self.blocks.iter().enumerate() {
            let mut buffers: Vec<Buffers<'_>> = taken.iter_mut().map(|layers| buffers(&mut layers[layer])).collect();
            self.block(block, &mut x, &places, &mut buffers, &mut scratch);
        }
        let mut logits = vec![0.0; rows * self.head.width()];
        timed("head", || {
            self.final_norm.rows(&x, d_model, &mut scratch.normed);
            product(&self.head, &scratch.normed, &mut logits);
        });
        for (group, layers) in sequences.iter_mut().zip(taken) {
            for (buffers, taken) in group.buffers.iter_mut().zip(layers) {
                for (buffer, tensor) in buffers.iter_mut().zip(taken) {
                    **buffer = plain(tensor);
                }
            }
        }
        logits
    }

    fn block(
        &self,
        block: &Block,
        x: &mut [f32],
        places: &[Place<'_>],
        buffers: &mut [Buffers<'_>],
        scratch: &mut Scratch,
    ) {
        let StepHeads { n_heads, n_kv_heads, d_head, window } = self.heads;
        let heads_each = n_heads / n_kv_heads;
        let d_model = self.d_model;
        let Scratch { normed, qkv, attended, projected, raised, active } = scratch;
        timed("norms", || block.attention_norm.rows(x, d_model, normed));
        timed("products: q, k, v", || product(&block.qkv, normed, qkv));
        timed("attention", || {
            let attended = SharedRows::new(attended, n_heads * d_head);
            let units = places.len() * n_kv_heads;
            let width = block.qkv.width();
            spin_pool::for_each_own(|part, parts| {
                let mut scratch = AttentionScratch::default();
                for unit in share(units, part, parts) {
                    let (place, kv_head) = (&places[unit / n_kv_heads], unit % n_kv_heads);
                    let Buffers { keys, values, capacity } = &buffers[place.group];
                    let (number, kept) = (place.sequence * n_kv_heads + kv_head, 0..d_head * capacity);
                    // SAFETY: each unit has a sequence and a key/value head of its own, and that a part of the buffers.
                    let (keys, values) = unsafe { (keys.columns(number, kept.clone()), values.columns(number, kept)) };
                    // One after another: a position sees the keys of those before it.
                    for index in 0..place.len {
                        let row = place.first_row + index;
                        let heads = |first: usize, count: usize| {
                            let begin = row * width + first * d_head;
                            &qkv[begin..begin + count * d_head]
                        };
                        let columns = kv_head * heads_each * d_head..(kv_head + 1) * heads_each * d_head;
                        AttentionStep {
                            norms: block.head_norms.as_ref(),
                            rotary: place.rotary.map(|table| table.row(index)),
                            window,
                            queries: heads(kv_head * heads_each, heads_each),
                            key: heads(n_heads + kv_head, 1),
                            value: heads(n_heads + n_kv_heads + kv_head, 1),
                            keys,
                            values,
                            held: place.held + index,
                            // SAFETY: as above.
                            out: unsafe { attended.columns(row, columns) },
                        }
                        .run(&mut scratch);
                    }
                }
            });
        });
        timed("products: output", || product_added(&block.output, attended, projected, x));
        timed("norms", || block.mlp_norm.rows(x, d_model, normed));
        timed("products: up, activation", || match (block.activation, &block.gated) {
            (_, Some(up)) => raise_gated([&block.up, up], normed, [raised, active]),
            (StepActivation::Gelu, None) => raise::<Gelu>(&block.up, normed, raised, active),
            (StepActivation::GeluTanh, None) => raise::<GeluTanh>(&block.up, normed, raised, active),
            (StepActivation::Relu2, None) => raise::<Relu2>(&block.up, normed, raised, active),
            (StepActivation::Swiglu, None) => unreachable!("its products are taken apart"),
        });
        timed("products: down", || product_added(&block.down, active, projected, x));
    }
}

/// Memory of a step, the same for all blocks; each is `[rows, width]`.
struct Scratch {
    normed: Vec<f32>,
    qkv: Vec<f32>,
    attended: Vec<f32>,
    projected: Vec<f32>,
    raised: Vec<f32>,
    active: Vec<f32>,
}

impl Scratch {
    fn new(model: &StepModel, rows: usize) -> Self {
        let widest = |width: fn(&Block) -> usize| vec![0.0; rows * model.blocks.iter().map(width).max().unwrap_or(0)];
        let d_model = || vec![0.0; rows * model.d_model];
        Self {
            normed: d_model(),
            qkv: widest(|block| block.qkv.width()),
            attended: widest(|block| block.output.size[0]),
            projected: d_model(),
            raised: widest(|block| block.up.width()),
            active: widest(|block| block.down.size[0]),
        }
    }
}

/// The position of each row of a group.
fn positions(sequences: &StepSequences<'_>) -> impl Iterator<Item = usize> + use<> {
    let StepSequences { batch_size, start, len, .. } = *sequences;
    (0..batch_size).flat_map(move |_| start..start + len)
}

/// Each sequence of all groups, in order.
fn places<'a>(groups: &'a [StepSequences<'_>]) -> Vec<Place<'a>> {
    let mut first_row = 0;
    let mut places = Vec::new();
    for (group, sequences) in groups.iter().enumerate() {
        let StepSequences { batch_size, len, held, rotary, .. } = sequences;
        for sequence in 0..*batch_size {
            places.push(Place { group, sequence, first_row, len: *len, held: *held, rotary: rotary.as_ref() });
            first_row += len;
        }
    }
    places
}

/// Takes the buffers of sequences as numbers that nobody else holds.
fn take(sequences: &mut StepSequences<'_>) -> Vec<[FlexTensor; 2]> {
    // One for all: a clone takes less than a new one.
    static EMPTY: LazyLock<Tensor<4>> = LazyLock::new(|| Tensor::empty([0; 4], &Device::flex()));
    let take = |buffer: &mut Tensor<4>| own(constant(std::mem::replace(buffer, EMPTY.clone())));
    sequences.buffers.iter_mut().map(|[keys, values]| [take(keys), take(values)]).collect()
}

fn buffers([keys, values]: &mut [FlexTensor; 2]) -> Buffers<'_> {
    let shape = keys.layout().shape();
    let (d_head, capacity) = (shape[2], shape[3]);
    let width = d_head * capacity;
    Buffers {
        keys: SharedRows::new(keys.storage_mut::<f32>(), width),
        values: SharedRows::new(values.storage_mut::<f32>(), width),
        capacity,
    }
}

/// - x: `[rows, d_input]`; out: `[rows, d_output]`
fn product(linear: &Linear, x: &[f32], out: &mut [f32]) {
    let out = SharedRows::new(out, linear.width());
    spin_pool::for_each_own(|part, parts| {
        // SAFETY: each part has columns of its own.
        unsafe { linear.columns(x, linear.own_columns(part, parts), &out) };
    });
}

/// The same, added to `sum`.
fn product_added(linear: &Linear, x: &[f32], projected: &mut [f32], sum: &mut [f32]) {
    let width = linear.width();
    let rows = sum.len() / width;
    let (projected, sum) = (SharedRows::new(projected, width), SharedRows::new(sum, width));
    spin_pool::for_each_own(|part, parts| {
        let columns = linear.own_columns(part, parts);
        // SAFETY: each part has columns of its own.
        unsafe { linear.columns(x, columns.clone(), &projected) };
        for row in 0..rows {
            // SAFETY: as above.
            let (projected, sum) =
                unsafe { (projected.columns(row, columns.clone()), sum.columns(row, columns.clone())) };
            sum.iter_mut().zip(projected).for_each(|(sum, projected)| *sum += *projected);
        }
    });
}

/// The first product of an MLP and its activation.
fn raise<A: Activation>(up: &Linear, x: &[f32], raised: &mut [f32], active: &mut [f32]) {
    let width = up.width();
    let rows = x.len() / up.size[0];
    let (raised, active) = (SharedRows::new(raised, width), SharedRows::new(active, width));
    spin_pool::for_each_own(|part, parts| {
        let columns = up.own_columns(part, parts);
        // SAFETY: each part has columns of its own.
        unsafe { up.columns(x, columns.clone(), &raised) };
        for row in 0..rows {
            // SAFETY: as above.
            let (x, out) = unsafe { (raised.columns(row, columns.clone()), active.columns(row, columns.clone())) };
            vectorized(Forward { activation: PhantomData::<A>, x, out });
        }
    });
}

/// The same for `swiglu`, silu(x·gate)·(x·up).
fn raise_gated([gate, up]: [&Linear; 2], x: &[f32], [raised, active]: [&mut Vec<f32>; 2]) {
    let d_ff = up.width();
    let rows = x.len() / up.size[0];
    let (raised, active) = (SharedRows::new(raised, d_ff), SharedRows::new(active, d_ff));
    spin_pool::for_each_own(|part, parts| {
        let columns = up.own_columns(part, parts);
        // SAFETY: each part has columns of its own.
        unsafe {
            gate.columns(x, columns.clone(), &raised);
            up.columns(x, columns.clone(), &active);
        }
        for row in 0..rows {
            // SAFETY: as above.
            let (gate, up) = unsafe { (raised.columns(row, columns.clone()), active.columns(row, columns.clone())) };
            vectorized(GatedRow { gate, up });
        }
    });
}
