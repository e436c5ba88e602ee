//! What `--help` adds to the arguments: groups of commands, and examples of each; completions and man pages of both.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Arg, Command, CommandFactory};
use tril::{ComputeDevice, DeviceChoice};
use tril_model::files;

use crate::args::{Cli, CompletionsArgs, ManArgs};
use crate::shown::TextWriter;

/// What the commands are for, and which they are.
const GROUPS: [(&str, &[&str]); 7] = [
    ("Learn", &["train", "data", "recipes"]),
    ("Write", &["sample", "chat", "serve"]),
    ("Look inside", &["info", "score", "report", "lab"]),
    ("Prove", &["prove", "verify"]),
    ("Exchange", &["import", "export"]),
    ("Measure", &["eval", "plot", "cost", "bench"]),
    ("Install", &["devices", "doctor", "serve-device", "completions", "man", "help"]),
];

/// Ways to call each command.
const EXAMPLES: [(&str, &str); 23] = [
    (
        "train",
        "  tril train                                     # the default recipe, on embedded stories
  tril train --data notes.txt --out runs/notes   # your own text
  tril train --from runs/tales --data notes.txt  # from another run's weights
  tril train --resume runs/notes --set train.steps=2000",
    ),
    (
        "data",
        "  tril data list                                 # corpora that are known by name
  tril data fetch tinyshakespeare && tril train --data tinyshakespeare
  tril data stats notes.txt                      # what it is made of, and a command to train on it
  tril data stats lines.jsonl --field text --tokenizer runs/tales",
    ),
    ("info", "  tril info runs/tales\n  tril info model.gguf --json"),
    ("import", "  tril import tales-hf checkpoints/tales --max-seq-len 64\n  tril import model.gguf checkpoints/model"),
    (
        "export",
        "  tril export runs/tales tales-hf --format hf
  tril export runs/tales tales.gguf --format gguf --dtype q8_0
  tril export runs/tales tales-llama2c --format llama2c",
    ),
    ("recipes", "  tril recipes\n  tril recipes tales > my.toml"),
    (
        "sample",
        "  tril sample runs/tales --prompt \"There was once\" --num-samples 3
  tril sample runs/tales --prompt \"There was once a\" --max-tokens 2 --trace
  tril sample runs/tales --prompts prompts.txt --batch-size 16",
    ),
    (
        "chat",
        "  tril chat runs/tales
  tril chat runs/tales --format 'Q: {}\\nA:' --stop Q:
  printf 'There was once\\n/regen\\n' | tril chat runs/tales",
    ),
    (
        "serve",
        "  tril serve runs/tales
  tril serve runs/tales runs/notes --port 9000 --format 'Q: {}\\nA:'
  tril serve runs/tales --host 0.0.0.0 --api-key-file key.txt",
    ),
    (
        "eval",
        "  tril eval runs/tales chapter.txt\n  tril eval runs/tales --split validation\n  tril eval runs/tales - --json < chapter.txt",
    ),
    ("score", "  tril score runs/tales chapter.txt\n  tril score runs/tales chapter.txt --html page.html"),
    (
        "lab",
        "  tril lab parity --quick                        # what written working does
  tril lab batch runs/tales \"I love coding\"
  tril lab mask --remove",
    ),
    (
        "report",
        "  tril report runs/tales tales.html
  tril report runs/tales tales.html --prompt 'Once there was a cat.'
  tril report runs/tales tales.html --run runs/other --working runs/lab/sums-worked-1337",
    ),
    ("plot", "  tril plot runs/tales\n  tril plot runs/tales runs/other --svg losses.svg"),
    ("prove", "  tril prove runs/tales\n  tril prove runs/tales --text chapter.txt"),
    ("verify", "  tril sample runs/tales --receipt receipt.json\n  tril verify runs/tales receipt.json"),
    ("cost", "  tril cost runs/tales\n  tril cost runs/tales --max-tokens 512 --svg cost.svg"),
    (
        "bench",
        "  tril bench train
  tril bench decode --preset baby --batch-size 8
  tril bench prefill --config my.toml
  tril bench encode notes.txt runs/notes",
    ),
    ("devices", "  tril devices\n  tril devices --json"),
    ("doctor", "  tril doctor\n  tril doctor --device wgpu:0"),
    (
        "serve-device",
        "  tril serve-device --device wgpu
  tril serve-device --host 0.0.0.0 --key-file key.txt
  tril train --device remote:gpu.local:7070      # on another machine",
    ),
    (
        "completions",
        "  tril completions bash > ~/.local/share/bash-completion/completions/tril
  tril completions zsh > ~/.zfunc/_tril
  tril completions fish > ~/.config/fish/completions/tril.fish",
    ),
    ("man", "  tril man | man -l -\n  tril man ~/.local/share/man/man1"),
];

