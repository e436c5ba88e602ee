//! Every reader of files, called as a program calls it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use serde_json::{Value, json};
use tril::model::memory;
use tril::{
    ComputeDevice, ExistingRun, Model, Quiet, Receipt, ReceiptRecorder, Recipe, ResumeChanges, Tokenizer, Tolerance,
    Training,
};

use crate::fuzz;
use crate::mutation::{Draws, mutate_bytes, mutate_json};

/// Caches up to this size are tried, in bytes; larger ones are allowed, and not for a test to fill.
const CACHE: u128 = 1 << 24;

/// What the run was trained on, again and again.
pub const TEXT: &str = "The fox ran. The owl sat.\n";

/// A small run with a receipt of it, made once.
pub fn run() -> &'static Path {
    static RUN: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = RUN.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a directory");
        let (text, path) = (dir.path().join("text.txt"), dir.path().join("run"));
        fs::write(&text, TEXT.repeat(40)).expect("written");
        let mut recipe = Recipe::shipped("smoke").expect("shipped");
        recipe.data.source = text.display().to_string();
        let (device, stop) = (ComputeDevice::cpu(), AtomicBool::new(false));
        let mut training = Training::begin(recipe, &path, ExistingRun::Keep, &device).expect("begun");
        training.train(&mut Quiet, &stop).expect("trained");
        drop(training);
        let model = Model::open(&path, &device).expect("a model");
        let (mut generator, mut recorder) = (model.generator(), ReceiptRecorder::default());
        let mut request = model.request("The ").expect("a prompt");
        request.options.max_tokens = 12;
        let number = generator.add(request.clone()).expect("added");
        recorder.add(number, &request).expect("recorded");
        for event in generator {
            recorder.record(&event.expect("an event"));
        }
        recorder.into_receipt(&model, &device).expect("a receipt").write(path.join("receipt.json")).expect("written");
        (dir, path)
    });
    path
}

/// A copy of the run in which one file of a kind is mutated.
fn mutated_run(dir: &Path, files: &[&str], draws: &mut Draws) {
    let step = "step-000006";
    fs::create_dir_all(dir.join(step)).expect("a directory");
    for entry in fs::read_dir(run().join(step)).expect("a checkpoint") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, dir.join(step).join(path.file_name().expect("a name"))).expect("copied");
    }
    for name in ["checkpoints.json", "config.toml", "metrics.jsonl"] {
        fs::copy(run().join(name), dir.join(name)).expect("copied");
    }
    let file = dir.join(draws.one_of(files));
    let bytes = fs::read(&file).expect("a file");
    let mutated = match file.extension().and_then(|extension| extension.to_str()) {
        Some("json") if draws.below(4) > 0 => mutate_json(&bytes, draws),
        // The header, which is JSON after its length.
        Some("safetensors") if draws.below(4) > 0 => {
            let end = 8 + u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
            let header = mutate_json(&bytes[8..end], draws);
            let size = if draws.below(8) == 0 { u64::MAX - draws.below(9) as u64 } else { header.len() as u64 };
            [&size.to_le_bytes(), &header[..], &bytes[end..]].concat()
        }
        _ => mutate_bytes(&bytes, draws),
    };
    fs::write(file, mutated).expect("written");
}

#[test]
fn recipes() {
    let texts: Vec<&str> = tril::SHIPPED_RECIPES.iter().map(|(_, text)| *text).collect();
    fuzz("recipes", 4000, |draws| {
        let bytes = mutate_bytes(draws.one_of(&texts).as_bytes(), draws);
        if let Ok(mut recipe) = Recipe::parse(&String::from_utf8_lossy(&bytes), "fuzz") {
            recipe.doubts();
            recipe.model.vocab_size = 65;
            if let Ok(model) = recipe.model.clone().resolve() {
                recipe.model = model;
                let _ = (recipe.train.check(), recipe.optimizer.check());
                let _ = recipe.check_memory();
            }
        }
        let mut recipe = Recipe::default();
        let item = mutate_bytes(
            draws.one_of(&["model.n_layers=6", "data.source=\"a\"", "optimizer.eps=1e-8"]).as_bytes(),
            draws,
        );
        let _ = recipe.set(&String::from_utf8_lossy(&item));
    });
}

