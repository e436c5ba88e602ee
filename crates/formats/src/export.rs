//! Writing a model for another tool: what it is written as, whether it fits, and the files.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;
use tril_model::{Gpt, files};
use tril_text::Tokenizer;

use crate::error::{FormatError, Misfit};
use crate::form::{Form, gguf_form, hugging_face_form};
use crate::{DataType, Gelu, gguf, hugging_face, llama2c};

/// What a model is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportFormat {
    /// A directory for transformers.
    Hf,
    /// A file for llama.cpp.
    Gguf,
    /// A directory for `run.c` of llama2.c.
    Llama2c,
}

impl ExportFormat {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Hf, Self::Gguf, Self::Llama2c];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hf => "hf",
            Self::Gguf => "gguf",
            Self::Llama2c => "llama2c",
        }
    }
}

impl std::fmt::Display for ExportFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// How a model is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportOptions {
    /// As what.
    pub format: ExportFormat,
    /// How its numbers are stored.
    pub data_type: DataType,
    /// What becomes of an exact GELU in a format that has its approximation alone.
    pub gelu: Gelu,
}

impl ExportOptions {
    /// In f32, and nothing approximated.
    #[must_use]
    pub fn new(format: ExportFormat) -> Self {
        Self { format, data_type: DataType::F32, gelu: Gelu::AsItIs }
    }
}

/// What is written.
#[derive(Debug, Clone, Copy)]
pub struct Exportable<'a> {
    /// The network.
    pub gpt: &'a Gpt,
    /// Its tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// How a chat becomes a text.
    pub chat_template: Option<&'a str>,
    /// Where it was imported from such a directory: its `tokenizer_config.json`.
    pub tokenizer_config: Option<&'a str>,
}

/// What an export consists of.
#[derive(Debug, Clone, PartialEq)]
pub enum ExportedFiles {
    /// One file.
    File(Vec<u8>),
    /// A directory of files, by their names.
    Directory(Vec<(&'static str, Vec<u8>)>),
}

impl ExportedFiles {
    /// Writes them so that they appear whole or not at all. A directory in their place is replaced with all that is in it:
    /// the caller sees to it that nothing in it is missed.
    ///
    /// # Errors
    /// [`FormatError::Model`] for what the file system refuses.
    pub fn write(&self, out: &Path) -> Result<(), FormatError> {
        match self {
            Self::File(bytes) => Ok(files::write_file(out, bytes)?),
            Self::Directory(parts) => Ok(files::write_dir(out, parts)?),
        }
    }
}

/// Why a model cannot be written so; nothing where it can.
#[must_use]
pub fn check(model: &Exportable<'_>, options: ExportOptions) -> Vec<Misfit> {
    plan(model, options).err().unwrap_or_default()
}

/// Makes the files.
///
/// - name: what the model is called in a file that says so
///
/// # Errors
/// [`FormatError::CannotExport`] with every reason.
pub fn export(model: &Exportable<'_>, options: ExportOptions, name: &str) -> Result<ExportedFiles, FormatError> {
    let format = options.format;
    match plan(model, options).map_err(|misfits| FormatError::CannotExport { format, misfits })? {
        Plan::Hf(form) => Ok(ExportedFiles::Directory(hugging_face::files(model, form, options.data_type)?)),
        Plan::Gguf(form, tokens) => Ok(ExportedFiles::File(gguf::file(model, form, &tokens, options.data_type, name)?)),
        Plan::Llama2c(vocabulary) => Ok(ExportedFiles::Directory(llama2c::files(model, &vocabulary)?)),
    }
}

/// What a model becomes.
enum Plan {
    Hf(Form),
    Gguf(Form, Box<gguf::TargetTokens>),
    Llama2c(Box<llama2c::Vocabulary>),
}

fn plan(model: &Exportable<'_>, options: ExportOptions) -> Result<Plan, Vec<Misfit>> {
    let config = model.gpt.config();
    let json = model.tokenizer.to_json().unwrap_or_default();
    let tokenizer: Value = serde_json::from_str(&json).unwrap_or_default();
    match options.format {
        ExportFormat::Hf => {
            let mut misfits = data_type_misfits(options);
            match hugging_face_form(config) {
                Ok(form) if misfits.is_empty() => return Ok(Plan::Hf(form)),
                Ok(_) => {}
                Err(more) => misfits.extend(more),
            }
            Err(misfits)
        }
        ExportFormat::Gguf => {
            let form = gguf_form(config, options.gelu);
            let tokens = gguf::target_tokens(&tokenizer, config.vocab_size);
            let mut misfits = Vec::new();
            if model.tokenizer.end_token().is_none() {
                misfits.push(Misfit::new(
                    "tokenizer.end_of_text",
                    false,
                    "llama.cpp ends texts at a token, and at number 11 where none is named; train with tokenizer.end_of_text=true",
                ));
            }
            match (form, tokens) {
                (Ok(form), Ok(tokens)) if misfits.is_empty() => return Ok(Plan::Gguf(form, Box::new(tokens))),
                (form, tokens) => {
                    misfits.splice(0..0, form.err().unwrap_or_default());
                    misfits.extend(tokens.err().unwrap_or_default());
                }
            }
            Err(misfits)
        }
        ExportFormat::Llama2c => {
            let mut misfits = data_type_misfits(options);
            misfits.extend(llama2c::misfits(config));
            match llama2c::vocabulary(&tokenizer, config.vocab_size, model.tokenizer.bounds().eos_token_id) {
                Ok(vocabulary) if misfits.is_empty() => return Ok(Plan::Llama2c(Box::new(vocabulary))),
                Ok(_) => {}
                Err(more) => misfits.extend(more),
            }
            Err(misfits)
        }
    }
}

fn data_type_misfits(options: ExportOptions) -> Vec<Misfit> {
    let allowed: &[DataType] = match options.format {
        ExportFormat::Hf => &[DataType::F32, DataType::F16, DataType::Bf16],
        ExportFormat::Gguf => return Vec::new(),
        ExportFormat::Llama2c => &[DataType::F32],
    };
    if allowed.contains(&options.data_type) {
        return Vec::new();
    }
    let names: Vec<&str> = allowed.iter().map(|data_type| data_type.name()).collect();
    let reason = format!("{} is written in {}; gguf has q8_0", options.format, names.join(", "));
    vec![Misfit::new("dtype", options.data_type, reason)]
}
