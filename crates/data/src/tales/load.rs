//! Loading: from the TOML data file to a checked [`Grammar`]. Rules with parameters become one rule for each set of
//! arguments. What the format means is written at the head of datasets/tales.toml.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Deserialize;

use super::{Alternative, Grammar, Item, List, Rule, TalesError, Var};

/// Most options of one choice, and most variables: a story remembers which are used in 128 bits.
const MOST_OPTIONS: usize = 128;
/// Largest weight of an alternative, so that sums of weights stay far inside 32 bits.
const MOST_WEIGHT: u32 = 1_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    seed: u64,
    stories: u64,
    /// Rules whose alternatives may come again within a story.
    #[serde(default)]
    repeats: Vec<String>,
    #[serde(default)]
    lists: BTreeMap<String, ListEntry>,
    #[serde(default)]
    vars: BTreeMap<String, String>,
    rules: BTreeMap<String, Vec<AlternativeEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListEntry {
    #[serde(default)]
    columns: Vec<String>,
    /// A row is a word, or several words that share their forms, and then one form for each column.
    rows: Vec<Vec<Cell>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Cell {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum AlternativeEntry {
    Plain(String),
    Weighted { weight: u32, text: String },
}

impl AlternativeEntry {
    fn parts(&self) -> (u32, &str) {
        match self {
            Self::Plain(text) => (1, text),
            Self::Weighted { weight, text } => (*weight, text),
        }
    }
}

impl Grammar {
    /// Reads and checks a grammar: every reference is known, every list, rule and parameter is used, no list is
    /// empty, no option stands twice in its list, weights are positive, rules do not contain themselves.
    /// Whether each text has one derivation is the question of [`Grammar::prove_unique`].
    ///
    /// # Errors
    /// When `toml` is not TOML of the right shape or fails a check; the message names the place.
    pub fn parse(toml: &str) -> Result<Self, TalesError> {
        let file: File = toml::from_str(toml)?;
        let mut loader = Loader::new(&file)?;
        let start = loader.instance("story", &[], "the grammar")?;
        loader.check_all_used()?;
        let grammar = loader.grammar;
        Ok(Self { start, ..grammar })
    }
}

/// A rule of the file: `name(parameters) = [alternatives]`.
struct Definition<'a> {
    parameters: Vec<&'a str>,
    alternatives: &'a [AlternativeEntry],
    deck: Option<usize>,
}

struct Loader<'a> {
    grammar: Grammar,
    columns: Vec<&'a [String]>,
    vars: HashMap<&'a str, usize>,
    definitions: BTreeMap<&'a str, Definition<'a>>,
    /// Rules made so far, by name and arguments; none while one is being made.
    instances: HashMap<(String, Vec<usize>), Option<usize>>,
    used_vars: BTreeSet<usize>,
}

impl<'a> Loader<'a> {
    fn new(file: &'a File) -> Result<Self, TalesError> {
        let mut loader = Self {
            grammar: Grammar {
                seed: file.seed,
                stories: file.stories,
                lists: Vec::new(),
                vars: Vec::new(),
                rules: Vec::new(),
                decks: 0,
                start: 0,
            },
            columns: Vec::new(),
            vars: HashMap::new(),
            definitions: BTreeMap::new(),
            instances: HashMap::new(),
            used_vars: BTreeSet::new(),
        };
        let lists: HashMap<&str, usize> = file.lists.keys().zip(0..).map(|(name, i)| (name.as_str(), i)).collect();
        for (name, entry) in &file.lists {
            loader.grammar.lists.push(list(name, entry)?);
            loader.columns.push(&entry.columns);
        }
        for (name, of) in &file.vars {
            let place = format!("variable `{name}`");
            let Some(&list) = lists.get(of.as_str()) else {
                return invalid(place, format!("there is no list `{of}`; name one that stands under [lists]"));
            };
            if name.as_str() == "a" {
                return invalid(place, "`a` is the article; choose another name");
            }
            loader.vars.insert(name, loader.grammar.vars.len());
            loader.grammar.vars.push(Var { name: name.clone(), list });
        }
        if file.vars.len() > MOST_OPTIONS {
            return invalid("vars".into(), format!("{} variables; {MOST_OPTIONS} is the most", file.vars.len()));
        }
        for (index, name) in lists.iter().map(|(name, index)| (*index, name)) {
            let vars = loader.grammar.vars.iter().filter(|var| var.list == index).count();
            let words = loader.grammar.lists[index].words.len();
            if vars == 0 || vars > words {
                let problem = format!("{words} words for {vars} variables; each variable takes a word of its own");
                return invalid(format!("list `{name}`"), problem);
            }
        }
        loader.define(file)?;
        Ok(loader)
    }

