//! `checkpoints.json`, by which a run is known, and the directories that it names.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tril_model::{ModelError, files};

use super::{CHECKPOINT_FILES, PROGRESS, io, remove_file, to_json};
use crate::TrainError;

const NAME: &str = "checkpoints.json";

/// Which checkpoints a run keeps: names of directories beside the index.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Index {
    pub(super) best: Option<String>,
    pub(super) last: Option<String>,
}

impl Index {
    /// The index of a run; `None` where there is none.
    ///
    /// # Errors
    /// [`TrainError::Model`] for one that cannot be read, or that names what is no checkpoint of its run.
    pub(super) fn read(run: &Path) -> Result<Option<Self>, TrainError> {
        let path = run.join(NAME);
        if !path.exists() {
            return Ok(None);
        }
        let index: Self =
            serde_json::from_slice(&files::read(&path)?).map_err(|error| ModelError::corrupt(&path, error))?;
        // Whoever reads a stranger's run is led to nothing outside it.
        let outside = |name: &&String| !is_checkpoint_name(name);
        if let Some(name) = [&index.best, &index.last].into_iter().flatten().find(outside) {
            let detail = format!("it names {name:?}, which is no checkpoint's name");
            return Err(ModelError::corrupt(&path, detail).into());
        }
        Ok(Some(index))
    }

    /// Replaces the index of a run.
    ///
    /// # Errors
    /// [`TrainError::Model`] for what the file system refuses.
    pub(super) fn write(&self, run: &Path) -> Result<(), TrainError> {
        Ok(files::write_file(&run.join(NAME), &to_json(NAME, self)?)?)
    }

    /// Whether a directory has an index, whatever is in it.
    pub(super) fn exists(run: &Path) -> bool {
        run.join(NAME).is_file()
    }

    /// The last of its checkpoints that is there.
    pub(super) fn last(&self, run: &Path) -> Option<PathBuf> {
        existing(run, self.last.as_ref())
    }

    /// The best of its checkpoints, if it is there.
    pub(super) fn best(&self, run: &Path) -> Option<PathBuf> {
        existing(run, self.best.as_ref())
    }

    /// Removes the checkpoints of a run that this index does not name.
    ///
    /// # Errors
    /// [`TrainError::Model`] for what the file system refuses.
    pub(super) fn remove_others(&self, run: &Path) -> Result<(), TrainError> {
        let named = |name: &str| [&self.best, &self.last].iter().any(|kept| kept.as_deref() == Some(name));
        remove_where(run, |name, path| is_checkpoint_name(name) && !named(name) && is_checkpoint(path))
    }
}

/// Removes what a kill has left half-written in a run's directory.
///
/// # Errors
/// [`TrainError::Model`] for what the file system refuses.
pub(super) fn remove_partial(run: &Path) -> Result<(), TrainError> {
    remove_where(run, |name, _| is_partial(name))
}

fn remove_where(run: &Path, condition: impl Fn(&str, &Path) -> bool) -> Result<(), TrainError> {
    let entries = std::fs::read_dir(run).map_err(|source| io("list", run, source))?;
    let mut paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    paths.try_for_each(|path| match path.file_name().and_then(|name| name.to_str()) {
        Some(name) if condition(name, &path) => remove(&path),
        _ => Ok(()),
    })
}

fn existing(run: &Path, name: Option<&String>) -> Option<PathBuf> {
    name.map(|name| run.join(name)).filter(|path| path.exists())
}

/// The name of a step's checkpoint.
pub(super) fn checkpoint_name(step: u64) -> String {
    format!("step-{step:06}")
}

/// The step of a checkpoint that a run has named.
pub(super) fn step_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str().filter(|name| is_checkpoint_name(name))?;
    name.strip_prefix("step-")?.parse().ok()
}

/// Whether a run gives this name to a checkpoint.
fn is_checkpoint_name(name: &str) -> bool {
    let digits = name.strip_prefix("step-").unwrap_or_default();
    digits.len() >= 6 && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a run has left this half-written, under a name of today or of an earlier release.
pub(super) fn is_partial(name: &str) -> bool {
    files::is_partial(name) && (name.starts_with(".tril-") || name.starts_with(".step-"))
}

/// Whether a directory is a whole checkpoint that a run has written, and no link to one.
pub(super) fn is_checkpoint(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) && path.join(PROGRESS).is_file()
}

/// Removes the files of a checkpoint, and its directory unless the user keeps something else there; or a file.
fn remove(path: &Path) -> Result<(), TrainError> {
    let absent = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
    if !path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return remove_file(path);
    }
    CHECKPOINT_FILES.map(|name| path.join(name)).iter().try_for_each(|file| remove_file(file))?;
    match std::fs::remove_dir(path) {
        Err(source) if source.kind() != std::io::ErrorKind::DirectoryNotEmpty && !absent(&source) => {
            Err(io("remove", path, source))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_a_run_gives_are_taken_for_checkpoints() {
        for name in ["step-000500", "step-1000000"] {
            assert!(is_checkpoint_name(name), "{name}");
        }
        let others = ["step-by-step", "step-", "step-5", "step-000500.bak", ".step-000500", "000500", "notes", ""];
        for name in others.into_iter().chain(["../step-000500", "/tmp/step-000500", "step-000500/..", ".."]) {
            assert!(!is_checkpoint_name(name), "{name}");
        }
        assert!([".tril-12-0.partial", ".step-000500.partial"].into_iter().all(is_partial));
        assert!(![".partial", "step-000500.partial", ".notes.partial"].into_iter().any(is_partial));
    }
}
