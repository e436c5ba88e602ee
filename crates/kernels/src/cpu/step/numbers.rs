//! The numbers of a model as a step reads them.

use std::ops::Range;
use std::sync::Arc;

use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;

use super::packed::Packed;
use crate::cpu::gemm::{Gemm, GemmInit, Matrix, SharedRows};
use crate::cpu::norm::{NormRow, RowNorm, RowNormKind};
use crate::cpu::operation::constant;
use crate::cpu::rows::{Rows, own};
use crate::cpu::simd::{LANES, vectorized};
use crate::step::{StepActivation, StepBlock, StepEmbedding, StepLinear, StepNorm, StepNormKind, StepWeights};
use crate::weights::{GROUP, WeightFormat};

#[derive(Debug, Clone)]
pub struct Norm {
    pub norm: RowNorm,
    pub gain: Option<FlexTensor>,
    pub bias: Option<FlexTensor>,
}

/// Weights in panels of columns, each one after another in memory: a thread reads its panels from end to end.
#[derive(Debug, Clone)]
pub struct Linear {
    pub weight: Weight,
    pub bias: Option<FlexTensor>,
    pub size: [usize; 2],
}

#[derive(Debug, Clone)]
pub enum Weight {
    /// `[panels, d_input, PANEL]`, zeros after the last column.
    Panels(Arc<Vec<f32>>),
    /// The same in fewer bytes.
    Packed(Arc<Packed>),
    /// `[d_input, d_output]`, where a copy would take too much memory.
    Rows(FlexTensor),
}

/// What a token and its position become, where it lies.
#[derive(Debug, Clone)]
pub struct Embedding {
    tokens: Rows,
    positions: Option<Rows>,
}

/// Columns of a panel.
pub const PANEL: usize = 4 * LANES;

/// Numbers of a weight that is copied into panels; a larger one is read where it lies.
pub const MOST_COPIED: usize = 1 << 26;

#[derive(Debug, Clone)]
pub struct Block {
    pub attention_norm: Norm,
    pub qkv: Linear,
    pub head_norms: Option<[Norm; 2]>,
    pub output: Linear,
    pub mlp_norm: Norm,
    pub up: Linear,
    /// The upper half of the columns of `up`, for `swiglu`, whose gate is the lower one.
    pub gated: Option<Linear>,
    pub activation: StepActivation,
    pub down: Linear,
}

impl From<StepEmbedding> for Embedding {
    fn from(StepEmbedding { tokens, positions }: StepEmbedding) -> Self {
        let rows = |tensor| Rows::new(&constant(tensor));
        Self { tokens: rows(tokens), positions: positions.map(rows) }
    }
}

impl Embedding {
    /// The embedding of each token, plus that of its position where positions are learned.
    ///
    /// - returns: `[ids.len(), d_model]`
    pub fn rows(&self, ids: &[u32], positions: &[usize], d_model: usize) -> Vec<f32> {
        let mut x = Vec::with_capacity(ids.len() * d_model);
        for (id, position) in ids.iter().zip(positions) {
            let token = row(&self.tokens, *id as usize);
            match &self.positions {
                Some(learned) => {
                    x.extend(token.iter().zip(row(learned, *position)).map(|(token, place)| token + place))
                }
                None => x.extend_from_slice(token),
            }
        }
        x
    }
}

/// A row of a matrix that has it.
fn row(matrix: &Rows, index: usize) -> &[f32] {
    assert!(index < matrix.count(), "row {index} of an embedding of {}", matrix.count());
    matrix.row(index)
}

impl From<StepNorm> for Norm {
    fn from(StepNorm { kind, gain, bias, eps }: StepNorm) -> Self {
        let kind = match kind {
            StepNormKind::Layer => RowNormKind::Layer,
            StepNormKind::Rms => RowNormKind::Rms,
        };
        // As `layer_norm` has it.
        let gain = gain.or_else(|| bias.as_ref().map(|bias| Tensor::ones(bias.dims(), &bias.device())));
        Self { norm: RowNorm { kind, eps: eps as f32 }, gain: gain.map(numbers), bias: bias.map(numbers) }
    }
}

impl Linear {
    pub fn new(StepLinear { weight, bias }: StepLinear, kept: StepWeights) -> Self {
        let size = weight.dims();
        let weight = numbers(weight);
        let weight = match kept {
            StepWeights::InPlace => Weight::Rows(weight),
            StepWeights::Copied(format) => match Packed::new(format, weight.storage(), size) {
                Some(packed) => Weight::Packed(Arc::new(packed)),
                None if size[0] * size[1] <= MOST_COPIED => Weight::Panels(Arc::new(panels(weight.storage(), size))),
                None => Weight::Rows(weight),
            },
        };
        Self { weight, bias: bias.map(numbers), size }
    }

    /// Bytes that a copy of a matrix takes.
    pub fn copied_bytes([d_input, d_output]: [usize; 2], format: WeightFormat) -> u128 {
        let [d_input, d_output] = [d_input, d_output].map(|size| size as u128);
        let columns = d_output.next_multiple_of(PANEL as u128);
        match format {
            WeightFormat::F32 if d_input * d_output > MOST_COPIED as u128 => 0,
            WeightFormat::F32 => 4 * d_input * columns,
            WeightFormat::Bf16 => 2 * d_input * columns,
            WeightFormat::Int8 => (d_input + 4 * d_input.div_ceil(GROUP as u128)) * columns,
        }
    }

