//! `tril serve`, over real connections: the answers that clients read, the bits that no company changes, and what a server must
//! bear.
//!
//! | module | what it holds the server to |
//! |---|---|
//! | `client` | no tests: a server of its own for each test, and an HTTP client of some lines |
//! | `answers` | completions, chats, streams, models: what is asked for is what comes |
//! | `same_bits` | a request and its seed have the same bits alone, among 32 clients, and after a kept prefix; receipts hold |
//! | `logprobs` | scored prompts as lm-eval reads them |
//! | `parameters` | what would change an answer and is not done is refused by name; what changes none is accepted |
//! | `templates` | a checkpoint's chat template |
//! | `access` | hosts, origins, keys, addresses |
//! | `load` | full queues, limits, slow and leaving clients, many requests, a checkpoint that is replaced |
//! | `stopping` | SIGTERM and Ctrl-C |

mod access;
mod answers;
mod client;
mod load;
mod logprobs;
mod parameters;
mod same_bits;
#[cfg(unix)]
mod stopping;
mod templates;
