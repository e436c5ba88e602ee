//! Models from other tools and for them: a checkpoint of what was opened, and the files of another format.

use std::path::Path;

use tril_formats::{ExportFormat, ExportOptions, export};
use tril_model::{checkpoint, files};

use crate::{Error, Model};

/// All files that importing and exporting write. A directory of these alone is one that they have written.
const WRITTEN: [&str; 8] = [
    checkpoint::CONFIG,
    checkpoint::GENERATION,
    checkpoint::TOKENIZER,
    checkpoint::WEIGHTS,
    checkpoint::CHAT_TEMPLATE,
    checkpoint::TOKENIZER_CONFIG,
    "model.bin",
    "tokenizer.bin",
];

/// What to do with what stands in the place of what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExistingFiles {
    /// Refuse, so that nothing is lost.
    #[default]
    Keep,
    /// Replace it, if importing or exporting wrote it.
    Replace,
}

impl Model {
    /// Writes the model as a checkpoint directory of its own: weights, tokenizer, what texts begin and end with, and the
    /// template of a chat. It needs nothing of where it came from.
    ///
    /// # Errors
    /// [`Error::Occupied`]; [`Error::Rounded`]; [`Error::Model`] for what the file system refuses.
    pub fn save(&self, out: &Path, existing: ExistingFiles) -> Result<(), Error> {
        self.check_exact("a checkpoint of them would pass for the model itself")?;
        check_place(out, existing)?;
        let mut parts = checkpoint::model_files(self.gpt())?;
        parts.push((checkpoint::TOKENIZER, self.tokenizer().to_json()?.into_bytes()));
        parts.push((checkpoint::GENERATION, self.tokenizer().bounds().to_json()?.into_bytes()));
        for (name, text) in
            [(checkpoint::CHAT_TEMPLATE, self.chat_template()), (checkpoint::TOKENIZER_CONFIG, self.tokenizer_config())]
        {
            parts.extend(text.map(|text| (name, text.as_bytes().to_vec())));
        }
        Ok(files::write_dir(out, &parts)?)
    }

    /// Writes the model for another tool: a directory, or for [`ExportFormat::Gguf`] a file.
    ///
    /// # Errors
    /// [`Error::Format`] with every reason why it does not fit, [`Error::Rounded`], [`Error::Occupied`], [`Error::Model`].
    pub fn export(&self, options: ExportOptions, out: &Path, existing: ExistingFiles) -> Result<(), Error> {
        self.check_exact("an export of them would pass for the model itself")?;
        match options.format {
            ExportFormat::Gguf => check_file(out, existing)?,
            ExportFormat::Hf | ExportFormat::Llama2c => check_place(out, existing)?,
        }
        let name = out.file_stem().map_or_else(|| "tril".to_owned(), |name| name.to_string_lossy().into_owned());
        Ok(export(&self.exportable(), options, &name)?.write(out)?)
    }
}

/// Refuses a place that a directory may not take.
fn check_place(out: &Path, existing: ExistingFiles) -> Result<(), Error> {
    let occupied = || Err(Error::Occupied { path: out.to_owned() });
    if out.symlink_metadata().is_err() {
        return Ok(());
    }
    let Ok(entries) = out.read_dir() else { return occupied() };
    let names: Vec<String> = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let is_known = names.iter().all(|name| WRITTEN.contains(&name.as_str()));
    // A directory that somebody has downloaded has the same names.
    let is_ours = is_known && (tril_formats::is_export(out) || !tril_formats::is_foreign(out));
    match existing {
        _ if names.is_empty() => Ok(()),
        ExistingFiles::Replace if is_ours => Ok(()),
        _ => occupied(),
    }
}

/// Refuses a place that a file may not take. What is no regular file, such as a pipe, is written to.
fn check_file(out: &Path, existing: ExistingFiles) -> Result<(), Error> {
    let occupied = || Err(Error::Occupied { path: out.to_owned() });
    match out.metadata() {
        Err(_) => Ok(()),
        Ok(metadata) if metadata.is_dir() => occupied(),
        Ok(metadata) if !metadata.is_file() => Ok(()),
        Ok(_) if existing == ExistingFiles::Replace && tril_formats::is_export(out) => Ok(()),
        Ok(_) => occupied(),
    }
}
