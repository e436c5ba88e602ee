//! What a GGUF file holds, read without its numbers: metadata, and where each tensor lies. And written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use crate::DataType;
use crate::error::{FormatError, is_lfs_pointer};
use crate::tensors::StoredTensor;

const MAGIC: &[u8; 4] = b"GGUF";
/// The version that is written; 2 differs in nothing that is read here.
const VERSION: u32 = 3;
/// Where tensors begin, unless `general.alignment` says otherwise.
pub(super) const ALIGNMENT: u64 = 32;
/// More pairs or tensors than any file has.
const MAX_COUNT: u64 = 1 << 20;
/// More dimensions than a tensor has.
const MAX_DIMENSIONS: u32 = 4;

/// A value of the metadata.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum GgufValue {
    U32(u32),
    /// Any whole number of a file that is read.
    Integer(i128),
    F32(f32),
    F64(f64),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    I32s(Vec<i32>),
    F32s(Vec<f32>),
    /// A list of anything else, whose items nobody asks for.
    Others(usize),
}

/// What is known of a file.
#[derive(Debug)]
pub(crate) struct GgufFile {
    pub path: PathBuf,
    pub metadata: BTreeMap<String, GgufValue>,
    pub tensors: Vec<StoredTensor>,
}

/// Whether a file begins as these do.
pub(crate) fn is_one(path: &Path) -> bool {
    let mut magic = [0; 4];
    File::open(path).is_ok_and(|mut file| file.read_exact(&mut magic).is_ok() && &magic == MAGIC)
}

impl GgufFile {
    /// # Errors
    /// [`FormatError::LfsPointer`], [`FormatError::Damaged`] for a file that is cut or damaged.
    pub fn read(path: &Path) -> Result<Self, FormatError> {
        let failed = |error| FormatError::unreadable(path, error);
        let file = File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let mut reader = Reader { file: BufReader::new(file), path, size };
        let magic = reader.bytes(4)?;
        if is_lfs_pointer(&[magic.as_slice(), &reader.peek(60)].concat()) {
            return Err(FormatError::LfsPointer { path: path.to_owned() });
        }
        if magic != MAGIC {
            return Err(reader.damaged("it is no GGUF file"));
        }
        let version = reader.u32()?;
        if !(2..=VERSION).contains(&version) {
            let reason = "versions 2 and 3 are read; convert it again with a newer llama.cpp";
            return Err(FormatError::unsupported(path, "the version of GGUF", version, reason));
        }
        let (n_tensors, n_pairs) = (reader.count()?, reader.count()?);
        let mut metadata = BTreeMap::new();
        for _ in 0..n_pairs {
            let name = reader.text()?;
            let kind = reader.u32()?;
            let value = reader.value(kind)?;
            if metadata.insert(name.clone(), value).is_some() {
                return Err(reader.damaged(&format!("it says {name} twice")));
            }
        }
        let mut tensors = (0..n_tensors).map(|_| reader.tensor()).collect::<Result<Vec<_>, FormatError>>()?;
        let alignment = match metadata.get("general.alignment") {
            Some(GgufValue::Integer(alignment)) if (1..=1 << 20).contains(alignment) => *alignment as u64,
            None => ALIGNMENT,
            Some(_) => return Err(reader.damaged("its general.alignment is no alignment")),
        };
        let begin = reader.file.stream_position().map_err(failed)?.next_multiple_of(alignment);
        for tensor in &mut tensors {
            tensor.offset = tensor.offset.saturating_add(begin);
            if tensor.data_type.is_some() && tensor.offset.saturating_add(tensor.bytes as u64) > size {
                return Err(FormatError::damaged(
                    path,
                    format!("it is cut: `{}` ends beyond its {size} bytes; download it again", tensor.full_name),
                ));
            }
        }
        Ok(Self { path: path.to_owned(), metadata, tensors })
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        match self.metadata.get(name) {
            Some(GgufValue::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A whole number that is no index of layers.
    ///
    /// # Errors
    /// [`FormatError::Unsupported`] for anything else.
    pub fn size(&self, name: &str) -> Result<Option<usize>, FormatError> {
        match self.metadata.get(name) {
            None => Ok(None),
            Some(GgufValue::Integer(size)) if usize::try_from(*size).is_ok() => Ok(usize::try_from(*size).ok()),
            // One for each block, the same for all.
            Some(GgufValue::I32s(sizes)) if !sizes.is_empty() && sizes.iter().all(|size| *size == sizes[0]) => {
                Ok(usize::try_from(sizes[0]).ok())
            }
            Some(GgufValue::I32s(sizes)) => {
                Err(self.unsupported(name, format!("{sizes:?}"), "here all blocks have the same"))
            }
            Some(value) => Err(self.unsupported(name, format!("{value:?}"), "a whole number belongs there")),
        }
    }

    pub fn number(&self, name: &str) -> Result<Option<f64>, FormatError> {
        match self.metadata.get(name) {
            None => Ok(None),
            // Written as f32, meant as the shortest decimal that is it: 1e-5, not 9.999999747378752e-6.
            Some(GgufValue::F32(number)) => Ok(number.to_string().parse().ok()),
            Some(GgufValue::F64(number)) => Ok(Some(*number)),
            Some(GgufValue::Integer(number)) => Ok(Some(*number as f64)),
            Some(value) => Err(self.unsupported(name, format!("{value:?}"), "a number belongs there")),
        }
    }

    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.metadata.get(name) {
            Some(GgufValue::Bool(flag)) => Some(*flag),
            _ => None,
        }
    }

    pub fn texts(&self, name: &str) -> Option<&[String]> {
        match self.metadata.get(name) {
            Some(GgufValue::Texts(texts)) => Some(texts),
            _ => None,
        }
    }

    pub fn unsupported(&self, field: &str, value: impl ToString, reason: impl Into<String>) -> FormatError {
        FormatError::unsupported(&self.path, field, value, reason)
    }

    pub fn damaged(&self, reason: impl Into<String>) -> FormatError {
        FormatError::damaged(&self.path, reason)
    }
}

struct Reader<'a> {
    file: BufReader<File>,
    path: &'a Path,
    size: u64,
}

impl Reader<'_> {
    fn damaged(&self, what: &str) -> FormatError {
        FormatError::damaged(
            self.path,
            format!("{what} ({} bytes); restore it from a copy or download it again", self.size),
        )
    }

