//! Text from a file as a reader may see it: nothing in it moves the cursor, changes colours or turns the line around.

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
    fn writing_of_all_sorts_stays_as_it_is() {
        for text in ["明月幾時有", "e\u{301}", "👩‍👩‍👧‍👦", "שלום", "it's \"x\" \\n"] {
            assert_eq!(on_one_line(text), text);
        }
    }
}
