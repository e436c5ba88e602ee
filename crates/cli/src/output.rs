//! What a command prints in the end: one JSON object on one line, or a table for people.

use std::io::{Result, StdoutLock, Write};

use serde::Serialize;

/// How it is to be printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Json,
    Table,
}

impl Form {
    /// What the flag `--json` asks for.
    pub fn of(json: bool) -> Self {
        if json { Self::Json } else { Self::Table }
    }

    /// Prints to standard output.
    pub fn print<T: Serialize>(
        self,
        value: &T,
        table: impl FnOnce(&T, &mut StdoutLock<'static>) -> Result<()>,
    ) -> Result<()> {
        let mut out = std::io::stdout().lock();
        match self {
            Self::Json => {
                serde_json::to_writer(&mut out, value)?;
                writeln!(out)
            }
            Self::Table => table(value, &mut out),
        }
    }
}
