//! One process at a time trains in a directory.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;

use crate::TrainError;

/// The right to write to a run's directory, until it is dropped or its process ends, however it ends.
#[derive(Debug, Clone)]
pub(super) struct Lock {
    _held: Option<Arc<File>>,
}

impl Lock {
    /// Takes the lock of a directory that is there. Where there are no such locks, as on some network file systems, it is
    /// had by everybody.
    ///
    /// # Errors
    /// [`TrainError::Busy`] while another process has it.
    pub(super) fn take(run: &Path) -> Result<Self, TrainError> {
        let Ok(file) = open(run) else { return Ok(Self { _held: None }) };
        match file.try_lock() {
            Ok(()) => Ok(Self { _held: Some(Arc::new(file)) }),
            Err(TryLockError::WouldBlock) => Err(TrainError::Busy(run.to_owned())),
            Err(TryLockError::Error(_)) => Ok(Self { _held: None }),
        }
    }
}

/// What is locked: the directory itself, so that nothing is left behind in it.
#[cfg(unix)]
fn open(run: &Path) -> std::io::Result<File> {
    File::open(run)
}

/// What is locked: a file, because a directory cannot be opened here.
#[cfg(not(unix))]
fn open(run: &Path) -> std::io::Result<File> {
    File::options().write(true).create(true).truncate(false).open(run.join(FILE))
}

/// The file that is locked where a directory cannot be; nothing is ever in it.
pub(super) const FILE: &str = ".lock";