    /// Bytes that its copy takes.
    pub fn bytes(&self) -> usize {
        match &self.weight {
            Weight::Panels(panels) => size_of_val(&panels[..]),
            Weight::Packed(packed) => packed.bytes(),
            Weight::Rows(_) => 0,
        }
    }
}

/// A matrix in panels.
fn panels(rows: &[f32], [d_input, d_output]: [usize; 2]) -> Vec<f32> {
    let mut panels = vec![0.0; d_output.div_ceil(PANEL) * d_input * PANEL];
    for (panel, first) in panels.chunks_exact_mut(d_input.max(1) * PANEL).zip((0..d_output).step_by(PANEL)) {
        let last = d_output.min(first + PANEL);
        for (row, out) in rows.chunks_exact(d_output).zip(panel.chunks_exact_mut(PANEL)) {
            out[..last - first].copy_from_slice(&row[first..last]);
        }
    }
    panels
}

impl Block {
    pub fn new(block: StepBlock, kept: StepWeights) -> Self {
        let StepBlock { attention_norm, qkv, head_norms, output, mlp_norm, up, activation, down } = block;
        let (up, gated) = match activation {
            StepActivation::Swiglu => {
                let [lower, upper] = halves(up);
                (Linear::new(lower, kept), Some(Linear::new(upper, kept)))
            }
            _ => (Linear::new(up, kept), None),
        };
        Self {
            attention_norm: attention_norm.into(),
            qkv: Linear::new(qkv, kept),
            head_norms: head_norms.map(|norms| norms.map(Norm::from)),
            output: Linear::new(output, kept),
            mlp_norm: mlp_norm.into(),
            up,
            gated,
            activation,
            down: Linear::new(down, kept),
        }
    }

    /// All products with weights.
    pub fn linears(&self) -> impl Iterator<Item = &Linear> {
        [&self.qkv, &self.output, &self.up, &self.down].into_iter().chain(&self.gated)
    }
}

/// The lower and the upper half of the columns.
fn halves(StepLinear { weight, bias }: StepLinear) -> [StepLinear; 2] {
    let half = weight.dims()[1] / 2;
    [0, half].map(|first| StepLinear {
        weight: weight.clone().narrow(1, first, half),
        bias: bias.clone().map(|bias| bias.narrow(0, first, half)),
    })
}

/// A tensor's numbers one after another.
fn numbers<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    own(constant(tensor))
}

impl Norm {
    /// Each row of `x` normalised into `out`.
    pub fn rows(&self, x: &[f32], width: usize, out: &mut [f32]) {
        let [gain, bias] = [&self.gain, &self.bias].map(|numbers| numbers.as_ref().map(FlexTensor::storage::<f32>));
        for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            vectorized(NormRow { norm: &self.norm, x, gain, bias, out });
        }
    }
}

impl Linear {
    pub fn width(&self) -> usize {
        self.size[1]
    }

    /// The columns of a part: whole panels, the same ones each time.
    pub fn own_columns(&self, part: usize, parts: usize) -> Range<usize> {
        let panels = share(self.width().div_ceil(PANEL), part, parts);
        self.width().min(panels.start * PANEL)..self.width().min(panels.end * PANEL)
    }

    /// Some panels of x·weight + bias.
    ///
    /// - x: `[rows, d_input]`; out: `[rows, d_output]`
    /// - columns: those of whole panels
    ///
    /// # Safety
    /// Nothing else may use these columns of the result meanwhile.
    pub unsafe fn columns(&self, x: &[f32], columns: Range<usize>, out: &SharedRows<'_>) {
        let [d_input, d_output] = self.size;
        for first in columns.clone().step_by(PANEL) {
            let width = columns.end.min(first + PANEL) - first;
            let bias = self.bias.as_ref().map(|bias| &bias.storage::<f32>()[first..first + width]);
            if let Weight::Packed(packed) = &self.weight {
                // SAFETY: the caller's promise.
                unsafe { packed.columns(x, d_input, first..first + width, bias, out) };
                continue;
            }
            let b = match &self.weight {
                Weight::Panels(panels) => Matrix::row_major(&panels[first * d_input..], PANEL),
                Weight::Packed(_) => unreachable!("it has a product of its own"),
                Weight::Rows(rows) => Matrix::row_major(&rows.storage::<f32>()[first..], d_output),
            };
            let start = bias.map_or(GemmInit::Zero, GemmInit::Bias);
            let size = [x.len() / d_input, width, d_input];
            // SAFETY: the caller's promise.
            unsafe { Gemm { size, a: Matrix::row_major(x, d_input), b, start }.into_columns(out, first) }
        }
    }
}

/// The share of `count` things that a part has: of things side by side, and the same ones each time.
pub fn share(count: usize, part: usize, parts: usize) -> Range<usize> {
    count * part / parts..count * (part + 1) / parts
}
