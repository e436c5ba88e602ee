//! Why there is no server.

use std::net::IpAddr;
use std::path::PathBuf;

/// What keeps a server from being started, or ends it.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Of a model, its tokenizer or its checkpoint.
    #[error(transparent)]
    Model(#[from] tril::Error),
    /// A checkpoint is being written.
    #[error("{}: the checkpoint changes while it is read; try again once whoever writes it is done", .0.display())]
    Moving(PathBuf),
    /// The address cannot be listened at.
    #[error("{host}:{port}: {source}; name another with --host and --port, or --port 0 for any that is free")]
    Address {
        /// As asked for.
        host: String,
        /// As asked for.
        port: u16,
        /// What the system says.
        source: std::io::Error,
    },
    /// Others could reach the server without a key.
    #[error(
        "--host {host}: {address} can be reached from other machines, and without a key anybody there could use this one; give a key with --api-key-file FILE, or leave --host out"
    )]
    NoKey {
        /// As asked for.
        host: String,
        /// What it stands for.
        address: IpAddr,
    },
    /// The key cannot be used.
    #[error("--api-key-file {}: {reason}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Two models have one name.
    #[error("two models are called {0:?}; name each directory once")]
    SameName(String),
    /// A chat template cannot be used.
    #[error("{}: {reason}", path.display())]
    Template {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// The system has no more threads or handles.
    #[error("the server cannot be started: {0}")]
    Start(#[source] std::io::Error),
}

impl ServeError {
    /// Whether whoever asked can mend it.
    #[must_use]
    pub fn is_user_error(&self) -> bool {
        match self {
            Self::Model(error) => error.is_user_error(),
            Self::Start(_) => false,
            _ => true,
        }
    }
}
