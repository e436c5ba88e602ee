//! What commands open before they begin: a device with its threads, a text, the settings of what is shown.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use tril::{ComputeDevice, HiddenParts, Recipe, StopTexts, Tokenizer};
use tril_model::{ModelError, files};
use tril_text::TextError;

use crate::args::ComputeArgs;
use crate::shown::on_one_line;

/// So many threads anybody may have, to see on few cores too that their number changes nothing.
const MIN_THREADS_ALLOWED: usize = 4;

/// The device to compute on.
pub fn device(args: &ComputeArgs) -> Result<ComputeDevice> {
    if let Some(threads) = args.threads {
        let (asked, cores): (usize, usize) =
            (threads.into(), std::thread::available_parallelism().map_or(1, usize::from));
        let most = cores.max(MIN_THREADS_ALLOWED);
        if asked > most {
            note!("[{asked} threads were asked for; this machine has {cores} cores, and {most} threads are used]");
        }
        tril::use_threads(asked.min(most)).context("--threads")?;
    }
    ComputeDevice::open(args.device).map_err(tril::Error::from).context("--device")
}

/// Changes the fields of a recipe that the command line sets.
pub fn set_fields(recipe: &mut Recipe, items: &[String]) -> Result<()> {
    items.iter().try_for_each(|item| recipe.set(item).map_err(|error| anyhow!("--set {error}")))
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

/// Reads a UTF-8 text from a file, or from standard input if the path is `-`.
pub fn text(path: &Path) -> Result<String> {
    let from_stdin = path == Path::new("-");
    let bytes = if from_stdin {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).context("cannot read standard input")?;
        bytes
    } else {
        std::fs::read(path).map_err(|source| TextError::Unreadable { path: path.to_owned(), source })?
    };
    let name = if from_stdin { Path::new("standard input") } else { path };
    String::from_utf8(bytes)
        .map_err(|error| TextError::NotUtf8 { path: name.to_owned(), offset: error.utf8_error().valid_up_to() }.into())
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
