//! Files and directories that appear whole or not at all: they are written beside their place, under a name that begins
//! with `.tril-` and ends in `.partial`, synced, and put in their place. Whoever is killed while writing may leave that behind.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::ModelError;

/// Links that are followed from one to the next before they are taken for a circle, as Linux does.
const MAX_LINKS: usize = 40;

/// Writes a file so that, after a kill too, its place holds the old bytes or the new ones, never some of each. A link stays
/// what it is, and the file that it leads to is replaced. What is no regular file, such as a terminal, a pipe or a device,
/// is opened and written to.
///
/// # Errors
/// [`ModelError::Io`]; an old file is as it was.
pub fn write_file(target: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    match destination(target).map_err(|source| failed("write", target, source))? {
        Destination::File(path) => replace_file(&path, bytes),
        Destination::Stream => {
            let opened = OpenOptions::new().append(true).open(target);
            opened.and_then(|mut file| file.write_all(bytes)).map_err(|source| failed("write", target, source))
        }
    }
}

/// Looks whether [`write_file`] could write there, so that nothing is computed for a place that takes nothing.
///
/// # Errors
/// [`ModelError::Io`], as of [`write_file`].
pub fn check_writable(target: &Path) -> Result<(), ModelError> {
    let check = || match destination(target)? {
        Destination::File(path) => {
            let beside = unused_name(&path);
            File::create_new(&beside)?;
            fs::remove_file(beside)
        }
        // To open a pipe would wait for its reader, and to close it would tell him that this is all.
        Destination::Stream => Ok(()),
    };
    check().map_err(|source| failed("write", target, source))
}

/// Where the bytes of a file go.
enum Destination {
    /// A regular file, or one that is not there yet, through all links.
    File(PathBuf),
    /// Something that takes bytes one after another.
    Stream,
}

fn destination(target: &Path) -> io::Result<Destination> {
    match fs::metadata(target) {
        Ok(metadata) if !metadata.is_file() => return Ok(Destination::Stream),
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut path = target.to_owned();
    for _ in 0..MAX_LINKS {
        // These are files that a process holds open, such as /dev/stdout: its next bytes go where the old file was.
        if path.starts_with("/proc") || path.starts_with("/dev/fd") {
            return Ok(Destination::Stream);
        }
        match path.read_link() {
            Ok(link) => path = parent(&path).join(link),
            Err(_) => return Ok(Destination::File(path)),
        }
    }
    Err(io::Error::other("its links go round in a circle"))
}

fn replace_file(target: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    let beside = unused_name(target);
    let keep_permissions = || match fs::metadata(target) {
        Ok(old) => fs::set_permissions(&beside, old.permissions()),
        Err(_) => Ok(()),
    };
    let written = write_and_sync(&beside, bytes)
        .and_then(|()| keep_permissions())
        .and_then(|()| fs::rename(&beside, target))
        .map_err(|source| failed("write", target, source));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written?;
    sync_dir(parent(target));
    Ok(())
}

/// Writes a directory of files so that it appears whole or not at all. A directory that stands in its place is replaced
/// with all that is in it; the caller sees to it that nothing else refers to that one. Anything else there is refused.
///
/// After a kill the place holds the old directory or the new one, on Linux and file systems that can exchange two names.
/// Elsewhere there is an instant in which it holds neither: the old one is removed just before the new one is renamed.
///
/// # Errors
/// [`ModelError::Io`]; the old directory is as it was, unless its removal failed half-way.
pub fn write_dir(target: &Path, files: &[(&str, Vec<u8>)]) -> Result<(), ModelError> {
    let beside = unused_name(target);
    let write_all = || {
        fs::create_dir_all(&beside).map_err(|source| failed("create", target, source))?;
        for (name, bytes) in files {
            write_and_sync(&beside.join(name), bytes).map_err(|source| failed("write", &target.join(name), source))?;
        }
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

/// Whether a name is that of something half-written, which a kill has left behind.
pub fn is_partial(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(".partial")
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

/// Whether an error says that there is no room left for what is to be written.
pub fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

/// Gives a directory the name of another, which has the first one's name then, or is gone.
fn put_in_place(dir: &Path, target: &Path) -> Result<(), ModelError> {
    match target.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => match exchange(dir, target) {
            Err(error) if error.kind() == ErrorKind::Unsupported => remove_dir(target)?,
            exchanged => return exchanged.map_err(|source| failed("rename", dir, source)),
        },
        Ok(_) => return Err(failed("create", target, ErrorKind::AlreadyExists.into())),
        Err(_) => {}
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

/// Where something is written before it is put in its place: a name that no other process and no other thread uses.
fn unused_name(target: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = || {
        let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        parent(target).join(format!(".tril-{process}-{count}.partial"))
    };
    std::iter::repeat_with(name).find(|path| path.symlink_metadata().is_err()).unwrap_or_else(name)
}

fn write_and_sync(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
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
    use std::sync::atomic::AtomicBool;

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

    #[test]
    fn many_who_write_one_file_at_once_leave_the_whole_bytes_of_one() {
        let dir = TestDir::new("together");
        let target = dir.0.join("receipt");
        std::thread::scope(|scope| {
            for byte in b'a'..b'i' {
                let target = &target;
                scope.spawn(move || (0..20).for_each(|_| write_file(target, &[byte; 10_000]).expect("written")));
            }
        });
        let bytes = fs::read(&target).expect("read");
        assert!(bytes.len() == 10_000 && bytes.iter().all(|byte| *byte == bytes[0]));
        assert_eq!(dir.names(), ["receipt"]);
    }

    #[test]
    fn a_name_as_long_as_names_may_be_can_be_written() {
        let dir = TestDir::new("long");
        write_file(&dir.0.join("n".repeat(255)), b"bytes").expect("written");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_and_the_file_behind_it_is_replaced_or_made_with_the_permissions_that_it_had() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = TestDir::new("linked");
        let [file, link, other] = ["file", "link", "other"].map(|name| dir.0.join(name));
        symlink("link", &other).expect("a link");
        symlink("file", &link).expect("a link");
        for bytes in ["made", "replaced"] {
            write_file(&other, bytes.as_bytes()).expect("written");
            assert_eq!(fs::read_to_string(&file).expect("read"), bytes);
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("allowed");
        }
        write_file(&file, b"again").expect("written");
        assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
        assert!(link.is_symlink() && other.is_symlink());
        fs::remove_file(&file).expect("removed");
        symlink("link", &file).expect("a circle");
        assert!(write_file(&other, b"nowhere").is_err());
        assert!(write_dir(&link, &files("a directory for a link")).is_err() && link.is_symlink());
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_and_a_device_are_written_to_and_stay() {
        let dir = TestDir::new("pipe");
        let pipe = dir.0.join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
        assert!(made.success());
        let read = std::thread::scope(|scope| {
            let reader = scope.spawn(|| fs::read(&pipe).expect("read"));
            write_file(&pipe, b"through").expect("written");
            reader.join().expect("bytes")
        });
        assert_eq!(read, b"through");
        write_file(Path::new("/dev/null"), b"away").expect("written");
        assert!(!pipe.is_file() && dir.names() == ["pipe"] && !Path::new("/dev/null").is_file());
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
