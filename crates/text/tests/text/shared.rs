//! The data beside the repository, and the tokenizers that several tests build.

use std::env;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use tril_text::{Tokenizer, TokenizerConfig, TokenizerKind};

/// How many times a text of the shared folder was wanted and absent.
static SKIPPED: AtomicUsize = AtomicUsize::new(0);

/// A text of the shared data folder, or none, with a printed reason, where there is no such folder.
pub fn shared_text(name: &str) -> Option<String> {
    let path = shared_path(name)?;
    Some(fs::read_to_string(path).expect("a readable file"))
}

/// As [`shared_text`], the path.
pub fn shared_path(name: &str) -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let folder = env::var_os("TRIL_SHARED").map_or_else(|| PathBuf::from(default), PathBuf::from);
    let path = folder.join("data").join(name);
    if !path.is_file() {
        // Written to the handle itself: the test harness hides what passing tests print by macro.
        let skipped = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
        let _ = writeln!(std::io::stderr(), "SKIPPED: no {} ({skipped} skipped so far)", path.display());
        return None;
    }
    Some(path)
}

pub const ENGLISH: &str = "tinyshakespeare.txt";
pub const CHINESE: &str = "zh_songci300.txt";

pub fn config(kind: TokenizerKind) -> TokenizerConfig {
    TokenizerConfig { kind, ..TokenizerConfig::default() }
}

pub fn build(kind: TokenizerKind, text: &str) -> Tokenizer {
    Tokenizer::build(&config(kind), &[text]).expect("a sound config")
}

/// The kinds that this toolkit makes itself.
pub const MADE: [TokenizerKind; 3] = [TokenizerKind::Char, TokenizerKind::Byte, TokenizerKind::Bpe];

/// Texts that have broken tokenizers.
pub const ODD_TEXTS: [&str; 22] = [
    "",
    " ",
    "\n",
    "\r\n",
    "a\r\nb\r\n\r\n",
    "  two spaces before, two after  ",
    "\t\tif x:\n\t\t\treturn",
    "trailing newline\n",
    "\n\n\nleading newlines",
    "no-break\u{a0}space, thin\u{2009}space, ideographic\u{3000}space, zero\u{200b}width",
    "e\u{301} is not é",
    "明月幾時有，把酒問青天。",
    "👩‍👩‍👧‍👦 🇨🇳 🤦🏼‍♂️",
    "<|endoftext|>",
    "quoting <|endoftext|> in the middle",
    "<|endoftext|><|endoftext|>",
    "Ġthe Ċ stand-ins Ā themselves",
    "<0xE4> </s> <eos> <unk> [UNK] ## ▁x",
    "\0 \u{1} \u{7f} \u{85} \u{2028}",
    "\u{feff}byte order mark",
    "\u{fffd} replacement \u{fffd}",
    "it's we'll I'D 12345 3.14 a1b2",
];