    fn bytes(&mut self, count: u64) -> Result<Vec<u8>, FormatError> {
        if count > self.size {
            return Err(self.damaged("it is cut or damaged"));
        }
        let mut bytes = Vec::new();
        let read = (&mut self.file).take(count).read_to_end(&mut bytes);
        read.map_err(|error| FormatError::unreadable(self.path, error))?;
        if bytes.len() as u64 == count { Ok(bytes) } else { Err(self.damaged("it is cut or damaged")) }
    }

    /// What comes next, as far as there is something.
    fn peek(&mut self, count: usize) -> Vec<u8> {
        use std::io::BufRead;
        self.file.fill_buf().map(|buffer| buffer.iter().take(count).copied().collect()).unwrap_or_default()
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let bytes = self.bytes(N as u64)?;
        bytes.try_into().map_err(|_| self.damaged("it is cut or damaged"))
    }

    fn u32(&mut self) -> Result<u32, FormatError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, FormatError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn count(&mut self) -> Result<u64, FormatError> {
        let count = self.u64()?;
        if count > MAX_COUNT { Err(self.damaged("it names more parts than any file has")) } else { Ok(count) }
    }

    fn text(&mut self) -> Result<String, FormatError> {
        let length = self.u64()?;
        let bytes = self.bytes(length)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn value(&mut self, kind: u32) -> Result<GgufValue, FormatError> {
        use GgufValue::{Bool, F32, F64, Integer, Text};
        Ok(match kind {
            0 => Integer(self.array::<1>()?[0].into()),
            1 => Integer(self.array::<1>()?[0].cast_signed().into()),
            2 => Integer(u16::from_le_bytes(self.array()?).into()),
            3 => Integer(i16::from_le_bytes(self.array()?).into()),
            4 => Integer(self.u32()?.into()),
            5 => Integer(i32::from_le_bytes(self.array()?).into()),
            6 => F32(f32::from_le_bytes(self.array()?)),
            7 => Bool(self.array::<1>()?[0] != 0),
            8 => Text(self.text()?),
            9 => self.list()?,
            10 => Integer(self.u64()?.into()),
            11 => Integer(i64::from_le_bytes(self.array()?).into()),
            12 => F64(f64::from_le_bytes(self.array()?)),
            _ => return Err(self.damaged("it holds a value of a kind that is not known")),
        })
    }

    fn list(&mut self) -> Result<GgufValue, FormatError> {
        let kind = self.u32()?;
        let count = self.u64()?;
        // Each item takes at least a byte.
        if count > self.size {
            return Err(self.damaged("it is cut or damaged"));
        }
        let bytes_each = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            10..=12 => 8,
            8 => {
                let texts = (0..count).map(|_| self.text()).collect::<Result<Vec<_>, FormatError>>()?;
                return Ok(GgufValue::Texts(texts));
            }
            _ => return Err(self.damaged("it holds a list of a kind that is not known")),
        };
        let bytes = self.bytes(count.saturating_mul(bytes_each))?;
        let words = bytes.as_chunks::<4>().0;
        Ok(match kind {
            // Whole numbers above 2³¹ are none of what is asked for.
            4 | 5 => GgufValue::I32s(words.iter().map(|word| i32::from_le_bytes(*word)).collect()),
            6 => GgufValue::F32s(words.iter().map(|word| f32::from_le_bytes(*word)).collect()),
            _ => GgufValue::Others(usize::try_from(count).unwrap_or(usize::MAX)),
        })
    }

