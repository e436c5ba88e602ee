//! The header of a safetensors file: names, shapes, types and places, without reading the numbers.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use safetensors::tensor::{Dtype, Metadata, TensorInfo, TensorView};

use crate::DataType;
use crate::error::{FormatError, is_lfs_pointer};
use crate::tensors::StoredTensor;

/// A header longer than this is no header, as the format itself says.
const MAX_HEADER: u64 = 100_000_000;

/// The tensors of a file, which is number `file` of its model.
///
/// # Errors
/// [`FormatError::LfsPointer`], [`FormatError::Damaged`] for a file that is cut, damaged or of another format.
pub(crate) fn stored_tensors(path: &Path, file: usize) -> Result<Vec<StoredTensor>, FormatError> {
    let (header_end, metadata) = read_header(path)?;
    let tensors = metadata.tensors().into_iter().map(|(name, info)| {
        let (begin, end) = info.data_offsets;
        let data_type = match info.dtype {
            Dtype::F32 => Some(DataType::F32),
            Dtype::F16 => Some(DataType::F16),
            Dtype::BF16 => Some(DataType::Bf16),
            _ => None,
        };
        StoredTensor {
            file,
            offset: (header_end + begin) as u64,
            bytes: end - begin,
            shape: info.shape.clone(),
            data_type,
            type_name: format!("{:?}", info.dtype),
            full_name: name,
        }
    });
    Ok(tensors.collect())
}

/// Where the header ends, and what it says.
fn read_header(path: &Path) -> Result<(usize, Metadata), FormatError> {
    let failed = |error| FormatError::unreadable(path, error);
    let mut opened = File::open(path).map_err(failed)?;
    let size = opened.metadata().map_err(failed)?.len();
    let damaged = |what: &str| {
        FormatError::damaged(path, format!("{what} ({size} bytes); restore it from a copy or download it again"))
    };
    let mut start = Vec::new();
    (&mut opened).take(64).read_to_end(&mut start).map_err(failed)?;
    if is_lfs_pointer(&start) {
        return Err(FormatError::LfsPointer { path: path.to_owned() });
    }
    let Some(length) = start.first_chunk::<8>() else {
        return Err(damaged("it is no safetensors file: it is too short"));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER || length > size.saturating_sub(8) {
        return Err(damaged("it is no safetensors file, or it is cut: its header is longer than the file"));
    }
    opened.seek(SeekFrom::Start(8)).map_err(failed)?;
    let mut header = Vec::new();
    opened.take(length).read_to_end(&mut header).map_err(failed)?;
    let metadata: Metadata = serde_json::from_slice(&header).map_err(|error| damaged(&error.to_string()))?;
    let header_end = 8 + header.len();
    let data_end = check_places(&metadata).map_err(|what| damaged(&what))?;
    if (header_end + data_end) as u64 != size {
        let promised = header_end + data_end;
        return Err(damaged(&format!("it is cut or has a foreign end: its header promises {promised} bytes")));
    }
    Ok((header_end, metadata))
}

/// Where the last tensor ends, if each begins where the one before it ends and is as long as its shape and type say; else
/// what is wrong.
fn check_places(metadata: &Metadata) -> Result<usize, String> {
    let mut tensors: Vec<(String, &TensorInfo)> = metadata.tensors().into_iter().collect();
    tensors.sort_by_key(|(_, info)| info.data_offsets);
    let mut place = 0_usize;
    for (name, info) in tensors {
        let (begin, end) = info.data_offsets;
        let numbers = info.shape.iter().try_fold(1_usize, |all, one| all.checked_mul(*one));
        let bits = numbers.and_then(|numbers| numbers.checked_mul(info.dtype.bitsize()));
        let length = end.checked_sub(begin).filter(|length| Some(*length) == bits.map(|bits| bits.div_ceil(8)));
        if begin != place || length.is_none() {
            return Err(format!("`{name}` lies where it cannot lie"));
        }
        place = end;
    }
    Ok(place)
}

/// A safetensors file of these tensors, in the order of their names, with the metadata that transformers asks for.
///
/// # Errors
/// [`FormatError::Model`].
pub(crate) fn to_bytes(tensors: &[(String, Vec<usize>, Vec<u8>)], data_type: DataType) -> Result<Vec<u8>, FormatError> {
    let dtype = match data_type {
        DataType::F16 => Dtype::F16,
        DataType::Bf16 => Dtype::BF16,
        DataType::F32 | DataType::Q8_0 => Dtype::F32,
    };
    let failed = |source: safetensors::SafeTensorError| {
        FormatError::Model(tril_model::ModelError::Serialize { what: "tensors", source: source.into() })
    };
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| Ok((name.as_str(), TensorView::new(dtype, shape.clone(), bytes).map_err(failed)?)))
        .collect::<Result<Vec<_>, FormatError>>()?;
    let metadata = [("format".to_owned(), "pt".to_owned())].into_iter().collect();
    safetensors::serialize(views, Some(metadata)).map_err(failed)
}
