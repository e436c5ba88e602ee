//! Looking inside: what an observer is shown is what the model computes, and looking changes no bit.

use burn::tensor::Tensor;
use tril_model::{ForwardContext, Gpt, GptConfig, HeadId, KvCache, Observation, Positions};

use crate::support::*;

/// What an observer may see: residual streams by the number of blocks before them, and attention probabilities.
#[derive(Default)]
struct Seen {
    residuals: Vec<(usize, Tensor<3>)>,
    attention: Vec<Attention>,
}

struct Attention {
    layer: usize,
    rows: std::ops::Range<usize>,
    first_query: usize,
    first_key: usize,
    probs: Vec<f32>,
    shape: [usize; 4],
}

/// The logits of one token more for each of several caches, or of a whole text, with everything that can be seen.
fn observed(gpt: &Gpt, ids: &[i32], rows: usize, caches: &mut [KvCache], disabled: &[HeadId]) -> (Vec<f32>, Seen) {
    let mut seen = Seen::default();
    let mut observer = |observation: Observation<'_>| match observation {
        Observation::Activation(activation) => {
            if let Some(blocks) = activation.residual_after() {
                seen.residuals.push((blocks, activation.values.clone()));
            }
        }
        Observation::Attention(attention) => {
            let probs = attention.probs();
            seen.attention.push(Attention {
                layer: attention.layer,
                rows: attention.rows.clone(),
                first_query: attention.first_query,
                first_key: attention.first_key,
                shape: probs.dims(),
                probs: values(probs),
            });
        }
    };
    let context =
        ForwardContext { caches, observer: Some(&mut observer), disabled_heads: disabled, ..ForwardContext::default() };
    let logits = values(gpt.forward_with(input(ids, rows, &gpt.device()), context));
    (logits, seen)
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Caches that have seen texts of these lengths.
fn caches(gpt: &Gpt, lengths: &[usize]) -> Vec<KvCache> {
    let fill = |len: &usize| {
        let mut cache = gpt.new_cache(1);
        let ids = some_ids(1, *len, gpt.config().vocab_size);
        gpt.forward_with(input(&ids, 1, &gpt.device()), ForwardContext::cached(&mut cache));
        cache
    };
    lengths.iter().map(fill).collect()
}

#[test]
fn an_observer_that_only_looks_changes_no_bit() {
    for (device_name, device) in devices() {
        for (name, config) in all_configs() {
            let gpt = model(config, &device);
            let ids = some_ids(3, 9, gpt.config().vocab_size);
            let parallel = values(gpt.forward(input(&ids, 3, &device)));
            let (looked_at, _) = observed(&gpt, &ids, 3, &mut [], &[]);
            assert!(bits(&parallel) == bits(&looked_at), "{device_name}, {name}, in parallel");
            for lengths in [&[4][..], &[4, 9, 1]] {
                let mut without = caches(&gpt, lengths);
                let mut with = without.clone();
                for step in 0..4 {
                    let next = &some_ids(lengths.len(), 4, gpt.config().vocab_size)[step..][..lengths.len()];
                    let context = ForwardContext { caches: &mut without, ..ForwardContext::default() };
                    let expected = values(gpt.forward_with(input(next, lengths.len(), &device), context));
                    let (found, _) = observed(&gpt, next, lengths.len(), &mut with, &[]);
                    assert!(bits(&expected) == bits(&found), "{device_name}, {name}, after {lengths:?}");
                }
            }
        }
    }
}

#[test]
fn the_residual_stream_is_seen_around_every_block_and_its_last_gives_the_logits() {
    for (device_name, device) in devices() {
        for (name, config) in all_configs() {
            let gpt = model(config, &device);
            let n_layers = gpt.config().n_layers;
            let ids = some_ids(3, 9, gpt.config().vocab_size);
            let (logits, mut seen) = observed(&gpt, &ids, 3, &mut [], &[]);
            let blocks: Vec<usize> = seen.residuals.iter().map(|(blocks, _)| *blocks).collect();
            assert_eq!(blocks, (0..=n_layers).collect::<Vec<_>>(), "{name}");
            let embedded = values(gpt.embed(input(&ids, 3, &device), 0));
            assert_eq!(bits(&values(seen.residuals[0].1.clone())), bits(&embedded), "{name}");
            let lens = |residual: &Tensor<3>| values(gpt.logit_lens(residual.clone()));
            let (_, last) = seen.residuals.pop().expect("a residual stream");
            assert!(bits(&lens(&last)) == bits(&logits), "{device_name}, {name}");
            for (blocks, residual) in &seen.residuals {
                assert!(max_difference(&lens(residual), &logits) > 1e-2, "{name}, after {blocks} blocks");
            }
        }
    }
}

