//! What commands open before they begin: a device with its threads, a text, the settings of what is shown.

use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail};
use tril::{ComputeDevice, DataConfig, HiddenParts, Recipe, StopTexts, Tokenizer, WeightFormat};
use tril_data::{find_text, read_text};
use tril_model::{ModelError, files};
use tril_text::UnknownCharacters;

use crate::args::{ComputeArgs, DocumentArgs};
use crate::quantity::counted;
use crate::shown::on_one_line;

/// So many threads anybody may have, to see on few cores too that their number changes nothing.
const MIN_THREADS_ALLOWED: usize = 4;

/// The device that computes, where it is none of ours: a panic of what drives it is its failure.
static FOREIGN: OnceLock<ComputeDevice> = OnceLock::new();

/// The device that computes, where it is not the CPU.
pub fn foreign_device() -> Option<&'static ComputeDevice> {
    FOREIGN.get()
}

/// The device to compute on.
pub fn device(args: &ComputeArgs) -> Result<ComputeDevice> {
    if let Some(threads) = args.threads {
        let (asked, cores): (usize, usize) =
            (threads.into(), std::thread::available_parallelism().map_or(1, usize::from));
        let most = cores.max(MIN_THREADS_ALLOWED);
        if asked > most {
            note!(
                "[{asked} threads were asked for; this machine has {}, and {most} threads are used]",
                counted(cores, "core")
            );
        }
        tril::use_threads(asked.min(most)).context("--threads")?;
    }
    let device = ComputeDevice::open(args.device.clone()).map_err(tril::Error::from).context("--device")?;
    if !device.is_cpu() {
        FOREIGN.get_or_init(|| device.clone());
    }
    Ok(device)
}

/// What weights were rounded to, for the end of a line; nothing where they were not.
pub fn rounded(weights: WeightFormat) -> String {
    match weights {
        WeightFormat::F32 => String::new(),
        weights => format!(", weights rounded to {weights}"),
    }
}

/// Changes the fields of a recipe that the command line sets.
pub fn set_fields(recipe: &mut Recipe, items: &[String]) -> Result<()> {
    items.iter().try_for_each(|item| recipe.set(item).map_err(|error| anyhow!("--set {error}")))
}

/// Takes what the command line says of documents in place of what is there.
pub fn set_documents(data: &mut DataConfig, args: &DocumentArgs) {
    let DocumentArgs { field, separator, glob } = args;
    if let Some(glob) = glob {
        data.glob.clone_from(glob);
    }
    if field.is_some() || separator.is_some() {
        data.field = field.clone().unwrap_or_default();
        data.separator = separator.clone().unwrap_or_default();
    }
}

/// The flags that cut a text into these documents, as they can be typed into a shell; empty where there are none.
pub fn document_flags(field: &str, separator: &str) -> String {
    let flag = |name: &str, value: &str| {
        let escaped = value.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', "\\t");
        format!(" {name}={}", quoted(Path::new(&escaped)))
    };
    match (field, separator) {
        ("", "") => String::new(),
        ("", separator) => flag("--separator", separator),
        (field, _) => flag("--field", field),
    }
}

/// What is left out of texts that are shown: stop texts, and markers of hidden parts, a start and an end in turn. A stop
/// text that the vocabulary cannot write is named; a hidden part may end in one, to go on to the end.
///
/// # Errors
/// For a text that is empty.
pub fn filters(stop: &[String], markers: &[String], tokenizer: &Tokenizer) -> Result<(StopTexts, HiddenParts)> {
    for text in stop {
        // Some tokenizers have a space more at the beginning of a text, or one less.
        let written = tokenizer.encode(text).and_then(|ids| tokenizer.decode(&ids));
        if !text.is_empty() && !written.is_ok_and(|written| written.contains(text.trim())) {
            note!("[--stop {text:?}: this checkpoint's vocabulary cannot write it, so it will stop nothing]");
        }
    }
    let pairs = markers.chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].as_str()));
    let hidden = HiddenParts::new(pairs).context("--hide")?;
    Ok((StopTexts::new(stop).context("--stop")?, hidden))
}

/// Reads a text from a file, or from standard input if the path is `-`, in any form that a corpus may have; or a corpus of one
/// file by its name.
pub fn text(path: &Path) -> Result<String> {
    match path.to_str() {
        Some(name) => {
            crate::data::settle(name)?;
            Ok(read_text(&find_text(name)?.0)?)
        }
        None => Ok(read_text(path)?),
    }
}

/// Says which characters of a text its tokens do not tell apart.
pub fn note_unknown(name: &str, unknown: &UnknownCharacters) {
    if unknown.count() > 0 {
        let count = unknown.count();
        note!(
            "[{}: {} unknown to the tokenizer, {unknown}: one token stands for them all]",
            on_one_line(name),
            counted(count, "character")
        );
    }
}

/// Refuses a file that could not be written, before anything is computed for it.
pub fn check_output(option: &str, path: &Path) -> Result<()> {
    let shown = path.display();
    if path.is_dir() || path.file_name().is_none() {
        bail!("{option} {shown}: it is a directory; give the name of a file");
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.is_dir()) {
        bail!("{option} {shown}: there is no directory {}; make it first", parent.display());
    }
    if let Err(ModelError::Io { source, .. }) = files::check_writable(path) {
        bail!("{option} {shown}: nothing can be written there ({source}); name a file elsewhere");
    }
    Ok(())
}

/// Refuses a directory that could not be made, before anything is computed for it.
pub fn check_directory(option: &str, path: &Path) -> Result<()> {
    let shown = path.display();
    if path.exists() && !path.is_dir() {
        bail!("{option} {shown}: it is a file; give the name of a directory");
    }
    std::fs::create_dir_all(path)
        .map_err(|error| anyhow!("{option} {shown}: it cannot be made ({error}); name another directory"))?;
    check_output(option, &path.join("probe"))
}

/// A path as it can be typed into a shell.
pub fn quoted(path: &Path) -> String {
    let path = on_one_line(&path.to_string_lossy());
    shlex::try_quote(&path).map_or_else(|_| path.to_string(), |quoted| quoted.to_string())
}

/// How the user calls this program, for hints on what to type next.
pub fn program() -> &'static str {
    if std::env::var_os("CARGO").is_some() { "cargo run --release --" } else { "tril" }
}
