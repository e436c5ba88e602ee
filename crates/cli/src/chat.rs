//! `tril chat`: type a beginning, see it continued, type more, go back. In a terminal with an editor and a history;
//! from a file or a pipe line by line.

pub mod commands;
mod settings;
mod typist;

use std::io::{BufRead, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Behavior, Config, Editor};
use tril::{Chat, ChatError, ChatReply, Draft, FinishReason, ShowPiece};
use tril_model::files;

use crate::args::ChatArgs;
use crate::ending::overflow_notice;
use crate::output::text_writer;
use crate::{drafts, interrupt, message, open, quantity, runs, shown};

use commands::{HELP, Input};
use settings::Settings;
use typist::Typist;

/// What stands before the line to be typed.
const PROMPT: &str = "> ";

pub fn run(args: &ChatArgs) -> Result<ExitCode> {
    let device = open::device(&args.compute)?;
    let model = runs::rounded_model(&args.checkpoint, args.weights.format(), &device)?;
    let settings = Settings::new(args.settings.clone(), args.sample_index, model.tokenizer())?;
    let draft = drafts::open(&args.draft, &model, 1, &device)?;
    let chat = model.chat(args.format.clone(), settings.chat());
    let chat = match &draft {
        Some(draft) => chat.with_draft(draft.clone()),
        None => chat,
    };
    // Set while nothing is being generated, so that Ctrl-C then ends the program.
    let stop = Arc::new(AtomicBool::new(true));
    let _listening = interrupt::listen(&stop, None)?;
    let lines = Lines::open()?;
    if let Lines::Typed(_) = lines {
        note!("{}: type the beginning of a text, and the model continues it; /help, /quit", shown::path(model.path()));
    }
    let context = Some(model.config().max_seq_len);
    Conversation { chat, settings, lines, stop, saved: Vec::new(), context, draft }.run()
}

/// Where lines come from.
enum Lines {
    /// A terminal.
    Typed(Box<Editor<Typist, MemHistory>>),
    /// A file or a pipe: how many lines were read from it.
    Piped(usize),
}

struct Conversation {
    chat: Chat,
    settings: Settings,
    lines: Lines,
    stop: Arc<AtomicBool>,
    /// Files that this chat has written and may write again.
    saved: Vec<PathBuf>,
    draft: Option<Draft>,
    /// How many tokens the context has, until it was said that it is full.
    context: Option<usize>,
}

impl Conversation {
    fn run(mut self) -> Result<ExitCode> {
        loop {
            let done = match self.lines.next(None) {
                Ok(Some(line)) => self.follow(&line),
                Ok(None) => return Ok(ExitCode::SUCCESS),
                Err(error) => Err(error),
            };
            match done {
                Ok(Next::Line) => {}
                Ok(Next::Leave) => return Ok(ExitCode::SUCCESS),
                // The reader or the typist has gone.
                Err(error) if error.is::<std::io::Error>() || error.is::<ReadlineError>() => return Err(error),
                Err(error) => note!("error: {}", message(&error)),
            }
        }
    }

    /// Does what a line asks for.
    fn follow(&mut self, line: &str) -> Result<Next> {
        match Input::parse(line).map_err(anyhow::Error::msg)? {
            Input::Say(line) => self.answer(|chat, show| chat.say(&line, show))?,
            Input::Regen => self.answer(Chat::regenerate)?,
            Input::Edit(line) => {
                let Some(line) = line.map_or_else(|| self.edited(), |line| Ok(Some(line)))? else {
                    return Ok(Next::Line);
                };
                self.answer(|chat, show| chat.edit(&line, show))?;
            }
            Input::Undo => {
                let line = self.chat.undo()?;
                note!("[undone: {line:?} and its answer]");
            }
            Input::ListSettings => note_part!("{}", self.settings.list(None)),
            Input::Set { name, values } => {
                let name = self.settings.set(&name, values, self.chat.model().tokenizer())?;
                self.chat.settings = self.settings.chat();
                note_part!("{}", self.settings.list(Some(&name)));
            }
            Input::Save(path) => self.save(path)?,
            Input::Help => note!("{HELP}"),
            Input::Quit => return Ok(Next::Leave),
        }
        Ok(Next::Line)
    }

