//! Where text comes from: the embedded corpus, one that was downloaded, a file, or a directory of files.
//! What part of it trains and what part validates is decided in `split`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tril_text::TextError;

use crate::error::DataError;
use crate::file_glob::FileGlob;
use crate::format::DocumentFormat;
use crate::known::{KnownCorpus, find_text};
use crate::read::{STANDARD_INPUT, read_text, read_text_among_others};
use crate::split::Piece;
use crate::tales;

/// Names of the embedded corpora.
const EMBEDDED: [&str; 1] = ["tales"];
/// So many files that are left out are named; the rest is counted.
const MOST_NAMES: usize = 4;

/// Text to learn from. The texts of the documents, in order and with nothing between them, are the corpus text.
#[derive(Debug, Clone, PartialEq)]
pub struct Corpus {
    /// Name of the corpus, or of the file or directory without the folders above it.
    pub name: String,
    /// The documents, in order.
    pub documents: Vec<Document>,
    /// Whether documents end in it: those of a directory, lines of JSON, what a separator separates, stories. A whole file
    /// is a text of which nobody knows where its parts end.
    pub has_documents: bool,
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
    /// Opens `source`: the name of the embedded corpus (`tales`), the path of a UTF-8 file or of a directory of them, or the
    /// name of a corpus that has been downloaded ([`KnownCorpus`]); `-` is standard input. The embedded name wins over a path
    /// that is spelt like it, so write `./tales` for a file of that name; a path wins over the name of any other corpus.
    ///
    /// A directory is read recursively and in order of the paths; each file is a document. Files and directories whose
    /// names begin with a dot are skipped, and so are empty files. Links to directories, links that lead nowhere and what is
    /// no regular file, such as a pipe, are skipped and named in `skipped`, and so are pictures and other files that are no text
    /// in any encoding. What a single path leads to is read, a pipe too.
    /// How files become text, [`read_text`] says.
    ///
    /// # Errors
    ///
    /// `UnknownCorpus`, `NotFetched`, `ChangedCorpus`, `Unreadable`, `EmptyFile`, `EmptyDirectory`, `NotUtf8`; `Tales` if the
    /// embedded grammar is damaged.
    pub fn open(source: &str) -> Result<Self, DataError> {
        Self::open_as(source, &DocumentFormat::Files, None)
    }

    /// As [`Corpus::open`], cut into documents as `format` says, and of a directory only the files that `glob` picks; a
    /// downloaded corpus knows its own documents where that says nothing.
    ///
    /// # Errors
    ///
    /// As [`Corpus::open`]; `JsonLine`, `NoDocuments`; `EmbeddedFormat` for an embedded corpus, which has its documents;
    /// `NoMatch`, and `GlobOfFile` for what is no directory.
    pub fn open_as(source: &str, format: &DocumentFormat, glob: Option<&FileGlob>) -> Result<Self, DataError> {
        if source == "tales" {
            return match (format, glob) {
                (_, Some(glob)) => Err(glob_of_file(glob, source)),
                (DocumentFormat::Files, None) => Ok(Self::new(source, tales_documents()?)),
                _ => Err(DataError::EmbeddedFormat { name: source.to_owned() }),
            };
        }
        let (path, known) = find_text(source)?;
        if let Some(KnownCorpus { name, format: own, .. }) = known {
            let format = if *format == DocumentFormat::Files { &own } else { format };
            return Ok(Self { name, ..Self::open_path(&path, format, glob)? });
        }
        match Self::open_path(&path, format, glob) {
            Err(DataError::Text(TextError::Unreadable { path, source: error })) if path == Path::new(source) => {
                Err(missing(source, error))
            }
            opened => opened,
        }
    }

    /// As [`Corpus::open_as`], of a file or a directory and never of a name; `-` is standard input.
    ///
    /// # Errors
    ///
    /// As [`Corpus::open_as`].
    pub fn open_path(path: &Path, format: &DocumentFormat, glob: Option<&FileGlob>) -> Result<Self, DataError> {
        let is_stdin = path == Path::new("-");
        let is_dir = !is_stdin && fs::metadata(path).map_err(unreadable(path))?.is_dir();
        let mut skipped = Vec::new();
        let documents = match glob {
            _ if is_dir => read_directory(path, format, glob, &mut skipped)?,
            Some(glob) => return Err(glob_of_file(glob, &path.display().to_string())),
            None => read_documents(path, format)?,
        };
        let name = if is_stdin { STANDARD_INPUT.to_owned() } else { name_of(path) };
        let has_documents = is_dir || *format != DocumentFormat::Files;
        Ok(Self { name, documents, has_documents, skipped })
    }

    /// A corpus of texts that are in memory.
    pub fn new(name: impl Into<String>, documents: Vec<Document>) -> Self {
        Self { name: name.into(), documents, has_documents: true, skipped: Vec::new() }
    }

    /// The texts of the documents, in order: what [`tril_text::Tokenizer::build`] learns from.
    #[must_use]
    pub fn texts(&self) -> Vec<&str> {
        self.documents.iter().map(|document| document.text.as_str()).collect()
    }

