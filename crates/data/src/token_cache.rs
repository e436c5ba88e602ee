//! The file of a text as tokens: written beside its place and renamed, checked before it is used, mapped and never changed.
//!
//! It is `MAGIC`, three words of 64 bits (where the description begins, how long it is, a checksum of all that follows), the
//! ids that train, the ids that are held out, the bytes that the first of these spell, as words of 32 bits, and the
//! description in JSON. Words are little-endian.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::{Advice, Mmap};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::cache_dir::CacheDir;
use crate::encoded_corpus::EncodedCorpus;
use crate::error::DataError;
use crate::split::Encoded;
use crate::tally::Tally;
use crate::token_ids::TokenIds;

const MAGIC: &[u8; 16] = b"tril tokens 1\n\0\0";
const HEADER: usize = MAGIC.len() + 3 * size_of::<u64>();
/// The checksum is over so many bytes at a time.
const BLOCK: usize = 1 << 20;
/// Endings of the names of cached files.
pub(crate) const TOKENS: &str = "tokens";

/// What a file of tokens says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Description {
    /// What the text is called.
    pub name: String,
    /// Length of the text in bytes.
    pub text_bytes: usize,
    pub train: Tally,
    pub validation: Tally,
    /// How many words there are of what the first tokens spell.
    spelt: usize,
}

/// A file of tokens that is being written.
pub(crate) struct TokenFile {
    file: NamedTempFile,
    target: PathBuf,
    block: Vec<u8>,
    checksum: u64,
    written: u64,
}

impl TokenFile {
    /// Begins one, beside its place.
    pub fn create(target: &Path) -> Result<Self, DataError> {
        let dir = target.parent().unwrap_or(Path::new("."));
        let begun = fs::create_dir_all(dir)
            .and_then(|()| tempfile::Builder::new().prefix(".").suffix(".partial").tempfile_in(dir))
            .and_then(|mut file| file.write_all(&[0; HEADER]).map(|()| file));
        let file = begun.map_err(cache_error(dir))?;
        // So that nobody takes it for what a process that was killed has left behind. Without locks it may be.
        drop(file.as_file().try_lock());
        let (target, block) = (target.to_owned(), Vec::with_capacity(BLOCK));
        Ok(Self { file, target, block, checksum: 0, written: 0 })
    }

    /// Adds ids that train, or after all of these ids that are held out.
    pub fn push(&mut self, numbers: &[u32]) -> Result<(), DataError> {
        numbers.iter().try_for_each(|number| self.bytes(&number.to_le_bytes()))
    }

    fn bytes(&mut self, mut bytes: &[u8]) -> Result<(), DataError> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.block.len()));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == BLOCK {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DataError> {
        self.checksum = checksum(self.checksum, &self.block);
        self.file.write_all(&self.block).map_err(cache_error(&self.target))?;
        self.written += self.block.len() as u64;
        self.block.clear();
        Ok(())
    }

    /// Completes the file and gives it its name.
    pub fn finish(mut self, name: &str, text_bytes: usize, train: Tally, validation: Tally) -> Result<(), DataError> {
        self.push(&validation.spelt)?;
        let spelt = validation.spelt.len();
        let description = Description { name: name.to_owned(), text_bytes, train, validation, spelt };
        let json = serde_json::to_vec(&description).map_err(|error| cache_error(&self.target)(error.into()))?;
        let begin = HEADER as u64 + self.written + self.block.len() as u64;
        self.bytes(&json)?;
        self.flush()?;
        let words = [begin, json.len() as u64, self.checksum].map(u64::to_le_bytes).concat();
        let Self { mut file, target, .. } = self;
        let done = file
            .seek(SeekFrom::Start(0))
            .and_then(|_| file.write_all(&[&MAGIC[..], &words].concat()))
            .and_then(|()| file.as_file().sync_all())
            .and_then(|()| file.persist(&target).map(drop).map_err(|error| error.error));
        done.map_err(cache_error(&target))
    }
}

