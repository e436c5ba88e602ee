//! What commands open before they begin: a device with its threads, a checkpoint with its tokenizer, a text.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use tril_model::{Gpt, checkpoint};
use tril_text::{TextError, Tokenizer};
use tril_train::RunDir;

use crate::args::ComputeArgs;
use crate::device::DeviceChoice;

/// The device to compute on and what to call it, such as "cpu, 2 threads, avx512".
pub fn device(args: &ComputeArgs) -> Result<(Device, String)> {
    if let Some(threads) = args.threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads.into())
            .build_global()
            .context("--threads: the thread pool could not be built")?;
    }
    let (device, choice): (Device, DeviceChoice) = args.device.open()?;
    let threads = rayon::current_num_threads();
    let mut name = format!("{choice}, {threads} thread{}", if threads == 1 { "" } else { "s" });
    if tril_kernels::is_cpu(&device) {
        match tril_kernels::instruction_set() {
            Ok(set) => name.push_str(&format!(", {set}")),
            Err(value) => bail!("TRIL_SIMD={value}: it can be avx512, avx2 or plain; unset it for the best"),
        }
    }
    Ok((device, name))
}

/// A model and the tokenizer that belongs to it.
pub struct Checkpoint {
    pub path: PathBuf,
    pub gpt: Gpt,
    pub tokenizer: Tokenizer,
}

/// Opens the checkpoint at a path, or the best of the run at that path.
pub fn checkpoint(path: &Path, device: &Device) -> Result<Checkpoint> {
    let path = RunDir::find_checkpoint(path)?;
    let gpt = checkpoint::load_model(&path, device)?;
    let tokenizer = Tokenizer::open(&path.join(checkpoint::TOKENIZER))?;
    check_fit(&tokenizer, &gpt, &path)?;
    Ok(Checkpoint { path, gpt, tokenizer })
}

/// Refuses a tokenizer whose ids are not the model's.
pub fn check_fit(tokenizer: &Tokenizer, gpt: &Gpt, path: &Path) -> Result<()> {
    let (tokens, rows) = (tokenizer.vocab_size(), gpt.config().vocab_size);
    if tokens != rows {
        bail!(
            "{}: the tokenizer does not fit the model: {} has {tokens} tokens, {} says vocab_size = {rows}; restore both from the same checkpoint",
            path.display(),
            checkpoint::TOKENIZER,
            checkpoint::CONFIG
        );
    }
    Ok(())
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
    Ok(())
}

/// A path as it can be typed into a shell.
pub fn quoted(path: &Path) -> String {
    let path = path.to_string_lossy();
    shlex::try_quote(&path).map_or_else(|_| path.to_string(), |quoted| quoted.to_string())
}

/// How the user calls this program, for hints on what to type next.
pub fn program() -> &'static str {
    if std::env::var_os("CARGO").is_some() { "cargo run --release --" } else { "tril" }
}
