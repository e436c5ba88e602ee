//! Which part of a large text byte pairs are learnt from: stripes of it, spread evenly.

use std::ops::Range;

use crate::corpus::Corpus;

/// Byte pairs are learnt from so much of a text at most.
pub const PAIR_SAMPLE_BYTES: usize = 32 << 20;
/// Of a larger text, in so many stripes.
const STRIPES: usize = 32;

/// The parts of a text of `total` bytes that its byte pairs are learnt from: all of it, or as many stripes as make up the
/// sample, the first at its beginning and the last at its end.
pub(crate) fn stripes(total: usize, sample: usize) -> Vec<Range<usize>> {
    if total <= sample {
        return std::iter::once(0..total).collect();
    }
    let length = (sample / STRIPES).max(1);
    // In 128 bits, for a text may have more bytes than 64 bits have room for when they are multiplied.
    let begin = |stripe: usize| ((total - length) as u128 * stripe as u128 / (STRIPES - 1) as u128) as usize;
    (0..STRIPES).map(begin).map(|begin| begin..begin + length).collect()
}

/// The parts of `text`, which begins at byte `begin` of the whole, that lie in the stripes; a stripe begins and ends with a
/// whole character.
pub(crate) fn within<'a>(text: &'a str, begin: usize, stripes: &[Range<usize>]) -> Vec<&'a str> {
    let end = begin + text.len();
    let overlapping = stripes.iter().filter(|stripe| stripe.start < end && stripe.end > begin);
    let part = |stripe: &Range<usize>| {
        let at = |place: usize| text.floor_char_boundary(place.saturating_sub(begin).min(text.len()));
        &text[at(stripe.start)..at(stripe.end)]
    };
    overlapping.map(part).filter(|part| !part.is_empty()).collect()
}

/// The parts of a corpus in memory that its byte pairs are learnt from.
#[must_use]
pub fn pair_sample(corpus: &Corpus) -> Vec<&str> {
    pair_sample_of(corpus, PAIR_SAMPLE_BYTES)
}

fn pair_sample_of(corpus: &Corpus, sample: usize) -> Vec<&str> {
    let (stripes, mut begin, mut parts) = (stripes(corpus.text_len(), sample), 0, Vec::new());
    for text in corpus.texts() {
        parts.extend(within(text, begin, &stripes));
        begin += text.len();
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Document;

    #[test]
    fn a_small_text_is_taken_whole_and_of_a_large_one_stripes_from_beginning_to_end() {
        let text: String = (0..1000).map(|i| format!("{i} é猫 ")).collect();
        let parts: Vec<Document> = [0, 100, 101, 5000]
            .windows(2)
            .map(|pair| Document::new("x", &text[text.floor_char_boundary(pair[0])..text.floor_char_boundary(pair[1])]))
            .collect();
        let corpus = Corpus::new("x", parts);
        let whole = corpus.texts().concat();
        assert_eq!(pair_sample_of(&corpus, whole.len()).concat(), whole);
        let sample = pair_sample_of(&corpus, 640);
        let length: usize = sample.iter().map(|part| part.len()).sum();
        assert!((640 - 3 * 32..=640 + 3 * 32).contains(&length), "{length}");
        assert!(whole.starts_with(sample[0]) && whole.ends_with(sample[sample.len() - 1]));
        // Wherever the text is cut into pieces, the stripes are the same.
        let stripes = stripes(whole.len(), 640);
        for cut in (1..whole.len()).filter(|cut| whole.is_char_boundary(*cut)) {
            let (first, last) = whole.split_at(cut);
            let parts = [within(first, 0, &stripes), within(last, cut, &stripes)].concat().concat();
            assert_eq!(parts, sample.concat(), "cut at {cut}");
        }
    }
}