#[test]
fn probabilities_of_each_head_add_up_to_one_and_are_zero_where_a_query_must_not_see() {
    for (device_name, device) in devices() {
        for (name, config) in all_configs() {
            let gpt = model(config, &device);
            let GptConfig { n_layers, n_heads, .. } = *gpt.config();
            let window = gpt.config().window().unwrap_or(usize::MAX);
            let lengths = [4, 9, 1];
            let ids = some_ids(3, 2, gpt.config().vocab_size);
            let (_, seen) = observed(&gpt, &ids, 3, &mut caches(&gpt, &lengths), &[]);
            assert_eq!(seen.attention.len(), 3 * n_layers, "each cache in each layer");
            for (number, attention) in seen.attention.iter().enumerate() {
                let Attention { layer, rows, first_query, first_key, probs, shape } = attention;
                assert_eq!((*layer, rows.clone()), (number / 3, number % 3..number % 3 + 1));
                assert_eq!(*first_query, lengths[number % 3]);
                let [_, _, q_len, k_len] = *shape;
                assert_eq!((shape[0], shape[1], q_len), (1, n_heads, 2), "{name}");
                assert_eq!(first_key + k_len, first_query + q_len, "{name}: the last query sees itself");
                for (row, probs) in probs.chunks(k_len).enumerate() {
                    let total: f32 = probs.iter().sum();
                    assert!((total - 1.0).abs() < 1e-5, "{device_name}, {name}: {total}");
                    let query = first_query + row % q_len;
                    for (key, prob) in (*first_key..).zip(probs) {
                        let sees = key <= query && query - key < window;
                        assert!(sees || *prob == 0.0, "{device_name}, {name}: key {key} of query {query}: {prob}");
                    }
                }
            }
        }
    }
}

#[test]
fn probabilities_are_the_same_with_one_cache_with_several_and_in_parallel() {
    for (device_name, device) in devices() {
        for (name, config) in all_configs() {
            let gpt = model(config, &device);
            let lengths = [4, 9, 1];
            let next = &some_ids(3, 1, gpt.config().vocab_size);
            let (_, together) = observed(&gpt, next, 3, &mut caches(&gpt, &lengths), &[]);
            for (row, len) in lengths.into_iter().enumerate() {
                let (_, alone) = observed(&gpt, &next[row..=row], 1, &mut caches(&gpt, &[len]), &[]);
                let text = [&some_ids(1, len, gpt.config().vocab_size), &next[row..=row]].concat();
                let (_, parallel) = observed(&gpt, &text, 1, &mut [], &[]);
                for layer in 0..gpt.config().n_layers {
                    let found = &together.attention[3 * layer + row];
                    let (alone, parallel) = (&alone.attention[layer], &parallel.attention[layer]);
                    assert_eq!((found.first_key, found.shape), (alone.first_key, alone.shape));
                    assert!(max_difference(&found.probs, &alone.probs) < 1e-5, "{device_name}, {name}, row {row}");
                    // The parallel pass has every query and all keys: take the last query and the keys that a cache keeps.
                    let [_, n_heads, _, k_len] = found.shape;
                    assert_eq!(parallel.shape, [1, n_heads, len + 1, len + 1]);
                    let last = |head: usize| &parallel.probs[((head + 1) * (len + 1) - 1) * (len + 1)..][..len + 1];
                    let expected: Vec<f32> =
                        (0..n_heads).flat_map(|head| last(head)[len + 1 - k_len..].to_vec()).collect();
                    assert!(max_difference(&found.probs, &expected) < 1e-4, "{device_name}, {name}, row {row}");
                    if device_name == "cpu" {
                        assert_eq!(bits(&found.probs), bits(&alone.probs), "{name}, row {row}");
                        assert_eq!(bits(&found.probs), bits(&expected), "{name}, row {row}");
                    }
                }
            }
        }
    }
}

