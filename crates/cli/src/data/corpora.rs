//! Corpora by name: which there are, downloading one, and what is said where a name is not enough.

use std::io::{IsTerminal, Result as IoResult, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tril_data::{CacheDir, FetchEvent, FetchOptions, KnownCorpus, fetch};

use crate::args::{FetchArgs, ListArgs};
use crate::open;
use crate::output::Form;
use crate::quantity::grouped;
use crate::runs;
use crate::shown::{self, TextWriter, on_one_line, plain};

/// The corpora, as they are printed.
#[derive(Serialize)]
struct Listing {
    cache: String,
    corpora: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    name: String,
    about: String,
    license: String,
    source: String,
    bytes: u64,
    fetched: bool,
}

pub fn list(args: &ListArgs) -> Result<ExitCode> {
    let cache = CacheDir::of_user()?;
    let listed = |corpus: KnownCorpus| Listed {
        bytes: corpus.bytes(),
        fetched: corpus.is_fetched(&cache),
        name: corpus.name,
        about: corpus.about,
        license: corpus.license,
        source: corpus.source,
    };
    let corpora = KnownCorpus::all()?.into_iter().map(listed).collect();
    let listing = Listing { cache: cache.path().display().to_string(), corpora };
    Form::of(args.json).print(&listing, write_listing)?;
    Ok(ExitCode::SUCCESS)
}

fn write_listing(listing: &Listing, out: &mut impl Write) -> IoResult<()> {
    let Listing { cache, corpora } = listing;
    writeln!(out, "{:16}{:>9}  embedded", "tales", "")?;
    writeln!(out, "    short stories told by a grammar, with a known floor of the loss")?;
    for Listed { name, about, license, source, bytes, fetched } in corpora {
        let [name, about, license, source] = [name, about, license, source].map(|text| on_one_line(text));
        let state = if *fetched { "fetched" } else { "not fetched" };
        writeln!(out, "{name:16}{:>9}  {state}", megabytes(*bytes))?;
        writeln!(out, "    {about}\n    {license}; {source}")?;
    }
    let program = open::program();
    writeln!(out, "\n{program} data fetch NAME downloads one into {}", on_one_line(cache))?;
    writeln!(out, "{program} train --data NAME trains on it")
}

fn megabytes(bytes: u64) -> String {
    let megabytes = bytes as f64 / 1e6;
    if megabytes < 10.0 { format!("{megabytes:.2} MB") } else { format!("{megabytes:.1} MB") }
}

pub fn fetch_all(args: &FetchArgs) -> Result<ExitCode> {
    let cache = CacheDir::of_user()?;
    // A word that is wrong is told before anything is downloaded.
    let corpora: Vec<KnownCorpus> = args.names.iter().map(|name| known(name)).collect::<Result<_>>()?;
    let options = FetchOptions { patience: Duration::from_secs_f64(args.timeout) };
    let names = args.names.join(" ");
    ctrlc::set_handler(move || {
        note!("\nstopped; what has come is kept\ncontinue with: {} data fetch {names}", open::program());
        std::process::exit(130);
    })?;
    let mut out = TextWriter::plain(std::io::stdout().lock());
    for corpus in &corpora {
        fetch_one(corpus, &cache, options)?;
        let path = shown::path(&corpus.path(&cache));
        writeln!(out, "{}: {} bytes in {path}", corpus.name, grouped(corpus.bytes() as f64))?;
    }
    if let [corpus] = &corpora[..] {
        writeln!(out, "\nnext: {} train --data {}", open::program(), corpus.name)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn known(name: &str) -> Result<KnownCorpus> {
    if name == "tales" {
        return Err(anyhow!("tales: it is embedded in the program, and need not be fetched"));
    }
    KnownCorpus::find(name)?.ok_or_else(|| {
        let names: Vec<String> = KnownCorpus::all().unwrap_or_default().into_iter().map(|one| one.name).collect();
        anyhow!("{name}: no corpus is known by this name; there are {}", names.join(", "))
    })
}

/// Downloads a corpus with a bar on a terminal, or some lines elsewhere.
fn fetch_one(corpus: &KnownCorpus, cache: &CacheDir, options: FetchOptions) -> Result<()> {
    let bar = std::io::stderr().is_terminal().then(|| {
        let template = "{bar:16} {bytes}/{total_bytes} {bytes_per_sec} {wide_msg}";
        let style = ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_bar());
        let bar = ProgressBar::new(corpus.bytes()).with_style(style.progress_chars("━╸─"));
        bar.with_message(corpus.name.clone())
    });
    let line = |text: &str| match &bar {
        Some(bar) => bar.println(plain(text)),
        None => note!("{text}"),
    };
    if bar.is_none() && !corpus.is_fetched(cache) {
        line(&format!("fetching {}, {} bytes", corpus.name, grouped(corpus.bytes() as f64)));
    }
    let fetched = fetch(corpus, cache, options, &mut |event| match event {
        FetchEvent::Waiting => line("another process fetches this corpus; waiting for it"),
        FetchEvent::Progress { done, .. } => {
            if let Some(bar) = &bar {
                bar.set_position(done);
            }
        }
        FetchEvent::Again { reason } => line(&format!("{}; asking again", on_one_line(reason))),
    });
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    fetched.map_err(tril_data::DataError::from)?;
    Ok(())
}

/// What has to be settled before a text is opened by a name: a corpus that is not here is downloaded if whoever sits at the
/// terminal says so, and where a file has the name of a corpus a word says that the file is read. Elsewhere nothing is
/// downloaded without being asked for, and the error that follows says how.
///
/// # Errors
/// For an address, and for the directory of a model, whose files would be read as a text.
pub fn settle(source: &str) -> Result<()> {
    let (path, program) = (Path::new(source), open::program());
    if source.contains("://") && !path.exists() {
        bail!("{source}: texts are not read from addresses; download it, or name one that `{program} data list` has");
    }
    if runs::is_no_text(path) {
        bail!(
            "{source}: the directory of a model, and no text; `{program} train` goes on with a run by --resume, and \
             begins one with the weights of a model by --from"
        );
    }
    // What is damaged in a table is told where it is needed.
    let Ok(Some(corpus)) = KnownCorpus::find(source) else { return Ok(()) };
    if Path::new(source).exists() {
        note!("[{source} is here as a file or directory, and that is read, not the corpus of this name]");
        return Ok(());
    }
    let cache = CacheDir::of_user()?;
    if corpus.is_fetched(&cache) || !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Ok(());
    }
    let home = corpus.files.first().map_or("", |file| file.url.split('/').nth(2).unwrap_or_default());
    let question = format!("{source} is not here. Download {} from {home}? [y/N] ", megabytes(corpus.bytes()));
    note_part!("{}", on_one_line(&question));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
        fetch_one(&corpus, &cache, FetchOptions::default())?;
    }
    Ok(())
}
