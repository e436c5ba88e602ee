//! Each document of the page against what the library says of the same text.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use tril::infer::{ScoreOptions, score};
use tril::prove::work::{pass_bytes, pass_flops};
use tril::{ComputeDevice, GenerateOptions, Model, SamplerConfig};
use tril_model::{ForwardContext, Gpt, HeadId};
use tril_serve::page::{self, PageSource, WriteEvent, WriteRequest, WrittenToken};
use tril_text::{Tokenizer, TokenizerConfig, TokenizerKind};

use crate::commands::test_dir::*;
use crate::support::{all_configs, model, values};

/// A model with a vocabulary of letters.
fn lettered(gpt: Gpt) -> Model {
    let letters: String = ('a'..).take(gpt.config().vocab_size).collect();
    let config = TokenizerConfig { kind: TokenizerKind::Char, ..TokenizerConfig::default() };
    let tokenizer = Arc::new(Tokenizer::build(&config, &[&letters]).expect("a tokenizer"));
    Model::new(gpt, tokenizer, "letters").expect("they fit")
}

fn models() -> Vec<(&'static str, Model)> {
    let device = Device::flex();
    all_configs().into_iter().map(|(name, config)| (name, lettered(model(config, &device)))).collect()
}

/// A text of this many tokens that visits the vocabulary unevenly.
fn text(model: &Model, tokens: usize) -> String {
    let letter =
        |index: usize| char::from(b'a' + ((index * index * 7 + index * 3 + 1) % model.config().vocab_size) as u8);
    (0..tokens).map(letter).collect()
}

fn ids(model: &Model, text: &str) -> Vec<u32> {
    model.tokenizer().encode(text).expect("letters")
}

fn logits(model: &Model, ids: &[u32], disabled_heads: &[HeadId]) -> Vec<f32> {
    let context = ForwardContext { disabled_heads, ..ForwardContext::default() };
    values(model.gpt().forward_with(model.gpt().inputs(ids, 1), context))
}

#[test]
fn a_pass_is_scored_as_the_library_scores_and_its_last_lens_is_the_model() {
    for (name, model) in models() {
        let text = text(&model, 20);
        let ids = ids(&model, &text);
        let pass = page::pass(&model, &text).expect("a pass");
        assert_eq!(pass.text.ids(), ids);
        let scores = score(model.gpt(), &ids, &ScoreOptions { seq_len: 20, alternatives: 5 }).expect("scores");
        assert_eq!((pass.rows[0].logprob, pass.rows[0].rank), (None, None));
        for (index, scored) in scores.iter().enumerate() {
            let (row, before) = (&pass.rows[index + 1], &pass.rows[index]);
            assert!((row.logprob.expect("predicted") - scored.logprob).abs() < 1e-5, "{name}, {index}");
            assert_eq!(row.rank, Some(scored.rank), "{name}, {index}");
            assert!((before.entropy - scored.entropy).abs() < 1e-9, "{name}, {index}");
            for (found, (id, logprob)) in before.next.iter().zip(&scored.alternatives) {
                assert_eq!(found.id, *id, "{name}, {index}");
                assert!((found.p - logprob.exp()).abs() < 1e-9, "{name}, {index}");
            }
        }
        let last = pass.lens.last().expect("layers");
        assert_eq!(last.after, model.config().n_layers);
        for (position, (lens, row)) in last.rows.iter().zip(&pass.rows).enumerate() {
            assert_eq!(lens.next[..], row.next[..lens.next.len()], "{name}, {position}");
        }
        let lens = values(model.gpt().logit_lens(model.gpt().embed(model.gpt().inputs(&ids, 1), 0)));
        let own = lens.chunks(model.config().vocab_size).next().expect("a row");
        let expected = tril::infer::logprob(own, ids[1]).exp();
        assert!((pass.lens[0].rows[0].target.expect("a next token") - expected).abs() < 1e-12, "{name}");
    }
}

#[test]
fn weights_are_those_of_the_lab_to_the_bit_and_exactly_zero_above() {
    for (name, model) in models() {
        let text = text(&model, 20);
        let expected = tril_lab::attention(model.gpt(), &ids(&model, &text)).expect("heads");
        let pass = page::pass(&model, &text).expect("a pass");
        assert_eq!(pass.attention.len(), expected.len());
        for (found, expected) in pass.attention.iter().zip(&expected) {
            assert_eq!((found.layer, found.head), (expected.layer, expected.head));
            assert_eq!(found.weights, expected.weights, "{name}");
            for (query, row) in found.weights.iter().enumerate() {
                assert!(row[query + 1..].iter().all(|weight| weight.to_bits() == 0), "{name}");
                assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{name}");
            }
        }
    }
}

