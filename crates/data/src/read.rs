//! The text of a file, a pipe or standard input, compressed or not.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use ruzstd::decoding::FrameDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use tril_text::{TextError, text_from_bytes};

use crate::error::DataError;

/// What messages call it.
pub(crate) const STANDARD_INPUT: &str = "standard input";
/// So much of a file is looked at to tell what it is.
pub(crate) const BEGINNING: usize = 4096;
const GZIP: &[u8] = b"\x1F\x8B";
const ZSTD: &[u8] = b"\x28\xB5\x2F\xFD";
/// A text may unpack to so much, and beyond that to so many times its packed size: no text is packed better, and a file that
/// is made to fill the memory is.
const UNPACKED: usize = 256 << 20;
const UNPACKED_TIMES: usize = 100;
const TOO_LARGE: &str = "it would unpack to far more than a text of its size does";

/// Whether bytes that a file begins with are the mark of a packed text, or of UTF-16 or UTF-32.
pub(crate) fn is_marked(beginning: &[u8]) -> bool {
    const UTF16_AND_32: [&[u8]; 3] = [b"\xFF\xFE", b"\xFE\xFF", b"\0\0\xFE\xFF"];
    [GZIP, ZSTD].into_iter().chain(UTF16_AND_32).any(|mark| beginning.starts_with(mark))
}

/// Whether bytes that a file begins with are those of a packed text, or of one that is not in UTF-8.
pub(crate) fn is_packed_or_foreign(beginning: &[u8]) -> bool {
    is_marked(beginning) || 8 * beginning.iter().filter(|byte| **byte == 0).count() > beginning.len()
}

/// Whether bytes that a file begins with are those of a picture, a program or an archive: control characters that no text has,
/// and zeros that are not those of UTF-16. A text in an encoding of its own has neither, and whoever wants it can convert it.
pub(crate) fn is_binary(beginning: &[u8]) -> bool {
    let is_control = |byte: u8| matches!(byte, 1..=8 | 14..=26 | 28..=31);
    let zeros_at = |parity| beginning.iter().skip(parity).step_by(2).any(|byte| *byte == 0);
    beginning.iter().any(|byte| is_control(*byte)) || (zeros_at(0) && zeros_at(1))
}

/// Whether zeros are those of the usual letters in UTF-16: many, and all of them first bytes of two, or all of them second ones.
fn is_utf16(beginning: &[u8]) -> bool {
    let zeros = |parity| beginning.iter().skip(parity).step_by(2).filter(|byte| **byte == 0).count();
    let (first, second) = (zeros(0), zeros(1));
    (first == 0) != (second == 0) && 4 * (first + second) > beginning.len()
}

/// Whether bytes that a file begins with show at once that it is no text.
pub(crate) fn shows_no_text(beginning: &[u8]) -> bool {
    // A character may be cut at the end of what was read.
    let is_utf8 = std::str::from_utf8(beginning).map_or_else(|error| error.error_len().is_none(), |_| true);
    !is_utf8 && !is_marked(beginning) && is_binary(beginning)
}

/// The bytes that a file begins with.
pub(crate) fn beginning_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut beginning = Vec::new();
    File::open(path)?.take(BEGINNING as u64).read_to_end(&mut beginning)?;
    Ok(beginning)
}

/// As [`read_text`] of a file of a directory; none where it is no text at all.
pub(crate) fn read_text_among_others(path: &Path) -> Result<Option<String>, DataError> {
    let (bytes, path) = read_bytes(path)?;
    let is_binary = is_binary(&bytes[..bytes.len().min(BEGINNING)]);
    match text_from_bytes(bytes, &path) {
        Err(TextError::NotUtf8 { .. } | TextError::CutOff { .. } | TextError::OtherEncoding { .. }) if is_binary => {
            Ok(None)
        }
        read => Ok(Some(read?)),
    }
}

/// Reads a text: of a file or a pipe, or of standard input if the path is `-`; gzip and zstd are known by how they begin,
/// encodings as [`text_from_bytes`] says.
///
/// # Errors
///
/// `Unreadable`, `NoText`, `Compressed`, `NotUtf8`, `CutOff`, `OtherEncoding`.
pub fn read_text(path: &Path) -> Result<String, DataError> {
    // A pipe is read once; UTF-16 is told as that; what cannot be read is told below.
    let is_no_text = |beginning: Vec<u8>| shows_no_text(&beginning) && !is_utf16(&beginning);
    if path.is_file() && beginning_of(path).is_ok_and(is_no_text) {
        return Err(DataError::NoText { path: path.to_path_buf() });
    }
    let (bytes, path) = read_bytes(path)?;
    Ok(text_from_bytes(bytes, &path)?)
}

/// What a file holds when it is unpacked, and what messages call it.
pub(crate) fn read_bytes(path: &Path) -> Result<(Vec<u8>, PathBuf), DataError> {
    let is_stdin = path == Path::new("-");
    let name = if is_stdin { PathBuf::from(STANDARD_INPUT) } else { path.to_path_buf() };
    let unreadable = |source| TextError::Unreadable { path: name.clone(), source };
    let mut bytes = Vec::new();
    let read = if is_stdin {
        io::stdin().lock().read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|mut file| file.read_to_end(&mut bytes))
    };
    read.map_err(unreadable)?;
    let unpacked = if bytes.starts_with(GZIP) {
        ungzip(&bytes).map_err(|error| ("gzip", error))
    } else if bytes.starts_with(ZSTD) {
        unzstd(&bytes).map_err(|error| ("zstd", error))
    } else {
        Ok(bytes)
    };
    match unpacked {
        Ok(bytes) => Ok((bytes, name)),
        Err((format, reason)) => Err(DataError::Compressed { path: name, format, reason }),
    }
}

