//! What is saved comes back, and what is damaged is refused.

use std::fs;
use std::path::Path;

use tril_model::{Gpt, GptConfig, ModelError, checkpoint, files};

use crate::support::*;

fn save(gpt: &Gpt, dir: &Path) {
    let mut parts = checkpoint::model_files(gpt).expect("files");
    parts.push((checkpoint::TOKENIZER, b"{}".to_vec()));
    files::write_dir(dir, &parts).expect("written");
}

#[test]
fn a_model_survives_its_checkpoint_bit_for_bit() {
    for (device_name, device) in devices() {
        for (name, config) in all_configs() {
            let dir = tempfile::tempdir().expect("a directory");
            let path = dir.path().join("checkpoint");
            let gpt = model(config, &device);
            save(&gpt, &path);
            let again = checkpoint::load_model(&path, &device).expect("read");
            assert_eq!(again.config(), gpt.config());
            let inputs = input(&some_ids(2, 9, gpt.config().vocab_size), 2, &device);
            assert_eq!(values(gpt.forward(inputs.clone())), values(again.forward(inputs)), "{device_name}, {name}");
        }
    }
}

#[test]
fn a_config_from_before_a_field_was_known_opens_with_the_default_of_it() {
    let (_, device) = devices().remove(0);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("checkpoint");
    let gpt = model(llama_config(), &device);
    save(&gpt, &path);
    let file = path.join(checkpoint::CONFIG);
    let text = fs::read_to_string(&file).expect("JSON");
    let mut fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).expect("an object");
    assert_eq!(fields.remove("zero_init_outputs"), Some(false.into()));
    fs::write(&file, serde_json::to_string(&fields).expect("JSON")).expect("written");
    assert_eq!(checkpoint::load_model(&path, &device).expect("read").config(), gpt.config());
}

#[test]
fn the_same_weights_give_the_same_bytes_sorted_and_without_metadata() {
    let (_, device) = devices().remove(0);
    let bytes = || checkpoint::model_files(&model(llama_config(), &device)).expect("files");
    assert_eq!(bytes(), bytes());
    let (_, weights) = bytes().remove(1);
    let header_len = u64::from_le_bytes(weights[..8].try_into().expect("8 bytes")) as usize;
    let header: serde_json::Value = serde_json::from_slice(&weights[8..8 + header_len]).expect("JSON");
    assert!(header.get("__metadata__").is_none());
    assert!(header.get("blocks.1.attention.qkv.weight").is_some());
}

#[test]
fn replacing_a_checkpoint_leaves_no_file_of_the_old_one() {
    let (_, device) = devices().remove(0);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("checkpoint");
    fs::create_dir_all(&path).expect("made");
    fs::write(path.join("stale"), "old").expect("written");
    save(&model(gpt2_config(), &device), &path);
    assert!(!path.join("stale").exists());
    let around: Vec<_> = fs::read_dir(dir.path()).expect("listed").collect();
    assert_eq!(around.len(), 1, "nothing stays beside it");
}

#[test]
fn a_checkpoint_of_another_shape_truncated_or_with_foreign_tensors_is_refused() {
    let (_, device) = devices().remove(0);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("checkpoint");
    let gpt = model(llama_config(), &device);
    let refused = |what: &str| match checkpoint::load_model(&path, &device) {
        Err(ModelError::Corrupt { source, .. }) => source.to_string(),
        other => panic!("{what}: {other:?}"),
    };
    let write_config = |config: GptConfig| {
        fs::write(path.join(checkpoint::CONFIG), serde_json::to_string(&config).expect("JSON")).expect("written");
    };

    save(&gpt, &path);
    write_config(GptConfig { d_ff: 34, ..gpt.config().clone() });
    assert!(refused("d_ff").contains("mlp.up.weight"), "the tensor is named");
    write_config(GptConfig { n_layers: 3, ..gpt.config().clone() });
    assert!(refused("more layers").contains("lacks `blocks.2."));
    write_config(GptConfig { n_layers: 1, ..gpt.config().clone() });
    assert!(refused("fewer layers").contains("holds `blocks.1."));

    save(&gpt, &path);
    let whole = fs::read(path.join(checkpoint::WEIGHTS)).expect("read");
    for len in [0, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(path.join(checkpoint::WEIGHTS), &whole[..len]).expect("written");
        refused("truncated");
    }
}