/// What a file of tokens says of itself; `None` if it is damaged or of another version, and none of it is looked at but this.
pub(crate) fn describe(path: &Path) -> Option<Description> {
    let mut file = File::open(path).ok()?;
    let (begin, length, _) = header(&mut file)?;
    file.seek(SeekFrom::Start(begin)).ok()?;
    let mut json = Vec::new();
    file.take(length).read_to_end(&mut json).ok()?;
    serde_json::from_slice(&json).ok()
}

/// Where the description begins, its length and the checksum; `None` where the file is of another length.
fn header(file: &mut File) -> Option<(u64, u64, u64)> {
    let mut bytes = [0; HEADER];
    file.read_exact(&mut bytes).ok()?;
    let words = bytes.strip_prefix(&MAGIC[..])?;
    let word = |index: usize| words[8 * index..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let (begin, length, checksum) = (word(0)?, word(1)?, word(2)?);
    (file.metadata().ok()?.len() == begin.checked_add(length)?).then_some((begin, length, checksum))
}

/// Opens a file of tokens, every byte of which is read and checked; `None` if it is damaged or of another version.
pub(crate) fn open(path: &Path) -> Option<EncodedCorpus> {
    let mut file = File::open(path).ok()?;
    let (_, _, expected) = header(&mut file)?;
    // Read, and not through the map: what a map has shown counts as memory of this process.
    let (mut found, mut block) = (0, Vec::with_capacity(BLOCK));
    loop {
        block.clear();
        if (&mut file).take(BLOCK as u64).read_to_end(&mut block).ok()? == 0 {
            break;
        }
        found = checksum(found, &block);
    }
    if found != expected {
        return None;
    }
    let Description { name, train, validation, spelt, .. } = describe(path)?;
    // SAFETY: nothing writes to a file of tokens once it has its name. It may be removed, which leaves the map as it is.
    let map = Arc::new(unsafe { Mmap::map(&file) }.ok()?);
    // Windows are read here and there; a system that takes no advice reads more than it must.
    drop(map.advise(Advice::Random));
    let ids = |begin: usize, count: usize| TokenIds::mapped(Arc::clone(&map), HEADER + 4 * begin, count);
    let train_ids = ids(0, train.tokens)?;
    let validation_ids = ids(train.tokens, validation.tokens)?;
    let spelt = ids(train.tokens + validation.tokens, spelt)?;
    let train = Encoded::new(train_ids, train, Vec::new().into());
    Some(EncodedCorpus { name, train, validation: Encoded::new(validation_ids, validation, spelt), floor: None })
}

/// A checksum that finds damage and withstands no malice: four lanes, each of which multiplies by an odd number.
fn checksum(before: u64, block: &[u8]) -> u64 {
    let mut lanes = [1, 2, 3, 4].map(|lane: u64| before.rotate_left(16) ^ lane ^ block.len() as u64);
    let (rows, rest) = block.as_chunks::<32>();
    let mut mix = |row: &[u8; 32]| {
        for (lane, word) in lanes.iter_mut().zip(row.as_chunks::<8>().0) {
            *lane = (*lane ^ u64::from_le_bytes(*word)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
        }
    };
    rows.iter().for_each(&mut mix);
    let mut last = [0; 32];
    last[..rest.len()].copy_from_slice(rest);
    mix(&last);
    lanes.into_iter().fold(0, |sum: u64, lane| (sum ^ lane).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29))
}

/// A file of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// The text that it is made of, and how many tokens it has; none for what else is kept.
    pub tokens: Option<(String, usize)>,
}

