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
/// How lines begin that are meant to be typed.
const COMMANDS: [&str; 2] = ["tril ", "cargo run "];
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
    let mut folder = Folder { width, pending: None };
    let mut folded: String = text.split_inclusive('\n').map(|line| folder.line(line)).collect();
    folded += &folder.end();
    folded.into()
}

/// Folds lines as they come. Prose that was written for wider terminals flows on: a line that is too wide waits for the next
/// one, which may be its continuation.
struct Folder {
    width: usize,
    pending: Option<String>,
}

impl Folder {
    /// What can be written once this line, with its end, is known.
    fn line(&mut self, line: &str) -> String {
        if let Some(pending) = self.pending.take() {
            if continues(&pending, line) {
                self.pending = Some(format!("{} {}", pending.trim_end(), line.trim_start()));
                return String::new();
            }
            return fold_line(&pending, self.width) + &self.line(line);
        }
        if display_width(line.trim_end()) <= self.width {
            return line.to_owned();
        }
        self.pending = Some(line.to_owned());
        String::new()
    }

    /// What is left.
    fn end(&mut self) -> String {
        self.pending.take().map_or(String::new(), |pending| fold_line(&pending, self.width))
    }
}

/// Whether a line is one to be typed.
fn is_command(line: &str) -> bool {
    COMMANDS.iter().any(|command| line.starts_with(command))
}

/// Whether a line goes on with the sentence of the one before it; one that begins with a word and a colon does not, and a note
/// between brackets is over with the second of them.
fn continues(before: &str, line: &str) -> bool {
    let text = line.trim();
    let is_named = text.split(' ').next().is_some_and(|word| word.ends_with(':'));
    let is_prose = text.starts_with(char::is_lowercase) && !is_named && label_end(text).is_none() && !is_command(text);
    is_prose && !before.trim_end().ends_with(']')
}

fn fold_line(line: &str, width: usize) -> String {
    if display_width(line.trim_end()) <= width {
        return line.to_owned();
    }
    let (text, end) = line.strip_suffix('\n').map_or((line, ""), |text| (text, "\n"));
    // A command that is folded can still be copied into a shell.
    let is_command = is_command(text);
    let (columns, between) = if is_command { (width - 2, " \\\n") } else { (width, "\n") };
    let indent = " ".repeat(indent(text).min(width / 2));
    let options = Options::new(columns)
        .subsequent_indent(&indent)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        .break_words(!is_command);
    let lines = textwrap::wrap(text, options);
    lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join(between) + end
}

/// Where the text of a line begins: after its label, or after its margin. A sentence goes on at the margin.
fn indent(line: &str) -> usize {
    let margin = line.len() - line.trim_start_matches(' ').len();
    let rest = &line[margin..];
    match label_end(rest) {
        Some(end) if margin + end <= WIDEST_LABEL => margin + end,
        _ if rest.starts_with(char::is_uppercase) => margin,
        _ => margin + 2,
    }
}

/// Where the text after a label begins, which some spaces separate from it.
fn label_end(text: &str) -> Option<usize> {
    let end = text.find("  ")?;
    let gap = text[end..].len() - text[end..].trim_start().len();
    Some(display_width(&text[..end]) + gap)
}

/// Folds whole lines on their way; [`Write::flush`] lets out one that has no end yet.
pub struct Folded<W: Write> {
    out: W,
    folder: Option<Folder>,
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
        out.folder = None;
        out
    }
}

impl<W: Write> Folded<W> {
    /// To what writes to standard output.
    pub fn over(out: W) -> Self {
        Self { out, folder: stdout_width().map(|width| Folder { width, pending: None }), line: Vec::new() }
    }

    fn write_line(&mut self, end: usize) -> Result<()> {
        let line: Vec<u8> = self.line.drain(..end).collect();
        let line = String::from_utf8_lossy(&line);
        let folded = self.folder.as_mut().map_or_else(|| line.to_string(), |folder| folder.line(&line));
        self.out.write_all(folded.as_bytes())
    }
}

impl<W: Write> Write for Folded<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        if self.folder.is_none() {
            return self.out.write(bytes);
        }
        self.line.extend_from_slice(bytes);
        while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
            self.write_line(end + 1)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        if !self.line.is_empty() {
            self.write_line(self.line.len())?;
        }
        if let Some(folder) = &mut self.folder {
            let rest = folder.end();
            self.out.write_all(rest.as_bytes())?;
        }
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
        assert_eq!(
            fold("  a margin of two, and words that follow", Some(24)),
            "  a margin of two, and\n    words that follow"
        );
        assert_eq!(fold("[one note, which has no label]\nshort", Some(20)), "[one note, which has\n  no label]\nshort");
    }

    #[test]
    fn no_line_is_wider_than_asked_for_whatever_it_is_made_of() {
        let texts = [
            "0123456789".repeat(9),
            "明月幾時有把酒問青天".repeat(6),
            "a ".repeat(70),
            format!("label  {}", "x".repeat(99)),
        ];
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
    fn prose_flows_on_and_tables_do_not() {
        let prose = "Not shown: anything about cases that were not tried, another text, and whether\nthe predictions are good.\n";
        let folded = "Not shown: anything about cases that\nwere not tried, another text, and\nwhether the predictions are good.\n";
        assert_eq!(fold(prose, Some(38)), folded);
        let named = "stated, not checked: tril, on cpu, x86_64-linux\ndemanded: the same bits\n";
        assert!(fold(named, Some(40)).ends_with("\ndemanded: the same bits\n"));
        let examples = "  tril train --from runs/tales  # another run's weights\n  tril train --resume runs/notes\n";
        assert!(fold(examples, Some(40)).ends_with("\n  tril train --resume runs/notes\n"));
        let table = "one and a cell that is very long, too long   1\ntwo   2\n";
        assert_eq!(fold(table, Some(30)), "one and a cell that is very\n  long, too long   1\ntwo   2\n");
    }

    #[test]
    fn a_command_that_is_folded_can_be_copied() {
        let command = "tril train --data notes.txt --set train.steps=20 --set tokenizer.kind=char";
        let folded = fold(command, Some(40));
        assert_eq!(folded, "tril train --data notes.txt --set \\\n  train.steps=20 --set \\\n  tokenizer.kind=char");
        let words = |text: &str| shlex::split(text).expect("sound");
        assert_eq!(words(&folded.replace("\\\n", "")), words(command));
    }

    #[test]
    fn a_writer_folds_lines_however_they_come_and_lets_out_the_last() {
        let text = "model    0.53 M parameters: 3 layers, d_model 96, 3 heads\n猫 and no end";
        for size in [1, 2, 7, 100] {
            let mut out = Vec::new();
            let folder = Some(Folder { width: 40, pending: None });
            let mut writer = Folded { out: &mut out, folder, line: Vec::new() };
            text.as_bytes().chunks(size).for_each(|piece| writer.write_all(piece).expect("written"));
            drop(writer);
            assert_eq!(String::from_utf8(out).expect("UTF-8"), fold(text, Some(40)));
        }
    }
}
