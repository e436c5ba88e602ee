//! No tests: a pseudo-terminal to run the binary in, and what stands on its screen in the end.

use std::fs::File;
use std::io::Read;
use std::process::{Command, ExitStatus, Stdio};

use nix::pty::{Winsize, openpty};
use unicode_width::UnicodeWidthChar;

/// What a command left on a terminal.
pub struct Screen {
    /// All lines, those that have scrolled away too, without what was drawn over.
    pub lines: Vec<String>,
    /// Lines that were wider than the terminal at some time, which broke them itself, wherever that was.
    pub broken: Vec<String>,
    pub status: ExitStatus,
}

/// Runs a command with a terminal of so many columns for all that it reads and writes.
pub fn run(mut command: Command, columns: u16) -> Screen {
    let size = Winsize { ws_row: 50, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(Some(&size), None).expect("a terminal");
    let terminal = || Stdio::from(pty.slave.try_clone().expect("a terminal"));
    command.stdin(terminal()).stdout(terminal()).stderr(terminal());
    command.env("TERM", "xterm-256color").env_remove("COLORTERM").env_remove("NO_COLOR");
    let child = command.spawn().expect("it starts");
    // What holds the other end would keep the reader waiting.
    drop((command, pty.slave));
    let (mut master, mut bytes) = (File::from(pty.master), Vec::new());
    // Linux ends with an error where others end with nothing more to read.
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = master.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..read]);
    }
    let status = super::test_dir::wait(child).status;
    let text = String::from_utf8(bytes).expect("UTF-8");
    let mut emulator = Emulator { columns: columns.into(), ..Emulator::default() };
    emulator.show(&text);
    let lines = emulator.rows.iter().map(|row| text_of(row).trim_end().to_owned());
    Screen { lines: lines.collect(), broken: emulator.broken, status }
}

/// Stands after a character that takes two columns.
const SECOND_COLUMN: char = '\0';

fn text_of(row: &[char]) -> String {
    row.iter().filter(|character| **character != SECOND_COLUMN).collect()
}

/// As much of a terminal as this program makes use of.
#[derive(Default)]
struct Emulator {
    columns: usize,
    rows: Vec<Vec<char>>,
    row: usize,
    column: usize,
    broken: Vec<String>,
}

impl Emulator {
    fn show(&mut self, text: &str) {
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            match character {
                '\n' => self.row += 1,
                '\r' => self.column = 0,
                '\u{1b}' => {
                    assert_eq!(characters.next(), Some('['), "only control sequences are known here");
                    let mut sequence = String::new();
                    while !sequence.ends_with(|end: char| end.is_ascii_alphabetic()) {
                        sequence.push(characters.next().expect("a sequence has an end"));
                    }
                    self.obey(&sequence);
                }
                character => self.put(character),
            }
        }
    }

    fn put(&mut self, character: char) {
        let width = character.width().unwrap_or(0);
        if self.column + width > self.columns {
            let line = text_of(self.current());
            // What draws bars fills lines with spaces, and lets the terminal begin the next one.
            if !line.ends_with(' ') {
                self.broken.push(line + &character.to_string() + "…");
            }
            (self.row, self.column) = (self.row + 1, 0);
        }
        let column = self.column;
        let row = self.current();
        row.resize(row.len().max(column + width), ' ');
        if width > 0 {
            row[column..column + width].fill(SECOND_COLUMN);
            row[column] = character;
        }
        self.column += width;
    }

    fn current(&mut self) -> &mut Vec<char> {
        let row = self.row;
        self.rows.resize(self.rows.len().max(row + 1), Vec::new());
        &mut self.rows[row]
    }

    /// A control sequence without its beginning.
    fn obey(&mut self, sequence: &str) {
        let (numbers, end) = sequence.split_at(sequence.len() - 1);
        let number = numbers.parse().unwrap_or(1);
        match end {
            // Colours, and modes such as whether the cursor is seen.
            "m" | "h" | "l" => {}
            "A" => self.row = self.row.saturating_sub(number),
            "B" => self.row += number,
            "C" => self.column += number,
            "D" => self.column = self.column.saturating_sub(number),
            "G" => self.column = number.saturating_sub(1),
            "K" => {
                let from = if numbers == "2" { 0 } else { self.column };
                self.current().truncate(from);
            }
            "J" => {
                let column = self.column;
                self.current().truncate(column);
                let row = self.row;
                self.rows.truncate(row + 1);
            }
            _ => panic!("the sequence {sequence:?} is not known here"),
        }
    }
}
