//! The checkpoint directory: `config.json`, `tokenizer.json`, `model.safetensors` and what resuming needs.
//!
//! A directory is written beside its place and renamed into it, so a kill at any instant leaves the old one, the new
//! one, or both.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, TensorData};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::parameters::{self, Init, WeightSource};
use crate::{Gpt, GptConfig, ModelError, hugging_face};

/// The model's config, as JSON.
pub const CONFIG: &str = "config.json";
/// The tokenizer, in the Hugging Face format. This crate never opens it.
pub const TOKENIZER: &str = "tokenizer.json";
/// The parameters, and nothing else.
pub const WEIGHTS: &str = "model.safetensors";

/// The files that make a model: `config.json` and `model.safetensors`, ready for [`write_dir`].
///
/// The same weights give the same bytes: tensors in a fixed order, no metadata.
///
/// # Errors
/// [`ModelError::Parameter`] if a tensor cannot be serialised.
pub fn model_files(model: &Gpt) -> Result<Vec<(&'static str, Vec<u8>)>, ModelError> {
    let config = serde_json::to_string_pretty(model.config()).map_err(|e| ModelError::Parameter(e.to_string()))?;
    Ok(vec![(CONFIG, (config + "\n").into_bytes()), (WEIGHTS, tensors_to_bytes(&parameters::list(model))?)])
}

/// Reads a model back from its checkpoint directory, or a GPT-2 model from a directory in Hugging Face layout.
///
/// # Errors
/// [`ModelError::Missing`] without the files, [`ModelError::Corrupt`] where they are damaged or do not fit together.
pub fn load_model(dir: &Path, device: &Device) -> Result<Gpt, ModelError> {
    if hugging_face::is_one(dir) {
        return hugging_face::load_gpt2(dir, device);
    }
    let config = load_config(dir)?;
    let path = dir.join(WEIGHTS);
    let mut source = FileSource { path: path.clone(), tensors: read_tensors(&path)? };
    let model = Gpt::from_source(config, &mut source, device)?;
    if let Some(name) = source.tensors.keys().next() {
        let detail = format!("it holds `{name}`, which the model of {CONFIG} does not have");
        return Err(ModelError::Corrupt { path, detail });
    }
    Ok(model)
}

/// Reads and checks a checkpoint's config.
///
/// # Errors
/// As [`load_model`].
pub fn load_config(dir: &Path) -> Result<GptConfig, ModelError> {
    for name in [CONFIG, WEIGHTS, TOKENIZER] {
        if !dir.join(name).is_file() {
            let detail = match dir {
                dir if dir.is_dir() => format!("it has no {name}"),
                dir if dir.exists() => "it is a file, and a checkpoint is a directory".into(),
                _ => "there is no such directory".into(),
            };
            return Err(ModelError::Missing { path: dir.to_owned(), detail });
        }
    }
    let path = dir.join(CONFIG);
    let text = String::from_utf8_lossy(&read(&path)?).into_owned();
    let config: GptConfig = serde_json::from_str(&text)
        .map_err(|error| ModelError::Corrupt { path: path.clone(), detail: error.to_string() })?;
    config.resolve().map_err(|error| ModelError::Corrupt { path, detail: error.to_string() })
}

/// Serialises named f32 tensors as safetensors, in a reproducible order and without metadata.
///
/// # Errors
/// [`ModelError::Parameter`] if a tensor is not f32.
pub fn tensors_to_bytes(tensors: &[(String, TensorData)]) -> Result<Vec<u8>, ModelError> {
    let failed = |error: safetensors::SafeTensorError| ModelError::Parameter(error.to_string());
    let views = tensors
        .iter()
        .map(|(name, data)| {
            let view = TensorView::new(Dtype::F32, data.shape().to_vec(), data.as_bytes()).map_err(failed)?;
            Ok((name.as_str(), view))
        })
        .collect::<Result<Vec<_>, ModelError>>()?;
    safetensors::serialize(views, None).map_err(failed)
}