    /// Its offset is counted from where tensors begin.
    fn tensor(&mut self) -> Result<StoredTensor, FormatError> {
        let full_name = self.text()?;
        let dimensions = self.u32()?;
        if dimensions > MAX_DIMENSIONS {
            return Err(self.damaged(&format!("`{full_name}` has {dimensions} dimensions")));
        }
        let mut shape = (0..dimensions).map(|_| Ok(self.u64()? as usize)).collect::<Result<Vec<_>, FormatError>>()?;
        let row = shape.first().copied().unwrap_or(1);
        let numbers = shape.iter().try_fold(1_usize, |all, one| all.checked_mul(*one));
        // Innermost first there, outermost first here.
        shape.reverse();
        let kind = self.u32()?;
        let data_type = match kind {
            0 => Some(DataType::F32),
            1 => Some(DataType::F16),
            8 => Some(DataType::Q8_0),
            30 => Some(DataType::Bf16),
            _ => None,
        };
        let bytes = match data_type {
            None => Some(0),
            Some(_) if data_type == Some(DataType::Q8_0) && !row.is_multiple_of(crate::data_type::Q8_BLOCK) => None,
            Some(data_type) => numbers.and_then(|numbers| data_type.bytes(numbers)),
        };
        let Some(bytes) = bytes else { return Err(self.damaged(&format!("`{full_name}` has an impossible shape"))) };
        let offset = self.u64()?;
        Ok(StoredTensor { file: 0, offset, bytes, shape, data_type, type_name: type_name(kind), full_name })
    }
}

/// The number of a type in a file.
pub(super) fn type_number(data_type: DataType) -> u32 {
    match data_type {
        DataType::F32 => 0,
        DataType::F16 => 1,
        DataType::Q8_0 => 8,
        DataType::Bf16 => 30,
    }
}

/// What llama.cpp calls a type.
fn type_name(kind: u32) -> String {
    let name = match kind {
        0 => "F32",
        1 => "F16",
        2 => "Q4_0",
        3 => "Q4_1",
        6 => "Q5_0",
        7 => "Q5_1",
        8 => "Q8_0",
        9 => "Q8_1",
        10 => "Q2_K",
        11 => "Q3_K",
        12 => "Q4_K",
        13 => "Q5_K",
        14 => "Q6_K",
        15 => "Q8_K",
        30 => "BF16",
        other => return format!("type {other} of ggml"),
    };
    name.to_owned()
}

/// Appends a value with its kind before it.
pub(super) fn write_value(out: &mut Vec<u8>, value: &GgufValue) {
    let kind = |out: &mut Vec<u8>, kind: u32| out.extend(kind.to_le_bytes());
    let list = |out: &mut Vec<u8>, of: u32, count: usize| {
        kind(out, 9);
        kind(out, of);
        out.extend((count as u64).to_le_bytes());
    };
    match value {
        GgufValue::U32(number) => {
            kind(out, 4);
            out.extend(number.to_le_bytes());
        }
        GgufValue::Integer(number) => {
            kind(out, 11);
            out.extend((*number as i64).to_le_bytes());
        }
        GgufValue::F32(number) => {
            kind(out, 6);
            out.extend(number.to_le_bytes());
        }
        GgufValue::F64(number) => {
            kind(out, 12);
            out.extend(number.to_le_bytes());
        }
        GgufValue::Bool(flag) => {
            kind(out, 7);
            out.push(u8::from(*flag));
        }
        GgufValue::Text(text) => {
            kind(out, 8);
            write_text(out, text);
        }
        GgufValue::Texts(texts) => {
            list(out, 8, texts.len());
            texts.iter().for_each(|text| write_text(out, text));
        }
        GgufValue::I32s(numbers) => {
            list(out, 5, numbers.len());
            numbers.iter().for_each(|number| out.extend(number.to_le_bytes()));
        }
        GgufValue::F32s(numbers) => {
            list(out, 6, numbers.len());
            numbers.iter().for_each(|number| out.extend(number.to_le_bytes()));
        }
        GgufValue::Others(_) => list(out, 0, 0),
    }
}

/// Appends the length of a text and the text.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// The first bytes of a file: magic, version and the two counts.
pub(super) fn write_head(out: &mut Vec<u8>, n_tensors: usize, n_pairs: usize) {
    out.extend(MAGIC);
    out.extend(VERSION.to_le_bytes());
    out.extend((n_tensors as u64).to_le_bytes());
    out.extend((n_pairs as u64).to_le_bytes());
}
