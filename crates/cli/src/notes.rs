//! Messages on stderr are best effort: a closed terminal or a full disk behind it must not end what they are about. What
//! they quote has no power over a terminal.

/// As `eprintln!`, but a message that cannot be written is left out instead of ending the program.
macro_rules! note {
    () => { note!("") };
    ($($argument:tt)*) => { note_part!("{}\n", format_args!($($argument)*)) };
}

/// As [`note`], without the end of the line.
macro_rules! note_part {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        let text = $crate::notes::fitting(&format!($($argument)*));
        let _ = std::io::stderr().write_all(text.as_bytes());
    }};
}

/// A text as standard error is to show it: within its width, and with nothing in it that acts on a terminal.
pub fn fitting(text: &str) -> String {
    crate::folded::fold(&crate::shown::plain(text), crate::folded::stderr_width()).into_owned()
}
