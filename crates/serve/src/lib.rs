//! The HTTP server: models behind the API that OpenAI's clients speak. The same request gives the same bits in any company,
//! because each text is made by the library's one loop ([`tril::TextGenerator`]), whose texts do not depend on each other.
//!
//! A request goes `server` (connections) → `guard` (host, key, type) → `router` → `completions` or `chat` (what is asked) →
//! `job` → `worker` (one thread a model, which owns the generator) → `reply` (whole, or as a stream of events).

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "what a test expects hangs on no last bit"))]

mod api_error;
mod body;
mod chat;
mod chat_prompt;
mod chat_template;
mod choice;
mod completions;
mod error;
mod fields;
mod guard;
mod identity;
mod job;
mod logprobs;
mod metrics;
mod models;
mod options;
pub mod page;
mod prefix_store;
mod reply;
mod router;
mod sampling;
mod served_model;
mod server;
mod timed_stream;
mod worker;

pub use api_error::ApiError;
pub use error::ServeError;
pub use options::{Limits, ServeOptions};
pub use router::{Shared, router};
pub use served_model::ServedModel;
pub use server::Server;
