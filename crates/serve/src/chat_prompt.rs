//! The prompt that a chat's messages stand for: by the checkpoint's template, or by a format for each line of the user.

use serde_json::Value;
use tril::{ChatFormat, Tokenizer};

use crate::ApiError;
use crate::chat_template::ChatTemplate;
use crate::job::JobPrompt;

/// Characters that no text is made of (Unicode's noncharacters); one that a chat lacks marks what is not to be taken for a
/// special token.
const MARKS: std::ops::RangeInclusive<char> = '\u{fdd0}'..='\u{fdef}';

/// A message of a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: String,
    /// The name of who says it, for a template that writes it.
    pub name: Option<String>,
}

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Whoever set the chat up.
    System,
    /// The same, by its newer name.
    Developer,
    /// Whoever types.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// As requests name it.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "system" => Self::System,
            "developer" => Self::Developer,
            "user" => Self::User,
            "assistant" => Self::Assistant,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Developer => "developer",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// The prompt by a template. What its own text calls a special token is one; what messages say is only text.
///
/// # Errors
/// About `messages`, for what the template or the tokenizer refuses.
pub fn by_template(
    messages: &[Message],
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
) -> Result<JobPrompt, ApiError> {
    let refused = |reason: String| ApiError::param("messages", reason);
    let said = || messages.iter().flat_map(|message| message.name.iter().chain([&message.content]));
    let mark = MARKS.into_iter().find(|mark| !said().any(|text| text.contains(*mark)));
    let mark = mark.ok_or_else(|| refused("they hold all of Unicode's noncharacters".to_owned()))?;
    let special: Vec<(u32, &str)> = tokenizer.special_tokens().filter(|(_, name)| !name.is_empty()).collect();
    let values: Vec<Value> = messages.iter().map(|message| marked(message, &special, mark)).collect();
    let rendered = template.render(&values).map_err(refused)?;
    let mut ids = Vec::new();
    let mut text = String::new();
    for part in parts(&rendered, &special) {
        match part {
            Part::Special(id) => ids.push(id),
            Part::Text(part) => {
                let part = part.replace(mark, "");
                ids.extend(tokenizer.encode(&part).map_err(|error| refused(error.in_text("the chat").to_string()))?);
                text.push_str(&part);
            }
        }
    }
    if ids.is_empty() {
        return Err(refused("the chat template makes nothing of them".to_owned()));
    }
    Ok(JobPrompt { text, ids })
}

/// The prompt by a format, as `tril chat` writes it: a user's line stands between what the format says, everything else as
/// it is; where the model has learnt that texts end, an answer that others follow ends one.
///
/// # Errors
/// About `messages`, for what the tokenizer refuses.
pub fn by_format(messages: &[Message], format: &ChatFormat, tokenizer: &Tokenizer) -> Result<JobPrompt, ApiError> {
    let refused = |reason: String| ApiError::param("messages", reason);
    let (mut ids, mut text) = (Vec::new(), String::new());
    for (place, message) in messages.iter().enumerate() {
        if message.name.is_some() {
            let why = "this model has no chat template that would write a name; leave it out";
            return Err(ApiError::unsupported(format!("messages[{place}].name"), why));
        }
        let ChatFormat { before, after } = format;
        let passage = match message.role {
            // An empty line adds nothing, as in a chat.
            Role::User if message.content.is_empty() => String::new(),
            Role::User => format!("{before}{}{after}", message.content),
            _ => message.content.clone(),
        };
        let told = |error: tril::text::TextError| refused(error.in_text(&format!("messages[{place}]")).to_string());
        ids.extend(tokenizer.encode(&passage).map_err(told)?);
        text.push_str(&passage);
        if message.role == Role::Assistant && place + 1 < messages.len() {
            ids.extend(tokenizer.end_of_text());
        }
    }
    if ids.is_empty() {
        ids = tokenizer.encode_prompt("").map_err(|error| refused(error.to_string()))?;
    }
    Ok(JobPrompt { text, ids })
}

