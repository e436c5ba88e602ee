//! How a checkpoint writes a chat: the template in Jinja's language that Hugging Face models come with, in
//! `chat_template.jinja`, or in `tokenizer_config.json` of a directory that is in their layout.

use std::path::{Path, PathBuf};

use minijinja::value::{Kwargs, Value as TemplateValue};
use minijinja::{Environment, Error, ErrorKind, context};
use serde_json::Value;
use tril::Tokenizer;

use crate::ServeError;

/// The file that holds a template and nothing else.
const TEMPLATE: &str = "chat_template.jinja";
/// The file of Hugging Face's layout that may hold one.
const CONFIG: &str = "tokenizer_config.json";
/// What a template may do before it is given up: some steps for each of many messages.
const FUEL: u64 = 20_000_000;

/// A template that has been read.
pub struct ChatTemplate {
    environment: Environment<'static>,
    path: PathBuf,
    bos_token: Option<String>,
    eos_token: Option<String>,
}

impl std::fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatTemplate").field("path", &self.path).finish_non_exhaustive()
    }
}

impl ChatTemplate {
    /// The template of a checkpoint, if it has one.
    ///
    /// # Errors
    /// [`ServeError::Template`] for one that cannot be read or is no template.
    pub fn open(dir: &Path, tokenizer: &Tokenizer) -> Result<Option<Self>, ServeError> {
        let config_path = dir.join(CONFIG);
        let config: Option<Value> = match read(&config_path)? {
            None => None,
            Some(text) => Some(serde_json::from_str(&text).map_err(|error| unusable(&config_path, &error))?),
        };
        let path = dir.join(TEMPLATE);
        let (path, source) = match (read(&path)?, &config) {
            (Some(source), _) => (path, source),
            (None, Some(config)) => match template_in(config) {
                Some(source) => (config_path, source),
                None => return Ok(None),
            },
            (None, None) => return Ok(None),
        };
        Self::new(source, path, config.as_ref(), tokenizer).map(Some)
    }

    fn new(source: String, path: PathBuf, config: Option<&Value>, tokenizer: &Tokenizer) -> Result<Self, ServeError> {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        // The same chat is the same text on every day.
        environment.add_function("strftime_now", |_: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, "this template writes today's date, which no request names"))
        });
        environment.add_filter("tojson", to_json);
        environment.add_template_owned("chat", source).map_err(|error| unusable(&path, &at_line(&error)))?;
        let named = |field: &str| {
            let value = config?.get(field)?;
            value.as_str().or_else(|| value.get("content")?.as_str()).map(str::to_owned)
        };
        let name = |id: u32| tokenizer.token_text(id);
        let eos_token = named("eos_token").or_else(|| tokenizer.end_of_text().map(name));
        let start = || tokenizer.encode_prompt("").ok().filter(|ids| ids.len() == 1).map(|ids| ids[0]);
        let is_special = |id: &u32| tokenizer.special_tokens().any(|(other, _)| other == *id);
        let bos_token = named("bos_token").or_else(|| start().filter(is_special).map(name));
        Ok(Self { environment, path, bos_token, eos_token })
    }

    /// The text of a chat, up to where the model's answer begins.
    ///
    /// # Errors
    /// What the template or its language says against these messages.
    pub fn render(&self, messages: &[Value]) -> Result<String, String> {
        let told = |error: Error| {
            let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
            format!("the chat template refuses them: {detail}")
        };
        let template = self.environment.get_template("chat").map_err(told)?;
        let values = context! {
            messages => messages,
            add_generation_prompt => true,
            bos_token => self.bos_token.as_deref().unwrap_or_default(),
            eos_token => self.eos_token.as_deref().unwrap_or_default(),
        };
        template.render(values).map_err(told)
    }
}

/// What is wrong with a template, and in which of its lines.
fn at_line(error: &Error) -> String {
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    error.line().map_or_else(|| detail.clone(), |line| format!("line {line}: {detail}"))
}

