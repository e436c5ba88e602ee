//! Downloading a corpus: what has come is kept until the rest does, and a file gets its name once every byte of it is right.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::Agent;
use ureq::http::StatusCode;
use ureq::http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, RANGE};

use crate::cache_dir::CacheDir;
use crate::known::{KnownCorpus, KnownFile, sha256_of};

/// How often a source is asked again where it fails in a way that may pass.
const MORE_TRIES: u32 = 3;
/// The pause before the first of these; it doubles.
const PAUSE: Duration = Duration::from_millis(500);
/// As browsers and curl do about.
const MAX_REDIRECTS: u32 = 10;

const NO_HOST: &str = "its host cannot be found; is there a network? A proxy is taken from HTTPS_PROXY or ALL_PROXY";

/// How a corpus is downloaded.
#[derive(Debug, Clone, Copy)]
pub struct FetchOptions {
    /// How long a source may keep silent.
    pub patience: Duration,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self { patience: Duration::from_secs(30) }
    }
}

/// What happens on the way.
#[derive(Debug)]
pub enum FetchEvent<'a> {
    /// Another process fetches the same corpus; its end is waited for.
    Waiting,
    /// So much of the corpus is here, of so much in all.
    Progress {
        /// Bytes that are here.
        done: u64,
        /// Bytes of all its files.
        total: u64,
    },
    /// A source failed in a way that may pass, and is asked again.
    Again {
        /// What went wrong.
        reason: &'a str,
    },
}

/// Why a corpus could not be downloaded.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The source, or the way to it.
    #[error("{url}: {reason}")]
    Source {
        /// What was asked for.
        url: String,
        /// What went wrong, and what to do.
        reason: String,
    },
    /// What came is not what was asked for.
    #[error(
        "{url}: what came has the SHA-256 {found}, and {expected} was expected: the file has changed there, or something on the way changes it; nothing of it is kept"
    )]
    WrongHash {
        /// What was asked for.
        url: String,
        /// Of what came.
        found: String,
        /// What it must be.
        expected: String,
    },
    /// The disk.
    #[error("{}: cannot {action}: {source}", path.display())]
    Disk {
        /// The file or directory.
        path: PathBuf,
        /// What was to be done with it.
        action: &'static str,
        /// What went wrong.
        source: io::Error,
    },
}

/// Why one try failed.
enum Trouble {
    /// It may pass: the source is asked again.
    Passing(String),
    /// It will not.
    Lasting(FetchError),
}

impl From<FetchError> for Trouble {
    fn from(error: FetchError) -> Self {
        Self::Lasting(error)
    }
}

/// Downloads what is not there of a corpus, and returns where its text is. A proxy that the environment names is used. Of two
/// processes that fetch the same corpus one waits for the other.
///
/// # Errors
///
/// [`FetchError`]. What has come of a file is kept, and the next call goes on behind it; where the disk is full or the bytes
/// are wrong, nothing is kept.
pub fn fetch(
    corpus: &KnownCorpus,
    cache: &CacheDir,
    options: FetchOptions,
    observe: &mut dyn FnMut(FetchEvent),
) -> Result<PathBuf, FetchError> {
    let dir = corpus.dir(cache);
    fs::create_dir_all(&dir).map_err(disk(&dir, "make the directory"))?;
    let _lock = lock(&dir.join(".lock"), observe)?;
    let (total, mut before) = (corpus.bytes(), 0);
    for file in &corpus.files {
        let mut download = Download { file, dir: &dir, options, before, total, observe };
        download.run()?;
        before += file.bytes;
        observe(FetchEvent::Progress { done: before, total });
    }
    Ok(corpus.path(cache))
}