/// Shape and values of each tensor of a safetensors file.
pub type NamedTensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Reads a safetensors file of f32 tensors.
///
/// # Errors
/// [`ModelError::Io`], and [`ModelError::Corrupt`] for a file that is truncated, damaged or of another type.
pub fn read_tensors(path: &Path) -> Result<NamedTensors, ModelError> {
    read_tensors_where(path, |_| true)
}

/// As [`read_tensors`], only the tensors whose names `wanted` accepts; others may be of any type.
///
/// # Errors
/// As [`read_tensors`].
pub fn read_tensors_where(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<NamedTensors, ModelError> {
    let corrupt = |detail: String| ModelError::Corrupt { path: path.to_owned(), detail };
    let bytes = read(path)?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| corrupt(format!("{error} ({} bytes)", bytes.len())))?;
    file.tensors()
        .into_iter()
        .filter(|(name, _)| wanted(name))
        .map(|(name, view)| {
            if view.dtype() != Dtype::F32 {
                return Err(corrupt(format!("`{name}` is {:?}, only F32 is read", view.dtype())));
            }
            let values = view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            Ok((name, (view.shape().to_vec(), values)))
        })
        .collect()
}

/// Takes parameters out of a checkpoint's tensors; what is left over belongs to no parameter.
struct FileSource {
    path: PathBuf,
    tensors: NamedTensors,
}

impl WeightSource for FileSource {
    fn values(&mut self, path: &str, shape: &[usize], _init: Init) -> Result<Vec<f32>, ModelError> {
        let corrupt = |detail: String| ModelError::Corrupt { path: self.path.clone(), detail };
        match self.tensors.remove(path) {
            None => Err(corrupt(format!("it lacks `{path}`, which the model of {CONFIG} has"))),
            Some((found, _)) if found != shape => {
                Err(corrupt(format!("`{path}` has shape {found:?}, but {CONFIG} asks for {shape:?}")))
            }
            Some((_, values)) => Ok(values),
        }
    }
}

/// Writes a directory of files so that it appears whole or not at all.
///
/// A directory that stands in its place is replaced; the caller sees to it that nothing else refers to that one.
///
/// # Errors
/// [`ModelError::Io`].
pub fn write_dir(target: &Path, files: &[(&str, Vec<u8>)]) -> Result<(), ModelError> {
    let parent = target.parent().unwrap_or(Path::new("."));
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let beside = parent.join(format!(".{name}.partial"));
    remove_dir(&beside)?;
    fs::create_dir_all(&beside).map_err(|source| io("create", &beside, source))?;
    for (name, bytes) in files {
        write_and_sync(&beside.join(name), bytes)?;
    }
    remove_dir(target)?;
    fs::rename(&beside, target).map_err(|source| io("rename", &beside, source))?;
    sync_dir(parent);
    Ok(())
}

/// Writes a file so that it holds the old bytes or the new ones, never some of each.
///
/// # Errors
/// [`ModelError::Io`].
pub fn write_file(target: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    let parent = target.parent().unwrap_or(Path::new("."));
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let beside = parent.join(format!(".{name}.partial"));
    write_and_sync(&beside, bytes)?;
    fs::rename(&beside, target).map_err(|source| io("rename", &beside, source))?;
    sync_dir(parent);
    Ok(())
}

/// Removes a directory with all that is in it, if it is there.
///
/// # Errors
/// [`ModelError::Io`].
pub fn remove_dir(dir: &Path) -> Result<(), ModelError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io("remove", dir, error)),
        _ => Ok(()),
    }
}

/// Reads a whole file.
///
/// # Errors
/// [`ModelError::Io`] with the path.
pub fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    fs::read(path).map_err(|source| io("read", path, source))
}

fn write_and_sync(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    let write = || -> std::io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|source| io("write", path, source))
}

/// Makes a rename durable where the platform can; elsewhere the rename itself has to do.
fn sync_dir(dir: &Path) {
    if let Ok(dir) = File::open(if dir.as_os_str().is_empty() { Path::new(".") } else { dir }) {
        let _ = dir.sync_all();
    }
}

fn io(action: &'static str, path: &Path, source: std::io::Error) -> ModelError {
    ModelError::Io { action, path: path.to_owned(), source }
}
