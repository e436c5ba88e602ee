//! How much memory something needs, asked before it is allocated: an allocation that cannot be met ends the program.

use std::path::{Path, PathBuf};

use tril_kernels::{StepModel, WeightFormat};

use crate::block_matrix::BlockMatrixKind;
use crate::{GptConfig, MlpKind, ModelError, Positions};

/// Bytes of a number.
const F32: u128 = 4;
/// What is taken for the machine's memory where it cannot be found out.
const UNKNOWN: u64 = 64 << 30;

/// Bytes that this process may use at most: the machine's memory, or less if a control group that it is in allows less.
pub fn limit() -> u64 {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let total = read(Path::new("/proc/meminfo")).and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
    });
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let allowed = limits_of(&groups).filter_map(|path| read(&path)).filter_map(|text| text.trim().parse().ok());
    allowed.chain(total).min().unwrap_or(UNKNOWN)
}

/// The files that hold the limits of control groups, by what `/proc/self/cgroup` says, and of those above them. A
/// container may see its own group as the root.
fn limits_of(groups: &str) -> impl Iterator<Item = PathBuf> {
    let root = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"].map(PathBuf::from);
    let own = groups.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, group) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let (base, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            controllers if controllers.split(',').any(|one| one == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return Vec::new(),
        };
        let group = Path::new(group.trim_start_matches('/'));
        group.ancestors().map(|group| Path::new(base).join(group).join(file)).collect()
    });
    root.into_iter().chain(own.collect::<Vec<_>>())
}

/// Refuses what needs more memory than there is.
///
/// - what: the settings that ask for it, for the message
/// - bytes: the least that it takes
///
/// # Errors
/// [`ModelError::Memory`].
pub fn check(what: &str, bytes: u128) -> Result<(), ModelError> {
    if fits(bytes) {
        return Ok(());
    }
    Err(ModelError::Memory { what: what.to_owned(), needed: bytes, limit: limit() })
}

/// Whether there is memory for so many bytes.
pub fn fits(bytes: u128) -> bool {
    bytes <= u128::from(limit())
}

/// The parameters of a model with this resolved config, but for gains and biases, which are few.
pub fn parameter_count(config: &GptConfig) -> u128 {
    let size = |size: usize| size as u128;
    let GptConfig { vocab_size, max_seq_len, n_layers, n_heads, n_kv_heads, d_model, d_head, d_ff, .. } = *config;
    let d_model = size(d_model);
    let attention = d_model * size(d_head) * (2 * size(n_heads) + 2 * size(n_kv_heads));
    let matrices = if config.mlp == MlpKind::Swiglu { 3 } else { 2 };
    let positions = if config.positions == Positions::Learned { size(max_seq_len) } else { 0 };
    let tables = if config.tied_head { 1 } else { 2 };
    (tables * size(vocab_size) + positions) * d_model + size(n_layers) * (attention + matrices * d_model * size(d_ff))
}

/// Bytes of the cache of one sequence, by a resolved config.
pub fn cache_bytes(config: &GptConfig) -> u128 {
    let positions = crate::cache::capacity(config) as u128;
    2 * F32 * positions * config.n_layers as u128 * config.n_kv_heads as u128 * config.d_head as u128
}

/// Bytes of the copy of a model's weights that one token of text at a time is made with, by a resolved config. Weights
/// themselves are kept beside it, as f32, for all that takes several tokens at once.
pub fn step_bytes(config: &GptConfig, weights: WeightFormat) -> u128 {
    // The gate and what it gates are copied as matrices of their own.
    let halves = |width: usize| if config.mlp == MlpKind::Swiglu { vec![width / 2; 2] } else { vec![width] };
    let of_block = config.block_matrices().into_iter().flat_map(|matrix| {
        let widths =
            if matrix.kind == BlockMatrixKind::MlpUp { halves(matrix.d_output()) } else { vec![matrix.d_output()] };
        widths.into_iter().map(move |width| [matrix.d_input, width])
    });
    let block: u128 = of_block.map(|size| StepModel::bytes_of(size, weights)).sum();
    config.n_layers as u128 * block + StepModel::bytes_of([config.d_model, config.vocab_size], weights)
}

/// Bytes of a model that makes one text on the CPU: its weights, the copy of them that a step reads, that of a head which
/// is the embedding's, with rows and columns exchanged, and the text's cache.
pub fn generating_bytes(config: &GptConfig, weights: WeightFormat) -> u128 {
    let head = if config.tied_head { F32 * config.vocab_size as u128 * config.d_model as u128 } else { 0 };
    F32 * parameter_count(config) + head + step_bytes(config, weights) + cache_bytes(config)
}

