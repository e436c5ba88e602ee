//! `tril data cache`: what is kept of large texts and of fetched corpora, and removing it.

use std::io::{Result as IoResult, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use tril_data::{CacheDir, CachedFile, KnownCorpus};

use crate::args::CacheArgs;
use crate::output::Form;
use crate::quantity::grouped;
use crate::shown::on_one_line;

/// What is there, or was before it was removed.
#[derive(Serialize)]
struct Kept {
    dir: String,
    cleared: bool,
    files: Vec<KeptFile>,
    bytes: u64,
    /// Whether there are fetched corpora that were not to be removed.
    #[serde(skip)]
    leaves_corpora: bool,
}

#[derive(Serialize)]
struct KeptFile {
    name: String,
    bytes: u64,
    /// What it is.
    kind: Kind,
    /// The text that it is made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Tokens,
    Tokenizer,
    Survey,
    Corpus,
    /// Being written, or left behind by a process that was killed.
    Partial,
    Other,
}

pub fn run(args: &CacheArgs) -> Result<ExitCode> {
    let cache = CacheDir::of_user()?;
    let found = if args.clear { cache.clear()? } else { cache.files()? };
    let mut files: Vec<KeptFile> = found.into_iter().map(KeptFile::of_text).collect();
    let corpora: Vec<KnownCorpus> =
        KnownCorpus::all()?.into_iter().filter(|corpus| corpus.is_fetched(&cache)).collect();
    if !args.clear || args.corpora {
        files.extend(corpora.iter().map(KeptFile::of_corpus));
    }
    if args.clear && args.corpora {
        corpora.iter().try_for_each(|corpus| corpus.remove(&cache))?;
    }
    let bytes = files.iter().map(|file| file.bytes).sum();
    let leaves_corpora = args.clear && !args.corpora && !corpora.is_empty();
    let kept = Kept { dir: cache.path().display().to_string(), cleared: args.clear, files, bytes, leaves_corpora };
    Form::of(args.json).print(&kept, write)?;
    Ok(ExitCode::SUCCESS)
}

impl KeptFile {
    fn of_text(file: CachedFile) -> Self {
        let CachedFile { path, bytes, tokens } = file;
        let extension = path.extension().unwrap_or_default();
        let kind = match extension.to_str() {
            Some("tokens") => Kind::Tokens,
            Some("tokenizer") => Kind::Tokenizer,
            Some("text") => Kind::Survey,
            Some("partial") => Kind::Partial,
            _ => Kind::Other,
        };
        let name = Path::new(path.file_name().unwrap_or_default()).display().to_string();
        let (text, tokens) = tokens.unzip();
        Self { name, bytes, kind, text, tokens }
    }

    fn of_corpus(corpus: &KnownCorpus) -> Self {
        Self { name: corpus.name.clone(), bytes: corpus.bytes(), kind: Kind::Corpus, text: None, tokens: None }
    }
}

fn write(kept: &Kept, out: &mut impl Write) -> IoResult<()> {
    let Kept { dir, cleared, files, bytes, leaves_corpora } = kept;
    for KeptFile { name, bytes, kind, text, tokens } in files {
        let size = format!("{} kB", grouped(bytes.div_ceil(1000) as f64));
        let what = match (kind, text, tokens) {
            (Kind::Tokens, Some(text), Some(tokens)) => {
                format!("{} tokens of {}", grouped(*tokens as f64), on_one_line(text))
            }
            (Kind::Tokens, ..) => "tokens, damaged or of another version".to_owned(),
            (Kind::Tokenizer, ..) => "byte pairs of a large text".to_owned(),
            (Kind::Survey, ..) => "counts of a large text".to_owned(),
            (Kind::Corpus, ..) => format!("the corpus {}", on_one_line(name)),
            (Kind::Partial, ..) => "being written, or left behind by a process that was killed".to_owned(),
            (Kind::Other, ..) => on_one_line(name),
        };
        writeln!(out, "{size:>14}  {what}")?;
    }
    let megabytes = *bytes as f64 / 1e6;
    match (files.is_empty(), cleared) {
        (true, true) => writeln!(out, "nothing to remove in {}", on_one_line(dir)),
        (true, false) => writeln!(out, "nothing is kept in {}", on_one_line(dir)),
        (false, true) => writeln!(out, "removed these {megabytes:.1} MB from {}", on_one_line(dir)),
        (false, false) => writeln!(out, "{megabytes:.1} MB in {}", on_one_line(dir)),
    }?;
    if *leaves_corpora {
        writeln!(out, "corpora that were fetched stay; tril data cache --clear --corpora removes them too")?;
    }
    Ok(())
}
