//! Weights in fewer bytes: the numbers that a format has, and a matrix rounded to them.
//!
//! A rounded matrix is a matrix of f32 like any other, so every pass computes with it as with any other; what reads it in
//! fewer bytes only reads the same numbers faster.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// See [`WeightFormat::GROUP`].
pub const GROUP: usize = 32;

/// The largest whole number of [`WeightFormat::Int8`]; the smallest is as far from 0.
const LARGEST: f32 = 127.0;

/// A group whose largest number is below this is taken for zeros: its scale would have too few bits.
const SMALLEST: f32 = 1e-30;

/// What a weight is kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightFormat {
    /// Four bytes: nothing is rounded.
    #[default]
    F32,
    /// The upper two bytes of an f32, rounded to nearest, ties to even.
    Bf16,
    /// A whole number from −127 to 127 times a scale that it shares with the numbers of its column beside it,
    /// 32 from the top, 32 from there and so on: a byte, and an eighth of one for the scale.
    ///
    /// A scale is the group's largest magnitude over 127, cut to 16 significant bits. So the product is exact in f32, however
    /// it is computed, and a matrix that was rounded is not changed by being rounded again.
    Int8,
}

impl WeightFormat {
    /// Numbers of a column that share a scale, in [`WeightFormat::Int8`]; as in `q8_0` of llama.cpp, whose numbers it has.
    pub const GROUP: usize = GROUP;

    /// Rounds a matrix to the numbers that the format has. Groups lie along the inner index of a product.
    ///
    /// - rows: `[d_input, d_output]`
    pub fn round(self, rows: &mut [f32], d_output: usize) {
        match self {
            Self::F32 => {}
            Self::Bf16 => rows.iter_mut().for_each(|x| *x = widened(bf16(*x))),
            Self::Int8 => rows.chunks_mut((GROUP * d_output).max(1)).for_each(|group| {
                let mut largest = vec![0; d_output];
                for row in group.chunks_exact(d_output) {
                    largest.iter_mut().zip(row).for_each(|(largest, x)| *largest = magnitude(*x).max(*largest));
                }
                let scales: Vec<f32> = largest.into_iter().map(scale).collect();
                for row in group.chunks_exact_mut(d_output) {
                    row.iter_mut().zip(&scales).for_each(|(x, scale)| *x = f32::from(int8(*x, *scale)) * scale);
                }
            }),
        }
    }

    /// The same of a matrix whose rows and columns are exchanged.
    ///
    /// - columns: `[d_output, d_input]`
    pub fn round_transposed(self, columns: &mut [f32], d_input: usize) {
        // A column alone is a matrix of one.
        columns.chunks_exact_mut(d_input.max(1)).for_each(|column| self.round(column, 1));
    }
}

impl fmt::Display for WeightFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        })
    }
}

/// A number's bits without its sign: they are in order of magnitude, and what is no number is the largest.
pub fn magnitude(x: f32) -> u32 {
    x.to_bits() & (u32::MAX >> 1)
}

/// The scale of a group, by the largest [`magnitude`] in it. NaN where one is infinite or no number.
pub fn scale(largest: u32) -> f32 {
    let largest = f32::from_bits(largest);
    if !largest.is_finite() {
        return f32::NAN;
    }
    if largest < SMALLEST {
        return 0.0;
    }
    f32::from_bits((largest / LARGEST).to_bits() & !0xff)
}

/// A number of a group as a whole number of scales.
pub fn int8(x: f32, scale: f32) -> i8 {
    if scale == 0.0 {
        return 0;
    }
    let quotient = x / scale;
    // What is multiplied by a scale that is no number gives none, whatever it is.
    if quotient.is_nan() { 1 } else { quotient.round_ties_even().clamp(-LARGEST, LARGEST) as i8 }
}

/// The upper half of a number, rounded to nearest, ties to even.
pub fn bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() {
        return (f32::NAN.to_bits() >> 16) as u16;
    }
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    (rounded >> 16) as u16
}

/// The number whose upper half this is.
pub fn widened(half: u16) -> f32 {
    f32::from_bits(u32::from(half) << 16)
}