/// What a forward pass keeps for the backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptActivations {
    /// Those of all blocks.
    All,
    /// What enters each block, and those of the block at hand.
    OfOneBlock,
}

/// Which copies of weights training keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptWeights {
    /// Those that are trained.
    Trained,
    /// Their average too.
    WithAverage,
}

/// The least that training takes: weights, gradients, two moments and a copy to save, and what a forward pass over the
/// rows of one piece of a batch keeps for the backward pass.
///
/// - rows: sequences that are in memory at once
/// - seq_len: their length
pub fn training_bytes(
    config: &GptConfig,
    weights: KeptWeights,
    kept: KeptActivations,
    rows: usize,
    seq_len: usize,
) -> u128 {
    let size = |size: usize| size as u128;
    let (layers, d_model) = (size(config.n_layers), size(config.d_model));
    let layer = 6 * d_model + 2 * size(config.d_ff);
    let blocks = match kept {
        KeptActivations::All => layers * layer,
        KeptActivations::OfOneBlock => layers * d_model + layer,
    };
    let position = blocks + 2 * size(config.vocab_size);
    // An average is kept, and written beside the weights when both are saved.
    let copies = match weights {
        KeptWeights::Trained => 5,
        KeptWeights::WithAverage => 7,
    };
    F32 * (copies * parameter_count(config) + size(rows) * size(seq_len) * position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_estimated_is_what_there_is() {
        let config = GptConfig { vocab_size: 11, norm_gain: false, ..GptConfig::default() }.resolve().expect("sound");
        let gpt = crate::Gpt::new(config.clone(), 1, &burn::tensor::Device::flex()).expect("a model");
        let real: usize = crate::parameters::list(&gpt).iter().map(|(_, data)| data.num_elements()).sum();
        let (real, found) = (real as f64, parameter_count(&config) as f64);
        assert!((found - real).abs() < 0.02 * real, "{found} for {real}");
    }

    #[test]
    fn the_copy_that_a_step_reads_is_as_large_as_it_is_counted() {
        let base = GptConfig { vocab_size: 65, n_layers: 2, n_heads: 2, d_model: 40, d_ff: 37, ..GptConfig::default() };
        for config in [GptConfig { mlp: MlpKind::Swiglu, tied_head: false, ..base.clone() }, base] {
            let gpt = crate::Gpt::new(config, 1, &burn::tensor::Device::flex()).expect("a model");
            for weights in [WeightFormat::F32, WeightFormat::Bf16, WeightFormat::Int8] {
                let real = gpt.clone().with_weights(weights).make_step_model().copied_bytes() as u128;
                assert_eq!(step_bytes(gpt.config(), weights), real, "{weights:?}");
                assert!(generating_bytes(gpt.config(), weights) > real + cache_bytes(gpt.config()));
            }
        }
    }

    #[test]
    fn what_nobody_has_is_refused_by_number_and_limit_and_numbers_do_not_overflow() {
        let size = 1 << 24;
        let d_model = size / 4;
        let sizes = GptConfig { vocab_size: size, n_layers: size, n_heads: 1, d_model, ..GptConfig::default() };
        let config = GptConfig { max_seq_len: size, ..sizes }.resolve().expect("each is allowed");
        let training = [KeptActivations::All, KeptActivations::OfOneBlock];
        let training = training.map(|kept| training_bytes(&config, KeptWeights::WithAverage, kept, usize::MAX, size));
        for bytes in [parameter_count(&config), cache_bytes(&config)].into_iter().chain(training) {
            let message = check("model.…", bytes).expect_err("too much").to_string();
            assert!(message.contains("model.…") && message.contains("GiB"), "{message}");
        }
        check("a page", 4096).expect("there is that much");
        assert!(limit() > 1 << 20);
    }

    #[test]
    fn the_limits_of_all_groups_above_a_process_count() {
        let groups = "5:cpu:/x\n4:memory,pids:/a/b\n0::/user.slice/job\n";
        let paths: Vec<String> = limits_of(groups).map(|path| path.display().to_string()).collect();
        for path in [
            "/sys/fs/cgroup/memory.max",
            "/sys/fs/cgroup/user.slice/memory.max",
            "/sys/fs/cgroup/user.slice/job/memory.max",
            "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        ] {
            assert!(paths.contains(&path.to_owned()), "{path}: {paths:?}");
        }
        assert!(!paths.iter().any(|path| path.contains("/x")), "{paths:?}");
    }
}
