//! The causal mask makes one parallel pass equal step-by-step computation, and the cache changes nothing.

use burn::tensor::Tensor;
use tril_model::{ForwardContext, Gpt};

use crate::support::*;

/// How far routes may be apart. On the CPU they agree bit for bit; elsewhere sums are made in other orders, and logits
/// here are a few units large.
fn tolerance(device_name: &str) -> f32 {
    if device_name == "cpu" { 0.0 } else { 2e-5 }
}

/// A fault of one position in mask, cache or offset moves logits by far more than [`tolerance`] allows.
const FAULT: f32 = 1e-2;

const BATCH: usize = 3;

/// Logits of the whole text by the cache, fed in chunks of the given lengths, over and over.
fn by_chunks(gpt: &Gpt, ids: &[i32], lengths: &[usize]) -> Vec<f32> {
    let device = gpt.device();
    let inputs = input(ids, BATCH, &device);
    let [_, seq_len] = inputs.dims();
    let mut cache = gpt.new_cache(BATCH);
    let mut parts = Vec::new();
    for len in lengths.iter().cycle() {
        let start = cache.position();
        if start == seq_len {
            break;
        }
        let chunk = inputs.clone().narrow(1, start, (*len).min(seq_len - start));
        parts.push(gpt.forward_with(chunk, ForwardContext::cached(&mut cache)));
    }
    values(Tensor::cat(parts, 1))
}

#[test]
fn parallel_logits_equal_cached_logits_for_every_chunking_family_and_window() {
    for (device_name, device) in devices() {
        for (name, config) in all_configs() {
            let seq_len = config.max_seq_len; // more than three windows, where there is a window
            let ids = some_ids(BATCH, seq_len, config.vocab_size);
            let gpt = model(config, &device);
            let parallel = values(gpt.forward(input(&ids, BATCH, &device)));
            for lengths in [&[1][..], &[2], &[5, 1, 1], &[1, 7], &[11], &[seq_len], &[seq_len - 1, 1]] {
                let difference = max_difference(&parallel, &by_chunks(&gpt, &ids, lengths));
                assert!(
                    difference <= tolerance(device_name),
                    "{device_name}, {name}, chunks {lengths:?}: {difference}"
                );
            }
        }
    }
}

#[test]
fn parallel_logits_equal_the_last_logits_of_every_prefix_recomputed() {
    for (device_name, device) in devices() {
        for (name, config) in all_configs() {
            let (seq_len, vocab_size) = (config.max_seq_len, config.vocab_size);
            let gpt = model(config, &device);
            let inputs = input(&some_ids(BATCH, seq_len, vocab_size), BATCH, &device);
            let parallel = gpt.forward(inputs.clone());
            for len in 1..=seq_len {
                let prefix = gpt.forward(inputs.clone().narrow(1, 0, len)).narrow(1, len - 1, 1);
                let row = parallel.clone().narrow(1, len - 1, 1);
                let difference = max_difference(&values(row), &values(prefix));
                assert!(difference <= tolerance(device_name), "{device_name}, {name}, prefix of {len}: {difference}");
            }
        }
    }
}

#[test]
fn changing_a_later_token_leaves_earlier_logits_unchanged() {
    for (device_name, device) in devices() {
        for (name, config) in all_configs() {
            let (seq_len, vocab_size) = (config.max_seq_len, config.vocab_size);
            let gpt = model(config, &device);
            let ids = some_ids(1, seq_len, vocab_size);
            let before = values(gpt.forward(input(&ids, 1, &device)));
            for changed in 1..seq_len {
                let mut other = ids.clone();
                other[changed] = (other[changed] + 1) % vocab_size as i32;
                let after = values(gpt.forward(input(&other, 1, &device)));
                let bits =
                    |logits: &[f32]| logits[..changed * vocab_size].iter().map(|l| l.to_bits()).collect::<Vec<_>>();
                assert!(bits(&before) == bits(&after), "{device_name}, {name}: token {changed} moved an earlier logit");
                let own = changed * vocab_size..(changed + 1) * vocab_size;
                let moved = max_difference(&before[own.clone()], &after[own]);
                assert!(moved > FAULT, "{device_name}, {name}: token {changed} does not even move its own logits");
            }
        }
    }
}

#[test]
fn a_token_beyond_the_window_moves_nothing_and_one_within_does() {
    for (_, device) in devices() {
        let window = 5;
        let config = tril_model::GptConfig { window, n_layers: 1, ..llama_config() };
        let (seq_len, vocab_size) = (config.max_seq_len, config.vocab_size);
        let gpt = model(config, &device);
        let ids = some_ids(1, seq_len, vocab_size);
        let mut other = ids.clone();
        other[3] = (other[3] + 1) % vocab_size as i32;
        let [before, after] = [ids, other].map(|ids| values(gpt.forward(input(&ids, 1, &device))));
        let row = |logits: &[f32], position: usize| logits[position * vocab_size..(position + 1) * vocab_size].to_vec();
        for position in 0..seq_len {
            let moved = max_difference(&row(&before, position), &row(&after, position));
            let sees = (3..3 + window).contains(&position);
            assert!(if sees { moved > FAULT / 10.0 } else { moved == 0.0 }, "position {position}: {moved}");
        }
    }
}

#[test]
fn company_in_a_batch_changes_no_row() {
    for (device_name, device) in devices() {
        for (name, config) in all_configs() {
            let (seq_len, vocab_size) = (config.max_seq_len, config.vocab_size);
            let gpt = model(config, &device);
            let ids = some_ids(BATCH, seq_len, vocab_size);
            let together = values(gpt.forward(input(&ids, BATCH, &device)));
            for row in 0..BATCH {
                let alone = values(gpt.forward(input(&ids[row * seq_len..(row + 1) * seq_len], 1, &device)));
                let size = seq_len * vocab_size;
                let difference = max_difference(&together[row * size..(row + 1) * size], &alone);
                assert!(difference <= tolerance(device_name), "{device_name}, {name}, row {row}: {difference}");
            }
        }
    }
}

#[test]
fn a_position_offset_wrong_by_one_would_be_seen() {
    // Shows that the tolerance above can fail: the same tokens one position later are other logits.
    for config in [gpt2_config(), llama_config()] {
        let (_, device) = devices().remove(0);
        let (seq_len, vocab_size) = (config.max_seq_len - 1, config.vocab_size);
        let gpt = model(config, &device);
        let ids = some_ids(1, seq_len, vocab_size);
        let right = values(gpt.forward(input(&ids, 1, &device)));
        let mut cache = gpt.new_cache(1);
        let first = input(&ids[..1], 1, &device);
        gpt.hidden(first, ForwardContext::cached(&mut cache));
        let shifted = values(gpt.forward_with(input(&ids, 1, &device), ForwardContext::cached(&mut cache)));
        assert!(max_difference(&right, &shifted) > FAULT);
    }
}
