//! The proof that no text has two derivations. It shows more, and so needs only to look at pairs of alternatives:
//! wherever a rule is used, the texts of two of its derivations part at some letter before either of them ends.
//! A sequence of such parts is such a part again, so every choice can be read off the text from left to right.

use std::collections::HashMap;

use super::{Grammar, Item, TalesError};

impl Grammar {
    /// Proves that every story, and every sequence of stories, has exactly one derivation. The proof is sound but
    /// cautious: it takes a form of a word to be any form of the list, so it may refuse a grammar that is unambiguous.
    ///
    /// # Errors
    /// When two alternatives may begin alike to the end of one, when a list has a word that begins another one, or
    /// when a form of a variable ("she") may come before the word itself ("Mira").
    pub fn prove_unique(&self) -> Result<(), TalesError> {
        for (index, list) in self.lists.iter().enumerate() {
            for (a, b) in list.words.iter().flat_map(|a| list.words.iter().map(move |b| (&a[0], &b[0]))) {
                let (capital_a, capital_b) = (capitalised(a), capitalised(b));
                if !std::ptr::eq(a, b) && (b.starts_with(a.as_str()) || capital_b.starts_with(&capital_a)) {
                    let of = self.vars.iter().find(|var| var.list == index).map_or("", |var| var.name.as_str());
                    return Err(TalesError::Invalid {
                        place: format!("list of variable `{of}`"),
                        problem: format!("{a:?} begins {b:?}, so where it ends is not certain; change one of them"),
                    });
                }
            }
        }
        Prover { grammar: self, proved: HashMap::new() }.rule(self.start, 0, false)?;
        Ok(())
    }
}

fn capitalised(word: &str) -> String {
    word[..1].to_ascii_uppercase() + &word[1..]
}

struct Prover<'a> {
    grammar: &'a Grammar,
    /// Rules proved so far, each with the variables certainly drawn before it and whether it begins with a capital;
    /// the value is the variables certainly drawn after it.
    proved: HashMap<(usize, u128, bool), u128>,
}

impl<'a> Prover<'a> {
    fn rule(&mut self, rule: usize, drawn: u128, capital: bool) -> Result<u128, TalesError> {
        if let Some(&after) = self.proved.get(&(rule, drawn, capital)) {
            return Ok(after);
        }
        let Self { grammar, .. } = *self;
        let alternatives = &grammar.rules[rule].alternatives;
        let mut after = u128::MAX;
        for (number, alternative) in (1..).zip(alternatives) {
            let mut drawn = drawn;
            let mut capital = capital;
            for item in &alternative.items {
                match *item {
                    Item::Rule(rule) => drawn = self.rule(rule, drawn, capital)?,
                    Item::Word { var, column } if column > 0 && drawn >> var & 1 == 0 => {
                        let name = &grammar.vars[var].name;
                        return Err(TalesError::Invalid {
                            place: format!("rule `{}`, alternative {number}", grammar.rules[rule].name),
                            problem: format!("a form of `{name}` may come before `{name}` itself; name it earlier"),
                        });
                    }
                    Item::Word { var, .. } => drawn |= 1 << var,
                    Item::Text(_) | Item::Article | Item::Capital => {}
                }
                capital = *item == Item::Capital;
            }
            after &= drawn;
        }
        for (first, a) in alternatives.iter().enumerate() {
            for (second, b) in alternatives.iter().enumerate().skip(first + 1) {
                let pair =
                    Pair { a: Side::new(&a.items, capital), b: Side::new(&b.items, capital), drawn, apart: false };
                if let Some(text) = self.common(pair, &mut String::new()) {
                    let rule = grammar.rules[rule].name.clone();
                    return Err(TalesError::Ambiguous { rule, first: first + 1, second: second + 1, text });
                }
            }
        }
        self.proved.insert((rule, drawn, capital), after);
        Ok(after)
    }