/// JSON as Python writes it: a space after each comma and colon, and nothing that is escaped for the sake of HTML.
fn to_json(value: TemplateValue, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let broken = |error: serde_json::Error| Error::new(ErrorKind::BadSerialization, error.to_string());
    let value = serde_json::to_value(&value).map_err(broken)?;
    let mut text = Vec::new();
    let written = match indent {
        Some(indent) => {
            let spaces = " ".repeat(indent.min(16));
            let formatter = serde_json::ser::PrettyFormatter::with_indent(spaces.as_bytes());
            serde::Serialize::serialize(&value, &mut serde_json::Serializer::with_formatter(&mut text, formatter))
        }
        None => serde::Serialize::serialize(&value, &mut serde_json::Serializer::with_formatter(&mut text, Spaced)),
    };
    written.map_err(broken)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// A space after each comma and colon.
struct Spaced;

impl serde_json::ser::Formatter for Spaced {
    fn begin_array_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

/// The template that a `tokenizer_config.json` holds; of several, the one called `default`.
fn template_in(config: &Value) -> Option<String> {
    match config.get("chat_template")? {
        Value::String(source) => Some(source.clone()),
        Value::Array(named) => {
            let default = named.iter().find(|template| template["name"] == "default").or_else(|| named.first())?;
            default["template"].as_str().map(str::to_owned)
        }
        _ => None,
    }
}

fn read(path: &Path) -> Result<Option<String>, ServeError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(path, &error)),
    }
}

fn unusable(path: &Path, reason: &impl std::fmt::Display) -> ServeError {
    ServeError::Template { path: path.to_owned(), reason: format!("it is no usable chat template: {reason}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tril::text::{TokenizerConfig, TokenizerKind};

    use super::*;

    /// ChatML, as many models have it.
    const CHATML: &str = "{% for message in messages %}\n    {{ '<|im_start|>' + message['role'] }}\n\
        {{ message.content.strip() + '<|im_end|>' }}\n{% endfor %}\n\
        {% if add_generation_prompt %}\n{{ '<|im_start|>assistant\\n' -}}\n{% endif %}\n";

    fn template(source: &str) -> Result<ChatTemplate, ServeError> {
        let config = TokenizerConfig { kind: TokenizerKind::Byte, end_of_text: true, ..TokenizerConfig::default() };
        let tokenizer = Tokenizer::build(&config, &["a"]).expect("a tokenizer");
        ChatTemplate::new(source.to_owned(), PathBuf::from("chat_template.jinja"), None, &tokenizer)
    }

    fn render(source: &str, messages: &[Value]) -> Result<String, String> {
        template(source).expect("a template").render(messages)
    }

    #[test]
    fn blocks_take_their_lines_with_them_and_strings_have_pythons_methods() {
        let messages = [json!({"role": "user", "content": " 你好 "}), json!({"role": "assistant", "content": "hi"})];
        // What Jinja itself makes of it, with trim_blocks and lstrip_blocks.
        let expected =
            "    <|im_start|>user\n你好<|im_end|>\n    <|im_start|>assistant\nhi<|im_end|>\n<|im_start|>assistant\n";
        assert_eq!(render(CHATML, &messages).expect("sound"), expected);
    }

    #[test]
    fn a_template_may_refuse_messages_and_says_why() {
        let source = "{% if messages[0].role != 'user' %}{{ raise_exception('begin with the user') }}{% endif %}x";
        let error = render(source, &[json!({"role": "system", "content": ""})]).expect_err("refused");
        assert!(error.ends_with("begin with the user"), "{error}");
        assert_eq!(render(source, &[json!({"role": "user", "content": ""})]).expect("sound"), "x");
    }

    #[test]
    fn a_template_that_does_not_end_is_given_up_and_one_that_is_none_is_refused() {
        let endless = "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}";
        assert!(render(endless, &[]).is_err());
        let error = template("{% for %}").expect_err("no template").to_string();
        assert!(error.starts_with("chat_template.jinja: it is no usable chat template"), "{error}");
    }

    #[test]
    fn the_names_of_special_tokens_and_json_are_at_hand() {
        assert_eq!(render("{{ bos_token }}|{{ eos_token }}", &[]).expect("sound"), "<|endoftext|>|<|endoftext|>");
        let messages = [json!({"role": "user", "content": "<a>"})];
        let json = "{\"content\": \"<a>\", \"role\": \"user\"}";
        assert_eq!(render("{{ messages[0] | tojson }}", &messages).expect("sound"), json);
    }

    #[test]
    fn of_several_templates_the_default_counts() {
        let several =
            json!({"chat_template": [{"name": "rag", "template": "r"}, {"name": "default", "template": "d"}]});
        assert_eq!(template_in(&several).as_deref(), Some("d"));
        assert_eq!(template_in(&json!({"chat_template": "s"})).as_deref(), Some("s"));
        assert_eq!(template_in(&json!({})), None);
    }
}
