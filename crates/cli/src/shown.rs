//! Text from elsewhere as a reader may see it: nothing in it moves the cursor, changes colours or turns the line around.
//! Names of files, messages about them and what receipts state come from strangers, and what a model writes is anything.

use std::io::{Result, Write};
use std::path::Path;

use anstyle::Style;

use crate::style::{of_outcome, on_stdout};

/// How a character is shown.
pub enum Shown {
    /// As it is.
    Plain(char),
    /// A line ends here.
    LineEnd,
    /// By another character, or by its number.
    Escaped(String),
}

/// How a character is shown. Control characters have pictures in Unicode; those without one, and those that change the
/// direction of what follows, are shown as `\u{202e}`.
pub fn shown(character: char) -> Shown {
    match character {
        '\n' => Shown::LineEnd,
        '\t' => Shown::Escaped("⇥   ".to_owned()),
        '\u{7f}' => Shown::Escaped("␡".to_owned()),
        '\0'..='\u{1f}' => {
            Shown::Escaped(char::from_u32(0x2400 + u32::from(character)).unwrap_or(char::REPLACEMENT_CHARACTER).into())
        }
        '\u{80}'..='\u{9f}'
        | '\u{61c}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{feff}' => Shown::Escaped(character.escape_unicode().to_string()),
        _ => Shown::Plain(character),
    }
}

/// A text in its lines, for messages and tables: new lines and tabs stay.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        match shown(character) {
            Shown::Escaped(escaped) if character != '\t' => plain.push_str(&escaped),
            _ => plain.push(character),
        }
    }
    plain
}

/// A value as JSON on one line, in which a terminal finds nothing to obey: JSON itself escapes what is below U+0020, and
/// this does the same for the rest.
pub fn json(value: &impl serde::Serialize) -> serde_json::Result<String> {
    let written = serde_json::to_string(value)?;
    let mut line = String::with_capacity(written.len());
    for character in written.chars() {
        match shown(character) {
            // Such a character stands in a string, and is no surrogate pair.
            Shown::Escaped(_) => line.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => line.push(character),
        }
    }
    Ok(line)
}

/// Writes text as [`plain`] shows it, or as it is.
pub struct TextWriter<W> {
    out: W,
    is_plain: bool,
    /// The beginning of a character whose rest has not come.
    begun: Vec<u8>,
}

impl<W: Write> TextWriter<W> {
    /// What is written through it has no power over a terminal.
    pub fn plain(out: W) -> Self {
        Self { out, is_plain: true, begun: Vec::new() }
    }

    /// What is written through it is written as it is.
    pub fn raw(out: W) -> Self {
        Self { out, is_plain: false, begun: Vec::new() }
    }

    /// Writes a text in a style, which alone acts on the terminal; what was begun before it is over.
    pub fn styled(&mut self, style: Style, text: &str) -> Result<()> {
        if style.is_plain() || text.is_empty() {
            return self.write_all(text.as_bytes());
        }
        write!(self.out, "{style}")?;
        self.write_all(text.as_bytes())?;
        write!(self.out, "{style:#}")
    }

    /// Writes how a check came out, such as pass or FAIL, in its colour on standard output.
    pub fn outcome(&mut self, word: &str) -> Result<()> {
        self.styled(on_stdout(of_outcome(word)), word)
    }
}

#[cfg(test)]
impl<W> TextWriter<W> {
    /// What it writes to.
    pub fn written(&self) -> &W {
        &self.out
    }
}

impl<W: Write> Write for TextWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        if !self.is_plain {
            return self.out.write(bytes);
        }
        self.begun.extend_from_slice(bytes);
        let text = String::from_utf8_lossy(&self.begun);
        let is_begun = std::str::from_utf8(&self.begun).is_err_and(|error| error.error_len().is_none());
        let whole = if is_begun { text.strip_suffix(char::REPLACEMENT_CHARACTER).unwrap_or(&text) } else { &text };
        self.out.write_all(plain(whole).as_bytes())?;
        let valid = std::str::from_utf8(&self.begun).map_or_else(|error| error.valid_up_to(), str::len);
        self.begun = if is_begun { self.begun.split_off(valid) } else { Vec::new() };
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        self.out.flush()
    }
}

/// A text on one line.
pub fn on_one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        match shown(character) {
            Shown::Plain(character) => line.push(character),
            Shown::LineEnd => line.push('↵'),
            Shown::Escaped(escaped) => line.push_str(&escaped),
        }
    }
    line
}

/// The name of a file on one line.
pub fn path(path: &Path) -> String {
    on_one_line(&path.display().to_string())
}

/// A token between quotation marks, so that its spaces are seen.
pub fn quoted(token: &str) -> String {
    format!("\"{}\"", on_one_line(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_act_on_a_terminal_is_shown_instead() {
        assert_eq!(on_one_line("\u{1b}[31mred\r\n\0"), "␛[31mred␍↵␀");
        assert_eq!(on_one_line("\u{9b}0m \u{202e}abc\u{2028}"), "\\u{9b}0m \\u{202e}abc\\u{2028}");
        assert_eq!(on_one_line("a\tb\u{7f}"), "a⇥   b␡");
    }

    #[test]
    fn a_writer_shows_the_same_however_a_text_is_cut() {
        let text = "明\u{1b}[2J\tÿ\n\u{9b}x\r\u{202e}";
        for size in 1..text.len() {
            let mut writer = TextWriter::plain(Vec::new());
            text.as_bytes().chunks(size).for_each(|piece| writer.write_all(piece).expect("written"));
            assert_eq!(String::from_utf8(writer.out).expect("UTF-8"), "明␛[2J\tÿ\n\\u{9b}x␍\\u{202e}", "by {size}");
        }
        let mut writer = TextWriter::raw(Vec::new());
        writer.write_all(text.as_bytes()).expect("written");
        assert_eq!(writer.out, text.as_bytes());
    }

    #[test]
    fn a_style_acts_and_nothing_in_its_text_does() {
        let mut writer = TextWriter::plain(Vec::new());
        let red = anstyle::AnsiColor::Red.on_default();
        writer.styled(red, "a\u{1b}[2Jb").expect("written");
        writer.styled(Style::new(), "c").expect("written");
        writer.styled(red, "").expect("written");
        assert_eq!(String::from_utf8(writer.out).expect("UTF-8"), "\u{1b}[31ma␛[2Jb\u{1b}[0mc");
    }

    #[test]
    fn json_says_the_same_without_a_character_that_a_terminal_obeys() {
        let text = "\u{1b}[2J\u{7f}\u{9b}\u{202e}猫\n\"\\";
        let line = json(&text).expect("JSON");
        assert!(line.chars().all(|char| matches!(shown(char), Shown::Plain(_))), "{line:?}");
        assert_eq!(serde_json::from_str::<String>(&line).expect("JSON"), text);
    }

    #[test]
    fn writing_of_all_sorts_stays_as_it_is() {
        for text in ["明月幾時有", "e\u{301}", "👩‍👩‍👧‍👦", "שלום", "it's \"x\" \\n"] {
            assert_eq!(on_one_line(text), text);
        }
    }
}
