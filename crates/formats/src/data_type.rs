//! How numbers are stored: f32, f16, bf16, and blocks of 32 eight-bit integers with a scale (`Q8_0` of llama.cpp).

use half::{bf16, f16};
use serde::Serialize;

/// Numbers that share a scale in [`DataType::Q8_0`].
pub(crate) const Q8_BLOCK: usize = 32;
/// Bytes of such a block: an f16 scale and the integers.
const Q8_BLOCK_BYTES: usize = 2 + Q8_BLOCK;

/// How the numbers of a tensor are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DataType {
    /// 32-bit floats, as everything here computes.
    F32,
    /// 16-bit IEEE floats: 11 significant bits, up to 65,504.
    F16,
    /// The upper half of an f32: 8 significant bits.
    Bf16,
    /// Blocks of 32 eight-bit integers, each block with an f16 scale (`ggml-quants.c` of llama.cpp).
    Q8_0,
}

impl DataType {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Q8_0 => "q8_0",
        }
    }

    /// Bytes of so many numbers; none where they do not fill whole blocks.
    pub(crate) fn bytes(self, numbers: usize) -> Option<usize> {
        match self {
            Self::F32 => numbers.checked_mul(4),
            Self::F16 | Self::Bf16 => numbers.checked_mul(2),
            Self::Q8_0 => {
                numbers.is_multiple_of(Q8_BLOCK).then(|| (numbers / Q8_BLOCK).checked_mul(Q8_BLOCK_BYTES)).flatten()
            }
        }
    }

    /// Stored numbers as f32. What is no whole number or block at the end is left out.
    pub(crate) fn decode(self, bytes: &[u8]) -> Vec<f32> {
        let halves = || bytes.as_chunks::<2>().0.iter();
        match self {
            Self::F32 => bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
            Self::F16 => halves().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect(),
            Self::Bf16 => halves().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect(),
            Self::Q8_0 => bytes.as_chunks::<Q8_BLOCK_BYTES>().0.iter().flat_map(decode_block).collect(),
        }
    }

    /// Numbers as they are stored, each rounded to the nearest; of [`DataType::Q8_0`] in whole blocks.
    pub(crate) fn encode(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::F16 => values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect(),
            Self::Bf16 => values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect(),
            Self::Q8_0 => values.as_chunks::<Q8_BLOCK>().0.iter().flat_map(encode_block).collect(),
        }
    }
}

fn decode_block(block: &[u8; Q8_BLOCK_BYTES]) -> [f32; Q8_BLOCK] {
    let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
    std::array::from_fn(|index| f32::from(block[2 + index].cast_signed()) * scale)
}

/// The largest of the block becomes ±127, as in `quantize_row_q8_0_ref`.
fn encode_block(values: &[f32; Q8_BLOCK]) -> [u8; Q8_BLOCK_BYTES] {
    let largest = values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let scale = largest / 127.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let mut block = [0; Q8_BLOCK_BYTES];
    block[..2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
    for (byte, value) in block[2..].iter_mut().zip(values) {
        *byte = ((value * inverse).round() as i8).cast_unsigned();
    }
    block
}

impl std::fmt::Display for DataType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_comes_back_as_near_as_its_type_allows() {
        let values: Vec<f32> = (0..64).map(|index| (index as f32 - 31.3) / 7.0).collect();
        for (data_type, error) in
            [(DataType::F32, 0.0), (DataType::F16, 2e-3), (DataType::Bf16, 1.6e-2), (DataType::Q8_0, 2.0e-2)]
        {
            let bytes = data_type.encode(&values);
            assert_eq!(Some(bytes.len()), data_type.bytes(values.len()));
            let again = data_type.decode(&bytes);
            assert_eq!(again.len(), values.len());
            let worst = again.iter().zip(&values).map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max);
            assert!(worst <= error && (error == 0.0 || worst > 0.0), "{data_type}: {worst}");
            assert_eq!(data_type.encode(&again), bytes, "{data_type}: what is stored is stored the same again");
        }
    }

    #[test]
    fn blocks_are_those_of_llama_cpp() {
        // 0.5 · (-16 … 15): the largest is 8, its scale 8 / 127, so 7.5 is 119.06 and -8 is -127.
        let values: [f32; Q8_BLOCK] = std::array::from_fn(|index| 0.5 * (index as f32 - 16.0));
        let bytes = DataType::Q8_0.encode(&values);
        assert_eq!(bytes[..2], f16::from_f32(8.0 / 127.0).to_le_bytes());
        assert_eq!((bytes[2].cast_signed(), bytes[18].cast_signed(), bytes[33].cast_signed()), (-127, 0, 119));
        assert_eq!(DataType::Q8_0.decode(&DataType::Q8_0.encode(&[0.0; 32])), [0.0; 32]);
        assert_eq!(DataType::Q8_0.bytes(33), None);
    }
}
