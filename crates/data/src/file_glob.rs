//! Which files of a directory are text to be read: a pattern of a shell.

use std::path::Path;

use glob::{MatchOptions, Pattern};

use crate::error::DataError;

/// `*` stands for any characters but a slash, `**` for any directories.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };

/// A pattern such as `*.md`, which is about the names of files in any directory, or `chapters/**/*.txt`, which is about their
/// paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileGlob {
    pattern: Pattern,
    is_about_path: bool,
}

impl FileGlob {
    /// From a recipe's field; an empty one is none.
    ///
    /// # Errors
    ///
    /// `Glob` for what is no pattern.
    pub fn new(pattern: &str) -> Result<Option<Self>, DataError> {
        if pattern.is_empty() {
            return Ok(None);
        }
        let is_about_path = pattern.contains('/');
        let wrong =
            |error: glob::PatternError| DataError::Glob { pattern: pattern.to_owned(), reason: error.to_string() };
        // A path in a directory begins with no dot and no slash.
        let relative = pattern.trim_start_matches("./").trim_start_matches('/');
        Ok(Some(Self { pattern: Pattern::new(relative).map_err(wrong)?, is_about_path }))
    }

    /// Whether a file is read.
    ///
    /// - path: within the directory
    #[must_use]
    pub fn matches(&self, path: &Path) -> bool {
        let path = if self.is_about_path { path } else { path.file_name().map_or(path, Path::new) };
        self.pattern.matches_path_with(path, OPTIONS)
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.pattern.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_without_a_slash_is_about_names_and_one_with_a_slash_about_paths() {
        let matches = |pattern: &str, path: &str| {
            FileGlob::new(pattern).expect("a pattern").expect("not empty").matches(Path::new(path))
        };
        for (pattern, path, expected) in [
            ("*.md", "a.md", true),
            ("*.md", "deep/er/a.md", true),
            ("*.md", "a.mdx", false),
            ("*.[tm][xd]*", "b/a.txt", true),
            ("docs/*.md", "docs/a.md", true),
            ("./docs/*.md", "docs/a.md", true),
            ("docs/*.md", "docs/deep/a.md", false),
            ("docs/**/*.md", "docs/deep/er/a.md", true),
            ("docs/**/*.md", "docs/a.md", true),
            ("**/*.txt", "a.txt", true),
            ("第?章.txt", "書/第二章.txt", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} and {path}");
        }
        assert_eq!(FileGlob::new("").expect("none"), None);
        let error = FileGlob::new("a[").expect_err("no pattern").to_string();
        assert!(error.contains("`a[`"), "{error}");
    }
}