#[test]
fn probabilities_times_values_are_what_the_heads_give() {
    // A window, shared key heads and rotary positions: the output of each head can be made of what an observer sees.
    for (device_name, device) in devices() {
        for window in [0, 5] {
            let gpt = model(GptConfig { window, ..llama_config() }, &device);
            let GptConfig { n_heads, n_kv_heads, d_head, positions, .. } = *gpt.config();
            assert!(n_kv_heads < n_heads && positions == Positions::Rotary);
            let (mut qkv, mut probs, mut attended) = (Vec::new(), Vec::new(), Vec::new());
            let mut observer = |observation: Observation<'_>| match observation {
                Observation::Activation(activation) if activation.path() == "blocks.1.attention.qkv" => {
                    qkv = values(activation.values.clone());
                }
                Observation::Activation(activation) if activation.path() == "blocks.1.attention.attended" => {
                    attended = values(activation.values.clone());
                }
                Observation::Attention(attention) if attention.layer == 1 => probs = values(attention.probs()),
                _ => {}
            };
            let len = 12;
            let ids = some_ids(1, len, gpt.config().vocab_size);
            let context = ForwardContext { observer: Some(&mut observer), ..ForwardContext::default() };
            gpt.forward_with(input(&ids, 1, &device), context);
            let width = (n_heads + 2 * n_kv_heads) * d_head;
            let value = |key: usize, head: usize, i: usize| {
                qkv[key * width + (n_heads + n_kv_heads + head * n_kv_heads / n_heads) * d_head + i]
            };
            let mut expected = Vec::new();
            for query in 0..len {
                for head in 0..n_heads {
                    let prob = |key: usize| probs[(head * len + query) * len + key];
                    expected
                        .extend((0..d_head).map(|i| (0..len).map(|key| prob(key) * value(key, head, i)).sum::<f32>()));
                }
            }
            assert!(relative_difference(&attended, &expected) < 1e-5, "{device_name}, window {window}");
        }
    }
}

#[test]
fn a_disabled_head_gives_zero_and_the_others_what_they_gave() {
    for (device_name, device) in devices() {
        for (name, config) in all_configs() {
            let gpt = model(config, &device);
            let GptConfig { n_heads, d_head, .. } = *gpt.config();
            let ids = some_ids(2, 9, gpt.config().vocab_size);
            let attended = |disabled: &[HeadId]| {
                let mut found = Vec::new();
                let mut observer = |observation: Observation<'_>| match observation {
                    Observation::Activation(activation) if activation.path() == "blocks.0.attention.attended" => {
                        found = values(activation.values.clone());
                    }
                    _ => {}
                };
                let observer = Some(&mut observer as &mut dyn FnMut(Observation<'_>));
                let context = ForwardContext { observer, disabled_heads: disabled, ..ForwardContext::default() };
                let logits = values(gpt.forward_with(input(&ids, 2, &device), context));
                (found, logits)
            };
            let (all, logits) = attended(&[]);
            let off = n_heads - 1;
            let (without, changed) = attended(&[HeadId { layer: 0, head: off }]);
            assert!(max_difference(&logits, &changed) > 1e-2, "{device_name}, {name}: the head matters");
            for (number, (before, after)) in all.chunks(d_head).zip(without.chunks(d_head)).enumerate() {
                let expected = if number % n_heads == off { vec![0.0; d_head] } else { before.to_vec() };
                assert_eq!(bits(after), bits(&expected), "{device_name}, {name}");
            }
            // A head of another layer leaves this one as it is.
            assert_eq!(bits(&attended(&[HeadId { layer: 1, head: off }]).0), bits(&all), "{device_name}, {name}");
        }
    }
}

#[test]
fn with_all_heads_disabled_no_token_knows_of_another() {
    for (device_name, device) in devices() {
        for (name, config) in all_configs() {
            let gpt = model(config, &device);
            let GptConfig { n_layers, n_heads, vocab_size, .. } = *gpt.config();
            let heads = (0..n_layers).flat_map(|layer| (0..n_heads).map(move |head| HeadId { layer, head }));
            let heads: Vec<HeadId> = heads.collect();
            let mut ids = some_ids(1, 9, vocab_size);
            let (before, _) = observed(&gpt, &ids, 1, &mut [], &heads);
            ids[..8].rotate_left(3);
            let (after, _) = observed(&gpt, &ids, 1, &mut [], &heads);
            let last = |logits: &[f32]| bits(&logits[8 * vocab_size..]);
            assert_eq!(last(&before), last(&after), "{device_name}, {name}");
            assert_ne!(bits(&before), bits(&after), "{device_name}, {name}: the tokens that moved");
            // By the cache it is the same.
            let mut cache = gpt.new_cache(1);
            let context = ForwardContext { disabled_heads: &heads, ..ForwardContext::cached(&mut cache) };
            let cached = values(gpt.forward_with(input(&ids, 1, &device), context));
            assert_eq!(bits(&cached), bits(&after), "{device_name}, {name}");
        }
    }
}

#[test]
#[should_panic(expected = "a head of layer 9 of 2 is to be switched off")]
fn a_head_that_is_not_there_cannot_be_disabled() {
    let (_, device) = devices().remove(0);
    let gpt = model(GptConfig { n_layers: 2, ..gpt2_config() }, &device);
    observed(&gpt, &[1, 2], 1, &mut [], &[HeadId { layer: 9, head: 0 }]);
}