    fn define(&mut self, file: &'a File) -> Result<(), TalesError> {
        for (head, alternatives) in &file.rules {
            let place = format!("rule `{head}`");
            let (name, parameters) = match head.split_once('(') {
                None => (head.as_str(), Vec::new()),
                Some((name, rest)) => match rest.strip_suffix(')') {
                    Some(list) => (name, list.split(',').map(str::trim).collect()),
                    None => return invalid(place, "its parameters lack a closing `)`"),
                },
            };
            options(&place, alternatives.iter().map(|entry| entry.parts().1))?;
            if let Some(entry) = alternatives.iter().find(|entry| !(1..=MOST_WEIGHT).contains(&entry.parts().0)) {
                let (weight, text) = entry.parts();
                return invalid(place, format!("{text:?} has weight {weight}; give it one from 1 to {MOST_WEIGHT}"));
            }
            if let Some(name) = parameters.iter().copied().chain([name]).find(|name| self.vars.contains_key(name)) {
                return invalid(place, format!("`{name}` is a variable too; rename one of them"));
            }
            let deck = if file.repeats.iter().any(|repeats| repeats == name) {
                None
            } else {
                self.grammar.decks += 1;
                Some(self.grammar.decks - 1)
            };
            if self.definitions.insert(name, Definition { parameters, alternatives, deck }).is_some() {
                return invalid(place, format!("there are two rules `{name}`; rename one of them"));
            }
        }
        match file.repeats.iter().find(|name| !self.definitions.contains_key(name.as_str())) {
            Some(name) => invalid("repeats".into(), format!("there is no rule `{name}`; remove it or define it")),
            None => Ok(()),
        }
    }

    /// The rule `name` with variables `arguments` in place of its parameters.
    fn instance(&mut self, name: &str, arguments: &[usize], place: &str) -> Result<usize, TalesError> {
        let key = (name.to_owned(), arguments.to_vec());
        match self.instances.get(&key) {
            Some(Some(rule)) => return Ok(*rule),
            Some(None) => {
                return invalid(place.into(), format!("rule `{name}` contains itself; stories would not end"));
            }
            None => {}
        }
        let Some(definition) = self.definitions.get(name) else {
            return invalid(
                place.into(),
                format!("`{name}` is no rule, variable or parameter; define it or correct it"),
            );
        };
        let (wanted, given) = (definition.parameters.len(), arguments.len());
        if wanted != given {
            return invalid(place.into(), format!("rule `{name}` takes {wanted} arguments, {given} given"));
        }
        let (deck, entries) = (definition.deck, definition.alternatives);
        let scope: HashMap<&str, usize> =
            definition.parameters.iter().copied().zip(arguments.iter().copied()).collect();
        self.instances.insert(key.clone(), None);
        let mut alternatives = Vec::with_capacity(entries.len());
        for (number, (weight, text)) in (1..).zip(entries.iter().map(AlternativeEntry::parts)) {
            let place = format!("rule `{name}`, alternative {number}");
            alternatives.push(Alternative { weight, items: self.items(text, &scope, &place)? });
        }
        let arguments: Vec<&str> = arguments.iter().map(|&var| self.grammar.vars[var].name.as_str()).collect();
        let name = if arguments.is_empty() { name.to_owned() } else { format!("{name}:{}", arguments.join(",")) };
        self.grammar.rules.push(Rule { name, deck, alternatives });
        let rule = self.grammar.rules.len() - 1;
        self.instances.insert(key, Some(rule));
        Ok(rule)
    }