#[test]
fn every_step_has_the_bits_of_the_pass_and_costs_what_is_counted() {
    for (name, model) in models() {
        let (text, config) = (text(&model, 20), model.config().clone());
        let steps = page::steps(&model, &text).expect("steps");
        let logits = logits(&model, &ids(&model, &text), &[]);
        for equality in [steps.logits_cached, steps.logits_recomputed, steps.attention_cached, steps.attention_above] {
            assert_eq!((equality.different, equality.max_difference), (0, 0.0), "{name}");
        }
        assert_eq!(steps.logits_cached.numbers, 20 * config.vocab_size);
        assert_eq!(steps.attention_above.numbers, config.n_layers * config.n_heads * 20 * 19 / 2);
        let pass = page::pass(&model, &text).expect("a pass");
        for (position, row) in steps.rows.iter().enumerate() {
            assert_eq!((&row.cached, &row.recomputed), (&row.parallel, &row.parallel), "{name}");
            assert_eq!(row.parallel, pass.rows[position].logits, "{name}");
        }
        let different: std::collections::BTreeSet<&String> = steps.rows.iter().map(|row| &row.parallel).collect();
        assert!(different.len() > 5, "{name}: fingerprints of different rows differ");
        assert_eq!(logits.len(), steps.logits_cached.numbers);
        assert_eq!(steps.parallel.flops, pass_flops(&config, 0, 20, 20));
        assert_eq!(steps.parallel.bytes, pass_bytes(&config, 1, 0, 20));
        assert_eq!(steps.cached.flops, steps.parallel.flops, "{name}: the same operations");
        assert_eq!(steps.cached.bytes, (0..20).map(|at| pass_bytes(&config, 1, at, 1)).sum::<u64>());
        assert_eq!(steps.recomputed.flops, (1..=20).map(|len| pass_flops(&config, 0, len, 1)).sum::<u64>());
        let most = config.window().map_or(20, |window| window - 1);
        let kept: Vec<usize> = steps.cached.passes.iter().map(|pass| pass.kept).collect();
        assert_eq!(kept, (1..=20).map(|step| step.min(most)).collect::<Vec<usize>>(), "{name}");
    }
}

#[test]
fn without_the_mask_the_documents_say_so() {
    let config = all_configs().remove(0).1;
    let open = lettered(model(config, &Device::flex()).without_mask());
    let text = text(&open, 12);
    let steps = page::steps(&open, &text).expect("steps");
    assert!(steps.logits_cached.different > 0 && steps.logits_recomputed.different > 0);
    assert!(steps.attention_above.different > 0);
    let change = page::change(&open, &text, 6, (ids(&open, &text)[6] + 1) % 17).expect("a change");
    assert!(change.before.different > 0, "earlier positions hear of it");
}

#[test]
fn a_changed_token_moves_no_bit_before_it_and_something_after() {
    for (name, model) in models() {
        let text = text(&model, 20);
        let ids = ids(&model, &text);
        let vocab_size = model.config().vocab_size;
        for position in [0, 7, 19] {
            let replacement = (ids[position] + 1) % vocab_size as u32;
            let change = page::change(&model, &text, position, replacement).expect("a change");
            let mut other = ids.clone();
            other[position] = replacement;
            let (was, is) = (logits(&model, &ids, &[]), logits(&model, &other, &[]));
            assert_eq!((change.before.numbers, change.before.different), (position * vocab_size, 0), "{name}");
            for (place, row) in change.rows.iter().enumerate() {
                let range = place * vocab_size..(place + 1) * vocab_size;
                let pairs = was[range.clone()].iter().zip(&is[range.clone()]);
                let different = pairs.clone().filter(|(a, b)| a.to_bits() != b.to_bits()).count();
                let largest = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert_eq!((row.different, row.max_difference), (different, largest), "{name}, {place}");
                assert_eq!(row.moved == 0.0, different == 0, "{name}, {place}");
                assert!((0.0..=1.0).contains(&row.moved));
            }
            assert!(change.rows[position].different > 0, "{name}");
            for residual in &change.residuals {
                assert!(residual.different[..position].iter().all(|count| *count == 0), "{name}");
            }
            let embedding = &change.residuals[0].different;
            assert_eq!(embedding.iter().filter(|count| **count > 0).count(), 1, "{name}: it enters at its own place");
        }
        assert!(page::change(&model, &text, 20, 0).is_err() && page::change(&model, &text, 0, 999).is_err());
    }
}

