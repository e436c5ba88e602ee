//! What a line in a chat asks for: text to go on from, or a command.

use std::path::PathBuf;

/// What `/help` prints.
pub const HELP: &str = "\
What you type is added to the text so far, and the model continues it from
there. Spaces count: begin the line with one if it begins a new word. An empty
line adds nothing. Ctrl-C ends an answer.
/undo              remove the last line and its answer
/regen             another answer to the last line
/edit [LINE]       change the last line, or replace it by LINE
/set               list the settings
/set NAME VALUE    change one: /set temperature 0.7, /set stop \"the end\" Fin
/set NAME          reset it to what it was at the start
/save FILE         write the whole text to a new file, hidden parts included
/help              show this
/quit, Ctrl-D      leave
//…                type a line that begins with one slash";

/// What a line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    Say(String),
    Undo,
    Regen,
    /// The new line, unless it is to be typed yet.
    Edit(Option<String>),
    ListSettings,
    Set {
        name: String,
        values: Vec<String>,
    },
    Save(PathBuf),
    Help,
    Quit,
}

impl Input {
    /// Reads a line.
    ///
    /// # Errors
    /// A message about a command that is none or is not complete.
    pub fn parse(line: &str) -> Result<Self, String> {
        let Some(command) = line.strip_prefix('/') else { return Ok(Self::Say(line.to_owned())) };
        if command.starts_with('/') {
            return Ok(Self::Say(command.to_owned()));
        }
        let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let alone = |input| match rest.trim() {
            "" => Ok(input),
            _ => Err(format!("/{name} takes no argument; leave out what follows it")),
        };
        match name {
            "undo" => alone(Self::Undo),
            "regen" => alone(Self::Regen),
            "help" => alone(Self::Help),
            "quit" => alone(Self::Quit),
            "edit" => Ok(Self::Edit((!rest.is_empty()).then(|| rest.to_owned()))),
            "set" => set(rest),
            "save" if rest.trim().is_empty() => Err("/save: name the file to write".into()),
            "save" => Ok(Self::Save(PathBuf::from(rest.trim()))),
            _ => Err(not_a_command(name)),
        }
    }
}

/// The commands by their names.
const NAMES: [&str; 7] = ["undo", "regen", "edit", "set", "save", "help", "quit"];

fn not_a_command(name: &str) -> String {
    let nearest = NAMES.into_iter().min_by_key(|known| strsim::damerau_levenshtein(known, name));
    let meant = nearest.filter(|known| strsim::damerau_levenshtein(known, name) <= known.len() / 2);
    let meant = meant.map(|known| format!(" (is /{known} meant?)")).unwrap_or_default();
    format!("/{name} is not a command{meant}; /help lists them, and // at the start of a line types one slash")
}

fn set(rest: &str) -> Result<Input, String> {
    let words = shlex::split(rest).ok_or("/set: a quotation mark is missing")?;
    let Some((name, values)) = words.split_first() else { return Ok(Input::ListSettings) };
    Ok(Input::Set { name: name.trim_start_matches('-').replace('_', "-"), values: values.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::Input::*;
    use super::*;

    #[test]
    fn a_line_is_text_as_it_is_typed_unless_it_begins_with_a_slash() {
        for line in ["", "Once upon a time", "  two spaces ", " /undo", "1/2", "床前明月光"] {
            assert_eq!(Input::parse(line), Ok(Say(line.into())));
        }
        assert_eq!(Input::parse("//usr/bin"), Ok(Say("/usr/bin".into())));
    }

    #[test]
    fn commands_are_read_with_what_they_take() {
        assert_eq!(Input::parse("/undo "), Ok(Undo));
        assert_eq!(Input::parse("/edit"), Ok(Edit(None)));
        assert_eq!(Input::parse("/edit  a b"), Ok(Edit(Some(" a b".into()))));
        assert_eq!(Input::parse("/save my text.txt"), Ok(Save("my text.txt".into())));
        assert_eq!(Input::parse("/set"), Ok(ListSettings));
        let set = |name: &str, values: &[&str]| {
            Ok(Set { name: name.into(), values: values.iter().map(|value| (*value).into()).collect() })
        };
        assert_eq!(Input::parse("/set temperature 0.7"), set("temperature", &["0.7"]));
        assert_eq!(Input::parse("/set --top_k 5"), set("top-k", &["5"]));
        assert_eq!(Input::parse("/set stop 'the end' 完"), set("stop", &["the end", "完"]));
        assert_eq!(Input::parse("/set seed"), set("seed", &[]));
    }

    #[test]
    fn what_is_no_command_or_not_complete_is_told() {
        let told = |line: &str, part: &str| {
            let message = Input::parse(line).expect_err("no sense");
            assert!(message.contains(part), "{line}: {message}");
        };
        told("/udno", "/udno is not a command (is /undo meant?); /help");
        told("/hlp", "is /help meant?");
        told("/usr/bin", "/usr/bin is not a command; /help");
        told("/", "/ is not a command");
        told("/undo 2", "/undo takes no argument");
        told("/save", "name the file");
        told("/set stop 'the", "quotation mark");
    }
}
