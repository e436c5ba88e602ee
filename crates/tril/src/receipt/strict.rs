//! A receipt says each thing once and leaves nothing out, so that two readers cannot read it in two ways.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Error, Value};

/// Fields that have another name in version 1: name, old name.
const RENAMED: [(&str, &str); 3] = [("cdf_interval", "share"), ("uniform", "draw"), ("penalty_last_n", "penalty_span")];

/// Reads a value whose every field is there, once.
///
/// # Errors
/// Where the text is no such value.
pub(super) fn from_str<T: DeserializeOwned + Serialize>(text: &str) -> Result<T, Error> {
    check_unique(text)?;
    let value: T = serde_json::from_str(text)?;
    check_complete(&serde_json::to_value(&value)?, &serde_json::from_str(text)?)?;
    Ok(value)
}

/// Refuses JSON in which an object has a key twice.
///
/// # Errors
/// Where there is one.
pub(super) fn check_unique(text: &str) -> Result<(), Error> {
    serde_json::from_str::<UniqueKeys>(text).map(|UniqueKeys| ())
}

/// Refuses what lacks a field that it has when it is written.
fn check_complete(written: &Value, found: &Value) -> Result<(), Error> {
    match (written, found) {
        (Value::Object(written), Value::Object(found)) => written.iter().try_for_each(|(name, written)| {
            let old = || RENAMED.iter().find(|(new, _)| new == name).and_then(|(_, old)| found.get(*old));
            let missing = || Error::custom(format!("missing field `{name}`"));
            check_complete(written, found.get(name).or_else(old).ok_or_else(missing)?)
        }),
        (Value::Array(written), Value::Array(found)) => {
            written.iter().zip(found).try_for_each(|(written, found)| check_complete(written, found))
        }
        _ => Ok(()),
    }
}

/// Any JSON in which no object has a key twice. Most readers take the last of two, and some the first.
struct UniqueKeys;

impl<'de> Deserialize<'de> for UniqueKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueKeysVisitor)
    }
}

struct UniqueKeysVisitor;

impl<'de> Visitor<'de> for UniqueKeysVisitor {
    type Value = UniqueKeys;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UniqueKeys, A::Error> {
        let mut keys = HashSet::new();
        while let Some((key, UniqueKeys)) = map.next_entry::<String, UniqueKeys>()? {
            if let Some(key) = keys.replace(key) {
                return Err(A::Error::custom(format!("duplicate field `{key}`")));
            }
        }
        Ok(UniqueKeys)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<UniqueKeys, A::Error> {
        while seq.next_element::<UniqueKeys>()?.is_some() {}
        Ok(UniqueKeys)
    }

    fn visit_bool<E>(self, _: bool) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_i64<E>(self, _: i64) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_u64<E>(self, _: u64) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_f64<E>(self, _: f64) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_str<E>(self, _: &str) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_unit<E>(self) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    struct Token {
        #[serde(alias = "draw")]
        uniform: Option<f64>,
        biases: BTreeMap<u32, i32>,
    }

    impl Default for Token {
        fn default() -> Self {
            Self { uniform: Some(0.5), biases: BTreeMap::new() }
        }
    }

    #[test]
    fn each_field_is_there_once_by_its_name_or_its_old_one() {
        let read = |text: &str| from_str::<Vec<Token>>(text).map_err(|error| error.to_string());
        let token = Token { uniform: None, biases: BTreeMap::from([(3, -1)]) };
        for name in ["uniform", "draw"] {
            let text = format!(r#"[{{"{name}": null, "biases": {{"3": -1}}}}]"#);
            assert_eq!(read(&text), Ok(vec![Token { uniform: None, biases: token.biases.clone() }]));
        }
        for (text, expected) in [
            (r#"[{"uniform": null}]"#, "missing field `biases`"),
            (r#"[{"uniform": 1.5, "biases": {}}, {"biases": {}}]"#, "missing field `uniform`"),
            (r#"[{"uniform": null, "biases": {"3": 1, "3": 1}}]"#, "duplicate field `3`"),
            (r#"[{"uniform": null, "uniform": null, "biases": {}}]"#, "duplicate field `uniform`"),
            (r#"[{"uniform": null, "draw": null, "biases": {}}]"#, "duplicate field `uniform`"),
        ] {
            let message = read(text).expect_err("refused");
            assert!(message.contains(expected), "{message}");
        }
    }
}