    /// Has an answer made, which Ctrl-C ends, and tells how it ended.
    fn answer(
        &mut self,
        make: impl FnOnce(&mut Chat, &mut ShowPiece<'_>) -> Result<ChatReply, ChatError>,
    ) -> Result<()> {
        let stop = Arc::clone(&self.stop);
        stop.store(false, Ordering::Relaxed);
        let mut out = text_writer();
        let made = make(&mut self.chat, &mut |piece| {
            if !piece.is_empty() {
                write!(out, "{piece}")?;
                out.flush()?;
            }
            Ok(if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        });
        self.stop.store(true, Ordering::Relaxed);
        let report = match made {
            // The reader has gone.
            Err(ChatError::Shown(error)) => return Err(error.into()),
            made => made?,
        };
        writeln!(out)?;
        drop(out);
        if report.dropped > 0
            && let Some(limit) = self.context.take()
        {
            note!("{}", overflow_notice(limit, report.dropped));
        }
        note!("{}", told(&report, &drafts::told(self.draft.as_ref(), report.guesses)));
        Ok(())
    }

    /// The last line as the user changes it, or none if the user thinks better of it.
    fn edited(&mut self) -> Result<Option<String>> {
        let line = self.chat.last_line()?;
        match &mut self.lines {
            Lines::Typed(_) => self.lines.next(Some(line)),
            Lines::Piped(_) => bail!("/edit: without a terminal, give the new line after /edit"),
        }
    }

    fn save(&mut self, path: PathBuf) -> Result<()> {
        if path.file_name().is_none() || path.is_dir() {
            bail!("/save: {} is a directory; name a file", path.display());
        }
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.is_dir()) {
            bail!("/save: there is no directory {}; make it first, or name another file", parent.display());
        }
        if path.is_file() && !self.saved.contains(&path) {
            bail!("/save: {} already exists; name a new file", path.display());
        }
        let mut text = self.chat.transcript();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        files::write_file(&path, text.as_bytes()).context("/save")?;
        note!("[{} in {}]", quantity::counted(text.chars().count(), "character"), shown::path(&path));
        self.saved.push(path);
        Ok(())
    }
}

/// What to do after a line.
enum Next {
    Line,
    Leave,
}

impl Lines {
    fn open() -> Result<Self> {
        if !std::io::stdin().is_terminal() {
            return Ok(Self::Piped(0));
        }
        // The editor stays in the terminal if the text goes elsewhere.
        let config = Config::builder().behavior(Behavior::PreferTerm).build();
        let history = MemHistory::with_config(&config);
        let editor = Editor::with_history(config, history);
        let mut editor: Editor<Typist, MemHistory> = editor.context("cannot read lines from the terminal")?;
        editor.set_helper(Some(Typist::new()));
        Ok(Self::Typed(Box::new(editor)))
    }

    /// The next line, with this one to begin from; none when there are no more, or if what was begun is given up.
    fn next(&mut self, initial: Option<&str>) -> Result<Option<String>> {
        match self {
            Self::Typed(editor) => typed(editor, initial),
            Self::Piped(n_lines) => {
                *n_lines += 1;
                let mut bytes = Vec::new();
                std::io::stdin().lock().read_until(b'\n', &mut bytes)?;
                if bytes.is_empty() {
                    return Ok(None);
                }
                let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
                let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
                let mark: &[u8] = if *n_lines == 1 { "\u{feff}".as_bytes() } else { b"" };
                let line = std::str::from_utf8(bytes.strip_prefix(mark).unwrap_or(bytes)).ok();
                let line =
                    line.with_context(|| format!("line {n_lines} of standard input is not UTF-8 and was skipped"))?;
                Ok(Some(line.to_owned()))
            }
        }
    }
}

fn typed(editor: &mut Editor<Typist, MemHistory>, initial: Option<&str>) -> Result<Option<String>> {
    loop {
        match editor.readline_with_initial(PROMPT, (initial.unwrap_or_default(), "")) {
            Ok(line) => {
                editor.add_history_entry(line.as_str())?;
                return Ok(Some(line));
            }
            Err(ReadlineError::Eof) => {
                note!();
                return Ok(None);
            }
            Err(ReadlineError::Interrupted) if initial.is_some() => return Ok(None),
            Err(ReadlineError::Interrupted) => note!("[Ctrl-D or /quit leaves]"),
            Err(ReadlineError::Signal(_)) => {}
            Err(error) => return Err(error).context("the terminal cannot be read"),
        }
    }
}

/// How an answer ended, how `guesses` fared, and what can be done about it.
fn told(reply: &ChatReply, guesses: &str) -> String {
    let ChatReply { tokens, hidden_tokens, finish, stop_text, .. } = reply;
    let count = quantity::counted(*tokens, "token");
    let hidden = if *hidden_tokens == 0 { String::new() } else { format!(", {hidden_tokens} of them not shown") };
    let (why, next) = match finish {
        FinishReason::MaxTokens => {
            (", as many as were asked for".into(), "press Enter to go on, or type what comes next")
        }
        FinishReason::Interrupted => (", then stopped".into(), "press Enter to go on, or type what comes next"),
        FinishReason::EndOfText => (", and the text is at its end".into(), "the next line begins a new one"),
        FinishReason::ContextFull => {
            (", and the context is full".into(), "/undo removes the last line, /set on-overflow recompute goes on")
        }
        FinishReason::StopText => {
            (format!(", up to {:?}", stop_text.as_deref().unwrap_or_default()), "type what comes next")
        }
    };
    format!("[{count}{hidden}{why}{guesses}; {next}]")
}
