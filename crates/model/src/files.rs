//! Files and directories that appear whole or not at all: they are written beside their place, under a name that begins
//! with a dot and ends in `.partial`, synced, and put in their place. Whoever is killed while writing may leave that behind.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::ModelError;

/// Writes a file so that, after a kill too, its place holds the old bytes or the new ones, never some of each.
///
/// # Errors
/// [`ModelError::Io`]; the old file is as it was.
pub fn write_file(target: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    let beside = beside(target);
    let written = write_and_sync(&beside, bytes)
        .and_then(|()| fs::rename(&beside, target).map_err(|source| failed("rename", &beside, source)));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written?;
    sync_dir(parent(target));
    Ok(())
}

/// Writes a directory of files so that it appears whole or not at all. A directory that stands in its place is replaced
/// with all that is in it; the caller sees to it that nothing else refers to that one.
///
/// After a kill the place holds the old directory or the new one, on Linux and file systems that can exchange two names.
/// Elsewhere there is an instant in which it holds neither: the old one is removed just before the new one is renamed.
///
/// # Errors
/// [`ModelError::Io`]; the old directory is as it was, unless its removal failed half-way.
pub fn write_dir(target: &Path, files: &[(&str, Vec<u8>)]) -> Result<(), ModelError> {
    let beside = beside(target);
    remove_dir(&beside)?;
    let write_all = || {
        fs::create_dir_all(&beside).map_err(|source| failed("create", &beside, source))?;
        files.iter().try_for_each(|(name, bytes)| write_and_sync(&beside.join(name), bytes))?;
        sync_dir(&beside);
        put_in_place(&beside, target)
    };
    let written = write_all();
    // What is there now was replaced, or is not whole.
    let removed = remove_dir(&beside);
    written?;
    sync_dir(parent(target));
    removed
}

/// Removes a directory with all that is in it, if it is there.
///
/// # Errors
/// [`ModelError::Io`].
pub fn remove_dir(dir: &Path) -> Result<(), ModelError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", dir, error)),
        _ => Ok(()),
    }
}

/// Reads a whole file.
///
/// # Errors
/// [`ModelError::Io`] with the path.
pub fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    fs::read(path).map_err(|source| failed("read", path, source))
}

/// Gives a directory the name of another, which has the first one's name then, or is gone.
fn put_in_place(dir: &Path, target: &Path) -> Result<(), ModelError> {
    if target.is_dir() {
        match exchange(dir, target) {
            Err(error) if error.kind() == ErrorKind::Unsupported => remove_dir(target)?,
            exchanged => return exchanged.map_err(|source| failed("rename", dir, source)),
        }
    }
    fs::rename(dir, target).map_err(|source| failed("rename", dir, source))
}

/// Exchanges two names in one step; an error of the kind `Unsupported` where that cannot be done.
#[cfg(target_os = "linux")]
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).map_err(|errno| match errno {
        // What a file system says that has no such operation.
        Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP => ErrorKind::Unsupported.into(),
        errno => errno.into(),
    })
}

#[cfg(not(target_os = "linux"))]
fn exchange(_one: &Path, _other: &Path) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

/// Where something is written before it is put in its place.
fn beside(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    parent(target).join(format!(".{name}.partial"))
}

fn write_and_sync(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    let write = || -> io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|source| failed("write", path, source))
}

/// Makes what was done in a directory durable where the platform can.
fn sync_dir(dir: &Path) {
    if let Ok(dir) = File::open(dir) {
        let _ = dir.sync_all();
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> ModelError {
    ModelError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// A directory of this test alone, removed with all that is in it.
    struct TestDir(PathBuf);

    impl TestDir {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("tril-files-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).expect("a directory");
            Self(path)
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).expect("a directory");
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
        }
    }

    impl Drop for TestDir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn files(text: &str) -> [(&'static str, Vec<u8>); 2] {
        [("a", text.into()), ("b", text.into())]
    }

    #[test]
    fn a_directory_is_replaced_with_all_that_is_in_it_and_nothing_is_left_beside() {
        let dir = TestDir::new("replaced");
        let target = dir.0.join("run");
        write_dir(&target, &files("old")).expect("written");
        fs::write(target.join("more"), "of the old one").expect("written");
        write_dir(&target, &files("new")).expect("written");
        assert_eq!(fs::read(target.join("b")).expect("read"), b"new");
        assert!(!target.join("more").exists());
        assert_eq!(dir.names(), ["run"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn somebody_who_looks_all_the_time_never_finds_the_place_empty() {
        let dir = TestDir::new("watched");
        let target = dir.0.join("run");
        write_dir(&target, &files("first")).expect("written");
        let done = AtomicBool::new(false);
        let missed = std::thread::scope(|scope| {
            let look = || {
                let mut missed = 0;
                while !done.load(Ordering::Relaxed) {
                    missed += usize::from(!target.is_dir());
                }
                missed
            };
            let watcher = scope.spawn(look);
            for round in 0..50 {
                write_dir(&target, &files(&round.to_string())).expect("written");
            }
            done.store(true, Ordering::Relaxed);
            watcher.join().expect("a count")
        });
        assert_eq!(missed, 0);
    }

    #[test]
    fn what_cannot_be_written_leaves_the_old_one_and_nothing_beside() {
        let dir = TestDir::new("refused");
        let target = dir.0.join("run");
        write_dir(&target, &files("old")).expect("written");
        assert!(write_dir(&target, &[("a", b"new".to_vec()), ("no/such/place", Vec::new())]).is_err());
        assert!(write_file(&target, b"a file for a directory").is_err());
        assert!(write_dir(&target.join("a"), &files("a directory for a file")).is_err());
        assert_eq!(fs::read(target.join("a")).expect("read"), b"old");
        assert_eq!((dir.names().len(), fs::read_dir(&target).expect("a directory").count()), (1, 2));
    }
}
