//! Files of named f32 tensors in the safetensors format.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::TensorData;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::{ModelError, files};

/// Serialises named f32 tensors as safetensors, in a reproducible order and without metadata.
///
/// # Errors
/// [`ModelError::Serialize`] if a tensor is not f32.
pub fn tensors_to_bytes(tensors: &[(String, TensorData)]) -> Result<Vec<u8>, ModelError> {
    let failed =
        |source: safetensors::SafeTensorError| ModelError::Serialize { what: "tensors", source: source.into() };
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

/// What [`tensors_to_bytes`] gave, with shapes and values.
///
/// # Errors
/// [`ModelError::Parameter`] for other bytes.
pub fn tensors_from_bytes(bytes: &[u8]) -> Result<NamedTensors, ModelError> {
    parse(bytes, |_| true).map_err(ModelError::Parameter)
}

/// As [`read_tensors`], only the tensors whose names `wanted` accepts; others may be of any type.
///
/// # Errors
/// As [`read_tensors`].
pub fn read_tensors_where(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<NamedTensors, ModelError> {
    parse(&files::read(path)?, wanted).map_err(|detail| ModelError::corrupt(path, detail))
}

/// The tensors whose names `wanted` accepts; the error says what is wrong with the bytes.
fn parse(bytes: &[u8], wanted: impl Fn(&str) -> bool) -> Result<NamedTensors, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| format!("{error} ({} bytes)", bytes.len()))?;
    file.tensors()
        .into_iter()
        .filter(|(name, _)| wanted(name))
        .map(|(name, view)| {
            if view.dtype() != Dtype::F32 {
                return Err(format!("`{name}` is {:?}, only F32 is read", view.dtype()));
            }
            let values = view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            Ok((name, (view.shape().to_vec(), values)))
        })
        .collect()
}