impl CacheDir {
    /// The files that are kept of texts, by their paths; none where there is no such directory.
    ///
    /// # Errors
    ///
    /// `Cache` for a directory that cannot be read.
    pub fn files(&self) -> Result<Vec<CachedFile>, DataError> {
        let dir = self.tokens();
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(cache_error(&dir))?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(cache_error(&dir))?.path();
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            if !metadata.is_file() {
                continue;
            }
            let is_tokens = path.extension().is_some_and(|extension| extension == TOKENS);
            let description = is_tokens.then(|| describe(&path)).flatten();
            let tokens = description.map(|one| (one.name, one.train.tokens + one.validation.tokens));
            files.push(CachedFile { path, bytes: metadata.len(), tokens });
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// Removes the files that are kept of texts, and returns them. A process that uses one keeps it, and what a process is
    /// writing stays.
    ///
    /// # Errors
    ///
    /// `Cache` for what cannot be removed.
    pub fn clear(&self) -> Result<Vec<CachedFile>, DataError> {
        let mut removed = Vec::new();
        for file in self.files()? {
            if is_being_written(&file.path) {
                continue;
            }
            match fs::remove_file(&file.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(cache_error(&file.path)(error)),
                Ok(()) => removed.push(file),
            }
        }
        Ok(removed)
    }
}

/// Whether a process holds the lock of a file that has no name of its own yet.
fn is_being_written(path: &Path) -> bool {
    let is_partial = path.extension().is_some_and(|extension| extension == "partial");
    is_partial && File::open(path).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Writes a small file of the cache beside its place and renames it.
pub(crate) fn write(target: &Path, bytes: &[u8]) -> Result<(), DataError> {
    let dir = target.parent().unwrap_or(Path::new("."));
    let written = fs::create_dir_all(dir)
        .and_then(|()| tempfile::Builder::new().prefix(".").suffix(".partial").tempfile_in(dir))
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.persist(target).map(drop).map_err(|error| error.error)
        });
    written.map_err(cache_error(target))
}

pub(crate) fn cache_error(path: &Path) -> impl Fn(io::Error) -> DataError {
    let path = path.to_owned();
    move |source| DataError::Cache { path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::SpeltBytes;

    #[test]
    fn tokens_come_back_as_they_were_written_and_a_file_that_is_damaged_anywhere_does_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = CacheDir::at(dir.path()).tokens().join("a.tokens");
        let (mut train, mut validation) = (Tally::new(7, SpeltBytes::Forgotten), Tally::new(7, SpeltBytes::Kept));
        let (train_ids, validation_ids): (Vec<u32>, Vec<u32>) =
            ((0..300_000).map(|i| i * i % 7).collect(), (0..1000).map(|i| i % 3).collect());
        train_ids.iter().for_each(|id| train.add(*id, 2));
        validation_ids.iter().for_each(|id| validation.add(*id, *id as usize));
        let mut file = TokenFile::create(&path).expect("begun");
        file.push(&train_ids).expect("written");
        file.push(&validation_ids).expect("written");
        file.finish("text", 5, train, validation).expect("done");
        let read = open(&path).expect("sound");
        assert_eq!((&read.train.ids, &read.validation.ids), (&train_ids.into(), &validation_ids.into()));
        assert_eq!((read.train.bytes, read.validation.predicted_bytes), (600_000, 999));
        assert_eq!(read.validation.predicted_bytes_of(4), Some(1 + 2));
        let listed = CacheDir::at(dir.path()).files().expect("listed");
        assert_eq!(listed[0].tokens, Some(("text".to_owned(), 301_000)));

        let sound = fs::read(&path).expect("bytes");
        let places = [0, 16, 24, 32, HEADER, HEADER + 4001, 1 << 20, sound.len() - 5000, sound.len() - 1];
        for place in places {
            let mut damaged = sound.clone();
            damaged[place] ^= 0x20;
            fs::write(&path, damaged).expect("written");
            assert!(open(&path).is_none(), "a bit at {place} of {}", sound.len());
        }
        for length in [0, 3, HEADER, sound.len() / 2, sound.len() - 1] {
            fs::write(&path, &sound[..length]).expect("written");
            assert!(open(&path).is_none(), "{length} of {} bytes", sound.len());
        }
        fs::write(&path, [&sound[..], b"x"].concat()).expect("written");
        assert!(open(&path).is_none(), "longer");
        let begun = TokenFile::create(&path).expect("begun");
        let removed = CacheDir::at(dir.path()).clear().expect("cleared");
        assert_eq!(removed.iter().map(|file| file.bytes).collect::<Vec<_>>(), [sound.len() as u64 + 1]);
        assert_eq!(CacheDir::at(dir.path()).files().expect("listed").len(), 1, "what is being written stays");
        drop(begun);
        assert_eq!(CacheDir::at(dir.path()).files().expect("listed"), []);
    }
}
