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
        let text = $crate::shown::plain(&format!($($argument)*));
        let text = $crate::folded::fold(&text, $crate::folded::stderr_width());
        let _ = std::io::stderr().write_all(text.as_bytes());
    }};
}
