//! A scored text in the colours of a terminal.

use std::io::{Result, Write};

use anstyle::{Ansi256Color, Color, RgbColor, Style};

use super::cells::{LEVEL_NAMES, level};
use super::columns::{write_heading, write_most_surprising, write_summary};
use super::{Scored, cells::Cell};
use crate::folded::{fold, stdout_width};
use crate::shown::{Shown, shown};

/// Backgrounds from level 1 on, in 24 bits and as the nearest of 256 colours; the foreground is black, on the last
/// white. ColorBrewer's YlOrRd was the model: light to dark, so that it is read without hues too.
const BACKGROUNDS: [((u8, u8, u8), u8); 5] = [
    ((255, 243, 176), 229),
    ((253, 210, 122), 222),
    ((251, 165, 91), 215),
    ((240, 112, 74), 209),
    ((178, 24, 43), 124),
];

/// Stands before the first token of a window.
const WINDOW_MARK: &str = "│";

/// Writes heading, legend, text and summary.
pub fn write(scored: &Scored, out: &mut impl Write) -> Result<()> {
    let palette = Palette::of_terminal();
    write_folded(out, |lines| write_heading(scored, lines))?;
    write_legend(&palette, out)?;
    if scored.summary.windows > 1 {
        let (mark, seq_len) = (window_mark(), scored.summary.seq_len);
        write_folded(out, |lines| {
            writeln!(lines, "{mark}{WINDOW_MARK}{mark:#} a window of {seq_len} tokens begins, from an empty context")
        })?;
    }
    writeln!(out)?;
    let mut end = 0;
    for cell in &scored.cells {
        write_text(&scored.text[end..cell.bytes.start.max(end)], Style::new(), out)?;
        end = cell.bytes.end;
        write_cell(scored, cell, &palette, out)?;
    }
    write_text(&scored.text[end..], Style::new(), out)?;
    writeln!(out, "{}", if scored.text.ends_with('\n') { "" } else { "\n" })?;
    write_folded(out, |lines| {
        write_most_surprising(scored, lines)?;
        write_summary(scored, lines)
    })
}

/// Writes what the colours are, on as many lines as it takes.
fn write_legend(palette: &Palette, out: &mut impl Write) -> Result<()> {
    let (width, mut used) = (stdout_width().unwrap_or(usize::MAX), 0);
    let mut item = |text: String, columns: usize| -> String {
        let begins_line = used > 0 && used + columns > width;
        used = if begins_line { columns } else { used + columns };
        if begins_line { format!("\n{text}") } else { text }
    };
    for (level, name) in LEVEL_NAMES.iter().enumerate() {
        let style = palette.level(level);
        write!(out, "{}", item(format!("{style} {name} {style:#} "), name.chars().count() + 3))?;
    }
    let (unpredicted, text) = (unpredicted(), ": nothing predicts it");
    let columns = "first".len() + text.len();
    writeln!(out, "{}", item(format!("{unpredicted}first{unpredicted:#}{text}"), columns))
}

/// Writes lines around the text, which fit the terminal; the text itself is the terminal's to break.
fn write_folded(out: &mut impl Write, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
    let mut lines = Vec::new();
    write(&mut lines)?;
    out.write_all(fold(&String::from_utf8_lossy(&lines), stdout_width()).as_bytes())
}

fn write_cell(scored: &Scored, cell: &Cell, palette: &Palette, out: &mut impl Write) -> Result<()> {
    if scored.begins_window(cell) {
        let mark = window_mark();
        write!(out, "{mark}{WINDOW_MARK}{mark:#}")?;
    }
    let style = scored.surprise(cell).map_or(unpredicted(), |surprise| palette.level(level(surprise)));
    write_text(&scored.text[cell.bytes.clone()], style, out)
}

/// Writes a text in one style; no style reaches over the end of a line.
fn write_text(text: &str, style: Style, out: &mut impl Write) -> Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    write!(out, "{style}")?;
    for character in text.chars() {
        match shown(character) {
            Shown::Plain(character) => write!(out, "{character}")?,
            Shown::LineEnd => write!(out, "↵{style:#}\n{style}")?,
            Shown::Escaped(escaped) => write!(out, "{escaped}")?,
        }
    }
    write!(out, "{style:#}")
}

/// How the first token is shown.
fn unpredicted() -> Style {
    Style::new().underline()
}

fn window_mark() -> Style {
    Style::new().dimmed()
}

/// What the terminal can show.
enum Palette {
    TrueColor,
    Ansi256,
}

impl Palette {
    /// Terminals that can show 24 bits say so by COLORTERM.
    fn of_terminal() -> Self {
        if anstyle_query::truecolor() { Self::TrueColor } else { Self::Ansi256 }
    }

    fn level(&self, level: usize) -> Style {
        let Some((rgb, index)) = level.checked_sub(1).and_then(|level| BACKGROUNDS.get(level)) else {
            return Style::new();
        };
        let is_last = level == BACKGROUNDS.len();
        let (background, foreground) = match self {
            Self::TrueColor => {
                let grey = if is_last { 255 } else { 0 };
                (Color::Rgb(RgbColor(rgb.0, rgb.1, rgb.2)), Color::Rgb(RgbColor(grey, grey, grey)))
            }
            Self::Ansi256 => {
                let grey = if is_last { 231 } else { 16 };
                (Color::Ansi256(Ansi256Color(*index)), Color::Ansi256(Ansi256Color(grey)))
            }
        };
        Style::new().bg_color(Some(background)).fg_color(Some(foreground))
    }
}
