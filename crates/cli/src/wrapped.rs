//! A model's own text on a terminal: lines break between words, and words come when they are whole. What goes to a file or a
//! pipe stays as it is.

use std::io::{Result, StdoutLock, Write};

use unicode_width::UnicodeWidthChar;

use crate::folded::stdout_width;

/// What no line of a script without spaces begins with.
const CLOSING: &str = "、。，．；：！？）」』】》〉〕…—·’”";
/// What no such line ends with: brackets, and what joins pictures into one.
const OPENING: &str = "（「『【《〈〔‘“\u{200d}";
/// Columns from one tabulator stop to the next.
const TAB: usize = 8;

/// Breaks lines on their way to a terminal. What it is given are whole characters, in which nothing but sequences of colours
/// acts on a terminal.
pub struct Wrapped<W: Write> {
    out: W,
    width: Option<usize>,
    /// How far the line has come.
    column: usize,
    /// Spaces after it, of which a new line takes the place.
    spaces: usize,
    /// A word that may go on, and its columns.
    word: String,
    word_width: usize,
    is_in_sequence: bool,
}

impl Wrapped<StdoutLock<'static>> {
    /// To standard output.
    pub fn stdout() -> Self {
        Self::new(std::io::stdout().lock(), stdout_width())
    }
}

impl<W: Write> Wrapped<W> {
    /// - width: columns of a line; without it nothing is broken
    fn new(out: W, width: Option<usize>) -> Self {
        Self { out, width, column: 0, spaces: 0, word: String::new(), word_width: 0, is_in_sequence: false }
    }

    fn take(&mut self, character: char, width: usize) -> Result<()> {
        if self.is_in_sequence || character == '\u{1b}' {
            self.is_in_sequence = character != 'm';
            self.word.push(character);
            return Ok(());
        }
        match character {
            '\n' => {
                self.place(width)?;
                (self.column, self.spaces) = (0, 0);
                self.out.write_all(b"\n")
            }
            ' ' => {
                self.place(width)?;
                self.spaces += 1;
                Ok(())
            }
            '\t' => {
                self.place(width)?;
                let at = self.column + self.spaces;
                self.spaces += TAB - at % TAB;
                Ok(())
            }
            _ => {
                let columns = character.width().unwrap_or(0);
                if self.ends_before(character, columns) || self.word_width + columns > width {
                    self.place(width)?;
                }
                self.word.push(character);
                self.word_width += columns;
                Ok(())
            }
        }
    }

    /// Whether a line may end between the word and this character: scripts without spaces break at each.
    fn ends_before(&self, character: char, columns: usize) -> bool {
        let Some(last) = self.word.chars().next_back().filter(|_| self.word_width > 0) else { return false };
        let is_wide = columns > 1 || last.width().unwrap_or(0) > 1;
        is_wide && columns > 0 && !CLOSING.contains(character) && !OPENING.contains(last)
    }

    /// Writes the word, on a new line if it does not fit into this one.
    fn place(&mut self, width: usize) -> Result<()> {
        if self.word_width > 0 {
            if self.column + self.spaces + self.word_width > width {
                if self.column > 0 {
                    self.out.write_all(b"\n")?;
                }
                (self.column, self.spaces) = (0, 0);
            }
            write!(self.out, "{:1$}", "", self.spaces)?;
            self.column += self.spaces + self.word_width;
            (self.spaces, self.word_width) = (0, 0);
        }
        self.out.write_all(std::mem::take(&mut self.word).as_bytes())
    }
}

impl<W: Write> Write for Wrapped<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let Some(width) = self.width else { return self.out.write(bytes) };
        for character in String::from_utf8_lossy(bytes).chars() {
            self.take(character, width)?;
        }
        Ok(bytes.len())
    }

    /// Leaves a word that may go on where it is.
    fn flush(&mut self) -> Result<()> {
        self.out.flush()
    }
}

impl<W: Write> Drop for Wrapped<W> {
    fn drop(&mut self) {
        if let Some(width) = self.width {
            // Whoever must know whether a text was written has ended its line.
            let _ = self.place(width).and_then(|()| self.out.flush());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A text that comes in pieces of so many characters.
    fn wrapped(text: &str, width: usize, size: usize) -> String {
        let mut out = Vec::new();
        let mut writer = Wrapped::new(&mut out, Some(width));
        let characters: Vec<char> = text.chars().collect();
        for piece in characters.chunks(size) {
            write!(writer, "{}", piece.iter().collect::<String>()).expect("written");
            writer.flush().expect("flushed");
        }
        drop(writer);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn lines_break_between_words_however_the_text_comes() {
        let text = "There was once an untidy girl\nin Kettlemere  who collected tacks.\n\n  So:";
        let lines = "There was once\nan untidy girl\nin Kettlemere\nwho collected\ntacks.\n\n  So:";
        for size in [1, 2, 5, 100] {
            assert_eq!(wrapped(text, 15, size), lines, "by {size}");
        }
        assert_eq!(wrapped(text, 80, 3), text);
    }

    #[test]
    fn a_word_that_no_line_holds_is_cut() {
        assert_eq!(wrapped("a 0123456789012345678901234 b", 10, 1), "a\n0123456789\n0123456789\n01234 b");
    }

    #[test]
    fn a_script_without_spaces_breaks_at_any_character_but_before_what_closes() {
        assert_eq!(wrapped("明月幾時有把酒，問青天。", 15, 1), "明月幾時有把\n酒，問青天。");
        assert_eq!(wrapped("他說「明月」abc", 8, 1), "他說「明\n月」abc");
        assert_eq!(wrapped("他說「明月」abc", 7, 1), "他說\n「明\n月」abc", "nor after what opens");
        assert_eq!(wrapped("家👩\u{200d}👧", 5, 1), "家\n👩\u{200d}👧", "nor within a picture of two");
    }

    #[test]
    fn colours_take_no_room_and_a_tabulator_is_spaces() {
        assert_eq!(wrapped("\u{1b}[36mA cat\u{1b}[0m sat down", 9, 1), "\u{1b}[36mA cat\u{1b}[0m sat\ndown");
        assert_eq!(wrapped("a\tb\tc", 12, 1), "a       b\nc");
    }

    #[test]
    fn without_a_terminal_nothing_is_changed() {
        let mut out = Vec::new();
        let mut writer = Wrapped::new(&mut out, None);
        writer.write_all("ä\tb  c ".repeat(40).as_bytes()).expect("written");
        drop(writer);
        assert_eq!(out, "ä\tb  c ".repeat(40).as_bytes());
    }

    proptest! {
        #[test]
        fn no_line_is_wider_and_nothing_but_space_is_lost(text in "[a-z明。「 \n]{0,200}", width in 4usize..40) {
            let lines = wrapped(&text, width, 3);
            let squeezed = |text: &str| text.split_whitespace().collect::<String>();
            prop_assert_eq!(squeezed(&lines), squeezed(&text));
            for line in lines.lines() {
                prop_assert!(unicode_width::UnicodeWidthStr::width(line) <= width, "{:?}", line);
            }
        }
    }
}
