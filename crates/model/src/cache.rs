//! Keys and values of the positions already seen, so that a step computes only its own.

use std::ops::Range;

use burn::tensor::{Device, Tensor};

use crate::GptConfig;

/// The key/value cache of one batch of sequences, preallocated, all at the same position.
///
/// Keys stand in order of position, always. Without a window the buffer holds `max_seq_len` positions. With a window
/// W only the last W − 1 matter to what comes next; the buffer holds 2W and, when it is full, moves those W − 1 back
/// to its front: constant memory, a constant number of moves a token on average, and no ring order to undo.
///
/// Keys are kept with positions side by side, so that one query meets sixteen keys at a time wherever they begin.
#[derive(Debug, Clone)]
pub struct KvCache {
    batch_size: usize,
    capacity: usize,
    layers: Vec<Buffers>,
    window: Option<usize>,
    /// Positions held at the front of every layer's buffer.
    held: usize,
    position: usize,
}

#[derive(Debug, Clone)]
struct Buffers {
    keys: Tensor<4>,   // [batch_size, n_kv_heads, d_head, capacity]
    values: Tensor<4>, // [batch_size, n_kv_heads, capacity, d_head]
}

/// Positions that the buffers of a cache hold.
pub(crate) fn capacity(config: &GptConfig) -> usize {
    match config.window() {
        Some(window) => (2 * window).min(config.context_limit().unwrap_or(usize::MAX)),
        None => config.max_seq_len,
    }
}

impl KvCache {
    /// An empty cache for `batch_size` sequences of a model with this (resolved) config.
    pub(crate) fn new(config: &GptConfig, batch_size: usize, device: &Device) -> Self {
        let capacity = capacity(config);
        let zeros = |rows, columns| Tensor::zeros([batch_size, config.n_kv_heads, rows, columns], device);
        let layer = |_| Buffers { keys: zeros(config.d_head, capacity), values: zeros(capacity, config.d_head) };
        Self {
            batch_size,
            capacity,
            layers: (0..config.n_layers).map(layer).collect(),
            window: config.window(),
            held: 0,
            position: 0,
        }
    }

    /// How many sequences it was made for.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// Number of positions seen so far, which is the position of the next token.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Goes back to an earlier position, so that other tokens can follow from there; the prefix is kept.
    ///
    /// Returns false, and changes nothing, if keys that the next token would see have already been given up: a window's
    /// buffer keeps no more than twice the window.
    #[must_use]
    pub fn rewind(&mut self, position: usize) -> bool {
        assert!(position <= self.position, "position {position} is ahead of {}", self.position);
        let oldest = self.position - self.held;
        let needed = self.window.map_or(0, |window| position.saturating_sub(window - 1));
        if needed < oldest {
            return false;
        }
        self.held = position - oldest;
        self.position = position;
        true
    }

    pub(crate) fn layer(&mut self, index: usize) -> LayerCache<'_> {
        LayerCache { buffers: &mut self.layers[index], held: self.held, window: self.window }
    }

    /// Makes room for so many more positions, and says whether there is. With a window, those that no position from here on
    /// sees are given up where they stand in the way, so that afterwards [`KvCache::rewind`] goes back to here.
    pub fn make_room(&mut self, seq_len: usize) -> bool {
        let fits = |held: usize, capacity: usize| held + seq_len <= capacity;
        if fits(self.held, self.capacity) {
            return true;
        }
        let Some(window) = self.window.filter(|window| fits(self.held.min(window - 1), self.capacity)) else {
            return false;
        };
        let kept = self.held.min(window - 1);
        for layer in &mut self.layers {
            move_to_front(&mut layer.keys, 3, self.held - kept, kept);
            move_to_front(&mut layer.values, 2, self.held - kept, kept);
        }
        self.held = kept;
        true
    }

    /// Most positions that [`KvCache::make_room`] can make room for here, in a model without an end of its context.
    pub fn most_room(&self) -> usize {
        self.capacity - self.window.map_or(self.held, |window| self.held.min(window - 1))
    }

    /// Keys and values of each layer, with room for more positions if that was made, and how many positions they hold.
    pub(crate) fn buffers(&mut self) -> (usize, Vec<[&mut Tensor<4>; 2]>) {
        (self.held, self.layers.iter_mut().map(|layer| [&mut layer.keys, &mut layer.values]).collect())
    }

    /// Counts `seq_len` new positions, once every layer has them.
    pub(crate) fn advance(&mut self, seq_len: usize) {
        self.position += seq_len;
        self.held = held_after(self.held, seq_len, self.capacity, self.window);
    }
}