    /// Its beginning, about so many bytes of it, for an estimate.
    #[must_use]
    pub fn beginning(&self, bytes: usize) -> Self {
        let mut left = bytes;
        let mut documents = Vec::new();
        for Document { origin, text, .. } in &self.documents {
            if left == 0 {
                break;
            }
            let end = text.floor_char_boundary(left);
            documents.push(Document::new(origin.as_str(), &text[..end]));
            left -= left.min(text.len());
        }
        Self { name: self.name.clone(), documents, has_documents: self.has_documents, skipped: Vec::new() }
    }

    /// All documents as whole pieces, in order.
    #[must_use]
    pub fn pieces(&self) -> Vec<Piece<'_>> {
        self.documents.iter().map(|document| Piece::whole(document, self.has_documents)).collect()
    }

    /// Length of the corpus text in bytes.
    #[must_use]
    pub fn text_len(&self) -> usize {
        self.documents.iter().map(|document| document.text.len()).sum()
    }
}

/// What the text of a path is called.
pub(crate) fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(|| path.to_string_lossy(), |name| name.to_string_lossy()).into_owned()
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
        let known = KnownCorpus::all().unwrap_or_default().into_iter().map(|corpus| corpus.name);
        let known: Vec<String> = EMBEDDED.map(str::to_owned).into_iter().chain(known).collect();
        DataError::UnknownCorpus { name: source.to_string(), known: known.join(", ") }
    } else {
        TextError::Unreadable { path: PathBuf::from(source), source: error }.into()
    }
}

fn unreadable(path: &Path) -> impl Fn(io::Error) -> TextError {
    let path = path.to_path_buf();
    move |source| TextError::Unreadable { path: path.clone(), source }
}

fn glob_of_file(glob: &FileGlob, origin: &str) -> DataError {
    DataError::GlobOfFile { pattern: glob.as_str().to_owned(), origin: origin.to_owned() }
}

fn read_directory(
    directory: &Path,
    format: &DocumentFormat,
    glob: Option<&FileGlob>,
    skipped: &mut Vec<String>,
) -> Result<Vec<Document>, DataError> {
    let mut paths = Vec::new();
    collect_files(directory, &mut paths, skipped)?;
    paths.sort();
    if let Some(glob) = glob {
        let files = paths.len();
        paths.retain(|path| glob.matches(path.strip_prefix(directory).unwrap_or(path)));
        if paths.is_empty() {
            let pattern = glob.as_str().to_owned();
            return Err(DataError::NoMatch { path: directory.to_path_buf(), pattern, files });
        }
    }
    skipped.sort();
    let (mut documents, mut binaries) = (Vec::new(), Vec::new());
    for path in paths {
        // What a pattern picks is meant to be text.
        let text = if glob.is_some() { Some(read_text(&path)?) } else { read_text_among_others(&path)? };
        match text.map(|text| documents_of(text, &path, format)) {
            None => binaries.push(path),
            Some(Err(DataError::EmptyFile { .. } | DataError::NoDocuments { .. })) => {}
            Some(more) => documents.extend(more?),
        }
    }
    skipped.extend(left_out(directory, &binaries));
    if documents.is_empty() {
        let skipped = skipped.join("; ");
        return Err(DataError::EmptyDirectory { path: directory.to_path_buf(), skipped });
    }
    Ok(documents)
}

/// Names the files of a directory that are no text.
pub(crate) fn left_out(directory: &Path, files: &[PathBuf]) -> Option<String> {
    let name = |path: &PathBuf| path.strip_prefix(directory).unwrap_or(path).display().to_string();
    let names: Vec<String> = files.iter().take(MOST_NAMES).map(name).collect();
    let more = files.len() - names.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let are = if files.len() == 1 { "is" } else { "are" };
    let names = names.join(", ");
    (!files.is_empty()).then(|| format!("{}: {names}{more} {are} no text, and left out", directory.display()))
}

/// Adds the files below `directory` that are not hidden. Links to files count as files; links to directories could
/// lead in a circle and are left alone.
pub(crate) fn collect_files(
    directory: &Path,
    paths: &mut Vec<PathBuf>,
    skipped: &mut Vec<String>,
) -> Result<(), DataError> {
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
            Ok(metadata) if metadata.is_dir() => {
                skipped.push(format!("{}: a link to a directory, and left out", path.display()));
            }
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

/// The documents of a file, or of standard input if the path is `-`.
fn read_documents(path: &Path, format: &DocumentFormat) -> Result<Vec<Document>, DataError> {
    let text = read_text(path)?;
    let path = if path == Path::new("-") { Path::new(STANDARD_INPUT) } else { path };
    documents_of(text, path, format)
}

fn documents_of(text: String, path: &Path, format: &DocumentFormat) -> Result<Vec<Document>, DataError> {
    let path = path.to_path_buf();
    if text.is_empty() {
        return Err(DataError::EmptyFile { path });
    }
    let documents = format.documents(&path.display().to_string(), text)?;
    if documents.is_empty() { Err(DataError::NoDocuments { path }) } else { Ok(documents) }
}
