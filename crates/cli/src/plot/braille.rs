//! Lines in a terminal: each character is two dots wide and four high.

use super::short;

/// Dots of a character.
const DOTS: (usize, usize) = (2, 4);
/// Columns of the numbers at the left.
const MARGIN: usize = 8;

/// Points that are drawn.
pub struct Line {
    points: Vec<(f64, f64)>,
    style: Style,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Joined,
    Marks,
    Dashed,
}

impl Line {
    /// A line through all points.
    pub fn of(x: &[u64], y: &[f64]) -> Self {
        Self { points: points(x, y), style: Style::Joined }
    }

    /// A mark for each point.
    pub fn dots(x: &[u64], y: &[f64]) -> Self {
        Self { points: points(x, y), style: Style::Marks }
    }

    /// One height from one end to the other.
    pub fn dashed(ends: [u64; 2], y: f64) -> Self {
        Self { points: points(&ends, &[y, y]), style: Style::Dashed }
    }
}

/// Those that can be drawn.
fn points(x: &[u64], y: &[f64]) -> Vec<(f64, f64)> {
    x.iter().zip(y).filter(|(_, y)| y.is_finite()).map(|(x, y)| (*x as f64, *y)).collect()
}

/// A place to draw in.
pub struct Canvas {
    columns: usize,
    rows: usize,
    dots: Vec<u8>,
    marks: Vec<bool>,
}

impl Canvas {
    /// - width: in columns, the numbers at the left among them
    pub fn new(width: usize, rows: usize) -> Self {
        let columns = width.saturating_sub(MARGIN + 1).max(8);
        Self { columns, rows, dots: vec![0; columns * rows], marks: vec![false; columns * rows] }
    }

    /// The lines with their axes; a note where there is nothing.
    pub fn draw(mut self, lines: &[Line]) -> String {
        let all = || lines.iter().flat_map(|line| &line.points);
        if all().next().is_none() {
            return "  (nothing yet)\n".to_owned();
        }
        let ends = |of: fn(&(f64, f64)) -> f64| {
            let fold = |from: f64, by: fn(f64, f64) -> f64| all().map(of).fold(from, by);
            (fold(f64::INFINITY, f64::min), fold(f64::NEG_INFINITY, f64::max))
        };
        let ((left, right), (low, high)) = (ends(|point| point.0), ends(|point| point.1));
        let (width, height) = ((self.columns * DOTS.0 - 1) as f64, (self.rows * DOTS.1 - 1) as f64);
        let share = |value: f64, from: f64, to: f64| if to > from { (value - from) / (to - from) } else { 0.5 };
        let place = |(x, y): (f64, f64)| {
            let column = share(x, left, right) * width;
            let row = (1.0 - share(y, low, high)) * height;
            (column.round() as usize, row.round() as usize)
        };
        for line in lines {
            let places: Vec<(usize, usize)> = line.points.iter().map(|point| place(*point)).collect();
            match line.style {
                Style::Marks => places.iter().for_each(|(column, row)| {
                    let index = row / DOTS.1 * self.columns + column / DOTS.0;
                    self.marks[index] = true;
                }),
                style => {
                    places.iter().for_each(|(column, row)| self.dot(*column, *row));
                    places.windows(2).for_each(|ends| self.join(ends[0], ends[1], style));
                }
            }
        }
        self.text([left, right], [low, high])
    }

    fn dot(&mut self, column: usize, row: usize) {
        // Braille numbers its dots down the left column, then down the right, and puts the lowest two last.
        const BITS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
        let index = row / DOTS.1 * self.columns + column / DOTS.0;
        self.dots[index] |= BITS[row % DOTS.1][column % DOTS.0];
    }

    fn join(&mut self, from: (usize, usize), to: (usize, usize), style: Style) {
        let steps = from.0.abs_diff(to.0).max(from.1.abs_diff(to.1));
        for step in 1..steps {
            let at = |from: usize, to: usize| {
                let share = step as f64 / steps as f64;
                (from as f64 + (to as f64 - from as f64) * share).round() as usize
            };
            if style == Style::Joined || step % 8 < 4 {
                self.dot(at(from.0, to.0), at(from.1, to.1));
            }
        }
    }

    fn text(&self, [left, right]: [f64; 2], [low, high]: [f64; 2]) -> String {
        let mut text = String::new();
        for row in 0..self.rows {
            let number = match row {
                0 => short(high),
                row if row + 1 == self.rows => short(low),
                _ => String::new(),
            };
            text.push_str(&format!("{number:>MARGIN$} "));
            let cells = row * self.columns..(row + 1) * self.columns;
            let line: String = cells
                .map(|index| match (self.marks[index], self.dots[index]) {
                    (true, _) => '◆',
                    (false, 0) => ' ',
                    (false, dots) => char::from_u32(0x2800 + u32::from(dots)).unwrap_or(' '),
                })
                .collect();
            text.push_str(line.trim_end());
            text.push('\n');
        }
        let (from, to) = (format!("{left:.0}"), format!("step {right:.0}"));
        let space = self.columns.saturating_sub(from.len() + to.len());
        text.push_str(&format!("{:>MARGIN$} {from}{}{to}\n", "", " ".repeat(space)));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_falling_line_goes_from_the_upper_left_to_the_lower_right() {
        let text = Canvas::new(20, 4).draw(&[Line::of(&[1, 2, 3], &[3.0, 2.0, 1.0])]);
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows.len(), 5, "{text}");
        assert!(rows[0].trim_start().starts_with('3') && rows[3].trim_start().starts_with('1'), "{text}");
        let begins = |row: &str| row.chars().position(|character| ('\u{2801}'..='\u{28ff}').contains(&character));
        assert!(begins(rows[0]) < begins(rows[3]), "{text}");
        assert!(rows.iter().all(|row| row.chars().count() <= 20), "{text}");
        assert!(rows[4].contains('1') && rows[4].ends_with("step 3"), "{text}");
    }

    #[test]
    fn marks_and_a_single_point_are_drawn_and_nothing_is_said_to_be_nothing() {
        let text = Canvas::new(20, 3).draw(&[Line::dots(&[5], &[2.0])]);
        assert_eq!(text.matches('◆').count(), 1, "{text}");
        assert!(Canvas::new(20, 3).draw(&[]).contains("nothing yet"));
        assert!(Canvas::new(20, 3).draw(&[Line::of(&[1], &[f64::NAN])]).contains("nothing yet"));
    }
}
