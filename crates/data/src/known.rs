//! Corpora that are known by name: where each is had from, and what it must be. `datasets/corpora.toml` is the table.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::cache_dir::CacheDir;
use crate::error::DataError;
use crate::format::DocumentFormat;

/// The table that the program carries.
const TABLE: &str = include_str!("../datasets/corpora.toml");
/// The environment variable that names a table of the user's.
pub const TABLE_VARIABLE: &str = "TRIL_CORPORA";

/// A corpus that can be downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownCorpus {
    /// What it is called.
    pub name: String,
    /// What it is, in a few words.
    pub about: String,
    /// The license of the text.
    pub license: String,
    /// Where people read about it.
    pub source: String,
    /// What its documents are.
    pub format: DocumentFormat,
    /// Its files, in order of their names.
    pub files: Vec<KnownFile>,
}

/// A file of a corpus.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownFile {
    /// What it is called here.
    pub name: String,
    /// Where it is had from.
    pub url: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
}

/// A corpus as the table has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    about: String,
    license: String,
    source: String,
    #[serde(default)]
    field: String,
    #[serde(default)]
    separator: String,
    files: Vec<KnownFile>,
}

impl KnownCorpus {
    /// All corpora, by name: those of the program, and those of the table that `TRIL_CORPORA` names.
    ///
    /// # Errors
    ///
    /// `CorpusTable` for a table of the user's that cannot be read or is not sound.
    pub fn all() -> Result<Vec<Self>, DataError> {
        let mut corpora = read_table(TABLE, "datasets/corpora.toml")?;
        if let Some(path) = std::env::var_os(TABLE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from) {
            let origin = path.display().to_string();
            let text = fs::read_to_string(&path)
                .map_err(|error| DataError::CorpusTable { origin: origin.clone(), reason: error.to_string() })?;
            corpora.extend(read_table(&text, &origin)?);
        }
        Ok(corpora.into_values().collect())
    }

    /// The corpus of this name, if there is one.
    ///
    /// # Errors
    ///
    /// As [`KnownCorpus::all`].
    pub fn find(name: &str) -> Result<Option<Self>, DataError> {
        // What is no name costs no look at a table.
        if !is_name(name) {
            return Ok(None);
        }
        Ok(Self::all()?.into_iter().find(|corpus| corpus.name == name))
    }

    /// Length of all its files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// The directory of its files.
    #[must_use]
    pub fn dir(&self, cache: &CacheDir) -> PathBuf {
        cache.corpora().join(&self.name)
    }

    /// What is opened: its file, or the directory of its files.
    #[must_use]
    pub fn path(&self, cache: &CacheDir) -> PathBuf {
        match &self.files[..] {
            [file] => self.dir(cache).join(&file.name),
            _ => self.dir(cache),
        }
    }

    /// Whether all its files are there, in their length.
    #[must_use]
    pub fn is_fetched(&self, cache: &CacheDir) -> bool {
        let dir = self.dir(cache);
        self.files.iter().all(|file| fs::metadata(dir.join(&file.name)).is_ok_and(|found| found.len() == file.bytes))
    }

    /// Removes its files, and what has come of them.
    ///
    /// # Errors
    ///
    /// `Cache` for what cannot be removed.
    pub fn remove(&self, cache: &CacheDir) -> Result<(), DataError> {
        let dir = self.dir(cache);
        match fs::remove_dir_all(&dir) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(DataError::Cache { path: dir, source }),
            _ => Ok(()),
        }
    }

    /// Where its text is, every byte of which has been checked.
    ///
    /// # Errors
    ///
    /// `NotFetched`; `ChangedCorpus` for a file that is not what it must be.
    pub fn checked_path(&self, cache: &CacheDir) -> Result<PathBuf, DataError> {
        if !self.is_fetched(cache) {
            return Err(DataError::NotFetched { name: self.name.clone(), bytes: self.bytes() });
        }
        for file in &self.files {
            let path = self.dir(cache).join(&file.name);
            if !sha256_of(&path).is_ok_and(|found| found == file.sha256) {
                return Err(DataError::ChangedCorpus { name: self.name.clone(), path });
            }
        }
        Ok(self.path(cache))
    }
}

/// Where a text is that a user names by a path or by the name of a corpus that has been fetched, and how such a corpus is cut
/// into documents. What is there by this path is the text; standard input is `-`.
///
/// # Errors
///
/// `NotFetched`, `ChangedCorpus`, `CorpusTable`, `NoCacheDir`.
pub fn find_text(source: &str) -> Result<(PathBuf, Option<KnownCorpus>), DataError> {
    let path = Path::new(source);
    // A name has no dot and no separator, so what exists is asked of names alone.
    if !is_name(source) || path.exists() {
        return Ok((path.to_owned(), None));
    }
    match KnownCorpus::find(source)? {
        Some(corpus) => Ok((corpus.checked_path(&CacheDir::of_user()?)?, Some(corpus))),
        None => Ok((path.to_owned(), None)),
    }
}

