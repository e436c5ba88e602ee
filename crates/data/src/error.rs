//! What a user can get wrong about a corpus: what, where, and what to do, in one line each.

use std::path::PathBuf;

use tril_text::TextError;

use crate::fetch::FetchError;
use crate::tales::TalesError;

/// Why a corpus could not be opened or split.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file cannot be read or is not UTF-8.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A file is a picture, a program or the like.
    #[error("{}: no text, by the bytes that it begins with, but a picture, a program or the like; give a text in UTF-8, or leave it out", path.display())]
    NoText {
        /// The file.
        path: PathBuf,
    },
    /// A packed file cannot be unpacked.
    #[error("{}: cannot be unpacked as {format}: {reason}; get the file anew, or unpack it yourself", path.display())]
    Compressed {
        /// The file.
        path: PathBuf,
        /// gzip or zstd.
        format: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A corpus file has no byte in it.
    #[error("{}: the file is empty; give a file with text", path.display())]
    EmptyFile {
        /// The file.
        path: PathBuf,
    },
    /// A text that is to be cut into documents has none.
    #[error("{}: no document in it that is not empty; check the field or separator", path.display())]
    NoDocuments {
        /// The file.
        path: PathBuf,
    },
    /// A corpus directory holds no text at all.
    #[error("{}: no text in this directory (hidden files are skipped){}; put UTF-8 text files in it", path.display(), left_out(skipped))]
    EmptyDirectory {
        /// The directory.
        path: PathBuf,
        /// What was left out, each with its reason; empty if nothing was.
        skipped: String,
    },
    /// What is to pick files is no pattern.
    #[error("glob `{pattern}`: {reason}; write it as for a shell, such as *.md or chapters/**/*.txt")]
    Glob {
        /// As it was given.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A pattern picks none of the files of a directory.
    #[error("{}: none of its {files} files fits `{pattern}`; a pattern without a slash is about names, one with a slash about paths in the directory", path.display())]
    NoMatch {
        /// The directory.
        path: PathBuf,
        /// The pattern.
        pattern: String,
        /// How many files there are.
        files: usize,
    },
    /// A pattern is given for a text that is no directory.
    #[error("glob `{pattern}`: it picks files of a directory, and {origin} is none; leave it out")]
    GlobOfFile {
        /// The pattern.
        pattern: String,
        /// The text.
        origin: String,
    },
    /// A corpus name is neither embedded nor a path that exists.
    #[error(
        "corpus `{name}`: no corpus that is known ({known}) and no file or directory of this name; check the spelling"
    )]
    UnknownCorpus {
        /// The name as given.
        name: String,
        /// The names of the corpora.
        known: String,
    },
    /// A corpus is known by name and has not been downloaded.
    #[error("corpus `{name}`: it is known, and not here: `tril data fetch {name}` downloads its {} MB", megabytes(*bytes))]
    NotFetched {
        /// The name as given.
        name: String,
        /// Length of its files.
        bytes: u64,
    },
    /// A downloaded corpus is not what it was.
    #[error("corpus `{name}`: {} has changed since it was fetched; `tril data fetch {name}` gets it anew", path.display())]
    ChangedCorpus {
        /// The name as given.
        name: String,
        /// The file.
        path: PathBuf,
    },
    /// A table of corpora is not sound.
    #[error("{origin}: no sound table of corpora: {reason}")]
    CorpusTable {
        /// Where the table is.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no place for what is cached.
    #[error("no directory for cached files: none of TRIL_CACHE, XDG_CACHE_HOME and HOME is set; set TRIL_CACHE to one")]
    NoCacheDir,
    /// A file of the cache cannot be written or read.
    #[error("{}: this file of the cache cannot be written: {source}; set TRIL_CACHE to a directory with room", path.display())]
    Cache {
        /// The file or directory.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// A file became another while it was read.
    #[error("{}: the file was changed while it was read; try again when it is complete", path.display())]
    Changing {
        /// The file.
        path: PathBuf,
    },
    /// A corpus could not be downloaded.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Documents are to be cut in two ways at once.
    #[error("both a field of JSON lines and a separator are given; a text has its documents in one of the two")]
    TwoFormats,
    /// A line of JSON holds no document.
    #[error("{origin}: {reason}")]
    JsonLine {
        /// The file and the line.
        origin: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// The embedded stories are documents as they are.
    #[error("corpus `{name}`: its stories are documents already; leave out the field or separator")]
    EmbeddedFormat {
        /// Name of the corpus.
        name: String,
    },
    /// The embedded corpus could not be generated.
    #[error(transparent)]
    Tales(#[from] TalesError),
    /// The validation fraction is no fraction.
    #[error("validation_fraction = {fraction}: must be above 0 and less than 1; 0.1 is usual")]
    ValidationFraction {
        /// The value as given.
        fraction: f64,
    },
    /// The test fraction is none, or leaves nothing to train on.
    #[error(
        "test_fraction = {test_fraction}: must be 0 or above, and less than 1 together with validation_fraction = {fraction}; 0.05 of each leaves 0.9 to train on"
    )]
    TestFraction {
        /// The value as given.
        test_fraction: f64,
        /// The validation fraction beside it.
        fraction: f64,
    },
    /// One part of the split would have no text.
    #[error("corpus `{name}`: {chars} characters are too few to hold out a fraction of {fraction}; give more text")]
    TooShortToSplit {
        /// Name of the corpus.
        name: String,
        /// Length of the corpus in characters.
        chars: usize,
        /// The fraction asked for.
        fraction: f64,
    },
}

fn left_out(skipped: &str) -> String {
    if skipped.is_empty() { String::new() } else { format!("; {skipped}") }
}

/// A length in millions of bytes, with the digits that matter.
fn megabytes(bytes: u64) -> String {
    let megabytes = bytes as f64 / 1e6;
    if megabytes < 10.0 { format!("{megabytes:.2}") } else { format!("{megabytes:.0}") }
}

impl DataError {
    /// Whether whoever asked can mend it, by another path, text or setting; otherwise a source, a network or a disk failed.
    #[must_use]
    pub fn is_user_error(&self) -> bool {
        !matches!(self, Self::Fetch(_) | Self::Cache { .. })
    }
}
