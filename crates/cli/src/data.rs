//! `tril data`: what a text is made of, and how to train on it; corpora by name.

mod cache;
mod corpora;

use std::io::{Result as IoResult, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use tril::{Advice, DEFAULT_RECIPE, DataConfig, Recipe, SAMPLE_BYTES, Tokenizer};
use tril_data::{DataError, Encoded, FileGlob, TextEvent, TextSource, TextStats};
use tril_model::checkpoint;
use tril_text::TextError;
use tril_train::RunDir;

use crate::args::{DataCommand, DocumentArgs, StatsArgs};
use crate::open;
use crate::output::Form;
use crate::preparing::preparing;
use crate::quantity::{counted, grouped};
use crate::shown::on_one_line;

pub use corpora::settle;

pub fn run(command: &DataCommand) -> Result<ExitCode> {
    match command {
        DataCommand::List(args) => corpora::list(args),
        DataCommand::Fetch(args) => corpora::fetch_all(args),
        DataCommand::Stats(args) => stats(args),
        DataCommand::Cache(args) => cache::run(args),
    }
}

/// A text in numbers, with what is proposed for it.
#[derive(Serialize)]
struct Report {
    name: String,
    #[serde(flatten)]
    stats: TextStats,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokenizer: Option<TokenReport>,
    /// Of the default recipe, for two or three passes.
    #[serde(skip_serializing_if = "Option::is_none")]
    proposal: Option<Proposal>,
}

/// The text under a tokenizer.
#[derive(Serialize)]
struct TokenReport {
    path: PathBuf,
    tokens: usize,
    bytes_per_token: f64,
    /// Bytes that no token spells.
    lost_bytes: usize,
    /// Characters that are lost, the first of them by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<String>,
}

#[derive(Serialize)]
struct Proposal {
    tokens: usize,
    bytes_per_token: f64,
    passes: f64,
    settings: Vec<String>,
    command: String,
}

fn stats(args: &StatsArgs) -> Result<ExitCode> {
    let mut data = DataConfig { source: args.source.clone(), ..DataConfig::default() };
    open::set_documents(&mut data, &args.documents);
    settle(&args.source)?;
    let (format, glob) = (data.format().map_err(tril::Error::from)?, FileGlob::new(&data.glob)?);
    let (source, stats, tokenizer) = preparing(|watch| -> Result<_> {
        let source = TextSource::open(&args.source, &format, glob.as_ref(), 0.0, watch);
        let source = source.map_err(tril::Error::from)?;
        let stats = source.stats(watch)?;
        let tokenizer = args.tokenizer.as_deref().map(|path| tokens(path, &source, watch)).transpose()?;
        Ok((source, stats, tokenizer))
    })?;
    let corpus = source.beginning(SAMPLE_BYTES)?;
    let recipe = Recipe::shipped(DEFAULT_RECIPE)?;
    let advice = match Advice::new(&corpus, &stats, &recipe) {
        Err(tril::Error::Data(DataError::TooShortToSplit { .. })) => None,
        advice => advice?,
    };
    let proposal = advice.map(|advice| Proposal {
        tokens: advice.tokens,
        bytes_per_token: advice.bytes_per_token,
        passes: advice.passes,
        settings: advice.settings(),
        command: train_command(&args.source, &corpus.name, &args.documents, &advice),
    });
    let report = Report { name: corpus.name, stats, tokenizer, proposal };
    Form::of(args.json).print(&report, write)?;
    for left_out in source.skipped() {
        note!("[{}]", on_one_line(left_out));
    }
    Ok(ExitCode::SUCCESS)
}

/// Counts the tokens of a text.
fn tokens(path: &Path, source: &TextSource, watch: &mut dyn FnMut(TextEvent)) -> Result<TokenReport> {
    let (tokenizer, path) = if path.is_dir() || tril::formats::is_foreign(path) {
        let place = RunDir::find_checkpoint(path)?;
        let tokenizer = tril::formats::open_tokenizer(&place).map_err(tril::Error::from)?;
        let file = place.join(checkpoint::TOKENIZER);
        (tokenizer, if file.exists() { file } else { place })
    } else {
        (Tokenizer::open(path)?, path.to_owned())
    };
    match source.encode_all(&tokenizer, watch) {
        Ok(Encoded { ids, bytes, unknown, .. }) => Ok(TokenReport {
            path,
            tokens: ids.len(),
            bytes_per_token: bytes as f64 / ids.len() as f64,
            lost_bytes: source.text_len() - bytes,
            lost: (unknown.count() > 0).then(|| format!("{}, {unknown}", counted(unknown.count(), "character"))),
        }),
        // What it refuses is what would be lost without a word.
        Err(DataError::Text(TextError::UnknownCharacters { origin, at, characters })) => Ok(TokenReport {
            path,
            tokens: 0,
            bytes_per_token: 0.0,
            lost_bytes: 0,
            lost: Some(format!("it refuses the text, which has {characters}, first in {origin}, {at}")),
        }),
        Err(error) => Err(error.into()),
    }
}

/// The command that trains as proposed, as it can be typed into a shell.
fn train_command(source: &str, name: &str, documents: &DocumentArgs, advice: &Advice) -> String {
    let stem = Path::new(name).file_stem().unwrap_or_default().to_string_lossy();
    let out = Path::new("runs").join(if source == "-" { "stdin" } else { &*stem });
    let mut command =
        format!("{} train --data {} --out {}", open::program(), open::quoted(Path::new(source)), open::quoted(&out));
    let DocumentArgs { field, separator, glob } = documents;
    if let Some(glob) = glob {
        command += &format!(" --glob {}", open::quoted(Path::new(glob)));
    }
    command += &open::document_flags(field.as_deref().unwrap_or_default(), separator.as_deref().unwrap_or_default());
    advice.settings().iter().fold(command, |command, setting| command + " --set " + setting)
}

fn write(report: &Report, out: &mut impl Write) -> IoResult<()> {
    let Report { name, stats, tokenizer, proposal } = report;
    let number = |count: usize| grouped(count as f64);
    writeln!(out, "text        {}", on_one_line(name))?;
    let (bytes, chars, distinct) = (number(stats.bytes), number(stats.chars), number(stats.distinct_chars));
    writeln!(out, "size        {bytes} bytes, {chars} characters, {distinct} different ones")?;
    let documents = match stats.documents {
        0 => "none: one text, in which no document ends".to_owned(),
        documents => number(documents),
    };
    writeln!(out, "documents   {documents}")?;
    let share = |script| 100.0 * stats.share(script);
    let mut scripts: Vec<String> =
        stats.scripts.iter().take(4).map(|one| format!("{} {:.1} %", one.script, share(one))).collect();
    if stats.scripts.len() > 4 {
        scripts.push(format!("{} others", stats.scripts.len() - 4));
    }
    writeln!(out, "scripts     {}", if scripts.is_empty() { "none".to_owned() } else { scripts.join(", ") })?;
    writeln!(out, "lines       {}, of which {} repeat another", number(stats.lines), number(stats.repeated_lines))?;
    for odd in stats.odd.doubts() {
        writeln!(out, "odd         {odd}")?;
    }
    if let Some(TokenReport { path, tokens, bytes_per_token, lost_bytes, lost }) = tokenizer {
        let path = on_one_line(&path.to_string_lossy());
        if *tokens > 0 {
            writeln!(out, "tokens      {} of {path}, {bytes_per_token:.2} bytes each", number(*tokens))?;
        } else {
            writeln!(out, "tokens      none of {path}")?;
        }
        if *lost_bytes > 0 {
            writeln!(out, "            {} bytes are spelt by no token", number(*lost_bytes))?;
        }
        if let Some(lost) = lost {
            writeln!(out, "lost        {}", on_one_line(lost))?;
        }
    }
    match proposal {
        None => writeln!(out, "\nToo short to train on: the default recipe learns from windows of 128 tokens."),
        Some(Proposal { tokens, bytes_per_token, passes, command, .. }) => {
            let tokens = number(*tokens);
            writeln!(
                out,
                "\n{passes:.0} passes over {tokens} tokens of {bytes_per_token:.2} bytes, with a tokenizer that fits:"
            )?;
            writeln!(out, "{command}")
        }
    }
}
