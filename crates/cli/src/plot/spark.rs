//! Numbers as a line of blocks.

/// From the lowest to the highest.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Numbers as at most `width` blocks, each the mean of those that fall to it. What is not finite is a space.
pub fn sparkline(values: &[f64], width: usize) -> String {
    let width = width.min(values.len()).max(1);
    let mean = |column: usize| {
        let part = &values[column * values.len() / width..(column + 1) * values.len() / width];
        part.iter().sum::<f64>() / part.len() as f64
    };
    let means: Vec<f64> = if values.is_empty() { Vec::new() } else { (0..width).map(mean).collect() };
    let finite = || means.iter().copied().filter(|value| value.is_finite());
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    let block = |value: &f64| match (value - low) / (high - low) {
        _ if !value.is_finite() => ' ',
        share if share.is_nan() => BLOCKS[0],
        share => BLOCKS[((share * BLOCKS.len() as f64) as usize).min(BLOCKS.len() - 1)],
    };
    means.iter().map(block).collect()
}

/// Numbers as they come, however many, in bounded memory: means of more and more of them.
#[derive(Debug, Clone)]
pub struct Thinned {
    values: Vec<f64>,
    /// How many numbers each value is the mean of.
    stride: usize,
    /// Sum and count of those that make up no value yet.
    begun: (f64, usize),
}

impl Default for Thinned {
    fn default() -> Self {
        Self { values: Vec::new(), stride: 1, begun: (0.0, 0) }
    }
}

impl Thinned {
    /// Most values that are kept.
    const MOST: usize = 512;

    pub fn push(&mut self, value: f64) {
        self.begun = (self.begun.0 + value, self.begun.1 + 1);
        if self.begun.1 < self.stride {
            return;
        }
        self.values.push(self.begun.0 / self.stride as f64);
        self.begun = (0.0, 0);
        if self.values.len() == Self::MOST {
            self.values = self.values.chunks_exact(2).map(|pair| (pair[0] + pair[1]) / 2.0).collect();
            self.stride *= 2;
        }
    }

    pub fn values(&self) -> &[f64] {
        &self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_and_the_highest_are_the_ends_of_the_scale() {
        assert_eq!(sparkline(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 8), "▁▂▃▄▅▆▇█");
        assert_eq!(sparkline(&[7.0, 0.0], 8), "█▁");
    }

    #[test]
    fn numbers_without_end_take_bounded_memory_and_keep_their_course() {
        let mut thinned = Thinned::default();
        (0..100_000).for_each(|number| thinned.push(f64::from(number)));
        let values = thinned.values();
        assert!(values.len() < Thinned::MOST && values.len() > Thinned::MOST / 3, "{}", values.len());
        assert!(values.is_sorted() && values[0] < 1000.0 && values[values.len() - 1] > 99_000.0, "{values:?}");
    }

    #[test]
    fn many_numbers_are_means_and_odd_ones_break_nothing() {
        assert_eq!(sparkline(&[0.0, 2.0, 3.0, 5.0], 2), "▁█");
        assert_eq!(sparkline(&[3.0; 5], 3), "▁▁▁");
        assert_eq!(sparkline(&[], 3), "");
        assert_eq!(sparkline(&[1.0, f64::NAN, 2.0], 3), "▁ █");
        assert_eq!(sparkline(&[f64::INFINITY], 3), " ");
    }
}
