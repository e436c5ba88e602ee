//! What the machine can do at best, measured here and now, and how much memory the process took.

use std::hint::black_box;
use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;
use tril_infer::InferError;

use crate::ProveError;

/// Rows and columns of the products that the arithmetic rate is measured with.
const SIDE: usize = 1024;

/// Their inner lengths: which one a machine is fastest at depends on its caches.
const INNER: [usize; 3] = [256, 512, 1024];

/// Fewest measurements of which the best counts.
const MIN_TRIES: usize = 3;

/// Floating-point operations a second of a large matrix product through `tril_kernels::linear`: the best of as many as
/// fit into `seconds`, on all threads.
///
/// # Errors
/// If the device fails.
pub fn gemm_rate(device: &Device, seconds: f64) -> Result<f64, ProveError> {
    let numbers = |shape: [usize; 2]| {
        let values: Vec<f32> = (0..shape[0] * shape[1]).map(|i| (i * 7 % 13) as f32 - 6.0).collect();
        Tensor::<2>::from_data(TensorData::new(values, shape), device)
    };
    let mut rate = 0f64;
    for inner in INNER {
        let x: Tensor<3> = numbers([SIDE, inner]).unsqueeze();
        let weight = numbers([inner, SIDE]);
        let best = fastest(seconds / INNER.len() as f64, || {
            black_box(tril_kernels::linear(x.clone(), weight.clone(), None));
            device.sync().map_err(|error| InferError::device(error).into())
        })?;
        rate = rate.max((2 * SIDE * SIDE * inner) as f64 / best);
    }
    Ok(rate)
}

/// Bytes a second at which the CPU's threads read memory, each a part of a buffer much larger than the last cache: the
/// best of as many passes as fit into `seconds`. `None` for other devices.
///
/// # Errors
/// None on the CPU.
pub fn read_rate(device: &Device, seconds: f64) -> Result<Option<f64>, ProveError> {
    if !tril_kernels::is_cpu(device) {
        return Ok(None);
    }
    let bytes = (4 * last_cache().unwrap_or(0)).clamp(256 << 20, 1 << 30);
    let words = vec![1u64; bytes / size_of::<u64>()];
    let share = words.len().div_ceil(rayon::current_num_threads());
    let sum = |words: &[u64]| words.iter().fold(0u64, |sum, word| sum.wrapping_add(*word));
    let best = fastest(seconds, || {
        black_box(words.par_chunks(share).map(sum).reduce(|| 0, u64::wrapping_add));
        Ok(())
    })?;
    Ok(Some(size_of_val(words.as_slice()) as f64 / best))
}

/// The shortest time, in seconds, of as many tries as fit into `seconds`, after one that does not count.
fn fastest(seconds: f64, mut work: impl FnMut() -> Result<(), ProveError>) -> Result<f64, ProveError> {
    work()?;
    let (begin, mut best, mut tries) = (Instant::now(), f64::INFINITY, 0);
    while tries < MIN_TRIES || begin.elapsed().as_secs_f64() < seconds {
        let begin = Instant::now();
        work()?;
        best = best.min(begin.elapsed().as_secs_f64());
        tries += 1;
    }
    Ok(best)
}

/// Bytes of the last level of cache, where Linux tells.
fn last_cache() -> Option<usize> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/cpu0/cache/index3/size").ok()?;
    Some(text.trim().strip_suffix('K')?.parse::<usize>().ok()? << 10)
}

/// The most memory that this process has held so far, in bytes, where Linux tells.
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}