/// SHA-256 of a file, in hexadecimal.
pub(crate) fn sha256_of(path: &Path) -> io::Result<String> {
    let (mut file, mut hash, mut buffer) = (File::open(path)?, Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            read => hash.update(&buffer[..read]),
        }
    }
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a corpus can be called so: no path is.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('-')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// The corpora of a table, each of which is sound.
fn read_table(text: &str, origin: &str) -> Result<BTreeMap<String, KnownCorpus>, DataError> {
    let wrong = |reason: String| DataError::CorpusTable { origin: origin.to_owned(), reason };
    let text = text.trim_start_matches('\u{feff}');
    let table: BTreeMap<String, Entry> = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
    let corpus = |(name, entry): (String, Entry)| {
        let Entry { about, license, source, field, separator, mut files } = entry;
        let format = DocumentFormat::new(&field, &separator).map_err(|error| error.to_string())?;
        if !is_name(&name) || name == "tales" {
            return Err("a name is letters, digits, - and _, and not that of the embedded stories".to_owned());
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        if files.is_empty() || files.windows(2).any(|pair| pair[0].name == pair[1].name) {
            return Err("it needs files, each with a name of its own".to_owned());
        }
        files.iter().try_for_each(check_file)?;
        Ok((name.clone(), KnownCorpus { name, about, license, source, format, files }))
    };
    let named = |entry: (String, Entry)| {
        let name = entry.0.clone();
        corpus(entry).map_err(|reason| wrong(format!("[{name}]: {reason}")))
    };
    table.into_iter().map(named).collect()
}

/// The error is a reason for a message.
fn check_file(file: &KnownFile) -> Result<(), String> {
    let KnownFile { name, url, sha256, .. } = file;
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\']) {
        return Err(format!("{name:?} is no name of a file; it has no / and begins with no dot"));
    }
    if !url.starts_with("https://") && !url.starts_with("http://") {
        return Err(format!("{url:?} is no address; it begins with https:// or http://"));
    }
    let is_hash = sha256.len() == 64 && sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_hash { Ok(()) } else { Err(format!("{sha256:?} is no SHA-256; it has 64 digits of 0-9 and a-f")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_that_the_program_carries_is_sound() {
        let table = read_table(TABLE, "the table").expect("sound");
        assert_eq!(table.keys().collect::<Vec<_>>(), ["names", "songci", "tinyshakespeare", "tinystories"]);
        assert_eq!(table["names"].format, DocumentFormat::Separated { separator: "\n".into() });
        for corpus in table.values() {
            assert!(corpus.about.chars().count() <= 70, "{}: too long for a line", corpus.name);
            assert!(corpus.files.iter().all(|file| file.url.starts_with("https://")), "{}", corpus.name);
        }
    }

    #[test]
    fn a_table_that_is_not_sound_is_refused_with_the_corpus_and_the_reason() {
        let entry = |name: &str, file: &str, url: &str, hash: &str| {
            format!(
                "[{name}]\nabout = \"\"\nlicense = \"\"\nsource = \"\"\n[[{name}.files]]\nname = \"{file}\"\nurl = \"{url}\"\nbytes = 1\nsha256 = \"{hash}\"\n"
            )
        };
        let (url, hash) = ("http://x/y", &*"a0".repeat(32));
        assert_eq!(read_table(&entry("x", "y", url, hash), "t").expect("sound")["x"].bytes(), 1);
        for (table, expected) in [
            (entry("tales", "y", url, hash), "t: no sound table of corpora: [tales]: a name is letters"),
            (entry("x", "../y", url, hash), "\"../y\" is no name of a file"),
            (entry("x", ".y", url, hash), "begins with no dot"),
            (entry("x", "y", "file:///y", hash), "is no address"),
            (entry("x", "y", url, "A0"), "is no SHA-256"),
            ("[x]\nabout = 1".to_owned(), "t: "),
        ] {
            let error = read_table(&table, "t").expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn what_has_changed_since_it_was_fetched_is_not_opened() {
        let dir = tempfile::tempdir().expect("a directory");
        let cache = CacheDir::at(dir.path());
        let sha256 = hex(&Sha256::digest("text"));
        let file = KnownFile { name: "a.txt".into(), url: String::new(), bytes: 4, sha256 };
        let corpus = KnownCorpus {
            name: "a".into(),
            about: String::new(),
            license: String::new(),
            source: String::new(),
            format: DocumentFormat::Files,
            files: vec![file],
        };
        assert!(matches!(corpus.checked_path(&cache), Err(DataError::NotFetched { bytes: 4, .. })));
        fs::create_dir_all(corpus.dir(&cache)).expect("a directory");
        fs::write(corpus.path(&cache), "tex").expect("written");
        assert!(matches!(corpus.checked_path(&cache), Err(DataError::NotFetched { .. })), "cut off");
        fs::write(corpus.path(&cache), "text").expect("written");
        assert_eq!(corpus.checked_path(&cache).expect("fetched"), corpus.path(&cache));
        fs::write(corpus.path(&cache), "tent").expect("written");
        assert!(matches!(corpus.checked_path(&cache), Err(DataError::ChangedCorpus { .. })));
    }
}
