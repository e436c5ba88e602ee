//! A GGUF file that llama.cpp runs.

use super::config::metadata;
use super::container::{ALIGNMENT, GgufValue, type_number, write_head, write_text, write_value};
use super::tokenizer::{TargetTokens, tokenizer_metadata};
use crate::data_type::Q8_BLOCK;
use crate::error::FormatError;
use crate::form::Form;
use crate::layout::Entry;
use crate::weights::stored;
use crate::{DataType, Exportable};

/// The bytes of the file.
///
/// - name: what llama.cpp shows as the model's name
pub(crate) fn file(
    model: &Exportable<'_>,
    form: Form,
    tokens: &TargetTokens,
    data_type: DataType,
    name: &str,
) -> Result<Vec<u8>, FormatError> {
    let mut pairs = vec![
        ("general.architecture".to_owned(), GgufValue::Text(form.architecture.name().to_owned())),
        ("general.type".to_owned(), GgufValue::Text("model".to_owned())),
        ("general.name".to_owned(), GgufValue::Text(name.to_owned())),
        ("general.file_type".to_owned(), GgufValue::U32(file_type(data_type))),
        ("general.quantization_version".to_owned(), GgufValue::U32(2)),
    ];
    pairs.extend(metadata(model.gpt.config(), form));
    pairs.extend(tokenizer_metadata(model, tokens)?);
    let tensors: Vec<(Entry, DataType, Vec<u8>)> = stored(model.gpt, form)
        .map(|(entry, values)| {
            let data_type = type_of(&entry, data_type);
            let bytes = data_type.encode(&values);
            (entry, data_type, bytes)
        })
        .collect();
    let mut out = Vec::new();
    write_head(&mut out, tensors.len(), pairs.len());
    for (key, value) in &pairs {
        write_text(&mut out, key);
        write_value(&mut out, value);
    }
    let mut offset = 0_u64;
    for (entry, data_type, bytes) in &tensors {
        write_text(&mut out, &entry.name);
        out.extend((entry.shape.len() as u32).to_le_bytes());
        // Innermost first.
        entry.shape.iter().rev().for_each(|size| out.extend((*size as u64).to_le_bytes()));
        out.extend(type_number(*data_type).to_le_bytes());
        out.extend(offset.to_le_bytes());
        offset = (offset + bytes.len() as u64).next_multiple_of(ALIGNMENT);
    }
    for (_, _, bytes) in &tensors {
        out.resize(out.len().next_multiple_of(ALIGNMENT as usize), 0);
        out.extend(bytes);
    }
    out.resize(out.len().next_multiple_of(ALIGNMENT as usize), 0);
    Ok(out)
}

/// How one tensor is stored: what is added or multiplied element by element stays f32, as llama.cpp wants it, and rows that
/// fill no whole blocks become f16, as its own converter has them.
fn type_of(entry: &Entry, data_type: DataType) -> DataType {
    let is_matrix = entry.shape.len() == 2 && !entry.name.starts_with("position_embd");
    match (is_matrix, data_type) {
        (false, _) => DataType::F32,
        (true, DataType::Q8_0) if !entry.shape[1].is_multiple_of(Q8_BLOCK) => DataType::F16,
        (true, data_type) => data_type,
    }
}

/// `general.file_type`: what most tensors are (`llama_ftype` of llama.h).
fn file_type(data_type: DataType) -> u32 {
    match data_type {
        DataType::F32 => 0,
        DataType::F16 => 1,
        DataType::Q8_0 => 7,
        DataType::Bf16 => 32,
    }
}
