//! The HTTP server.

pub mod page;
