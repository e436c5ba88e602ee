//! Texts as they can be typed on a line.

/// What a typed text stands for: `\\n` is a newline, `\\t` a tab and `\\\\` a backslash.
///
/// # Errors
/// A message about another letter after a backslash.
pub fn unescape(text: &str) -> Result<String, String> {
    let mut chars = text.chars();
    let mut unescaped = String::with_capacity(text.len());
    while let Some(char) = chars.next() {
        unescaped.push(match char {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('\\') => '\\',
                _ => return Err(r"after a backslash come n, t or another backslash: \n, \t, \\".into()),
            },
            char => char,
        });
    }
    Ok(unescaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_backslash_begins_is_read_and_the_rest_is_as_it_is() {
        assert_eq!(unescape(r"a\n\t\\n猫\\").as_deref(), Ok("a\n\t\\n猫\\"));
        for text in [r"\", r"a\x", r"\\\"] {
            assert!(unescape(text).is_err(), "{text}");
        }
    }
}
