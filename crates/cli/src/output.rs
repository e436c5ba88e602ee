//! What a command prints in the end: one JSON object on one line, or a table for people.

use std::io::{IsTerminal, Result, StdoutLock, Write};

use serde::Serialize;

use crate::folded::Folded;
use crate::shown::{TextWriter, json};
use crate::wrapped::Wrapped;

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
        table: impl FnOnce(&T, &mut TextWriter<Folded<StdoutLock<'static>>>) -> Result<()>,
    ) -> Result<()> {
        match self {
            Self::Json => writeln!(std::io::stdout().lock(), "{}", json(value)?),
            Self::Table => {
                let mut out = TextWriter::plain(Folded::stdout());
                table(value, &mut out)?;
                out.flush()
            }
            Self::Colours => {
                let mut out = TextWriter::raw(Folded::unfolded());
                table(value, &mut out)?;
                out.flush()
            }
        }
    }
}

/// Where the lines go that a command ends with.
pub fn line_writer() -> TextWriter<Folded<StdoutLock<'static>>> {
    TextWriter::plain(Folded::stdout())
}

/// Where a model's own text goes: to a terminal as it may be seen there, elsewhere as it is.
pub fn text_writer() -> TextWriter<Wrapped<StdoutLock<'static>>> {
    let out = Wrapped::stdout();
    if std::io::stdout().is_terminal() { TextWriter::plain(out) } else { TextWriter::raw(out) }
}
