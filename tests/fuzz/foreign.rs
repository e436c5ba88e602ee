//! Models of other tools, one file of each mutated: they open or are refused.

use std::fs;
use std::path::PathBuf;

use tril::{ComputeDevice, Model};

use crate::fuzz;
use crate::mutation::{mutate_bytes, mutate_json};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/formats")).join(name)
}

/// Files of fixtures; those of a directory that has no tokenizer are read up to it.
const FILES: [&str; 12] = [
    "gpt2/config.json",
    "gpt2/model.safetensors",
    "gpt2/vocab.json",
    "gpt2/merges.txt",
    "gpt2/tokenizer_config.json",
    "qwen3/config.json",
    "qwen3/model.safetensors",
    "qwen3/tokenizer.json",
    "qwen3/tokenizer_config.json",
    "llama/model.safetensors.index.json",
    "llama/config.json",
    "gguf/model.gguf",
];

#[test]
fn foreign_models() {
    let dir = tempfile::tempdir().expect("a directory");
    for name in ["gpt2", "qwen3", "llama", "gguf"] {
        fs::create_dir(dir.path().join(name)).expect("a directory");
        for entry in fs::read_dir(fixture(name)).expect("a fixture") {
            let path = entry.expect("an entry").path();
            fs::copy(&path, dir.path().join(name).join(path.file_name().expect("a name"))).expect("copied");
        }
    }
    fuzz("foreign_models", 3000, |draws| {
        let name = *draws.one_of(&FILES);
        let path = dir.path().join(name);
        let sound = fs::read(fixture(name)).expect("a file");
        let mutated = match name.rsplit('.').next() {
            Some("json") if draws.below(4) > 0 => mutate_json(&sound, draws),
            Some("safetensors") if draws.below(4) > 0 => {
                let end = 8 + u64::from_le_bytes(sound[..8].try_into().expect("eight bytes")) as usize;
                let header = mutate_json(&sound[8..end], draws);
                let size = if draws.below(8) == 0 { u64::MAX - draws.below(9) as u64 } else { header.len() as u64 };
                [&size.to_le_bytes(), &header[..], &sound[end..]].concat()
            }
            // What matters of this one is at its beginning.
            Some("gguf") if draws.below(4) > 0 => {
                [mutate_bytes(&sound[..1500], draws), sound[1500..].to_vec()].concat()
            }
            _ => mutate_bytes(&sound, draws),
        };
        fs::write(&path, mutated).expect("written");
        let model = if name.ends_with(".gguf") { path.clone() } else { path.parent().expect("a directory").to_owned() };
        match Model::open(&model, &ComputeDevice::cpu()) {
            Ok(model) => {
                let info = model.info().expect("what opened can be told of");
                assert_eq!(info.exports.len(), 3);
                let _ = model.tokenizer().encode("The cat's 猫");
            }
            Err(error) => assert!(error.is_user_error() && !error.to_string().is_empty(), "{name}: {error}"),
        }
        fs::write(path, sound).expect("restored");
    });
}
