//! The bytes of a file as text: UTF-8 with or without a byte-order mark, UTF-16 by its mark.

use std::path::Path;

use crate::error::TextError;

/// The mark that some editors write before UTF-8. It is no part of the text.
const UTF8_MARK: &[u8] = b"\xEF\xBB\xBF";
/// One byte in so many is zero in UTF-16 that was taken for UTF-8, and hardly one in any text.
const ZERO_IN: usize = 4;

/// Reads bytes as text; `path` is for error messages. A byte-order mark at the beginning is no text, and says whether the
/// rest is UTF-8 or UTF-16; without one it is UTF-8. Line ends stay as they are.
///
/// # Errors
///
/// `NotUtf8`; `CutOff`; `OtherEncoding` for UTF-32, for UTF-16 without a mark, and for UTF-16 that is cut off or damaged.
pub fn text_from_bytes(bytes: Vec<u8>, path: &Path) -> Result<String, TextError> {
    let other = |what: &str, from: &'static str| TextError::OtherEncoding {
        path: path.to_path_buf(),
        what: what.to_owned(),
        from,
    };
    match bytes.as_slice() {
        [0xFF, 0xFE, 0, 0, ..] | [0, 0, 0xFE, 0xFF, ..] => return Err(other("UTF-32", "UTF-32")),
        [0xFF, 0xFE, units @ ..] => {
            return from_utf16(units, u16::from_le_bytes).map_err(|what| other(&what, "UTF-16"));
        }
        [0xFE, 0xFF, units @ ..] => {
            return from_utf16(units, u16::from_be_bytes).map_err(|what| other(&what, "UTF-16"));
        }
        _ => {}
    }
    let zeros = bytes.iter().filter(|byte| **byte == 0).count();
    if zeros > 1 && zeros * ZERO_IN > bytes.len() {
        let from = if bytes.first() == Some(&0) { "UTF-16BE" } else { "UTF-16LE" };
        return Err(other("UTF-16 without a byte-order mark, as it seems", from));
    }
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let (path, fault) = (path.to_path_buf(), error.utf8_error());
        let offset = fault.valid_up_to();
        match fault.error_len() {
            None => TextError::CutOff { path, offset },
            Some(_) => TextError::NotUtf8 { path, offset },
        }
    })?;
    if text.as_bytes().starts_with(UTF8_MARK) {
        text.drain(..UTF8_MARK.len());
    }
    Ok(text)
}

/// The error says what is wrong.
fn from_utf16(bytes: &[u8], unit: impl Fn([u8; 2]) -> u16) -> Result<String, String> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("UTF-16 with half a character at its end".to_owned());
    }
    let mut text = String::with_capacity(bytes.len());
    let mut at = 2;
    for character in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
        let character = character.map_err(|_| format!("UTF-16 that is damaged at byte {at}"))?;
        at += 2 * character.len_utf16();
        text.push(character);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<String, String> {
        text_from_bytes(bytes.to_vec(), Path::new("a.txt")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_byte_order_mark_is_no_text_and_says_what_the_rest_is() {
        let text = "hé\r\n猫🦀";
        let utf16 = |bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(bytes).collect()
        };
        for bytes in [
            text.as_bytes().to_vec(),
            [UTF8_MARK, text.as_bytes()].concat(),
            utf16(u16::to_le_bytes),
            utf16(u16::to_be_bytes),
        ] {
            assert_eq!(read(&bytes).as_deref(), Ok(text));
        }
        assert_eq!(read(b"\xEF\xBB\xBF").as_deref(), Ok(""));
        assert_eq!(read("a\u{feff}b".as_bytes()).as_deref(), Ok("a\u{feff}b"), "one inside is a character");
    }

    #[test]
    fn other_encodings_are_named_for_what_they_are() {
        for (bytes, expected) in [
            (&b"\xFF\xFE\0\0a\0\0\0"[..], "a.txt: UTF-32; "),
            (b"\xFF\xFEa\0b", "a.txt: UTF-16 with half a character at its end; "),
            (b"\xFF\xFEa\0\x00\xD8b\0", "a.txt: UTF-16 that is damaged at byte 4; "),
            (b"h\0e\0l\0l\0o\0", "`iconv -f UTF-16LE -t UTF-8`"),
            (b"\0h\0e\0l\0l\0o", "`iconv -f UTF-16BE -t UTF-8`"),
            (b"caf\xE9s", "a.txt: not UTF-8 text at byte 3; "),
            (&"明月".as_bytes()[..5], "a.txt: ends within a character, at byte 3: "),
        ] {
            let error = read(bytes).expect_err(expected);
            assert!(error.contains(expected), "{error}");
        }
        assert_eq!(read(b"a\0b, one zero").as_deref(), Ok("a\0b, one zero"));
    }
}