    /// The items of an alternative's text, with `scope` giving the variable of each parameter.
    fn items(&mut self, text: &str, scope: &HashMap<&str, usize>, place: &str) -> Result<Vec<Item>, TalesError> {
        let mut items = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            if !before.is_empty() {
                items.push(Item::Text(before.to_owned()));
            }
            let Some((slot, after)) = after.split_once('}') else {
                return invalid(place.into(), format!("`{{` without `}}` before {after:?}"));
            };
            rest = after;
            let name = slot.strip_prefix('^').unwrap_or(slot);
            if name.len() < slot.len() {
                items.push(Item::Capital);
            }
            let item = self.slot(name, scope, place)?;
            if item == Item::Article && !rest.starts_with(' ') {
                return invalid(place.into(), "`{a}` needs a space behind it".to_owned());
            }
            items.push(item);
        }
        if !rest.is_empty() {
            items.push(Item::Text(rest.to_owned()));
        }
        Ok(items)
    }

    /// What `{name}` stands for.
    fn slot(&mut self, name: &str, scope: &HashMap<&str, usize>, place: &str) -> Result<Item, TalesError> {
        if name == "a" {
            return Ok(Item::Article);
        }
        let find = |vars: &HashMap<&str, usize>, name: &str| scope.get(name).or_else(|| vars.get(name)).copied();
        if let Some((rule, arguments)) = name.split_once(':') {
            let mut vars = Vec::new();
            for argument in arguments.split(',') {
                let Some(var) = find(&self.vars, argument) else {
                    return invalid(place.into(), format!("`{argument}` is no variable; define it under [vars]"));
                };
                vars.push(var);
            }
            return self.instance(rule, &vars, place).map(Item::Rule);
        }
        let (word, column) = name.split_once('.').map_or((name, None), |(word, column)| (word, Some(column)));
        let Some(var) = find(&self.vars, word) else {
            return self.instance(name, &[], place).map(Item::Rule);
        };
        self.used_vars.insert(var);
        let columns = self.columns[self.grammar.vars[var].list];
        let column = match column {
            None => 0,
            Some(column) => match columns.iter().position(|name| name == column) {
                Some(index) => index + 1,
                None => {
                    return invalid(place.into(), format!("`{word}` has no column `{column}`; it has {columns:?}"));
                }
            },
        };
        Ok(Item::Word { var, column })
    }

    fn check_all_used(&self) -> Result<(), TalesError> {
        if let Some(name) = self.definitions.keys().find(|name| !self.instances.keys().any(|(used, _)| used == *name)) {
            return invalid(format!("rule `{name}`"), "no story reaches it; use it or remove it");
        }
        match self.grammar.vars.iter().enumerate().find(|(var, _)| !self.used_vars.contains(var)) {
            Some((_, var)) => invalid(format!("variable `{}`", var.name), "no story reaches it; use it or remove it"),
            None => Ok(()),
        }
    }
}

/// Checks a list of the file and spreads its rows to one for each word.
fn list(name: &str, entry: &ListEntry) -> Result<List, TalesError> {
    let place = format!("list `{name}`");
    let mut words: Vec<Vec<String>> = Vec::new();
    for row in &entry.rows {
        let (first, forms) = match row.split_first() {
            Some((Cell::One(word), forms)) => (std::slice::from_ref(word), forms),
            Some((Cell::Many(words), forms)) => (words.as_slice(), forms),
            None => return invalid(place, "it has an empty row; remove it"),
        };
        let forms = forms.iter().map(|form| match form {
            Cell::One(form) if !form.is_empty() && form.is_ascii() => Ok(form.clone()),
            _ => {
                invalid(place.clone(), format!("the forms beside {first:?} must be ASCII texts, not empty, not lists"))
            }
        });
        let forms: Vec<String> = forms.collect::<Result<_, _>>()?;
        if forms.len() != entry.columns.len() {
            let problem = format!("{first:?} has {} forms for {} columns", forms.len(), entry.columns.len());
            return invalid(place, problem);
        }
        words.extend(first.iter().map(|word| [std::slice::from_ref(word), &forms].concat()));
    }
    options(&place, words.iter().map(|word| word[0].as_str()))?;
    Ok(List { words })
}

/// Checks the options of a choice: some, not too many, none empty, none twice.
fn options<'a>(place: &str, texts: impl Iterator<Item = &'a str>) -> Result<(), TalesError> {
    let mut seen = BTreeSet::new();
    for text in texts {
        if text.is_empty() {
            return invalid(place.into(), "it has an empty option; write out the texts with and without the part");
        }
        if !text.is_ascii() {
            return invalid(place.into(), format!("{text:?} is not ASCII; use plain letters and straight quotes"));
        }
        if !seen.insert(text) {
            return invalid(place.into(), format!("{text:?} stands there twice; remove one or give one a weight"));
        }
    }
    match seen.len() {
        0 => invalid(place.into(), "it is empty; give it an option or remove it"),
        1..=MOST_OPTIONS => Ok(()),
        many => invalid(place.into(), format!("it has {many} options; {MOST_OPTIONS} is the most")),
    }
}

fn invalid<T>(place: String, problem: impl Into<String>) -> Result<T, TalesError> {
    Err(TalesError::Invalid { place, problem: problem.into() })
}