#[test]
fn tokenizers() {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../text/tests/fixtures/tokenizers");
    let mut files: Vec<PathBuf> =
        fs::read_dir(fixtures).expect("fixtures").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let mut texts: Vec<Vec<u8>> = files.iter().map(|path| fs::read(path).expect("a file")).collect();
    texts.push(fs::read(run().join("step-000006/tokenizer.json")).expect("a tokenizer"));
    // Of each kind of part one, so that their fields are mutated too.
    let parts = [
        json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}),
        json!({"type": "Strip", "content": "a", "start": 1, "stop": 1}),
        json!({"type": "Prepend", "prepend": "▁"}),
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}),
        json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true}),
        json!({"type": "Split", "pattern": {"Regex": "a|b"}, "behavior": "Isolated", "invert": false}),
        json!({"type": "WordPiece", "prefix": "##", "cleanup": true}),
        json!({"type": "CTC", "pad_token": "a", "word_delimiter_token": "b", "cleanup": true}),
        json!({"type": "FixedLength", "length": 2}),
        json!({"type": "ByteFallback"}),
        json!({"type": "NFKC"}),
    ];
    fuzz("tokenizers", 6000, |draws| {
        let mut bytes = draws.one_of(&texts).clone();
        if let Ok(mut file) = serde_json::from_slice::<Value>(&bytes)
            && draws.below(2) == 0
        {
            let step = *draws.one_of(&["normalizer", "pre_tokenizer", "decoder"]);
            let key = if step == "decoder" {
                "decoders"
            } else if step == "normalizer" {
                "normalizers"
            } else {
                "pretokenizers"
            };
            let some: Vec<Value> = (0..1 + draws.below(3)).map(|_| draws.one_of(&parts).clone()).collect();
            file[step] = if some.len() == 1 { some[0].clone() } else { json!({"type": "Sequence", key: some}) };
            bytes = serde_json::to_vec(&file).expect("JSON");
        }
        let bytes = if draws.below(4) == 0 { mutate_bytes(&bytes, draws) } else { mutate_json(&bytes, draws) };
        let Ok(tokenizer) = Tokenizer::from_json(&String::from_utf8_lossy(&bytes), Path::new("fuzz.json")) else {
            return;
        };
        for text in ["abc é\u{0}\n", "ab ab  猫", ""] {
            if let Ok(tokens) = tokenizer.encode_with_ranges(text) {
                assert!(tokens.iter().all(|(_, range)| range.end <= text.len()), "{tokens:?}");
                let ids: Vec<u32> = tokens.iter().map(|(id, _)| *id).collect();
                let _ = tokenizer.decode(&ids);
                let (before, after) = ids.split_at(ids.len() / 2);
                let _ = tokenizer.decode_after(before, after);
                let spelt = tokenizer.encode_with_bytes(text).expect("as without the bytes");
                assert!(spelt.iter().map(|(_, bytes)| bytes).sum::<usize>() <= text.len(), "{spelt:?}");
                let _ = tokenizer.unknown_characters(text).expect("as without the bytes");
                let mut stream = tril::text::TextStream::new(&tokenizer);
                let _ = ids.iter().try_for_each(|id| stream.push(*id).map(drop));
                let _ = stream.finish();
            }
        }
        let _ = tokenizer.to_json();
    });
}

#[test]
fn checkpoints_and_their_headers() {
    let (dir, device) = (tempfile::tempdir().expect("a directory"), ComputeDevice::cpu());
    let files = [
        "step-000006/config.json",
        "step-000006/generation_config.json",
        "step-000006/model.safetensors",
        "step-000006/tokenizer.json",
        "checkpoints.json",
    ];
    fuzz("checkpoints", 400, |draws| {
        mutated_run(dir.path(), &files, draws);
        let Ok(model) = Model::open(dir.path(), &device) else { return };
        if memory::cache_bytes(model.config()) > CACHE {
            return;
        }
        let Ok(mut request) = model.request("The ") else { return };
        request.options.max_tokens = 3;
        let _ = model.generate(request);
        let _ = model.score("The owl", 2);
    });
}

#[test]
fn runs_and_the_state_of_their_optimizers() {
    let (dir, device) = (tempfile::tempdir().expect("a directory"), ComputeDevice::cpu());
    let step = "step-000006";
    let files = ["optimizer.safetensors", "train.json", "config.toml"].map(|name| format!("{step}/{name}"));
    let files: Vec<&str> = files.iter().map(String::as_str).chain(["checkpoints.json", "metrics.jsonl"]).collect();
    fuzz("runs", 400, |draws| {
        mutated_run(dir.path(), &files, draws);
        let path = if draws.below(2) == 0 { dir.path().to_owned() } else { dir.path().join(step) };
        let _ = Training::resume(path, &ResumeChanges::default(), &device);
    });
}

#[test]
fn receipts() {
    let device = ComputeDevice::cpu();
    let model = Model::open(run(), &device).expect("a model");
    let receipt = fs::read(run().join("receipt.json")).expect("a receipt");
    fuzz("receipts", 1500, |draws| {
        let bytes = if draws.below(4) == 0 { mutate_bytes(&receipt, draws) } else { mutate_json(&receipt, draws) };
        let Ok(receipt) = Receipt::parse(&String::from_utf8_lossy(&bytes), "fuzz") else { return };
        for tolerance in [Tolerance::EqualBits, Tolerance::Within(1e-3)] {
            let _ = receipt.check(&model, &device, tolerance);
        }
    });
}