/// A message for a template, with a mark in each name of a special token.
fn marked(message: &Message, special: &[(u32, &str)], mark: char) -> Value {
    let without = |text: &str| {
        let mut marked = String::with_capacity(text.len());
        for (at, character) in text.char_indices() {
            // Behind the first character of each, wherever it begins.
            marked.push(character);
            if special.iter().any(|(_, name)| text[at..].starts_with(name)) {
                marked.push(mark);
            }
        }
        marked
    };
    let mut value = serde_json::json!({ "role": message.role.name(), "content": without(&message.content) });
    if let Some(name) = &message.name {
        value["name"] = without(name).into();
    }
    value
}

enum Part<'a> {
    Text(&'a str),
    Special(u32),
}

/// A text cut at the names of special tokens, the longest of those that begin at a place.
fn parts<'a>(text: &'a str, special: &[(u32, &str)]) -> Vec<Part<'a>> {
    let (mut parts, mut begin, mut at) = (Vec::new(), 0, 0);
    while at < text.len() {
        let rest = &text[at..];
        let found = special.iter().filter(|(_, name)| rest.starts_with(name)).max_by_key(|(_, name)| name.len());
        match found {
            Some((id, name)) => {
                if begin < at {
                    parts.push(Part::Text(&text[begin..at]));
                }
                parts.push(Part::Special(*id));
                at += name.len();
                begin = at;
            }
            None => at += rest.chars().next().map_or(1, char::len_utf8),
        }
    }
    if begin < text.len() {
        parts.push(Part::Text(&text[begin..]));
    }
    parts
}

#[cfg(test)]
mod tests {
    use tril::text::{TokenizerConfig, TokenizerKind};

    use super::*;

    fn tokenizer() -> Tokenizer {
        let config = TokenizerConfig { kind: TokenizerKind::Byte, end_of_text: true, ..TokenizerConfig::default() };
        Tokenizer::build(&config, &["a"]).expect("a tokenizer")
    }

    fn message(role: Role, content: &str) -> Message {
        Message { role, content: content.to_owned(), name: None }
    }

    fn bytes(text: &str) -> Vec<u32> {
        text.bytes().map(u32::from).collect()
    }

    #[test]
    fn a_format_stands_around_the_users_lines_and_answers_end_texts() {
        let format = ChatFormat::parse("Q: {}\\nA:").expect("a format");
        let chat = [message(Role::User, "a"), message(Role::Assistant, " b"), message(Role::User, "c")];
        let prompt = by_format(&chat, &format, &tokenizer()).expect("sound");
        assert_eq!(prompt.text, "Q: a\nA: bQ: c\nA:");
        assert_eq!(prompt.ids, [bytes("Q: a\nA: b"), vec![256], bytes("Q: c\nA:")].concat());
        let begun = by_format(&chat[..2], &format, &tokenizer()).expect("sound");
        assert_eq!(begun.ids, bytes("Q: a\nA: b"), "the model goes on with an answer that has begun");
        let empty = by_format(&[message(Role::User, "")], &format, &tokenizer()).expect("sound");
        assert_eq!(empty.ids, [256], "where a text begins");
    }

    #[test]
    fn a_templates_special_tokens_are_tokens_and_those_that_messages_quote_are_text() {
        let dir = std::env::temp_dir().join(format!("tril-chat-prompt-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let source = "{{ eos_token }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}";
        std::fs::write(dir.join("chat_template.jinja"), source).expect("written");
        let tokenizer = tokenizer();
        let template = ChatTemplate::open(&dir, &tokenizer).expect("sound").expect("one");
        std::fs::remove_dir_all(&dir).expect("removed");
        let prompt =
            by_template(&[message(Role::User, "é<|endoftext|>\u{fdd0}")], &template, &tokenizer).expect("sound");
        let said = bytes("é<|endoftext|>\u{fdd0}");
        assert_eq!(prompt.ids, [vec![256], said, vec![256]].concat());
        assert_eq!(prompt.text, "é<|endoftext|>\u{fdd0}");
    }
}
