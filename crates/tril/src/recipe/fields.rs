//! The fields of a recipe by their names: which there are, and one set to a value that was written as text.

use toml::{Table, Value};

use super::{Recipe, RecipeError};

/// Fields that had another name in earlier releases, which is still read: section, old name, name.
const RENAMED: [(&str, &str, &str); 1] = [("optimizer", "matrix_learning_rate", "muon_learning_rate")];

/// The fields that a recipe's text writes out, by section, under their present names.
pub(crate) fn parse_table(text: &str, origin: &str) -> Result<Table, RecipeError> {
    let text = text.trim_start_matches('\u{feff}');
    let mut table: Table =
        text.parse().map_err(|error| RecipeError::Toml { origin: origin.to_owned(), detail: plain(&error) })?;
    let wrong = |detail: String| RecipeError::Field { origin: origin.to_owned(), detail };
    rename_fields(&mut table).map_err(wrong)?;
    check_keys(&table, &known_fields(), "").map_err(wrong)?;
    Ok(table)
}

/// Every section and field, with its default.
pub(crate) fn known_fields() -> Table {
    Table::try_from(Recipe::default()).unwrap_or_default()
}

/// What TOML says of a value, in words that do not take knowing Rust.
pub(super) fn plain(error: &toml::de::Error) -> String {
    let mut message = error.to_string();
    for (rust, words) in [("usize", "a whole number"), ("u64", "a whole number"), ("f64", "a number")] {
        message = message.replace(&format!("expected {rust}"), &format!("expected {words}"));
    }
    message.trim().to_owned()
}

/// The present name of a field of a section.
fn present_name<'a>(section: &str, field: &'a str) -> &'a str {
    let renamed = RENAMED.into_iter().find(|(of, old, _)| (*of, *old) == (section, field));
    renamed.map_or(field, |(_, _, name)| name)
}

/// Gives fields that were renamed since the recipe was written their present names.
fn rename_fields(table: &mut Table) -> Result<(), String> {
    for (section, old, name) in RENAMED {
        let Some(Value::Table(fields)) = table.get_mut(section) else { continue };
        let Some(value) = fields.remove(old) else { continue };
        if fields.insert(name.to_owned(), value).is_some() {
            return Err(format!("[{section}] has both `{name}` and `{old}`, its old name; remove the second"));
        }
    }
    Ok(())
}

/// Refuses keys that no section has.
fn check_keys(table: &Table, known: &Table, section: &str) -> Result<(), String> {
    for (key, value) in table {
        let Some(expected) = known.get(key) else { return Err(unknown_key(key, known, section)) };
        match (value, expected) {
            (Value::Table(inner), Value::Table(inner_known)) => check_keys(inner, inner_known, key)?,
            (_, Value::Table(_)) => return Err(format!("`{key}` is a section; write its fields under [{key}]")),
            _ => {}
        }
    }
    Ok(())
}

fn unknown_key(key: &str, known: &Table, section: &str) -> String {
    let nearest = known.keys().max_by(|a, b| strsim::jaro_winkler(key, a).total_cmp(&strsim::jaro_winkler(key, b)));
    let hint = nearest.map_or(String::new(), |nearest| format!(", did you mean `{nearest}`?"));
    if section.is_empty() {
        let sections: Vec<String> = known.keys().map(|section| format!("[{section}]")).collect();
        return format!("there is no section [{key}]{hint} Sections are {}", sections.join(" "));
    }
    let fields: Vec<&str> = known.keys().map(String::as_str).collect();
    format!("[{section}] has no field `{key}`{hint} Its fields are {}", fields.join(", "))
}

/// Applies one `section.field=value`.
pub(crate) fn set(table: &mut Table, known: &Table, item: &str) -> Result<(), String> {
    let usage = || "write it as section.field=value, such as model.n_layers=6".to_owned();
    let (path, text) = item.split_once('=').ok_or_else(usage)?;
    let (section, field) = path.trim().split_once('.').ok_or_else(usage)?;
    let field = present_name(section, field);
    let Some(Value::Table(fields)) = known.get(section) else { return Err(unknown_key(section, known, "")) };
    let Some(expected) = fields.get(field) else { return Err(unknown_key(field, fields, section)) };
    let text = text.trim();
    let value = match (format!("v = {text}").parse::<Table>(), expected) {
        (Ok(mut parsed), _) if !expected.is_str() || parsed.get("v").is_some_and(Value::is_str) => {
            parsed.remove("v").ok_or_else(usage)?
        }
        _ => Value::String(text.to_owned()),
    };
    // 1 is a fine way to write 1.0.
    let value = match (value, expected) {
        (Value::Integer(whole), Value::Float(_)) => Value::Float(whole as f64),
        (value, _) => value,
    };
    let entry = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(fields) = entry {
        fields.insert(field.to_owned(), value);
    }
    Ok(())
}
