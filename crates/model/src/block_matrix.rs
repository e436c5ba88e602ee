//! The four matrices of a block: how large they are, what lies side by side in them, and how they start.

use crate::parameters::Init;
use crate::{GptConfig, MlpKind};

/// Standard deviation of fresh matrices and embeddings (GPT-2, Radford et al. 2019).
const INIT_STD: f64 = 0.02;

/// Which matrix of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockMatrixKind {
    /// To queries, keys and values.
    Qkv,
    /// From the heads to the residual stream.
    AttentionOutput,
    /// To the MLP's width; for `swiglu` to the gate's and to that which is gated.
    MlpUp,
    /// From the MLP to the residual stream.
    MlpDown,
}

/// A matrix of a block, of a resolved config.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockMatrix {
    /// Which.
    pub kind: BlockMatrixKind,
    /// Path within the block, without `.weight` or `.bias`.
    pub path: &'static str,
    /// Rows.
    pub d_input: usize,
    /// Columns of each of the matrices that lie side by side in it: of queries, keys and values; of gate and up.
    pub widths: Vec<usize>,
    /// Whether it has a bias.
    pub bias: bool,
    /// How it starts.
    pub init: Init,
}

impl BlockMatrix {
    /// Columns of all of it.
    pub fn d_output(&self) -> usize {
        self.widths.iter().sum()
    }
}

impl GptConfig {
    /// The matrices of each block, in the order in which a token meets them. Of a resolved config.
    pub fn block_matrices(&self) -> [BlockMatrix; 4] {
        use BlockMatrixKind::{AttentionOutput, MlpDown, MlpUp, Qkv};
        [Qkv, AttentionOutput, MlpUp, MlpDown].map(|kind| self.block_matrix(kind))
    }

    /// One of them.
    pub fn block_matrix(&self, kind: BlockMatrixKind) -> BlockMatrix {
        let Self { n_heads, n_kv_heads, d_head, d_model, d_ff, .. } = *self;
        let [queries, keys] = [n_heads, n_kv_heads].map(|heads| heads * d_head);
        let up = if self.mlp == MlpKind::Swiglu { vec![d_ff, d_ff] } else { vec![d_ff] };
        let (path, d_input, widths, bias, init) = match kind {
            BlockMatrixKind::Qkv => {
                ("attention.qkv", d_model, vec![queries, keys, keys], self.qkv_bias, Init::Normal(INIT_STD))
            }
            BlockMatrixKind::AttentionOutput => {
                ("attention.output", queries, vec![d_model], self.output_bias, self.residual_init())
            }
            BlockMatrixKind::MlpUp => ("mlp.up", d_model, up, self.mlp_bias, Init::Normal(INIT_STD)),
            BlockMatrixKind::MlpDown => ("mlp.down", d_ff, vec![d_model], self.mlp_bias, self.residual_init()),
        };
        BlockMatrix { kind, path, d_input, widths, bias, init }
    }

    /// The matrix of a block whose weight has this path in the model, such as `blocks.0.attention.qkv.weight`; none for
    /// every other parameter.
    pub fn block_matrix_at(&self, path: &str) -> Option<BlockMatrix> {
        let (_layer, within) = path.strip_prefix("blocks.")?.split_once('.')?;
        let name = within.strip_suffix(".weight")?;
        self.block_matrices().into_iter().find(|matrix| matrix.path == name)
    }

    /// How many weights the matrices of all blocks have; each meets every position once. Of a resolved config.
    pub fn block_weights(&self) -> usize {
        let weights = |matrix: BlockMatrix| matrix.d_input * matrix.d_output();
        self.n_layers * self.block_matrices().into_iter().map(weights).sum::<usize>()
    }

    /// How embeddings start.
    pub(crate) fn embedding_init(&self) -> Init {
        Init::Normal(INIT_STD)
    }

    /// How a head of its own starts.
    pub(crate) fn head_init(&self) -> Init {
        if self.zero_init_outputs { Init::Zeros } else { Init::Normal(INIT_STD) }
    }

    /// How projections into the residual stream start: scaled down because 2·n_layers of them add up (GPT-2), or at zero.
    fn residual_init(&self) -> Init {
        if self.zero_init_outputs { Init::Zeros } else { Init::Normal(INIT_STD / (2.0 * self.n_layers as f64).sqrt()) }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::{Gpt, parameters};

    #[test]
    fn every_matrix_of_a_blocks_parameters_is_one_of_the_four_with_its_shape() {
        let base = GptConfig {
            vocab_size: 17,
            n_layers: 2,
            n_heads: 4,
            n_kv_heads: 2,
            d_model: 20,
            d_head: 6,
            d_ff: 33,
            qkv_bias: true,
            ..GptConfig::default()
        };
        for config in [GptConfig { mlp: MlpKind::Swiglu, tied_head: false, ..base.clone() }, base] {
            let gpt = Gpt::new(config, 1, &Device::flex()).expect("a sound config");
            let mut found = 0;
            for (path, data) in parameters::list(&gpt) {
                let shape = data.shape().to_vec();
                let is_block_matrix = path.starts_with("blocks.") && shape.len() == 2;
                match gpt.config().block_matrix_at(&path) {
                    Some(matrix) => {
                        assert!(is_block_matrix, "{path}");
                        assert_eq!(shape, [matrix.d_input, matrix.d_output()], "{path}");
                        assert_eq!(matrix, gpt.config().block_matrix(matrix.kind));
                        found += 1;
                    }
                    None => assert!(!is_block_matrix, "{path}"),
                }
            }
            assert_eq!(found, 8);
        }
    }
}
