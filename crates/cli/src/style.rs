//! The few colours of a terminal: what a reader gave, what is best, what holds, and that something is wrong. None where NO_COLOR,
//! `--color` or the lack of a terminal says so; a text is the same without them.

use anstream::{AutoStream, ColorChoice, stream::RawStream};
use anstyle::{AnsiColor, Style};

/// What was given, as against what a model has written.
pub const PROMPT: Style = AnsiColor::Cyan.on_default();
/// The best so far.
pub const BEST: Style = AnsiColor::Green.on_default().bold();
/// What a message of an error begins with, as those on a command line do, and what a check that failed is called.
pub const ERROR: Style = AnsiColor::Red.on_default().bold();
/// What a check that holds is called.
const HOLDS: Style = AnsiColor::Green.on_default();

/// The style of what a check is called that came out so: pass, FAIL, open.
pub fn of_outcome(word: &str) -> Style {
    match word {
        "pass" | "PASS" | "ok" => HOLDS,
        "FAIL" => ERROR,
        _ => Style::new(),
    }
}

/// Has all that follows obey `--color`.
pub fn obey(choice: clap::ColorChoice) {
    let choice = match choice {
        // The environment decides, which is read anew each time.
        clap::ColorChoice::Auto => ColorChoice::Auto,
        clap::ColorChoice::Always => ColorChoice::Always,
        clap::ColorChoice::Never => ColorChoice::Never,
    };
    choice.write_global();
}

/// This style, or none if standard output shows no colours.
pub fn on_stdout(style: Style) -> Style {
    shown_on(&std::io::stdout(), style)
}

/// This style, or none if standard error shows no colours.
pub fn on_stderr(style: Style) -> Style {
    shown_on(&std::io::stderr(), style)
}

fn shown_on(stream: &impl RawStream, style: Style) -> Style {
    if AutoStream::choice(stream) == ColorChoice::Never { Style::new() } else { style }
}

/// Each line in this style, so that none reaches over the end of a line.
pub fn lines_in(style: Style, text: &str) -> String {
    let styled = |line: &str| match line.strip_suffix('\n') {
        Some("") => "\n".to_owned(),
        Some(line) => format!("{style}{line}{style:#}\n"),
        None => format!("{style}{line}{style:#}"),
    };
    text.split_inclusive('\n').map(styled).collect()
}

/// A text whose first `letters` characters that are no spaces are in this style, however its lines were broken since.
///
/// - margin: what stands before each line, and is no part of the text
pub fn beginning_in(style: Style, text: &str, letters: usize, margin: &str) -> String {
    let (mut styled, mut left) = (String::with_capacity(text.len()), letters);
    for line in text.split_inclusive('\n') {
        let (margin, rest) = line.split_at(if line.starts_with(margin) { margin.len() } else { 0 });
        styled += margin;
        let is_end = |(_, character): &(usize, char)| {
            let is_past = left == 0;
            left -= usize::from(left > 0 && !character.is_whitespace());
            is_past || *character == '\n'
        };
        let end = rest.char_indices().find(is_end).map_or(rest.len(), |(at, _)| at);
        let (begun, more) = rest.split_at(end);
        if !begun.is_empty() {
            styled += &format!("{style}{begun}{style:#}");
        }
        styled += more;
    }
    styled
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without the sequences, and with brackets where the style begins and ends.
    fn bracketed(text: &str) -> String {
        text.replace(&PROMPT.render().to_string(), "[").replace(&PROMPT.render_reset().to_string(), "]")
    }

    #[test]
    fn a_beginning_is_styled_wherever_its_lines_are_broken_and_no_margin_is() {
        let styled = |text: &str, letters| bracketed(&beginning_in(PROMPT, text, letters, "  │ "));
        assert_eq!(styled("  │ There was once\n  │ a cat\n", 8), "  │ [There was] once\n  │ a cat\n");
        assert_eq!(styled("  │ There was\n  │ once a cat", 12), "  │ [There was]\n  │ [once] a cat");
        assert_eq!(styled("  │ 明月\n  │ \n  │ 幾時有", 3), "  │ [明月]\n  │ \n  │ [幾]時有");
        assert_eq!(styled("none", 0), "none");
        assert_eq!(styled("all", 9), "[all]");
    }

    #[test]
    fn no_style_reaches_over_the_end_of_a_line() {
        assert_eq!(bracketed(&lines_in(PROMPT, "a\n\nb c")), "[a]\n\n[b c]");
        assert_eq!(lines_in(Style::new(), "a\nb\n"), "a\nb\n");
    }
}