/// Moves some of a buffer's positions, which are along `axis`, to its front.
fn move_to_front(buffer: &mut Tensor<4>, axis: usize, first: usize, count: usize) {
    if count == 0 {
        return;
    }
    let shape = buffer.dims();
    let moved = buffer.clone().narrow(axis, first, count);
    let at: [Range<usize>; 4] = std::array::from_fn(|other| 0..if other == axis { count } else { shape[other] });
    buffer.inplace(|buffer| buffer.slice_assign(at, moved));
}

/// Positions held after `seq_len` more: all, or where they do not fit the last `window − 1`.
fn held_after(held: usize, seq_len: usize, capacity: usize, window: Option<usize>) -> usize {
    match window {
        Some(window) if held + seq_len > capacity => (held + seq_len).min(window - 1),
        _ => held + seq_len,
    }
}

/// One layer of a [`KvCache`] during a pass.
pub(crate) struct LayerCache<'a> {
    buffers: &'a mut Buffers,
    held: usize,
    window: Option<usize>,
}

impl LayerCache<'_> {
    /// Adds a chunk and returns all keys and values that its queries may see, in order of position.
    ///
    /// - keys, values: `[batch_size, n_kv_heads, seq_len, d_head]`
    /// - returns: `[batch_size, n_kv_heads, visible + seq_len, d_head]` each
    pub fn append(&mut self, keys: Tensor<4>, values: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let keys = append(&mut self.buffers.keys, keys.swap_dims(2, 3), 3, self.held, self.window);
        (keys.swap_dims(2, 3), append(&mut self.buffers.values, values, 2, self.held, self.window))
    }
}

/// The same for one buffer, whose positions are along `axis`.
fn append(buffer: &mut Tensor<4>, chunk: Tensor<4>, axis: usize, held: usize, window: Option<usize>) -> Tensor<4> {
    let shape = buffer.dims();
    let (capacity, seq_len) = (shape[axis], chunk.dims()[axis]);
    let at = |positions: Range<usize>| -> [Range<usize>; 4] {
        std::array::from_fn(|other| if other == axis { positions.clone() } else { 0..shape[other] })
    };
    let expected: [usize; 4] = std::array::from_fn(|other| if other == axis { seq_len } else { shape[other] });
    assert_eq!(chunk.dims(), expected, "the chunk is of another shape than the cache");
    let visible = window.map_or(held, |window| held.min(window - 1));
    if held + seq_len <= capacity {
        // The view that the last step took is gone by now, so this writes in place.
        buffer.inplace(|buffer| buffer.slice_assign(at(held..held + seq_len), chunk));
        return buffer.clone().narrow(axis, held - visible, visible + seq_len);
    }
    assert!(window.is_some(), "the cache holds {capacity} positions, {held} are taken and {seq_len} more came");
    let all = match visible {
        0 => chunk,
        _ => Tensor::cat(vec![buffer.clone().narrow(axis, held - visible, visible), chunk], axis),
    }; // visible + seq_len positions
    let kept = held_after(held, seq_len, capacity, window);
    if kept > 0 {
        let tail = all.clone().narrow(axis, visible + seq_len - kept, kept);
        buffer.inplace(|buffer| buffer.slice_assign(at(0..kept), tail));
    }
    all
}
