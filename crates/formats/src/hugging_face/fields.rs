//! The fields of a `config.json`, read with their names at hand: what is of the wrong kind is told by name and value.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{FormatError, read_file};

/// A JSON object of a file.
#[derive(Debug, Clone)]
pub(crate) struct Fields {
    path: PathBuf,
    fields: Map<String, Value>,
}

impl Fields {
    /// Reads a file.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] for what is no JSON object.
    pub fn read(path: &Path) -> Result<Self, FormatError> {
        let bytes = read_file(path)?;
        let fields = serde_json::from_slice(&bytes).map_err(|error| {
            FormatError::damaged(path, format!("it is no JSON object: {error}; restore it from a copy"))
        })?;
        Ok(Self { path: path.to_owned(), fields })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What a field says; null is as if it were absent.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    /// Whether a field is there, null or not.
    pub fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    pub fn text(&self, name: &str) -> Result<Option<&str>, FormatError> {
        self.typed(name, "a text", Value::as_str)
    }

    pub fn flag(&self, name: &str, otherwise: bool) -> Result<bool, FormatError> {
        Ok(self.typed(name, "true or false", Value::as_bool)?.unwrap_or(otherwise))
    }

    pub fn number(&self, name: &str, otherwise: f64) -> Result<f64, FormatError> {
        Ok(self.typed(name, "a number", Value::as_f64)?.unwrap_or(otherwise))
    }

    pub fn size(&self, name: &str) -> Result<Option<usize>, FormatError> {
        self.typed(name, "a whole number", |value| value.as_u64().and_then(|size| usize::try_from(size).ok()))
    }

    /// A size that must be there.
    pub fn required(&self, name: &str) -> Result<usize, FormatError> {
        self.size(name)?
            .ok_or_else(|| FormatError::damaged(&self.path, format!("it lacks `{name}`; restore it from a copy")))
    }

    fn typed<'a, T>(
        &'a self,
        name: &str,
        wanted: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, FormatError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| self.unsupported(name, format!("{wanted} belongs there")))
    }

    /// That this field, as it is, does not fit.
    pub fn unsupported(&self, name: &str, reason: impl Into<String>) -> FormatError {
        let value = self.fields.get(name).map_or("absent".to_owned(), ToString::to_string);
        FormatError::unsupported(&self.path, name, value, reason)
    }
}
