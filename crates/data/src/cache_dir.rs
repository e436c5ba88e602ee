//! The directory for what can be had again: downloaded corpora, texts as tokens.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::error::DataError;

/// The environment variable that names the directory.
pub const CACHE_VARIABLE: &str = "TRIL_CACHE";

/// Where a user's cached files are. Nothing is made there before something is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheDir(PathBuf);

impl CacheDir {
    /// The directory that `TRIL_CACHE` names, else `tril` in the one that `XDG_CACHE_HOME` names, else `~/.cache/tril`.
    ///
    /// # Errors
    ///
    /// `NoCacheDir` where none of these variables says anything.
    pub fn of_user() -> Result<Self, DataError> {
        Self::of(|name| std::env::var_os(name)).ok_or(DataError::NoCacheDir)
    }

    /// As [`CacheDir::of_user`], of variables that are given.
    fn of(variable: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let path = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        // The specification of these variables says to leave out what is no absolute path.
        let shared = path("XDG_CACHE_HOME").filter(|path| path.is_absolute());
        let home = || path("HOME").or_else(|| path("USERPROFILE")).map(|home| home.join(".cache"));
        path(CACHE_VARIABLE).or_else(|| shared.or_else(home).map(|dir| dir.join("tril"))).map(Self)
    }

    /// A directory of the caller's.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where the files of downloaded corpora are.
    #[must_use]
    pub fn corpora(&self) -> PathBuf {
        self.0.join("corpora")
    }

    /// Where texts are as tokens.
    #[must_use]
    pub fn tokens(&self) -> PathBuf {
        self.0.join("tokens")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_says_something_names_the_directory() {
        let of = |variables: &[(&str, &str)]| {
            let value = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
            CacheDir::of(value).map(|dir| dir.0)
        };
        let (own, shared, home) = (("TRIL_CACHE", "mine"), ("XDG_CACHE_HOME", "/c"), ("HOME", "/h"));
        assert_eq!(of(&[home, shared, own]), Some("mine".into()));
        assert_eq!(of(&[home, shared, ("TRIL_CACHE", "")]), Some("/c/tril".into()));
        assert_eq!(of(&[home, ("XDG_CACHE_HOME", "relative")]), Some("/h/.cache/tril".into()));
        assert_eq!(of(&[]), None);
    }
}
