//! The `tril` command: reads arguments, calls the libraries, prints, and decides the exit code.
//!
//! Exit codes: 0 done, 1 a run or a check failed, 2 the user can mend it, 3 `verify` is undecided, 130 stopped by Ctrl-C, SIGTERM or SIGHUP.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the command is what prints")]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "what a test expects hangs on no last bit"))]

#[macro_use]
mod notes;

mod allocator;
mod args;
mod bench;
mod chat;
mod cost;
mod data;
mod devices;
mod doctor;
mod drafts;
mod ending;
mod eval;
mod exchange;
mod folded;
#[cfg(test)]
mod fuzz;
mod help;
mod hints;
mod info;
mod interrupt;
mod lab;
mod open;
mod output;
mod panics;
mod plot;
mod preparing;
mod progress;
mod prove;
mod quantity;
mod recipes;
mod report;
mod runs;
mod sample;
mod score;
mod serve;
mod serve_device;
mod shown;
mod style;
mod trace;
mod train;
mod verify;
mod wrapped;

use std::process::ExitCode;

use clap::FromArgMatches;

fn main() -> ExitCode {
    allocator::keep_freed_memory();
    panics::tell_those_that_are_ours();
    let parsed = help::command()
        .long_version(help::version())
        .try_get_matches()
        .and_then(|matches| args::Cli::from_arg_matches(&matches));
    let args::Cli { command, color } = parsed.unwrap_or_else(|error| refuse(error));
    style::obey(color);
    let done = panics::of_devices_are_errors(|| run(command));
    match done {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&error);
            if let Some(hint) = hints::hint(&error) {
                note!("hint: {hint}");
            }
            ExitCode::from(exit_code(&error))
        }
    }
}

fn run(command: args::Command) -> anyhow::Result<ExitCode> {
    match command {
        args::Command::Train(args) => train::run(&args),
        args::Command::Sample(args) => sample::run(&args),
        args::Command::Chat(args) => chat::run(&args),
        args::Command::Serve(args) => serve::run(&args),
        args::Command::ServeDevice(args) => serve_device::run(&args),
        args::Command::Eval(args) => eval::run(&args),
        args::Command::Score(args) => score::run(&args),
        args::Command::Report(args) => report::run(&args),
        args::Command::Plot(args) => plot::run(&args),
        args::Command::Prove(args) => prove::run(&args),
        args::Command::Cost(args) => cost::run(&args),
        args::Command::Verify(args) => verify::run(&args),
        args::Command::Info(args) => info::run(&args),
        args::Command::Import(args) => exchange::import(&args),
        args::Command::Export(args) => exchange::export(&args),
        args::Command::Data(command) => data::run(&command),
        args::Command::Lab(command) => lab::run(&command),
        args::Command::Recipes(args) => recipes::run(&args),
        args::Command::Bench(command) => bench::run(&command),
        args::Command::Devices(args) => devices::run(&args),
        args::Command::Doctor(args) => doctor::run(&args),
        args::Command::Completions(args) => help::completions(&args),
        args::Command::Man(args) => help::man(&args),
    }
}

/// Says what went wrong.
fn tell(error: &anyhow::Error) {
    use std::io::Write as _;
    // What a message quotes cannot begin a line of its own.
    let text = notes::fitting(&format!("error: {}\n", message(error).trim_end().replace('\n', "\n  ")));
    let shown = style::beginning_in(style::on_stderr(style::ERROR), &text, "error:".len(), "");
    let _ = std::io::stderr().write_all(shown.as_bytes());
}

/// Says what is wrong with the command line, or what was asked of it, and ends.
fn refuse(mut error: clap::Error) -> ! {
    hints::correct_suggestion(&mut error);
    let message = error.render().to_string();
    let width = if error.use_stderr() { folded::stderr_width() } else { folded::stdout_width() };
    // Colours are clap's own unless the message quotes what is not.
    if shown::plain(&message) == message {
        let styled = error.render().ansi().to_string();
        let folded = folded::fold(&styled, width);
        if error.use_stderr() {
            anstream::eprint!("{folded}");
        } else {
            anstream::print!("{folded}");
        }
    } else {
        note!("{}", message.trim_end().replace('\n', "\n  "));
    }
    if let Some(hint) = hints::hint_on_usage(&error) {
        note!("hint: {hint}");
    }
    std::process::exit(error.exit_code())
}

/// 1 where a run failed through no fault of the command line, else 2.
fn exit_code(error: &anyhow::Error) -> u8 {
    let of_server = |error: &tril_serve::ServeError| error.is_user_error();
    let is_user_error = |error: &(dyn std::error::Error + 'static)| {
        error.downcast_ref().map_or_else(|| tril::is_user_error(error), of_server)
    };
    if error.chain().all(is_user_error) { 2 } else { 1 }
}

/// The error and its causes on one line. Some errors quote their cause themselves; that one is not said twice.
pub fn message(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |message, cause| match message {
        message if message.is_empty() => cause,
        message if message.contains(&cause) => message,
        message => format!("{message}: {cause}"),
    })
}

/// The reader of our output has gone, as in `tril sample … | head`.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