    /// A text that one side may tell whole and the other side may tell or begin with, if there is one.
    fn common(&self, mut pair: Pair<'a>, told: &mut String) -> Option<String> {
        loop {
            pair.a.settle();
            pair.b.settle();
            let (Some(head_a), Some(head_b)) = (pair.a.head(), pair.b.head()) else { return Some(told.clone()) };
            if pair.a.capital == pair.b.capital {
                match (head_a, head_b) {
                    // Both sides tell the same part: by the proof for this part, the same text.
                    (Head::Item(Item::Article), Head::Item(Item::Article)) => {
                        pair.skip(told, "{a}");
                        continue;
                    }
                    (Head::Item(Item::Rule(a)), Head::Item(Item::Rule(b))) if a == b && !pair.apart => {
                        pair.skip(told, &format!("{{{}}}", self.grammar.rules[*a].name));
                        continue;
                    }
                    (
                        Head::Item(&Item::Word { var, column }),
                        Head::Item(&Item::Word { var: other, column: other_column }),
                    ) => {
                        let known = |var: usize| pair.drawn >> var & 1 == 1;
                        let [list, other_list] = [var, other].map(|var| self.grammar.vars[var].list);
                        if var == other && column == other_column && (column == 0 || known(var)) {
                            pair.drawn |= 1 << var;
                            pair.skip(told, &format!("{{{}}}", self.grammar.vars[var].name));
                            continue;
                        }
                        // Two variables of a list never hold the same word.
                        let words = column == 0 && other_column == 0;
                        if var != other && words && list == other_list && (known(var) || known(other)) {
                            return None;
                        }
                    }
                    _ => {}
                }
            }
            match (head_a, head_b) {
                (Head::Letter(a), Head::Letter(b)) => {
                    if a != b {
                        return None;
                    }
                    told.push(char::from(a));
                    pair.a.step();
                    pair.b.step();
                }
                (Head::Item(item), _) => return self.spread(&pair, item, |pair| &mut pair.a, told),
                (_, Head::Item(item)) => return self.spread(&pair, item, |pair| &mut pair.b, told),
            }
        }
    }

    /// [`Self::common`] for each text or alternative that `item`, the head of one side, may stand for.
    fn spread(
        &self,
        pair: &Pair<'a>,
        item: &'a Item,
        side: for<'p> fn(&'p mut Pair<'a>) -> &'p mut Side<'a>,
        told: &mut String,
    ) -> Option<String> {
        let mut attempt = |text: &'a str, items: &'a [Item], apart: bool| {
            let mut pair = pair.clone();
            pair.apart |= apart;
            side(&mut pair).replace_head(text, items);
            let length = told.len();
            let common = self.common(pair, told);
            told.truncate(length);
            common
        };
        match *item {
            Item::Article => ["a", "an"].iter().find_map(|text| attempt(text, &[], false)),
            Item::Rule(rule) => self.grammar.rules[rule]
                .alternatives
                .iter()
                .find_map(|alternative| attempt("", &alternative.items, false)),
            Item::Word { var, column } => {
                let apart = pair.drawn >> var & 1 == 0;
                let words = &self.grammar.lists[self.grammar.vars[var].list].words;
                words.iter().find_map(|word| attempt(&word[column], &[], apart))
            }
            Item::Text(_) | Item::Capital => None, // never a head: `settle` takes them
        }
    }
}

/// Two ways on from one point of a story, compared letter by letter.
#[derive(Clone)]
struct Pair<'a> {
    a: Side<'a>,
    b: Side<'a>,
    /// Variables that hold the same word on both sides.
    drawn: u128,
    /// Whether a variable may hold different words on the two sides.
    apart: bool,
}

impl Pair<'_> {
    fn skip(&mut self, told: &mut String, part: &str) {
        told.push_str(part);
        self.a.replace_head("", &[]);
        self.b.replace_head("", &[]);
    }
}

/// What one side has still to tell: first `text`, then the items, the last slice first.
#[derive(Clone)]
struct Side<'a> {
    text: &'a str,
    items: Vec<&'a [Item]>,
    /// Whether the next letter becomes a capital.
    capital: bool,
}

#[derive(Clone, Copy)]
enum Head<'a> {
    Letter(u8),
    Item(&'a Item),
}

impl<'a> Side<'a> {
    fn new(items: &'a [Item], capital: bool) -> Self {
        Self { text: "", items: vec![items], capital }
    }

    /// Takes in what is certain, until the head is a letter, an item that may be told in several ways, or nothing.
    fn settle(&mut self) {
        while self.text.is_empty() {
            let Some(last) = self.items.last_mut() else { return };
            match last.split_first() {
                None => {
                    self.items.pop();
                }
                Some((Item::Text(text), rest)) => {
                    self.text = text;
                    *last = rest;
                }
                Some((Item::Capital, rest)) => {
                    self.capital = true;
                    *last = rest;
                }
                Some(_) => return,
            }
        }
    }

    fn head(&self) -> Option<Head<'a>> {
        match self.text.as_bytes().first() {
            Some(letter) if self.capital => Some(Head::Letter(letter.to_ascii_uppercase())),
            Some(letter) => Some(Head::Letter(*letter)),
            None => self.items.last().and_then(|items| items.first()).map(Head::Item),
        }
    }

    /// Behind the letter at the head.
    fn step(&mut self) {
        self.text = &self.text[1..];
        self.capital = false;
    }

    /// Puts `text` and `items` in place of the item at the head; with neither, the item counts as told.
    fn replace_head(&mut self, text: &'a str, items: &'a [Item]) {
        if let Some(last) = self.items.last_mut() {
            *last = last.get(1..).unwrap_or_default();
        }
        self.text = text;
        if items.is_empty() && text.is_empty() {
            self.capital = false;
        } else if !items.is_empty() {
            self.items.push(items);
        }
    }
}
