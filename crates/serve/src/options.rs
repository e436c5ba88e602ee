//! What a server is asked to be, and how much it does at most.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use tril::ChatFormat;

/// Where a server listens, and to whom.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// A name or an address.
    pub host: String,
    /// 0 takes any that is free.
    pub port: u16,
    /// A file whose first line is the key that requests must bring; none asks for none.
    pub api_key_file: Option<PathBuf>,
    /// Names, beside its own, by which requests may call the server in the header Host.
    pub allowed_hosts: Vec<String>,
    /// Web pages, by scheme and host, that may read answers.
    pub allowed_origins: Vec<String>,
    /// How a chat's messages become a text where the checkpoint has no chat template.
    pub chat_format: ChatFormat,
    /// What is bounded.
    pub limits: Limits,
}

/// What a server does at most.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Texts of one model that are made at a time.
    pub max_batch: NonZeroUsize,
    /// Requests of one model that wait for a place.
    pub queue: usize,
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// Tokens of a prompt.
    pub prompt_tokens: usize,
    /// How long a request may take, from its arrival to its last token, unless it asked for a stream without end.
    pub request_time: Duration,
    /// Bytes of keys and values that are kept of earlier texts, for each model.
    pub prefix_bytes: u128,
}

/// How long a client may take to send the head of a request; it is also how long an idle connection is kept.
pub const HEAD_TIME: Duration = Duration::from_secs(20);

/// How long a client may take to send the body of a request.
pub const BODY_TIME: Duration = Duration::from_secs(30);

/// How long a client may go without taking a byte of an answer.
pub const WRITE_TIME: Duration = Duration::from_secs(30);

/// How long connections have to end once the server is asked to stop.
pub const STOP_TIME: Duration = Duration::from_secs(3);

/// Connections that are open at once.
pub const MAX_CONNECTIONS: usize = 512;

/// Texts that one request asks for: prompts times `n`.
pub const MAX_CHOICES: usize = 1024;

/// Tokens that one request asks for in all, but for a stream without end.
pub const MAX_TOKENS: usize = 1_000_000;

/// Alternatives that are told of each token.
pub const MAX_TOP_LOGPROBS: usize = 20;

impl Limits {
    /// Texts of one model that are in memory at a time: those that are made, and those that wait for their readers.
    #[must_use]
    pub fn max_texts(&self) -> usize {
        self.max_batch.get().saturating_mul(2)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_batch: NonZeroUsize::new(16).unwrap_or(NonZeroUsize::MIN),
            queue: 64,
            body_bytes: 4 << 20,
            prompt_tokens: 1 << 16,
            request_time: Duration::from_secs(600),
            prefix_bytes: 256 << 20,
        }
    }
}