fn most_unpacked(bytes: &[u8]) -> usize {
    UNPACKED + UNPACKED_TIMES * bytes.len()
}

/// All members, one after another; the error is a reason for a message.
fn ungzip(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let (most, mut unpacked) = (most_unpacked(bytes), Vec::new());
    let mut reader = MultiGzDecoder::new(bytes).take(most as u64 + 1);
    reader.read_to_end(&mut unpacked).map_err(|error| error.to_string())?;
    if unpacked.len() > most { Err(TOO_LARGE.to_owned()) } else { Ok(unpacked) }
}

/// All frames, one after another; the error is a reason for a message.
fn unzstd(mut bytes: &[u8]) -> Result<Vec<u8>, String> {
    let (most, mut unpacked) = (most_unpacked(bytes), Vec::new());
    let mut decoder = FrameDecoder::new();
    while !bytes.is_empty() {
        match decoder.reset(&mut bytes) {
            Ok(()) => {}
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                bytes = bytes.get(length as usize..).ok_or("it is cut off")?;
                continue;
            }
            Err(error) => return Err(error.to_string()),
        }
        while !decoder.is_finished() {
            let blocks = ruzstd::decoding::BlockDecodingStrategy::UptoBytes(1 << 20);
            decoder.decode_blocks(&mut bytes, blocks).map_err(|error| error.to_string())?;
            decoder.collect_to_writer(&mut unpacked).map_err(|error| error.to_string())?;
            if unpacked.len() > most {
                return Err(TOO_LARGE.to_owned());
            }
        }
        decoder.collect_to_writer(&mut unpacked).map_err(|error| error.to_string())?;
        let (said, found) = (decoder.get_checksum_from_data(), decoder.get_calculated_checksum());
        if said.is_some() && said != found {
            return Err("its checksum does not match what it holds".to_owned());
        }
    }
    Ok(unpacked)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(bytes: &[u8]) -> Result<String, String> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a");
        std::fs::write(&path, bytes).expect("written");
        read_text(&path).map_err(|error| error.to_string().replace(&*path.to_string_lossy(), "a"))
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text.as_bytes()).expect("packed");
        encoder.finish().expect("packed")
    }

    fn zstd(text: &str) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(text.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest)
    }

    #[test]
    fn pictures_and_programs_are_told_from_texts_in_another_encoding() {
        let utf16: Vec<u8> = "Zoë saw three birds.\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let gbk = b"\xC3\xF7\xD4\xC2\xBC\xB8\xCA\xB1\xD3\xD0\n";
        for text in [b"caf\xE9\tau lait\r\n\x0c".as_slice(), gbk, &utf16, "猫\n".as_bytes(), b""] {
            assert!(!is_binary(text), "{text:?}");
        }
        let elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0";
        for binary in [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".as_slice(), b"\xFF\xD8\xFF\xE0\0\x10JFIF\0", elf] {
            assert!(is_binary(binary), "{binary:?}");
        }
    }

    #[test]
    fn a_picture_is_told_as_no_text_and_utf_16_without_a_mark_as_that() {
        let error = read(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR").expect_err("a picture");
        assert!(error.starts_with("a: no text, by the bytes that it begins with"), "{error}");
        // The bytes of a curly quote are a control character's, and those of é no UTF-8.
        let utf16: Vec<u8> = "Zoé said \u{2019}yes\u{2019}.".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let error = read(&utf16).expect_err("no mark");
        assert!(error.contains("UTF-16 without a byte-order mark"), "{error}");
    }

    #[test]
    fn packed_texts_are_unpacked_all_parts_of_them() {
        let text = "\u{feff}two lines\nof text 猫\n".repeat(5000);
        let plain = text.trim_start_matches('\u{feff}');
        for pack in [gzip, zstd] {
            let packed = pack(&text);
            assert!(packed.len() < text.len() / 10);
            assert_eq!(read(&packed).as_deref(), Ok(plain));
            let parts = [pack(&text[..100 + 3]), pack(&text[100 + 3..])].concat();
            assert_eq!(read(&parts).as_deref(), Ok(plain), "two parts in one file");
        }
        let skippable = [&b"\x50\x2A\x4D\x18\x03\0\0\0abc"[..], &zstd("b")].concat();
        assert_eq!(read(&[zstd("a"), skippable].concat()).as_deref(), Ok("ab"));
    }

    #[test]
    fn what_unpacks_to_far_more_than_a_text_does_is_refused() {
        let zeros = "0".repeat(UNPACKED + (96 << 20));
        for packed in [gzip(&zeros), zstd(&zeros)] {
            assert!(UNPACKED_TIMES * packed.len() < 96 << 20, "packed too badly for this test: {}", packed.len());
            let error = read(&packed).expect_err("too large");
            assert!(error.contains(TOO_LARGE), "{error}");
        }
    }

    #[test]
    fn what_is_cut_off_or_damaged_is_refused_as_what_it_is() {
        let text: String = (0..9000).map(|i| format!("{i} ")).collect();
        for (name, packed) in [("gzip", gzip(&text)), ("zstd", zstd(&text))] {
            for cut in [5, packed.len() / 2, packed.len() - 1] {
                let error = read(&packed[..cut]).expect_err("it is cut off");
                assert!(error.starts_with(&format!("a: cannot be unpacked as {name}: ")), "{error}");
            }
            let mut damaged = packed.clone();
            let middle = damaged.len() / 2;
            damaged[middle] ^= 0x55;
            assert!(read(&damaged).is_err(), "{name}");
        }
    }
}