/// The groups of a column of `len` numbers.
pub fn groups(len: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len).step_by(GROUP).map(move |first| first..len.min(first + GROUP))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers without a pattern, of very different sizes.
    fn numbers(len: usize) -> Vec<f32> {
        let mut state = 1_u32;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let x = (state >> 8) as f32 / (1 << 23) as f32 - 1.0;
            if state.is_multiple_of(37) { x * 1e-6 } else { x * x * x }
        })
        .take(len)
        .collect()
    }

    fn bits(numbers: &[f32]) -> Vec<u32> {
        numbers.iter().map(|x| x.to_bits()).collect()
    }

    #[test]
    fn rounding_is_by_at_most_half_a_step_and_once_is_enough() {
        for d_output in [1, 5, 64, 65] {
            let exact = numbers(70 * d_output);
            for format in [WeightFormat::Bf16, WeightFormat::Int8] {
                let mut rounded = exact.clone();
                format.round(&mut rounded, d_output);
                for (i, (x, rounded)) in exact.iter().zip(&rounded).enumerate() {
                    let group = i / d_output / GROUP;
                    let of_group = |row: &usize| row / GROUP == group;
                    let largest = (0..70).filter(of_group).map(|row| exact[row * d_output + i % d_output].abs());
                    let largest = largest.fold(0.0, f32::max);
                    let step = if format == WeightFormat::Int8 { largest / 127.0 } else { x.abs() / 128.0 };
                    assert!((x - rounded).abs() <= 0.5001 * step, "{format:?}: {x} became {rounded}, step {step}");
                }
                let mut again = rounded.clone();
                format.round(&mut again, d_output);
                assert_eq!(bits(&again), bits(&rounded), "{format:?}");
                assert_ne!(bits(&rounded), bits(&exact), "{format:?}");
            }
        }
    }

    #[test]
    fn a_matrix_and_its_transpose_are_rounded_to_the_same_numbers() {
        let (d_input, d_output) = (45, 7);
        let rows = numbers(d_input * d_output);
        let columns: Vec<f32> = (0..d_output)
            .flat_map(|j| (0..d_input).map(move |i| (i, j)))
            .map(|(i, j)| rows[i * d_output + j])
            .collect();
        for format in [WeightFormat::F32, WeightFormat::Bf16, WeightFormat::Int8] {
            let (mut rows, mut columns) = (rows.clone(), columns.clone());
            format.round(&mut rows, d_output);
            format.round_transposed(&mut columns, d_input);
            for i in 0..d_input {
                for j in 0..d_output {
                    assert_eq!(rows[i * d_output + j].to_bits(), columns[j * d_input + i].to_bits(), "{format:?}");
                }
            }
        }
    }

    #[test]
    fn what_q8_0_holds_is_kept_to_the_last_bit() {
        // Whole numbers up to ±127 times a scale of 11 significant bits, as a half-precision one has.
        for scale in [1.0, 0.000_976_562_5 * 1.5, 1625.0 / 524_288.0, 1023.0 / 4096.0, 2047.0 / 65_536.0] {
            let mut numbers: Vec<f32> = (0..32).map(|i| (i * 8 - 121) as f32 * scale).collect();
            numbers[3] = -127.0 * scale;
            let mut rounded = numbers.clone();
            WeightFormat::Int8.round(&mut rounded, 1);
            assert_eq!(bits(&rounded), bits(&numbers), "scale {scale}");
        }
    }

    #[test]
    fn zeros_tiny_and_huge_numbers_have_a_place_and_what_is_no_number_stays_none() {
        let round = |format: WeightFormat, numbers: &[f32]| {
            let mut numbers = numbers.to_vec();
            format.round(&mut numbers, 1);
            numbers
        };
        assert_eq!(bits(&round(WeightFormat::Int8, &[0.0, -0.0, 1e-40])), [0, 0, 0]);
        let huge = round(WeightFormat::Int8, &[f32::MAX, -f32::MAX, 1.0]);
        assert!(huge.iter().all(|x| x.is_finite()) && huge[0] > 0.999 * f32::MAX && huge[2] == 0.0, "{huge:?}");
        for bad in [f32::NAN, f32::INFINITY] {
            assert!(round(WeightFormat::Int8, &[0.5, bad]).iter().all(|x| x.is_nan()));
            assert!(!round(WeightFormat::Bf16, &[0.5, bad])[1].is_finite());
        }
        assert_eq!(
            round(WeightFormat::Bf16, &[1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0]),
            [1.0, 1.0 + 4.0 / 256.0],
            "ties to even"
        );
    }
}
