//! Which windows of the text a step learns from: named by seed, step and row, so that a resumed run sees exactly what
//! it would have seen.

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::RngExt;
use tril_model::random::{self, Purpose};

use crate::TrainError;

/// The training side of a text, as token ids.
#[derive(Debug, Clone)]
pub struct TrainingText {
    ids: Vec<u32>,
    seq_len: usize,
}

/// Inputs and the tokens that follow each of them.
#[derive(Debug, Clone)]
pub struct Batch {
    /// `[rows, seq_len]`
    pub inputs: Tensor<2, Int>,
    /// `[rows, seq_len]`: the inputs shifted by one.
    pub targets: Tensor<2, Int>,
}

impl TrainingText {
    /// # Errors
    /// [`TrainError::TooShort`] if there is not one window in it.
    pub fn new(ids: Vec<u32>, seq_len: usize) -> Result<Self, TrainError> {
        if ids.len() < seq_len + 1 {
            return Err(TrainError::TooShort { tokens: ids.len(), needed: seq_len + 1 });
        }
        Ok(Self { ids, seq_len })
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Never: a text without a window is refused.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// A hash of the ids (FNV-1a), to tell whether a resumed run has the text that it began with.
    pub fn key(&self) -> u64 {
        self.ids.iter().fold(0xcbf2_9ce4_8422_2325, |hash, id| (hash ^ u64::from(*id)).wrapping_mul(0x100_0000_01b3))
    }

    /// Where the window of a row begins: uniform over all places where it fits.
    pub fn window_start(&self, seed: u64, step: u64, row: u64) -> usize {
        random::generator(seed, Purpose::Batch, step, row, 0).random_range(0..=self.ids.len() - self.seq_len - 1)
    }

    /// Some rows of a step's effective batch.
    pub fn batch(&self, seed: u64, step: u64, rows: Range<usize>, device: &Device) -> Batch {
        let starts: Vec<usize> = rows.map(|row| self.window_start(seed, step, row as u64)).collect();
        let tensor = |offset: usize| {
            let windows = starts.iter().flat_map(|start| &self.ids[start + offset..start + offset + self.seq_len]);
            let values: Vec<i32> = windows.map(|id| *id as i32).collect();
            Tensor::from_data(TensorData::new(values, [starts.len(), self.seq_len]), device)
        };
        Batch { inputs: tensor(0), targets: tensor(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_the_inputs_shifted_by_one() {
        let text = TrainingText::new((0..100).collect(), 7).expect("long enough");
        let batch = text.batch(1, 2, 0..5, &Device::flex());
        let read = |t: Tensor<2, Int>| t.try_into_vec_as::<i32>().expect("ids");
        let (inputs, targets) = (read(batch.inputs), read(batch.targets));
        assert!(inputs.iter().zip(&targets).all(|(input, target)| input + 1 == *target));
        assert_eq!(inputs.len(), 35);
    }

    #[test]
    fn a_row_depends_on_seed_step_and_row_alone() {
        let text = TrainingText::new((0..10_000).collect(), 7).expect("long enough");
        let all: Vec<usize> = (0..8).map(|row| text.window_start(1, 2, row)).collect();
        let read = |batch: Batch| batch.inputs.try_into_vec_as::<i32>().expect("ids");
        let later = read(text.batch(1, 2, 5..8, &Device::flex()));
        assert_eq!(later[0] as usize, all[5], "rows of a micro-batch are the rows of the whole batch");
        assert_ne!(text.window_start(1, 3, 0), all[0]);
        assert_ne!(text.window_start(2, 2, 0), all[0]);
    }

    #[test]
    fn every_window_can_be_drawn_and_none_beyond_the_end() {
        let text = TrainingText::new((0..10).collect(), 7).expect("long enough");
        let mut seen: Vec<usize> = (0..200).map(|step| text.window_start(1, step, 0)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [0, 1, 2]);
        assert!(TrainingText::new((0..7).collect(), 7).is_err());
    }
}
