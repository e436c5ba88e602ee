//! Routes to the same tokens agree for every kind of model, their passes add up, and a route that is wrong is found.

use std::num::NonZeroUsize;

use burn::tensor::Device;
use tril_infer::{InferError, SamplerConfig};
use tril_model::GptConfig;
use tril_prove::cost::{CostOptions, CostReport, Route, cost};
use tril_prove::work::{pass_bytes, pass_flops};
use tril_prove::{ModelUnderTest, ProveError, Tolerance};

use crate::faults::twin::{Fault, Twin};
use crate::support::*;

const CHUNK: usize = 4;

fn options(device: &Device, max_tokens: usize) -> CostOptions {
    CostOptions {
        max_tokens,
        sampler: SamplerConfig { temperature: 1.0, seed: 5, ..SamplerConfig::default() },
        prefill_chunk: NonZeroUsize::new(CHUNK).expect("not zero"),
        tolerance: Tolerance::of(device),
        runs: 2,
        seconds: 0.01,
    }
}

/// Where each pass begins and how many tokens it takes in.
fn steps(report: &CostReport, route: usize) -> Vec<(usize, usize)> {
    report.routes[route].passes.iter().map(|pass| (pass.position, pass.tokens)).collect()
}

#[test]
fn every_kind_of_model_generates_the_same_by_every_route_and_all_passes_are_counted() {
    for (device_name, device) in devices() {
        for (name, config) in all_configs() {
            let gpt = model(config, &device);
            let config = gpt.config();
            for prompt in [&[1][..], &[3, 1, 4, 1, 5]] {
                let new = 15;
                let report = cost(&gpt, prompt, &options(&device, new)).expect("it fits");
                let case = format!("{device_name}, {name}, {} tokens of prompt: {report:#?}", prompt.len());
                assert!(report.agree, "{case}");
                let contexts = prompt.len() + new - 1;
                let routes: Vec<Route> = report.routes.iter().map(|route| route.route).collect();
                assert_eq!(routes, [Route::Recompute, Route::Cached, Route::Chunked]);
                for route in &report.routes {
                    let mut position = 0;
                    for pass in &route.passes {
                        assert_eq!(pass.position, position, "{case}");
                        position += pass.tokens;
                        let (start, len) = match route.route {
                            Route::Recompute => (0, position),
                            _ => (pass.position, pass.tokens),
                        };
                        assert_eq!(pass.flops, pass_flops(config, start, len, 1), "{case}");
                        assert_eq!(pass.bytes, pass_bytes(config, 1, start, len), "{case}");
                        assert!(pass.seconds > 0.0);
                    }
                    assert_eq!(position, contexts, "{case}");
                    assert_eq!(route.flops, route.passes.iter().map(|pass| pass.flops).sum::<u64>());
                    assert_eq!(route.bytes, route.passes.iter().map(|pass| pass.bytes).sum::<u64>());
                }
                let given = prompt.len() + new / 2;
                let first = (0, prompt.len());
                let singly = |from: usize| (from..contexts).map(|position| (position, 1));
                let stepwise: Vec<_> = std::iter::once(first).chain(singly(prompt.len())).collect();
                assert_eq!([steps(&report, 0), steps(&report, 1)], [stepwise.clone(), stepwise], "{case}");
                let chunks = (0..given).step_by(CHUNK).map(|from| (from, CHUNK.min(given - from)));
                assert_eq!(steps(&report, 2), chunks.chain(singly(given)).collect::<Vec<_>>(), "{case}");

                let compared = |route: usize| report.routes[route].agreement.as_ref().map(|found| found.positions);
                let ends = steps(&report, 2).iter().filter(|(at, tokens)| at + tokens >= prompt.len()).count();
                assert_eq!([compared(0), compared(1), compared(2)], [None, Some(new), Some(ends)], "{case}");
            }
        }
    }
}

#[test]
fn without_a_cache_the_work_of_a_step_grows_and_with_it_only_attention_does_up_to_the_window() {
    let (_, device) = devices().remove(0);
    let flops = |config: GptConfig, route: usize| -> Vec<u64> {
        let report = cost(&model(config, &device), &[1], &options(&device, 20)).expect("it fits");
        report.routes[route].passes.iter().map(|pass| pass.flops).collect()
    };
    let grows = |flops: &[u64]| flops.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>();
    let config = gpt2_config(); // 3 layers, 2 heads, 10 wide
    let key = 4 * 3 * 2 * 10;
    assert!(grows(&flops(config.clone(), 1)).iter().all(|step| *step == key), "one more key");
    let recomputed = grows(&flops(config.clone(), 0));
    assert_eq!(grows(&recomputed), [key; 18], "a quadratic");
    let windowed = grows(&flops(GptConfig { window: 7, ..config }, 1));
    let expected: Vec<u64> = (2..=20).map(|keys| if keys <= 7 { key } else { 0 }).collect();
    assert_eq!(windowed, expected, "constant once the window is full");
}

#[test]
fn a_route_that_is_wrong_disagrees_and_says_where() {
    let window = 5;
    let twin = Twin::of(&model(GptConfig { window, ..llama_config() }, &Device::flex()));
    let measured = |twin: &Twin| cost(twin, &[1, 2], &options(&twin.device(), 20)).expect("it fits");
    let sound = measured(&twin.clone());
    assert!(sound.agree, "{sound:#?}");
    let report = measured(&twin.with(Fault::WindowTooLong));
    assert!(!report.agree, "{report:#?}");
    let wrong = report.routes.iter().filter_map(|route| route.agreement.as_ref()).find(|found| !found.agree);
    let wrong = wrong.expect("one that differs");
    // The first text that is longer than the window is of six tokens, and their logits predict the token at position 6.
    assert!(wrong.first_logits.is_some_and(|position| position > window), "{wrong:?}");
    assert!(wrong.max_difference > 0.0 && wrong.max_ulps > Some(0), "{wrong:?}");
}

#[test]
fn more_tokens_than_the_context_holds_are_refused_and_as_many_as_it_holds_are_not() {
    let (_, device) = devices().remove(0);
    let gpt = model(gpt2_config(), &device);
    let limit = gpt.config().max_seq_len;
    let with = |prompt: usize, new: usize| cost(&gpt, &vec![1; prompt], &options(&device, new));
    assert!(with(3, limit - 2).is_ok_and(|report| report.agree));
    let error = with(3, limit - 1).expect_err("one too many");
    assert!(error.to_string().ends_with(&format!("at most {} fit after it", limit - 2)), "{error}");
    let error = with(limit + 1, 1).expect_err("the prompt alone is too long");
    assert!(error.to_string().contains("give a shorter one"), "{error}");
    assert!(matches!(with(0, 3), Err(ProveError::Infer(InferError::EmptyPrompt))));
    assert!(matches!(
        cost(&gpt, &[17], &options(&device, 3)),
        Err(ProveError::Infer(InferError::UnknownToken { id: 17, .. }))
    ));
}
