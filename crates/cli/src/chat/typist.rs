//! What is typed, in the colour of what is given: the answers stand out from it.

use std::borrow::Cow;

use anstyle::Style;
use rustyline::completion::Completer;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::validate::Validator;

use crate::style::{PROMPT, on_stdout};

/// Helps the editor with colours alone.
pub struct Typist {
    style: Style,
}

impl Typist {
    pub fn new() -> Self {
        Self { style: on_stdout(PROMPT) }
    }

    fn styled<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let style = self.style;
        if style.is_plain() || text.is_empty() { text.into() } else { format!("{style}{text}{style:#}").into() }
    }
}

impl Highlighter for Typist {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        self.styled(line)
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        self.styled(prompt)
    }

    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        // A cursor that moves changes no colour.
        !self.style.is_plain() && kind != CmdKind::MoveCursor
    }
}

impl Completer for Typist {
    type Candidate = String;
}

impl Hinter for Typist {
    type Hint = String;
}

impl Validator for Typist {}

impl rustyline::Helper for Typist {}
