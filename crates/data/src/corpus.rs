//! Where text comes from: the embedded corpus, a file, or a directory of files.
//! What part of it trains and what part validates is decided in `split`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tril_text::TextError;

use crate::error::DataError;
use crate::tales;

/// Names of the embedded corpora.
const EMBEDDED: [&str; 1] = ["tales"];

/// Text to learn from. The texts of the documents, in order and with nothing between them, are the corpus text.
#[derive(Debug, Clone, PartialEq)]
pub struct Corpus {
    /// Name of the embedded corpus, or of the file or directory without the folders above it.
    pub name: String,
    /// The documents, in order.
    pub documents: Vec<Document>,
    /// What a directory holds and was left out, each with its reason.
    pub skipped: Vec<String>,
}

/// A text with a beginning and an end of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Where it comes from, for messages: a path, or "tales, story 7".
    pub origin: String,
    /// The text.
    pub text: String,
    /// −ln p of the document in nats, where a generator made it and so knows its probability.
    pub nats: Option<f64>,
}

impl Document {
    /// A document of unknown probability.
    #[must_use]
    pub fn new(origin: impl Into<String>, text: impl Into<String>) -> Self {
        Self { origin: origin.into(), text: text.into(), nats: None }
    }
}

impl Corpus {
    /// Opens `source`: the name of an embedded corpus (`tales`), or the path of a UTF-8 file or of a directory of
    /// them. A name wins over a path that is spelt like it; write `./tales` for a file of that name.
    ///
    /// A directory is read recursively and in order of the paths; each file is a document. Files and directories whose
    /// names begin with a dot are skipped, so are empty files and links to directories. Links that lead nowhere and what is
    /// no regular file, such as a pipe, are skipped and named in `skipped`.
    ///
    /// # Errors
    ///
    /// `UnknownCorpus`, `Unreadable`, `EmptyFile`, `EmptyDirectory`, `NotUtf8`; `Tales` if the embedded grammar is
    /// damaged.
    pub fn open(source: &str) -> Result<Self, DataError> {
        if source == "tales" {
            return Ok(Self::new(source, tales_documents()?));
        }
        let path = Path::new(source);
        let metadata = fs::metadata(path).map_err(|error| missing(source, error))?;
        let mut skipped = Vec::new();
        let documents = if metadata.is_dir() { read_directory(path, &mut skipped)? } else { vec![read_file(path)?] };
        let name = path.file_name().map_or_else(|| source.to_string(), |name| name.to_string_lossy().into_owned());
        Ok(Self { name, documents, skipped })
    }

    /// A corpus of texts that are in memory.
    pub fn new(name: impl Into<String>, documents: Vec<Document>) -> Self {
        Self { name: name.into(), documents, skipped: Vec::new() }
    }

    /// The texts of the documents, in order: what [`tril_text::Tokenizer::build`] learns from.
    #[must_use]
    pub fn texts(&self) -> Vec<&str> {
        self.documents.iter().map(|document| document.text.as_str()).collect()
    }

    /// Length of the corpus text in bytes.
    #[must_use]
    pub fn text_len(&self) -> usize {
        self.documents.iter().map(|document| document.text.len()).sum()
    }
}

/// The embedded corpus as documents, a story each.
fn tales_documents() -> Result<Vec<Document>, DataError> {
    let document = |(story, number): (tales::Story, usize)| Document {
        origin: format!("tales, story {number}"),
        text: story.text,
        nats: Some(story.nats),
    };
    Ok(tales::stories()?.into_iter().zip(1..).map(document).collect())
}

/// A bare word is taken for a misspelt name, anything with a separator or a dot for a path.
fn missing(source: &str, error: io::Error) -> DataError {
    let looks_like_path = source.contains(['/', '\\', '.']);
    if error.kind() == io::ErrorKind::NotFound && !looks_like_path {
        DataError::UnknownCorpus { name: source.to_string(), known: EMBEDDED.join(", ") }
    } else {
        TextError::Unreadable { path: PathBuf::from(source), source: error }.into()
    }
}

fn read_directory(directory: &Path, skipped: &mut Vec<String>) -> Result<Vec<Document>, DataError> {
    let mut paths = Vec::new();
    collect_files(directory, &mut paths, skipped)?;
    paths.sort();
    skipped.sort();
    let mut documents = Vec::new();
    for path in paths {
        match read_file(&path) {
            Err(DataError::EmptyFile { .. }) => {}
            document => documents.push(document?),
        }
    }
    if documents.is_empty() {
        return Err(DataError::EmptyDirectory { path: directory.to_path_buf(), skipped: skipped.len() });
    }
    Ok(documents)
}

/// Adds the files below `directory` that are not hidden. Links to files count as files; links to directories could
/// lead in a circle and are left alone.
fn collect_files(directory: &Path, paths: &mut Vec<PathBuf>, skipped: &mut Vec<String>) -> Result<(), DataError> {
    let unreadable = |path: &Path| {
        let path = path.to_path_buf();
        move |source| TextError::Unreadable { path, source }
    };
    for entry in fs::read_dir(directory).map_err(unreadable(directory))? {
        let entry = entry.map_err(unreadable(directory))?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        if entry.file_type().map_err(unreadable(&path))?.is_dir() {
            collect_files(&path, paths, skipped)?;
            continue;
        }
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => paths.push(path),
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => skipped.push(format!("{}: no regular file, and left out", path.display())),
            Err(error) if path.is_symlink() && leads_nowhere(&error) => {
                skipped.push(format!("{}: a link that leads nowhere, and left out", path.display()));
            }
            Err(error) => return Err(unreadable(&path)(error).into()),
        }
    }
    Ok(())
}

/// Whether there is nothing at the end of a link, as against something that cannot be looked at.
fn leads_nowhere(error: &io::Error) -> bool {
    // The kind for a circle of links has a name, and is not stable yet.
    error.kind() == io::ErrorKind::NotFound || format!("{:?}", error.kind()) == "FilesystemLoop"
}

fn read_file(path: &Path) -> Result<Document, DataError> {
    let bytes = fs::read(path).map_err(|source| TextError::Unreadable { path: path.to_path_buf(), source })?;
    if bytes.is_empty() {
        return Err(DataError::EmptyFile { path: path.to_path_buf() });
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| TextError::NotUtf8 { path: path.to_path_buf(), offset: error.utf8_error().valid_up_to() })?;
    Ok(Document::new(path.display().to_string(), text))
}
