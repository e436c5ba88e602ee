//! What is shown in one colour: a token, or the tokens that make up a character together.

use std::ops::Range;

use super::Token;

/// Tokens whose bytes are whole characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// Which tokens of the text.
    pub tokens: Range<usize>,
    /// Which bytes of it; both ends are borders of characters.
    pub bytes: Range<usize>,
}

/// Cuts a text into as many cells as its characters allow. Bytes that no token stands for lie between cells.
pub fn cells(tokens: &[Token], text: &str) -> Vec<Cell> {
    let mut cells: Vec<Cell> = Vec::with_capacity(tokens.len());
    for (index, Token { bytes, .. }) in tokens.iter().enumerate() {
        match cells.last_mut() {
            // A character that is not complete yet, one that several tokens share, or a token without text.
            Some(cell)
                if !text.is_char_boundary(cell.bytes.end) || bytes.start < cell.bytes.end || bytes.is_empty() =>
            {
                cell.tokens.end = index + 1;
                cell.bytes.end = cell.bytes.end.max(bytes.end);
            }
            _ => cells.push(Cell { tokens: index..index + 1, bytes: bytes.clone() }),
        }
    }
    cells
}

/// How surprising a cell is: 0 for a probability of a half or more, 5 for less than a thousandth.
pub fn level(surprise: f64) -> usize {
    LEVELS.iter().position(|least| libm::exp(-surprise) >= *least).unwrap_or(LEVELS.len())
}

/// The least probability of each level but the last.
pub const LEVELS: [f64; 5] = [0.5, 0.2, 0.05, 0.01, 0.001];

/// What the levels are called in a legend.
pub const LEVEL_NAMES: [&str; 6] = ["p ≥ 50 %", "≥ 20 %", "≥ 5 %", "≥ 1 %", "≥ 0.1 %", "less"];

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str, ranges: &[Range<usize>]) -> Vec<(Range<usize>, String)> {
        let tokens: Vec<Token> =
            ranges.iter().map(|bytes| Token { id: 0, bytes: bytes.clone(), score: None }).collect();
        cells(&tokens, text).into_iter().map(|cell| (cell.tokens, text[cell.bytes].to_owned())).collect()
    }

    #[test]
    fn a_character_of_several_tokens_is_one_cell() {
        let found = cut("a月b", &[0..1, 1..2, 2..3, 3..4, 4..5]);
        assert_eq!(found, [(0..1, "a".into()), (1..4, "月".into()), (4..5, "b".into())]);
    }

    #[test]
    fn tokens_that_begin_and_end_within_characters_are_joined_until_one_ends_at_a_border() {
        // 明月有: the first token takes half of 月, the second the rest and a byte of 有.
        let found = cut("明月有x", &[0..4, 4..7, 7..9, 9..10]);
        assert_eq!(found, [(0..3, "明月有".into()), (3..4, "x".into())]);
    }

    #[test]
    fn tokens_that_share_a_character_are_joined_and_gaps_stay_open() {
        let found = cut("é to", &[0..2, 0..2, 3..5]);
        assert_eq!(found, [(0..2, "é".into()), (2..3, "to".into())]);
        let found = cut("to", &[0..0, 0..1, 1..1, 1..2]);
        assert_eq!(found, [(0..1, String::new()), (1..3, "t".into()), (3..4, "o".into())]);
    }

    #[test]
    fn levels_are_by_probability() {
        let of = |probability: f64| level(-probability.ln());
        assert_eq!([1.0, 0.51, 0.3, 0.1, 0.02, 0.002, 0.0001].map(of), [0, 0, 1, 2, 3, 4, 5]);
        assert_eq!(level(f64::INFINITY), 5);
        assert_eq!(LEVEL_NAMES.len(), LEVELS.len() + 1);
    }
}
