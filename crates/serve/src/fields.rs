//! The fields of a request, taken one after another: each by its name and type, so that what is wrong is told by name, and what
//! is left over in the end is a parameter that does nothing here.

use serde_json::{Map, Value};

use crate::ApiError;

/// A request's fields that have not been taken. One that is `null` is as one that is absent.
#[derive(Debug)]
pub struct Fields {
    fields: Map<String, Value>,
    /// What stands before a name in messages, such as `stream_options.`.
    place: String,
}

impl Fields {
    /// The fields of a body.
    ///
    /// # Errors
    /// For what is no JSON object.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let value: Value = serde_json::from_slice(body)
            .map_err(|error| ApiError::bad_request(format!("the body is not JSON that can be read: {error}")))?;
        match value {
            Value::Object(fields) => Ok(Self::new(fields, String::new())),
            _ => Err(ApiError::bad_request("the body is JSON, but no object, such as {\"prompt\": \"Once\"}")),
        }
    }

    /// The fields of an object that has a name of its own.
    ///
    /// # Errors
    /// For what is no object.
    pub fn of_value(name: &str, value: Value) -> Result<Self, ApiError> {
        match value {
            Value::Object(fields) => Ok(Self::new(fields, format!("{name}."))),
            other => Err(ApiError::param(name, format!("it must be an object, and is {}", shown(&other)))),
        }
    }

    fn new(mut fields: Map<String, Value>, place: String) -> Self {
        fields.retain(|_, value| !value.is_null());
        Self { fields, place }
    }

    /// The name of a field with its place.
    pub fn name(&self, field: &str) -> String {
        format!("{}{field}", self.place)
    }

    /// A field's value, whatever it is.
    pub fn value(&mut self, field: &str) -> Option<Value> {
        self.fields.remove(field)
    }

    fn typed<T>(
        &mut self,
        field: &str,
        what: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(value) = self.value(field) else { return Ok(None) };
        let wrong = || ApiError::param(self.name(field), format!("it must be {what}, and is {}", shown(&value)));
        read(&value).map(Some).ok_or_else(wrong)
    }

    /// A number.
    pub fn number(&mut self, field: &str) -> Result<Option<f64>, ApiError> {
        self.typed(field, "a number", Value::as_f64)
    }

    /// A whole number of some range.
    pub fn whole(&mut self, field: &str, range: std::ops::RangeInclusive<i64>) -> Result<Option<i64>, ApiError> {
        let what = format!("a whole number from {} to {}", range.start(), range.end());
        self.typed(field, &what, |value| whole(value).filter(|number| range.contains(number)))
    }

    /// A whole number that is not negative.
    pub fn unsigned(&mut self, field: &str) -> Result<Option<u64>, ApiError> {
        self.typed(field, &format!("a whole number from 0 to {}", u64::MAX), Value::as_u64)
    }

    /// `true` or `false`; absent is false.
    pub fn flag(&mut self, field: &str) -> Result<bool, ApiError> {
        Ok(self.typed(field, "true or false", Value::as_bool)?.unwrap_or(false))
    }

    /// A text.
    pub fn text(&mut self, field: &str) -> Result<Option<String>, ApiError> {
        self.typed(field, "a string", |value| value.as_str().map(str::to_owned))
    }

    /// A text, or a list of texts.
    pub fn texts(&mut self, field: &str) -> Result<Vec<String>, ApiError> {
        let read = |value: &Value| match value {
            Value::String(text) => Some(vec![text.clone()]),
            Value::Array(texts) => texts.iter().map(|text| text.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        Ok(self.typed(field, "a string or a list of strings", read)?.unwrap_or_default())
    }

    /// A list.
    pub fn list(&mut self, field: &str) -> Result<Option<Vec<Value>>, ApiError> {
        self.typed(field, "a list", |value| value.as_array().cloned())
    }

    /// An object, as fields of its own.
    pub fn object(&mut self, field: &str) -> Result<Option<Self>, ApiError> {
        let fields = self.typed(field, "an object", |value| value.as_object().cloned())?;
        let place = self.name(field) + ".";
        Ok(fields.map(|fields| Self::new(fields, place)))
    }

    /// Takes fields that change no result.
    pub fn skip(&mut self, fields: &[&str]) {
        for field in fields {
            self.fields.remove(*field);
        }
    }

    /// Takes a field that asks for something only if it has another value than these, which ask for nothing.
    ///
    /// # Errors
    /// For another value.
    pub fn only(&mut self, field: &str, values: &[Value], why: &str) -> Result<(), ApiError> {
        match self.value(field) {
            Some(value) if !values.contains(&value) => Err(ApiError::unsupported(self.name(field), why)),
            _ => Ok(()),
        }
    }

    /// All fields that are left, by name.
    pub fn into_rest(self) -> Map<String, Value> {
        self.fields
    }

    /// Refuses what is left.
    ///
    /// # Errors
    /// For the first of them by name.
    pub fn finish(self) -> Result<(), ApiError> {
        match self.fields.keys().next() {
            None => Ok(()),
            Some(field) => Err(ApiError::unsupported(
                self.name(field),
                "this server has no such parameter, and the answer would not be what it asks for; leave it out",
            )),
        }
    }
}

/// A whole number, also where it is written with a fraction that is zero.
pub fn whole(value: &Value) -> Option<i64> {
    let exact = |number: f64| (number.trunc() == number && number.abs() < 9e15).then_some(number as i64);
    value.as_i64().or_else(|| value.as_f64().and_then(exact))
}

/// A value in a message, cut where it is long.
pub fn shown(value: &Value) -> String {
    const MOST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(body: &Value) -> Fields {
        Fields::parse(body.to_string().as_bytes()).expect("an object")
    }

    fn message<T: std::fmt::Debug>(result: Result<T, ApiError>) -> String {
        result.expect_err("refused").to_json()["error"]["message"].as_str().expect("a message").to_owned()
    }

    #[test]
    fn a_value_of_another_type_is_told_by_name_with_what_it_may_be() {
        let mut fields = fields(&json!({"a": "x", "b": 1.5, "c": [1], "d": "maybe", "e": -1}));
        assert_eq!(message(fields.number("a")), "a: it must be a number, and is \"x\"");
        assert_eq!(message(fields.whole("b", 0..=3)), "b: it must be a whole number from 0 to 3, and is 1.5");
        assert_eq!(message(fields.texts("c")), "c: it must be a string or a list of strings, and is [1]");
        assert_eq!(message(fields.flag("d")), "d: it must be true or false, and is \"maybe\"");
        assert!(message(fields.unsigned("e")).starts_with("e: it must be a whole number from 0 to 1844"));
    }

    #[test]
    fn what_is_null_is_absent_and_what_is_left_is_refused_by_name() {
        let mut fields = fields(&json!({"a": null, "stream_options": {"b": 1}}));
        assert_eq!(fields.number("a").expect("absent"), None);
        let options = fields.object("stream_options").expect("an object").expect("there");
        assert!(message(options.finish()).starts_with("stream_options.b: this server has no such parameter"));
        fields.finish().expect("nothing is left");
    }

    #[test]
    fn whole_numbers_may_be_written_with_a_fraction_that_is_zero() {
        assert_eq!(fields(&json!({"n": 2.0})).whole("n", 1..=3).expect("two"), Some(2));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for body in ["", "{", "[1]", "\"a\"", "{\"a\": 1e999}", "\u{0}", &"[".repeat(500)] {
            assert!(Fields::parse(body.as_bytes()).is_err(), "{body:?}");
        }
        assert!(Fields::parse(b"{\"a\": \"\xff\"}").is_err());
    }
}
