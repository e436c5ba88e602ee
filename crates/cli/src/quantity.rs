//! Numbers as people read them: three digits or so, a unit that fits, commas.

/// A power of a thousand of something.
pub struct Unit {
    pub factor: f64,
    /// Such as MFLOP.
    pub name: String,
}

impl Unit {
    /// The largest unit in which a value is not below 1.
    pub fn of(value: f64, name: &str) -> Self {
        let units = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
        let (factor, prefix) = units.into_iter().find(|(factor, _)| value >= *factor).unwrap_or((1.0, ""));
        Self { factor, name: format!("{prefix}{name}") }
    }
}

/// A number with its noun, as in "1 step" and "2 steps".
pub fn counted(number: impl Into<Count>, noun: &str) -> String {
    let Count(number) = number.into();
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// A whole number.
pub struct Count(u64);

impl From<u64> for Count {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl From<usize> for Count {
    fn from(number: usize) -> Self {
        Self(number as u64)
    }
}

/// A time as people say it: tenths of short seconds, minutes from two on.
pub fn duration(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 9.95 => format!("{seconds:.1} s"),
        seconds if seconds < 119.5 => format!("{seconds:.0} s"),
        seconds if seconds < 7170.0 => format!("{:.0} min", seconds / 60.0),
        seconds => format!("{:.1} h", seconds / 3600.0),
    }
}

/// Bytes in the largest binary unit in which they are not below 1.
pub fn bytes(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let (shift, unit) = units.into_iter().find(|(shift, _)| bytes >> shift > 0).unwrap_or((0, "bytes"));
    format!("{} {unit}", significant(bytes as f64 / (1u64 << shift) as f64))
}

/// A number with three digits, or all that it has before the point.
pub fn significant(value: f64) -> String {
    match value {
        value if value < 0.9995 => format!("{value:.3}"),
        value if value < 9.995 => format!("{value:.2}"),
        value if value < 99.95 => format!("{value:.1}"),
        value => grouped(value.round()),
    }
}

/// A number with a comma after each three digits; tenths for small ones.
pub fn grouped(value: f64) -> String {
    if value < 100.0 && value.fract() != 0.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_in_threes() {
        let grouped = [1.25, 99.96, 100.0, 999.4, 1000.0, 12345.6, 1234567.0, 8.0].map(grouped);
        assert_eq!(grouped, ["1.2", "100.0", "100", "999", "1,000", "12,346", "1,234,567", "8"]);
    }

    #[test]
    fn three_digits_are_kept() {
        let numbers = [0.0123, 0.9996, 1.234, 9.996, 12.34, 99.96, 123.4, 12345.6].map(significant);
        assert_eq!(numbers, ["0.012", "1.00", "1.23", "10.0", "12.3", "100", "123", "12,346"]);
    }

    #[test]
    fn the_unit_leaves_no_value_below_one() {
        let name = |value| Unit::of(value, "FLOP").name;
        assert_eq!(
            [3.0, 1e3, 999_999.0, 1e6, 2e9, 5e15].map(name),
            ["FLOP", "kFLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP"]
        );
    }
}