/// The right to write to a directory, until it is dropped or its process ends. Where there are no locks it is had by everybody.
fn lock(path: &Path, observe: &mut dyn FnMut(FetchEvent)) -> Result<Option<File>, FetchError> {
    let file = File::options().write(true).create(true).truncate(false).open(path);
    let file = file.map_err(disk(path, "open it"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => {
            observe(FetchEvent::Waiting);
            Ok(file.lock().is_ok().then_some(file))
        }
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// One file on its way.
struct Download<'a> {
    file: &'a KnownFile,
    dir: &'a Path,
    options: FetchOptions,
    /// Bytes of the files before it.
    before: u64,
    total: u64,
    observe: &'a mut dyn FnMut(FetchEvent),
}

impl Download<'_> {
    fn run(&mut self) -> Result<(), FetchError> {
        let KnownFile { name, url, sha256, .. } = self.file;
        let target = self.dir.join(name);
        if sha256_of(&target).is_ok_and(|found| found == *sha256) {
            return Ok(());
        }
        let partial = self.dir.join(format!(".{name}.partial"));
        let (mut tries, mut pause) = (MORE_TRIES, PAUSE);
        loop {
            let began_at = length(&partial);
            match self.download(&partial) {
                Ok(()) => {
                    let found = sha256_of(&partial).map_err(disk(&partial, "read it"))?;
                    if found == *sha256 {
                        return put_in_place(&partial, &target);
                    }
                    fs::remove_file(&partial).map_err(disk(&partial, "remove it"))?;
                    // What was kept from before may have been of another file than what came now.
                    if began_at == 0 {
                        return Err(FetchError::WrongHash { url: url.clone(), found, expected: sha256.clone() });
                    }
                    (self.observe)(FetchEvent::Again {
                        reason: "what was kept from before does not fit what came now",
                    });
                }
                Err(Trouble::Lasting(error)) => return Err(error),
                Err(Trouble::Passing(reason)) => {
                    // A source that gives a little at a time is asked as long as it gives.
                    if length(&partial) > began_at {
                        (tries, pause) = (MORE_TRIES, PAUSE);
                    }
                    if tries == 0 {
                        return Err(FetchError::Source { url: url.clone(), reason: self.given_up(&partial, &reason) });
                    }
                    (self.observe)(FetchEvent::Again { reason: &reason });
                    std::thread::sleep(pause);
                    (tries, pause) = (tries - 1, 2 * pause);
                }
            }
        }
    }

    /// What is said when a source is not asked again.
    fn given_up(&self, partial: &Path, reason: &str) -> String {
        match length(partial) {
            0 => format!("{reason}; try again later"),
            kept => format!("{reason}; {kept} of {} bytes are kept, and trying again goes on there", self.file.bytes),
        }
    }

    /// Appends what is missing to the partial file, by one request.
    fn download(&mut self, partial: &Path) -> Result<(), Trouble> {
        let KnownFile { url, bytes, .. } = self.file;
        let mut out = File::options().create(true).append(true).open(partial).map_err(disk(partial, "open it"))?;
        let mut have = length(partial);
        let restart = |out: &File| out.set_len(0).map_err(disk(partial, "cut it"));
        if have > *bytes {
            restart(&out)?;
            have = 0;
        }
        if have == *bytes {
            return Ok(());
        }
        let request = self.agent().get(url).header(ACCEPT_ENCODING, "identity");
        let request = if have > 0 { request.header(RANGE, format!("bytes={have}-")) } else { request };
        let response = request.call().map_err(|error| self.trouble(&error))?;
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let lasting = |reason: String| Trouble::Lasting(FetchError::Source { url: url.clone(), reason });
        match response.status() {
            StatusCode::OK => {
                // It gives all of it, whatever was asked for.
                restart(&out)?;
                have = 0;
                if let Some(length) = header(CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok())
                    && length != *bytes
                {
                    return Err(lasting(format!(
                        "it has {length} bytes, and {bytes} were expected: the file has changed there"
                    )));
                }
            }
            StatusCode::PARTIAL_CONTENT => {
                if header(CONTENT_RANGE) != Some(&format!("bytes {have}-{}/{bytes}", bytes - 1)) {
                    restart(&out)?;
                    return Err(Trouble::Passing("it answers with another part than was asked for".to_owned()));
                }
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                restart(&out)?;
                return Err(Trouble::Passing("it does not give the rest of what has come".to_owned()));
            }
            status if status.is_server_error() || [408, 429].contains(&status.as_u16()) => {
                return Err(Trouble::Passing(format!("it answers {status}")));
            }
            status => return Err(lasting(format!("it answers {status}"))),
        }
        let (mut body, mut buffer) = (response.into_body().into_reader(), vec![0; 1 << 16]);
        while have <= *bytes {
            (self.observe)(FetchEvent::Progress { done: self.before + have, total: self.total });
            let read = match body.read(&mut buffer) {
                Ok(0) if have == *bytes => return Ok(()),
                Ok(0) => return Err(Trouble::Passing(format!("it ended after {have} of {bytes} bytes"))),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.trouble(&ureq::Error::from(error))),
            };
            if let Err(source) = out.write_all(&buffer[..read]) {
                // Where the disk is full, what was written would only keep it so.
                drop(fs::remove_file(partial));
                return Err(FetchError::Disk { path: partial.to_owned(), action: "write to it", source }.into());
            }
            have += read as u64;
        }
        drop(fs::remove_file(partial));
        Err(lasting(format!("it has more than the {bytes} bytes that were expected: the file has changed there")))
    }

    fn agent(&self) -> Agent {
        let patience = Some(self.options.patience);
        let config = Agent::config_builder()
            .user_agent(concat!("tril/", env!("CARGO_PKG_VERSION")))
            // What was to come over a safe way does not come over another.
            .https_only(self.file.url.starts_with("https://"))
            .http_status_as_error(false)
            .max_redirects(MAX_REDIRECTS)
            .timeout_resolve(patience)
            .timeout_connect(patience)
            .timeout_per_read(patience)
            .timeout_recv_response(patience)
            .build();
        Agent::new_with_config(config)
    }

    fn trouble(&self, error: &ureq::Error) -> Trouble {
        let lasting = |reason: String| Trouble::Lasting(FetchError::Source { url: self.file.url.clone(), reason });
        match error {
            ureq::Error::TooManyRedirects => {
                lasting(format!("it leads from one address to the next more than {MAX_REDIRECTS} times"))
            }
            ureq::Error::RequireHttpsOnly(to) => lasting(format!("it leads to {to}, which is not https")),
            ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::InvalidProxyUrl => lasting(error.to_string()),
            ureq::Error::HostNotFound => Trouble::Passing(NO_HOST.to_owned()),
            // What the system says where there is no network at all.
            ureq::Error::Io(error) if error.to_string().contains("lookup address") => {
                Trouble::Passing(NO_HOST.to_owned())
            }
            ureq::Error::Timeout(_) => {
                Trouble::Passing(format!("it has kept silent for {} s", self.options.patience.as_secs_f64()))
            }
            other => Trouble::Passing(other.to_string()),
        }
    }
}

/// How much of a file is there.
fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// Gives a file that is whole its name, once it is on the disk.
fn put_in_place(partial: &Path, target: &Path) -> Result<(), FetchError> {
    let synced = File::open(partial).and_then(|file| file.sync_all());
    synced.map_err(disk(partial, "write it to the disk"))?;
    fs::rename(partial, target).map_err(disk(target, "give it its name"))
}

fn disk(path: &Path, action: &'static str) -> impl Fn(io::Error) -> FetchError {
    let path = path.to_owned();
    move |source| FetchError::Disk { path: path.clone(), action, source }
}
