//! Reading: from a text back to all of its derivations, by trying every option at every point. It relies on nothing
//! that makes the embedded grammar easy to read, so it finds two derivations where there are two.

use super::generate::{Memory, Point, takes_an, weight};
use super::{Choice, Derivation, Grammar, Item};

impl Grammar {
    /// All derivations of `text`: one for a story of an unambiguous grammar, none for any other text.
    #[must_use]
    pub fn derivations(&self, text: &str) -> Vec<Derivation> {
        let mut reader = Reader { grammar: self, text: text.as_bytes(), choices: Vec::new(), found: Vec::new() };
        let start = [Item::Rule(self.start)];
        reader.read(&Rest { items: &start, then: None }, 0, false, &Memory::new(self));
        reader.found
    }
}

struct Reader<'a> {
    grammar: &'a Grammar,
    text: &'a [u8],
    /// The choices on the way to the point at hand.
    choices: Vec<Choice>,
    found: Vec<Derivation>,
}

/// What a derivation has still to tell.
struct Rest<'a> {
    items: &'a [Item],
    then: Option<&'a Rest<'a>>,
}

impl Reader<'_> {
    /// Notes every derivation that tells the text from byte `at` with exactly the items in `rest`.
    fn read(&mut self, rest: &Rest, at: usize, capital: bool, memory: &Memory) {
        let Some((item, items)) = rest.items.split_first() else {
            match rest.then {
                Some(then) => self.read(then, at, capital, memory),
                None if at == self.text.len() => self.found.push(Derivation { choices: self.choices.clone() }),
                None => {}
            }
            return;
        };
        let grammar = self.grammar;
        let rest = Rest { items, then: rest.then };
        match item {
            Item::Capital => self.read(&rest, at, true, memory),
            Item::Text(text) => self.matched(text, &rest, at, capital, memory),
            Item::Article => {
                let letter = if capital { b'A' } else { b'a' };
                let end = at + if self.text.get(at + 1) == Some(&b'n') { 2 } else { 1 };
                let an = self.text.get(end + 1..).is_some_and(takes_an);
                if self.text.get(at) == Some(&letter) && an == (end == at + 2) {
                    self.read(&rest, end, false, memory);
                }
            }
            Item::Rule(rule) => {
                let point = Point::Rule(*rule);
                for pick in memory.options(grammar, point).picks() {
                    let items = &grammar.rules[*rule].alternatives[pick].items;
                    let inner = Rest { items, then: Some(&rest) };
                    self.chosen(point, pick, memory, |reader, memory| reader.read(&inner, at, capital, memory));
                }
            }
            Item::Word { var, column } => {
                let words = &grammar.lists[grammar.vars[*var].list].words;
                if let Some(word) = memory.words[*var] {
                    return self.matched(&words[word][*column], &rest, at, capital, memory);
                }
                let point = Point::Var(*var);
                for pick in memory.options(grammar, point).picks() {
                    let text = &words[pick][*column];
                    if self.begins(text, at, capital) {
                        self.chosen(point, pick, memory, |reader, memory| {
                            reader.matched(text, &rest, at, capital, memory);
                        });
                    }
                }
            }
        }
    }

    /// Reads on with one choice more, then takes it back.
    fn chosen(&mut self, point: Point, pick: usize, memory: &Memory, read: impl FnOnce(&mut Self, &Memory)) {
        let total = memory.options(self.grammar, point).total;
        self.choices.push(Choice { pick, weight: weight(self.grammar, point, pick), total });
        let mut memory = memory.clone();
        memory.note(self.grammar, point, pick);
        read(self, &memory);
        self.choices.pop();
    }

    /// Reads on behind `text` if it stands at `at`.
    fn matched(&mut self, text: &str, rest: &Rest, at: usize, capital: bool, memory: &Memory) {
        if self.begins(text, at, capital) {
            self.read(rest, at + text.len(), false, memory);
        }
    }

    /// Whether `text`, with a capital if asked for, stands at byte `at`.
    fn begins(&self, text: &str, at: usize, capital: bool) -> bool {
        let Some(found) = self.text.get(at..at + text.len()) else { return false };
        let (found, text) = (found, text.as_bytes());
        let first = if capital { text[0].to_ascii_uppercase() } else { text[0] };
        found[0] == first && found[1..] == text[1..]
    }
}
