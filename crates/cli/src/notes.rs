//! Messages on stderr are best effort: a closed terminal or a full disk behind it must not end what they are about.

/// As `eprintln!`, but a message that cannot be written is left out instead of ending the program.
macro_rules! note {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($argument)*);
    }};
}

/// As [`note`], without the end of the line.
macro_rules! note_part {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        let _ = write!(std::io::stderr(), $($argument)*);
    }};
}