#[test]
fn a_head_switched_off_costs_what_the_library_says() {
    for (name, model) in models() {
        let text = text(&model, 16);
        let ids = ids(&model, &text);
        let off = page::heads(&model, &text).expect("heads");
        assert_eq!(off.heads.len(), model.config().n_layers * model.config().n_heads);
        let loss = |disabled: &[HeadId]| -> f64 {
            let logits = logits(&model, &ids, disabled);
            let rows: Vec<&[f32]> = logits.chunks(model.config().vocab_size).collect();
            -(1..16).map(|at| tril::infer::logprob(rows[at - 1], ids[at])).sum::<f64>() / 15.0
        };
        assert!((off.loss - loss(&[])).abs() < 1e-12, "{name}");
        for head in &off.heads {
            let expected = loss(&[HeadId { layer: head.layer, head: head.head }]);
            assert!((head.loss - expected).abs() < 1e-12, "{name}");
            assert_ne!(head.loss, off.loss, "{name}: each head does something");
        }
    }
}

/// All that `write` tells.
fn written(model: &Model, request: &WriteRequest) -> (Vec<WrittenToken>, String) {
    let (mut tokens, mut text) = (Vec::new(), String::new());
    let mut take = |event: WriteEvent| {
        match event {
            WriteEvent::Token(token) => tokens.push(token),
            WriteEvent::Text { text: more } => text.push_str(&more),
            _ => {}
        }
        true
    };
    page::write(model, request, &mut take).expect("it writes");
    (tokens, text)
}

#[test]
fn what_is_written_is_what_the_library_generates_and_goes_on_from_any_token() {
    for (name, model) in models().into_iter().filter(|(_, model)| model.config().context_limit().is_none()) {
        for (temperature, top_k, top_p) in [(0.8, 0, 1.0), (1.4, 5, 1.0), (1.0, 0, 0.7), (0.0, 0, 1.0)] {
            let request = WriteRequest {
                prompt: "abc".into(),
                max_tokens: 30,
                temperature,
                top_k,
                top_p,
                seed: 7,
                ..WriteRequest::default()
            };
            let (tokens, text) = written(&model, &request);
            let mut asked = model.request("abc").expect("letters");
            let sampler = SamplerConfig { temperature, top_k, top_p, seed: 7, ..SamplerConfig::default() };
            asked.options = GenerateOptions { sampler, max_tokens: 30, ..asked.options };
            let completion = model.generate(asked).expect("a text");
            assert_eq!(text, completion.text, "{name}");
            for (found, expected) in tokens.iter().zip(&completion.tokens) {
                let sampled = &expected.sampled;
                assert_eq!((found.id, found.logprob, found.uniform), (sampled.token, sampled.logprob, sampled.uniform));
                assert_eq!(found.cdf_interval, [sampled.cdf_interval.start, sampled.cdf_interval.end]);
                assert_eq!((found.position, found.context), (expected.position, expected.context));
                let own = found.candidates.iter().find(|other| other.id == found.id).expect("the drawn one is named");
                assert_eq!(own.cdf_interval, found.cdf_interval);
                for other in &found.candidates {
                    let [from, to] = other.cdf_interval;
                    assert!((to - from - other.p).abs() < 1e-9, "{name}: {other:?}");
                    let is_hit = found.uniform.is_some_and(|uniform| (from..to).contains(&uniform));
                    assert_eq!(is_hit, other.id == found.id && found.uniform.is_some(), "{name}");
                }
            }
            // From the fifth token on, another one: what follows is what would have followed it.
            let fork: Vec<u32> =
                ids(&model, "abc").into_iter().chain(tokens[..4].iter().map(|token| token.id)).collect();
            let again = WriteRequest { ids: fork, max_tokens: 26, ..request.clone() };
            let (rest, _) = written(&model, &again);
            let expected: Vec<u32> = tokens[4..].iter().map(|token| token.id).collect();
            assert_eq!(rest.iter().map(|token| token.id).collect::<Vec<_>>(), expected, "{name}");
        }
        let mut most = 3;
        let request = WriteRequest { max_tokens: 100, ..WriteRequest::default() };
        page::write(&model, &request, &mut |_| {
            most -= 1;
            most > 0
        })
        .expect("it stops");
        assert_eq!(most, 0, "a reader who has gone is told nothing more");
        for bad in [
            WriteRequest { temperature: -1.0, ..WriteRequest::default() },
            WriteRequest { ids: vec![99], ..WriteRequest::default() },
            WriteRequest { max_tokens: 5000, ..WriteRequest::default() },
        ] {
            assert!(page::write(&model, &bad, &mut |_| true).is_err(), "{bad:?}");
        }
    }
}

