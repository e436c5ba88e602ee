//! Token ids in memory or in a file that is mapped: a text may have more of them than memory has room for.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use memmap2::Mmap;

/// Numbers of 32 bits, ids of tokens above all, wherever they lie. Clones share them.
#[derive(Clone)]
pub struct TokenIds(Place);

#[derive(Clone)]
enum Place {
    Memory(Arc<Vec<u32>>),
    /// Bytes of a file, aligned to a number.
    File(Arc<Mmap>, Range<usize>),
}

impl TokenIds {
    /// So many numbers of a file, from a byte on.
    ///
    /// The file must not change while it is mapped: this crate writes such files beside their place and never again.
    pub(crate) fn mapped(file: Arc<Mmap>, begin: usize, count: usize) -> Option<Self> {
        let range = begin..begin.checked_add(count.checked_mul(size_of::<u32>())?)?;
        let is_aligned = begin.is_multiple_of(align_of::<u32>()) && cfg!(target_endian = "little");
        (is_aligned && range.end <= file.len()).then(|| Self(Place::File(file, range)))
    }
}

impl Deref for TokenIds {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        match &self.0 {
            Place::Memory(numbers) => numbers,
            Place::File(file, range) => {
                let bytes = &file[range.clone()];
                // SAFETY: `mapped` has checked that the bytes lie within the map and begin at a multiple of four, as maps
                // begin at pages; any four bytes are a number, and the map lives as long as the borrow of `self`.
                unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast::<u32>(), bytes.len() / size_of::<u32>()) }
            }
        }
    }
}

impl AsRef<[u32]> for TokenIds {
    fn as_ref(&self) -> &[u32] {
        self
    }
}

impl From<Vec<u32>> for TokenIds {
    fn from(numbers: Vec<u32>) -> Self {
        Self(Place::Memory(Arc::new(numbers)))
    }
}

impl PartialEq for TokenIds {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl PartialEq<Vec<u32>> for TokenIds {
    fn eq(&self, other: &Vec<u32>) -> bool {
        **self == **other
    }
}

impl<const N: usize> PartialEq<[u32; N]> for TokenIds {
    fn eq(&self, other: &[u32; N]) -> bool {
        **self == *other
    }
}

impl fmt::Debug for TokenIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