/// The command line with its groups and examples.
pub fn command() -> Command {
    let mut command = with_negative_numbers(Cli::command());
    command.build();
    let groups: Vec<String> = GROUPS.iter().map(|(title, names)| group(title, names, &command)).collect();
    for (name, examples) in EXAMPLES {
        command = command.mut_subcommand(name, |sub| sub.after_help(format!("Examples:\n{examples}")));
    }
    command
        .after_help(groups.join("\n\n"))
        .help_template("{about-with-newline}\n{usage-heading} {usage}{after-help}\n\nOptions:\n{options}")
}

/// What `--version` says after the name; once a process, as it is never freed.
pub fn version() -> &'static str {
    // Found by build.rs, where it can be.
    let commit = option_env!("TRIL_BUILT_FROM").map_or(String::new(), |commit| format!(" ({commit})"));
    let set = ComputeDevice::cpu().instruction_set().unwrap_or("TRIL_SIMD names none");
    let devices = DeviceChoice::compiled_in().join(", ");
    format!("{}{commit}\ninstruction set  {set}\ndevices          {devices}", env!("CARGO_PKG_VERSION")).leak()
}

/// A number below zero after a flag is its value, so that the message is about what it may be.
fn with_negative_numbers(command: Command) -> Command {
    let is_flag = |arg: &Arg| arg.get_long().is_some() && arg.get_action().takes_values();
    let command = command.mut_args(|arg| if is_flag(&arg) { arg.allow_negative_numbers(true) } else { arg });
    command.mut_subcommands(with_negative_numbers)
}

/// A group as a title and a line a command.
fn group(title: &str, names: &[&str], command: &Command) -> String {
    let lines = names.iter().map(|name| {
        let about = command.find_subcommand(name).and_then(Command::get_about).map(ToString::to_string);
        format!("\n  {name:<12} {}", about.unwrap_or_default())
    });
    format!("{title}:{}", lines.collect::<String>())
}

/// Prints a completion script.
pub fn completions(args: &CompletionsArgs) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "tril", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the man page of the whole, or writes a page for each command into a directory.
pub fn man(args: &ManArgs) -> Result<ExitCode> {
    let page = |command: Command| {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        Ok::<_, std::io::Error>(page)
    };
    let Some(dir) = &args.dir else {
        std::io::stdout().lock().write_all(&page(command())?)?;
        return Ok(ExitCode::SUCCESS);
    };
    std::fs::create_dir_all(dir).with_context(|| format!("{}: the directory cannot be made", dir.display()))?;
    let mut written: Vec<PathBuf> = Vec::new();
    let all = command();
    let subcommands = all.get_subcommands().filter(|sub| sub.get_name() != "help");
    for command in std::iter::once(&all).chain(subcommands) {
        // Of a subcommand such as tril-train.
        let name = command.get_display_name().unwrap_or(command.get_name());
        let path = dir.join(format!("{name}.1"));
        files::write_file(&path, &page(command.clone())?)?;
        written.push(path);
    }
    for path in written {
        writeln!(TextWriter::plain(std::io::stdout().lock()), "{}", path.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn every_command_is_in_one_group_and_every_one_but_help_has_examples() {
        let command = command();
        let mut names: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        names.sort_unstable();
        grouped.sort_unstable();
        assert_eq!(names, grouped);
        let shown: Vec<&str> = EXAMPLES.iter().map(|(name, _)| *name).chain(["help"]).collect();
        assert!(names.iter().all(|name| shown.contains(name)), "{names:?}");
    }

    #[test]
    fn examples_are_calls_that_can_be_made() {
        for (name, examples) in EXAMPLES {
            for line in examples.lines().flat_map(|line| line.split(" && ")) {
                // What stands before a pipe or after a redirection is not ours.
                let call = line.split(" | ").find(|part| part.trim().starts_with("tril")).expect("a call");
                let words = shlex::split(call).expect("sound quotes");
                let ours = words.iter().take_while(|word| !matches!(word.as_str(), ">" | "<"));
                let parsed = Cli::try_parse_from(ours);
                assert!(parsed.is_ok(), "{name}: {line}: {}", parsed.expect_err("refused"));
            }
        }
    }

    #[test]
    fn the_first_help_fits_a_terminal_of_eighty_columns() {
        let help = command().render_help().to_string();
        let wide: Vec<&str> = help.lines().filter(|line| line.chars().count() > 80).collect();
        assert_eq!(wide, Vec::<&str>::new());
    }
}