#[test]
fn a_run_is_drawn_from_its_metrics_with_samples_and_the_floor_of_its_stories() {
    let test_dir = TestDir::with_run();
    let run = test_dir.path("run");
    let records = metrics(&run);
    let drawn = page::read_run(&run).expect("a run");
    assert_eq!((drawn.name.as_str(), drawn.stride, drawn.floor), ("run", 1, None));
    assert_eq!(drawn.loss, column(&records, "step", "loss"));
    assert_eq!(drawn.learning_rate, column(&records, "step", "learning_rate"));
    assert_eq!(drawn.grad_norm, column(&records, "step", "grad_norm"));
    let losses: Vec<f64> = drawn.evaluations.iter().map(|point| point.loss).collect();
    assert_eq!(losses, column(&records, "evaluation", "loss"));
    assert_eq!(drawn.samples.len(), drawn.evaluations.len(), "a sample at each evaluation");
    // The last sample is what the saved model writes: smoke's [sample] section.
    let model = Model::open(test_dir.path("run/step-000006"), &ComputeDevice::cpu()).expect("a checkpoint");
    let mut request = model.request("").expect("a prompt");
    request.options.sampler = SamplerConfig { temperature: 0.8, ..SamplerConfig::default() };
    request.options.max_tokens = 20;
    assert_eq!(drawn.samples.last().expect("samples").text, model.generate(request).expect("a text").text);

    let said = test_dir.stdout("train smoke.toml --out tales --set data.validation_fraction=0.01");
    let number = |name: &str| -> f64 {
        let line = said.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{name}: {said}"));
        line.split_whitespace().find_map(|word| word.parse().ok()).expect("a number")
    };
    let drawn = page::read_run(&test_dir.path("tales")).expect("a run");
    let per_token = number("nats a token") / number("nats a character") * number("floor");
    let floor = drawn.floor.expect("stories have a floor");
    assert!((floor / per_token - 1.0).abs() < 2e-3, "{floor}, by what train prints {per_token}");
}

#[test]
fn many_steps_are_drawn_as_means() {
    let test_dir = TestDir::empty();
    std::fs::create_dir(test_dir.path("run")).expect("a directory");
    let line = |step: u64| {
        let loss = if step.is_multiple_of(2) { 1.0 } else { 3.0 };
        format!(
            "{{\"kind\":\"step\",\"step\":{step},\"loss\":{loss},\"grad_norm\":1.0,\"learning_rate\":0.5,\"tokens_per_second\":9.0}}\n"
        )
    };
    let mut lines: String = (1..=4001).map(line).collect();
    lines.push_str("{\"kind\":\"step\",\"st");
    test_dir.write("run/metrics.jsonl", &lines);
    let drawn = page::read_run(&test_dir.path("run")).expect("a run that is being written");
    assert_eq!(drawn.stride, 5);
    assert!(drawn.step.len() <= 1000 && drawn.step.last() == Some(&4001), "{}", drawn.step.len());
    assert!(drawn.loss.iter().all(|loss| (1.0..=3.0).contains(loss)));
    test_dir.write("run/metrics.jsonl", "{\"kind\":\"step\"}\n");
    let error = page::read_run(&test_dir.path("run")).expect_err("no record").to_string();
    assert_says(&error, &["metrics.jsonl", "line 1"]);
    assert!(page::read_run(Path::new("nowhere")).is_err());
}

#[test]
fn proofs_are_those_of_prove() {
    let test_dir = TestDir::with_run();
    let model = Model::open(test_dir.path("run"), &ComputeDevice::cpu()).expect("a run");
    let found = serde_json::to_value(page::proofs(&model, None).expect("proofs")).expect("JSON");
    let expected: serde_json::Value = serde_json::from_str(&test_dir.stdout("prove run --json")).expect("JSON");
    assert_eq!(found["pass"], true);
    for (found, expected) in
        found["proofs"].as_array().expect("rows").iter().zip(expected["proofs"].as_array().expect("rows"))
    {
        for field in ["id", "claim", "outcome", "cases", "positions", "max_difference", "max_ulps", "reason"] {
            assert_eq!(found[field], expected[field], "{field}");
        }
    }
}

#[test]
fn a_text_is_cut_to_what_the_page_shows_and_the_rest_is_counted() {
    let (_, model) = models().remove(1);
    let shown = page::page_text(&model, &text(&model, 40)).expect("a text");
    assert_eq!((shown.tokens.len(), shown.left_out), (26, 14), "a context");
    assert!(page::page_text(&model, "a").is_err() && page::page_text(&model, "月").is_err());
    let source = PageSource::new(model);
    let facts = page::facts(&source).expect("facts");
    assert_eq!((facts.max_tokens, facts.exact, facts.working), (26, true, None));
    assert_eq!(facts.text, page::own_text(&source.model).expect("a text"), "always the same");
}
