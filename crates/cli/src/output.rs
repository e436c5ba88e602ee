//! What a command prints in the end: one JSON object on one line, or a table for people.

use std::io::{IsTerminal, Result, StdoutLock, Write};

use serde::Serialize;

use crate::shown::{TextWriter, json};

/// The exit code of a check where nothing is wrong and not everything is known to be right.
pub const UNDECIDED: u8 = 3;

/// How it is to be printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Json,
    Table,
    /// A table that has colours, and sees to it itself that nothing else in it acts on a terminal.
    Colours,
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
        table: impl FnOnce(&T, &mut TextWriter<StdoutLock<'static>>) -> Result<()>,
    ) -> Result<()> {
        let mut out = std::io::stdout().lock();
        match self {
            Self::Json => writeln!(out, "{}", json(value)?),
            Self::Table => table(value, &mut TextWriter::plain(out)),
            Self::Colours => table(value, &mut TextWriter::raw(out)),
        }
    }
}

/// Where a model's own text goes: to a terminal as it may be seen there, elsewhere as it is.
pub fn text_writer() -> TextWriter<StdoutLock<'static>> {
    let out = std::io::stdout().lock();
    if out.is_terminal() { TextWriter::plain(out) } else { TextWriter::raw(out) }
}
