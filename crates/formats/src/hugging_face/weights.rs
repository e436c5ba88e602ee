//! The tensors of a directory: in one file or in shards, with whatever prefix, without what is no parameter.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use tril_model::{GptConfig, checkpoint};

use super::fields::Fields;
use crate::error::{FormatError, named};
use crate::safetensors_file::stored_tensors;
use crate::tensors::{StoredTensor, TensorStore};

/// Which file each tensor is in.
const INDEX: &str = "model.safetensors.index.json";
/// What stands before names: of a compiled model, of GPT-2's, of the others.
const PREFIXES: [&str; 3] = ["_orig_mod.", "transformer.", "model."];
/// How far an angle's frequency in a file may be from ours: it may have been stored in bf16.
const FREQUENCY_TOLERANCE: f64 = 8e-3;

/// Finds all tensors of a directory.
///
/// # Errors
/// A message of its own for each way of being incomplete.
pub(super) fn open(dir: &Path, config: &GptConfig) -> Result<TensorStore, FormatError> {
    let whole = dir.join(checkpoint::WEIGHTS);
    let mut found = Vec::new();
    let mut store = TensorStore::default();
    if whole.exists() {
        let file = store.add_file(&whole);
        found.extend(stored_tensors(&whole, file)?);
    } else {
        let shards = shards(dir)?;
        for (shard, promised) in shards {
            let path = dir.join(&shard);
            let file = store.add_file(&path);
            let tensors = stored_tensors(&path, file)?;
            check_shard(dir, &path, &promised, &tensors)?;
            found.extend(tensors);
        }
    }
    for tensor in found {
        let name = without_prefix(&tensor.full_name).to_owned();
        if !is_buffer(&name, &tensor, &store, config)? {
            store.add(name, tensor)?;
        }
    }
    Ok(store)
}

/// The shards in order of their names, with the tensors that the index puts into each.
fn shards(dir: &Path) -> Result<Vec<(String, BTreeSet<String>)>, FormatError> {
    let index = dir.join(INDEX);
    if !index.exists() {
        let pickle = ["pytorch_model.bin", "pytorch_model.bin.index.json"].map(|name| dir.join(name));
        return Err(match pickle.into_iter().find(|path| path.exists()) {
            Some(path) => FormatError::Pickle { path },
            None => FormatError::NoWeights { path: dir.to_owned() },
        });
    }
    let fields = Fields::read(&index)?;
    let map = fields.get("weight_map").and_then(Value::as_object);
    let map =
        map.ok_or_else(|| fields.unsupported("weight_map", "an object belongs there: the file of each tensor"))?;
    let mut shards: Vec<(String, BTreeSet<String>)> = Vec::new();
    for (tensor, shard) in map {
        let Some(shard) = shard.as_str().filter(|name| !name.contains(['/', '\\']) && *name != "..") else {
            return Err(fields.unsupported("weight_map", format!("`{tensor}` is in no file of this directory")));
        };
        if !dir.join(shard).exists() {
            return Err(FormatError::MissingShard { index, shard: shard.to_owned() });
        }
        match shards.iter_mut().find(|(name, _)| name == shard) {
            Some((_, tensors)) => _ = tensors.insert(tensor.clone()),
            None => shards.push((shard.to_owned(), [tensor.clone()].into())),
        }
    }
    shards.sort();
    Ok(shards)
}

/// Refuses a shard that has other tensors than the index says.
fn check_shard(
    dir: &Path,
    path: &Path,
    promised: &BTreeSet<String>,
    tensors: &[StoredTensor],
) -> Result<(), FormatError> {
    let found: BTreeSet<&str> = tensors.iter().map(|tensor| tensor.full_name.as_str()).collect();
    let lacking: Vec<&String> = promised.iter().filter(|name| !found.contains(name.as_str())).collect();
    if !lacking.is_empty() {
        let index = dir.join(INDEX);
        let reason = format!("{} puts {} there, and it is not; download it again", index.display(), named(&lacking));
        return Err(FormatError::damaged(path, reason));
    }
    let foreign: Vec<&str> = found.into_iter().filter(|name| !promised.contains(*name)).collect();
    if !foreign.is_empty() {
        let index = dir.join(INDEX);
        let reason =
            format!("it holds {}, which {} does not name; download both again", named(&foreign), index.display());
        return Err(FormatError::damaged(path, reason));
    }
    Ok(())
}

fn without_prefix(name: &str) -> &str {
    PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)).map_or(name, without_prefix)
}

/// Whether a tensor is no parameter but something that the config says too: GPT-2's causal mask, rotary frequencies.
///
/// # Errors
/// [`FormatError::Unsupported`] for frequencies that are others than the config's.
fn is_buffer(name: &str, tensor: &StoredTensor, store: &TensorStore, config: &GptConfig) -> Result<bool, FormatError> {
    if name.starts_with("h.") && name.ends_with(".attn.masked_bias") {
        return Ok(true);
    }
    if name.starts_with("h.") && name.ends_with(".attn.bias") {
        let n = tensor.shape.last().copied().unwrap_or(0);
        return Ok(tensor.shape == [1, 1, n, n] || tensor.shape == [n, n]);
    }
    if !name.ends_with("rotary_emb.inv_freq") {
        return Ok(false);
    }
    let found = store.read_stored(tensor)?;
    let frequency = |index: usize| libm::pow(config.rope_theta, -2.0 * index as f64 / config.d_head as f64);
    let fits = found.len() * 2 == config.d_head
        && found.iter().enumerate().all(|(index, found)| {
            (f64::from(*found) - frequency(index)).abs() <= FREQUENCY_TOLERANCE * frequency(index)
        });
    match fits {
        true => Ok(true),
        false => Err(FormatError::unsupported(
            store.path_of(tensor),
            &tensor.full_name,
            format!("{:?}", found.iter().take(4).collect::<Vec<_>>()),
            format!("rotary frequencies of its own, others than those of rope_theta = {}", config.rope_theta),
        )),
    }
}
