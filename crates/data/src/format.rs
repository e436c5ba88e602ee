//! How a text is cut into documents: whole files, objects of JSON, or what stands between separators.

use serde_json::Value;

use crate::corpus::Document;
use crate::error::DataError;

/// What a document of a text is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum DocumentFormat {
    /// Each file of a directory. A single file is one text, without a document that ends in it.
    #[default]
    Files,
    /// Each line is a JSON object, or the whole text is an array of such objects, and this field of each is the text of a
    /// document, or a list of its lines.
    JsonLines {
        /// Name of the field.
        field: String,
    },
    /// What stands between two of these, which are part of no document.
    Separated {
        /// The text between two documents; not empty.
        separator: String,
    },
}

impl DocumentFormat {
    /// From the two fields of a recipe, of which at most one is not empty.
    ///
    /// # Errors
    ///
    /// `TwoFormats`.
    pub fn new(field: &str, separator: &str) -> Result<Self, DataError> {
        match (field, separator) {
            ("", "") => Ok(Self::Files),
            (field, "") => Ok(Self::JsonLines { field: field.to_owned() }),
            ("", separator) => Ok(Self::Separated { separator: separator.to_owned() }),
            _ => Err(DataError::TwoFormats),
        }
    }

    /// The documents of one file, in order; none that is empty.
    ///
    /// # Errors
    ///
    /// `JsonLine` for a line that is no object with the field, or whose field is no text.
    pub(crate) fn documents(&self, origin: &str, text: String) -> Result<Vec<Document>, DataError> {
        match self {
            Self::Files => Ok(vec![Document::new(origin, text)]),
            Self::Separated { separator } => {
                let parts = (1..).zip(text.split(separator.as_str())).filter(|(_, part)| !part.is_empty());
                Ok(parts.map(|(number, part)| Document::new(format!("{origin}, document {number}"), part)).collect())
            }
            Self::JsonLines { field } if text.trim_start().starts_with('[') => {
                let json = |reason: String| DataError::JsonLine { origin: origin.to_owned(), reason };
                let objects: Vec<Value> = serde_json::from_str(&text).map_err(|error| json(error.to_string()))?;
                let document = |(number, object): (usize, Value)| {
                    let origin = format!("{origin}, object {number}");
                    let text = object_text(object, field)
                        .map_err(|reason| DataError::JsonLine { origin: origin.clone(), reason })?;
                    Ok(Document::new(origin, text))
                };
                let documents: Result<Vec<Document>, DataError> = (1..).zip(objects).map(document).collect();
                documents.map(|documents| documents.into_iter().filter(|one| !one.text.is_empty()).collect())
            }
            Self::JsonLines { field } => {
                let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
                let document = |(number, line): (usize, &str)| {
                    let origin = format!("{origin}:{number}");
                    let text = json_text(line, field)
                        .map_err(|reason| DataError::JsonLine { origin: origin.clone(), reason })?;
                    Ok(Document::new(origin, text))
                };
                let documents: Result<Vec<Document>, DataError> = lines.map(document).collect();
                documents.map(|documents| documents.into_iter().filter(|one| !one.text.is_empty()).collect())
            }
        }
    }
}

/// The text of a field of a line; the error is a reason for a message.
pub(crate) fn json_text(line: &str, field: &str) -> Result<String, String> {
    let object = serde_json::from_str(line).map_err(|error| format!("{error}; {}", wanted(field)))?;
    object_text(object, field)
}

fn wanted(field: &str) -> String {
    format!("write an object such as {{{field:?}: \"There was once a cat.\"}}")
}

/// The text of a field of an object; the error is a reason for a message.
fn object_text(object: Value, field: &str) -> Result<String, String> {
    let wanted = wanted(field);
    match object {
        Value::Object(mut fields) => match fields.remove(field) {
            Some(Value::String(text)) => Ok(text),
            Some(Value::Array(lines)) if lines.iter().all(Value::is_string) => {
                let lines: Vec<&str> = lines.iter().filter_map(Value::as_str).collect();
                Ok(lines.join("\n"))
            }
            Some(_) => Err(format!("its field {field:?} is not a text; {wanted}")),
            None => {
                let texts = fields.iter().filter(|(_, value)| value.is_string());
                let names: Vec<String> = texts.map(|(name, _)| format!("{name:?}")).take(MAX_NAMED).collect();
                let has = if names.is_empty() { "no text".to_owned() } else { names.join(", ") };
                Err(format!("there is no field {field:?} in it; it has {has}"))
            }
        },
        _ => Err(format!("it is no object; {wanted}")),
    }
}

/// How many fields a message names.
const MAX_NAMED: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(format: &DocumentFormat, text: &str) -> Result<Vec<(String, String)>, DataError> {
        let documents = format.documents("x", text.to_owned())?;
        Ok(documents.into_iter().map(|document| (document.origin, document.text)).collect())
    }

    #[test]
    fn separators_are_part_of_no_document_and_empty_documents_are_none() {
        let format = DocumentFormat::new("", "\n--\n").expect("one format");
        let found = texts(&format, "a\nb\n--\n\n--\n\n--\nc").expect("documents");
        assert_eq!(found, [("x, document 1", "a\nb"), ("x, document 4", "c")].map(|(a, b)| (a.into(), b.into())));
        assert_eq!(texts(&format, "\n--\n").expect("none"), []);
    }

    #[test]
    fn a_line_of_json_is_a_document_and_one_without_the_field_is_told_by_its_number() {
        let format = DocumentFormat::new("text", "").expect("one format");
        let found =
            texts(&format, "{\"text\": \"a\\nb\", \"n\": 1}\r\n\n{\"text\":\"\"}\n{\"text\":\"é\"}").expect("sound");
        assert_eq!(found, [("x:1", "a\nb"), ("x:4", "é")].map(|(a, b)| (a.into(), b.into())));
        for (line, expected) in [
            ("{\"body\": \"a\", \"n\": 1}", "x:2: there is no field \"text\" in it; it has \"body\""),
            ("{\"text\": 1}", "x:2: its field \"text\" is not a text"),
            ("[\"text\"]", "x:2: it is no object"),
            ("{\"text\": ", "x:2: EOF"),
        ] {
            let error = texts(&format, &format!("{{\"text\": \"a\"}}\n{line}")).expect_err(line).to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn an_array_of_objects_is_read_as_its_lines_would_be_and_a_list_of_lines_as_a_text() {
        let format = DocumentFormat::new("lines", "").expect("one format");
        let found =
            texts(&format, " [\n{\"lines\": [\"a\", \"猫\"]},\n{\"lines\": []}, {\"lines\": \"b\"}]").expect("sound");
        assert_eq!(found, [("x, object 1", "a\n猫"), ("x, object 3", "b")].map(|(a, b)| (a.into(), b.into())));
        for (text, expected) in [
            ("[{\"lines\": \"a\"}, 3]", "x, object 2: it is no object"),
            ("[{\"lines\": [1]}]", "x, object 1: its field \"lines\" is not a text"),
            ("[{\"lines\": ", "x: EOF"),
        ] {
            let error = texts(&format, text).expect_err(text).to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn two_formats_at_once_are_refused() {
        assert!(matches!(DocumentFormat::new("text", "--"), Err(DataError::TwoFormats)));
        assert_eq!(DocumentFormat::new("", "").expect("none"), DocumentFormat::Files);
    }
}
