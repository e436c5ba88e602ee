//! Lines that are wider than the terminal they go to, folded between words; what goes to a file or a pipe stays as it is.

use std::borrow::Cow;
use std::io::{IsTerminal, Result, StdoutLock, Write};

use console::Term;
use textwrap::core::display_width;
use textwrap::{Options, WordSeparator, WordSplitter};

/// No terminal is narrower.
const NARROWEST: usize = 20;
/// Columns of the widest tables.
const WIDE: usize = 100;
/// Labels of lines such as `model    0.53 M parameters` end within so many columns.
const WIDEST_LABEL: usize = 24;

/// Columns of the terminal that standard output goes to.
pub fn stdout_width() -> Option<usize> {
    std::io::stdout().is_terminal().then(|| width(&Term::stdout()))
}

/// Whether tables of 100 columns have to take another form.
pub fn is_narrow() -> bool {
    stdout_width().is_some_and(|width| width < WIDE)
}

/// Columns of the terminal that standard error goes to.
pub fn stderr_width() -> Option<usize> {
    std::io::stderr().is_terminal().then(|| width(&Term::stderr()))
}

fn width(term: &Term) -> usize {
    usize::from(term.size().1).max(NARROWEST)
}

/// Folds the lines of a text that are wider than this; the rest of a line stands below its text, beside its label.
pub fn fold(text: &str, width: Option<usize>) -> Cow<'_, str> {
    let Some(width) = width else { return text.into() };
    if text.lines().all(|line| display_width(line) <= width) {
        return text.into();
    }
    text.split_inclusive('\n').map(|line| fold_line(line, width)).collect::<String>().into()
}

fn fold_line(line: &str, width: usize) -> Cow<'_, str> {
    if display_width(line.trim_end()) <= width {
        return line.into();
    }
    let (text, end) = line.strip_suffix('\n').map_or((line, ""), |text| (text, "\n"));
    let indent = " ".repeat(indent(text).min(width / 2));
    let options = Options::new(width)
        .subsequent_indent(&indent)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation);
    let lines = textwrap::wrap(text, options);
    (lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n") + end).into()
}

/// Where the text of a line begins: after its label, or after its margin.
fn indent(line: &str) -> usize {
    let margin = line.len() - line.trim_start_matches(' ').len();
    let rest = &line[margin..];
    let label = rest.find("  ").map(|end| (display_width(&rest[..end]), rest[end..].len() - rest[end..].trim_start().len()));
    match label {
        Some((label, gap)) if margin + label + gap <= WIDEST_LABEL => margin + label + gap,
        _ => margin + 2,
    }
}

/// Folds whole lines on their way; [`Write::flush`] lets out one that has no end yet.
pub struct Folded<W: Write> {
    out: W,
    width: Option<usize>,
    line: Vec<u8>,
}

impl Folded<StdoutLock<'static>> {
    /// To standard output.
    pub fn stdout() -> Self {
        Self::over(std::io::stdout().lock())
    }

    /// To standard output, as it is: a coloured text in which every space counts.
    pub fn unfolded() -> Self {
        let mut out = Self::stdout();
        out.width = None;
        out
    }
}

impl<W: Write> Folded<W> {
    /// To what writes to standard output.
    pub fn over(out: W) -> Self {
        Self { out, width: stdout_width(), line: Vec::new() }
    }

    fn write_lines(&mut self, end: usize) -> Result<()> {
        let lines: Vec<u8> = self.line.drain(..end).collect();
        self.out.write_all(fold(&String::from_utf8_lossy(&lines), self.width).as_bytes())
    }
}

impl<W: Write> Write for Folded<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        if self.width.is_none() {
            return self.out.write(bytes);
        }
        self.line.extend_from_slice(bytes);
        if let Some(last) = self.line.iter().rposition(|byte| *byte == b'\n') {
            self.write_lines(last + 1)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        self.write_lines(self.line.len())?;
        self.out.flush()
    }
}

impl<W: Write> Drop for Folded<W> {
    fn drop(&mut self) {
        // Whoever must know whether it was written has flushed it.
        let _ = self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_folded_between_words_below_its_text() {
        let line = "model    0.53 M parameters: 3 layers, d_model 96, 3 heads\n";
        let folded = "model    0.53 M parameters: 3 layers,\n         d_model 96, 3 heads\n";
        assert_eq!(fold(line, Some(40)), folded);
        assert_eq!(fold(line, None), line);
        assert_eq!(fold(line, Some(80)), line);
        assert_eq!(fold("  a margin of two, and words that follow", Some(24)), "  a margin of two, and\n    words that follow");
        assert_eq!(fold("[one note, which has no label]\nshort", Some(20)), "[one note, which has\n  no label]\nshort");
    }

    #[test]
    fn no_line_is_wider_than_asked_for_whatever_it_is_made_of() {
        let texts = ["0123456789".repeat(9), "明月幾時有把酒問青天".repeat(6), "a ".repeat(70), format!("label  {}", "x".repeat(99))];
        for width in [20, 33, 40, 80] {
            for text in &texts {
                let folded = fold(text, Some(width));
                assert!(folded.lines().all(|line| display_width(line) <= width), "{width}: {folded}");
                let squeezed = |text: &str| text.split_whitespace().collect::<String>();
                assert_eq!(squeezed(&folded), squeezed(text));
            }
        }
    }

    #[test]
    fn a_writer_folds_lines_however_they_come_and_lets_out_the_last() {
        let text = "model    0.53 M parameters: 3 layers, d_model 96, 3 heads\n猫 and no end";
        for size in [1, 2, 7, 100] {
            let mut out = Vec::new();
            let mut writer = Folded { out: &mut out, width: Some(40), line: Vec::new() };
            text.as_bytes().chunks(size).for_each(|piece| writer.write_all(piece).expect("written"));
            drop(writer);
            assert_eq!(String::from_utf8(out).expect("UTF-8"), fold(text, Some(40)));
        }
    }
}
