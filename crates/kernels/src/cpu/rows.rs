//! Tensors as rows of consecutive numbers, wherever the rows lie in memory.

use std::mem::MaybeUninit;

use burn::backend::flex::FlexTensor;
use burn::tensor::TensorData;

use super::simd::Slot;
use super::spin_pool;

/// Elements below which splitting work over threads costs more than it saves.
const PARALLEL_ELEMENTS: usize = 1 << 15;

/// A tensor whose last axis is consecutive in memory.
#[derive(Debug, Clone)]
pub struct Rows {
    tensor: FlexTensor,
    shape: Vec<usize>,
    strides: Vec<usize>,
    start: usize,
}

impl Rows {
    /// The rows of a tensor, copied only if its last axis is not consecutive.
    pub fn new(tensor: &FlexTensor) -> Self {
        let layout = tensor.layout();
        let usable = layout.strides().last() == Some(&1) && layout.strides().iter().all(|stride| *stride >= 0);
        Self::at(if usable { tensor.clone() } else { tensor.to_contiguous() })
    }

    fn at(tensor: FlexTensor) -> Self {
        let layout = tensor.layout();
        let shape: Vec<usize> = layout.shape().iter().copied().collect();
        let strides = layout.strides().iter().map(|stride| *stride as usize).collect();
        let start = layout.start_offset();
        Self { tensor, shape, strides, start }
    }

    /// A tensor where it lies, its last axis of any stride; only [`Rows::from`] and [`Rows::stride`] make sense of it.
    pub fn strided(tensor: &FlexTensor) -> Self {
        let flipped = tensor.layout().strides().iter().any(|stride| *stride < 0);
        Self::at(if flipped { tensor.to_contiguous() } else { tensor.clone() })
    }

    /// The rows one after another, copied only where they do not lie so.
    pub fn consecutive(tensor: &FlexTensor) -> Self {
        if tensor.is_contiguous() { Self::new(tensor) } else { Self::new(&tensor.to_contiguous()) }
    }

    /// Numbers a row.
    pub fn width(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Number of rows.
    pub fn count(&self) -> usize {
        self.shape[..self.shape.len() - 1].iter().product()
    }

    /// The shape of the tensor.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The memory from element `index` on; `index` has as many numbers as the tensor has axes.
    pub fn from<const D: usize>(&self, index: [usize; D]) -> &[f32] {
        let offset: usize = index.iter().zip(&self.strides).map(|(index, stride)| index * stride).sum();
        &self.tensor.storage::<f32>()[self.start + offset..]
    }

    /// Elements from one row to the next along an axis.
    pub fn stride(&self, axis: usize) -> usize {
        self.strides[axis]
    }

    /// All numbers of rows that lie one after another.
    pub fn all(&self) -> &[f32] {
        &self.tensor.storage::<f32>()[self.start..self.start + self.shape.iter().product::<usize>()]
    }

    /// Row number `row` in logical order.
    pub fn row(&self, mut row: usize) -> &[f32] {
        let mut offset = self.start;
        for axis in (0..self.shape.len() - 1).rev() {
            offset += row % self.shape[axis] * self.strides[axis];
            row /= self.shape[axis];
        }
        &self.tensor.storage::<f32>()[offset..offset + self.width()]
    }
}

/// A tensor that owns these numbers.
pub fn tensor(values: Vec<f32>, shape: &[usize]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.to_vec()))
}

/// A tensor of numbers that `write` puts into memory that holds none yet.
///
/// # Safety
/// `write` must put a number into every place.
pub unsafe fn written(shape: &[usize], write: impl FnOnce(&mut [MaybeUninit<f32>])) -> FlexTensor {
    let len = shape.iter().product();
    let mut values = Vec::with_capacity(len);
    write(&mut values.spare_capacity_mut()[..len]);
    // SAFETY: the caller's promise.
    unsafe { values.set_len(len) };
    tensor(values, shape)
}

/// The tensor with its elements, and no others, one after another in its memory.
pub fn own(tensor: FlexTensor) -> FlexTensor {
    let layout = tensor.layout();
    let whole = layout.is_contiguous() && layout.start_offset() == 0;
    if whole && tensor.storage::<f32>().len() == layout.num_elements() { tensor } else { tensor.to_contiguous() }
}

/// Calls `work` with chunks of whole rows of `out` and the number of each chunk's first row, on the threads of the
/// current pool where it pays. A row's result must not depend on its chunk.
pub fn by_rows<T: Slot + Send>(out: &mut [T], width: usize, work: impl Fn(usize, &mut [T]) + Send + Sync) {
    let threads = spin_pool::threads();
    if threads == 1 || out.len() < PARALLEL_ELEMENTS || width == 0 {
        return work(0, out);
    }
    let rows = (out.len() / width).div_ceil(threads);
    spin_pool::for_each(out.chunks_mut(rows * width).enumerate().collect(), |(chunk, out)| work(chunk * rows, out));
}
