//! The command line, the texts that it is given and the files of prompts, as a shell calls the program.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::mutation::{Draws, mutate_bytes, mutate_json};
use crate::readers::{TEXT, run};
use crate::{MOST_MEMORY, MOST_TIME, fuzz, peak_memory};

/// Where a setting asks for more, a command is asked to stop after so long.
const TURN: Duration = Duration::from_secs(4);

/// What people type, of every command, in parts. `bench` is left out: it takes seconds by its nature.
const LINES: [&str; 22] = [
    "train recipe.toml --data text.txt --out new",
    "train smoke --data text.txt --out new --force --set train.steps=3",
    "train --resume run --set train.steps=8",
    "train --resume run/step-000006 --out branch",
    "sample run --max-tokens 3",
    "sample run --prompt The --temperature 0.8 --top-k 5 --top-p 0.9 --min-p 0.01 --typical-p 0.9 --seed 7 --max-tokens 9",
    "sample run --prompts prompts.txt --max-tokens 3 --batch-size 2",
    "sample run --prompts prompts.jsonl --jsonl --max-tokens 3",
    "sample run --prompt-file text.txt --stop sat --hide fox owl --max-tokens 20 --on-overflow stop",
    "sample run --num-samples 3 --receipt new.json --max-tokens 5 --repetition-penalty 1.2 --penalty-last-n 8",
    "sample run --trace --max-tokens 2 --logit-bias 1=2 --ban x --ban-id 3 --presence-penalty 1 --frequency-penalty 1",
    "sample run --no-cache --max-tokens 2 --threads 2 --device cpu",
    "chat run --max-tokens 4",
    "score run text.txt --html page.html",
    "score run text.txt --json",
    "prove run --max-tokens 8",
    "verify run run/receipt.json --json",
    "eval run text.txt",
    "cost run --max-tokens 4 --svg plot.svg",
    "recipes smoke",
    "completions bash",
    "man",
];

/// Lines of a chat, and a prompt each.
const CHAT: [&str; 9] = [
    "The fox",
    "/help",
    "/set temperature 0.5",
    "/set max_tokens 3",
    "/regen",
    "/undo",
    "/save new.txt",
    "/edit The owl",
    "/quit",
];

/// Every option that any command's help names.
fn options() -> &'static [String] {
    static OPTIONS: OnceLock<Vec<String>> = OnceLock::new();
    OPTIONS.get_or_init(|| {
        let mut options = Vec::new();
        for command in ["train", "sample", "chat", "score", "prove", "verify", "eval", "cost", "bench", "recipes"] {
            let output = Command::new(assert_cmd::cargo_bin!("tril")).args([command, "--help"]).output().expect("help");
            let help = String::from_utf8(output.stdout).expect("UTF-8");
            let names = help.lines().filter_map(|line| line.trim_start().strip_prefix("--")?.split(' ').next());
            options.extend(names.map(|name| format!("--{name}")));
        }
        options.sort();
        options.dedup();
        assert!(options.len() > 30, "{options:?}");
        options
    })
}

/// A command line with some arguments changed, left out, doubled or added.
fn mutate_line(draws: &mut Draws) -> Vec<String> {
    let mut line: Vec<String> = draws.one_of(&LINES).split(' ').map(str::to_owned).collect();
    let odd = [
        "",
        "-",
        "--",
        "-1",
        "0",
        "1",
        "3",
        "18446744073709551616",
        "1e308",
        "nan",
        "inf",
        "0.5",
        "\u{1b}[2J",
        "猫",
        "\\n",
        "\\u",
        "\\",
        "run",
        "text.txt",
        "new",
        ".",
        "/dev/null",
        "/dev/full",
        "/proc/none",
        "a=b",
        "=",
        "1=1e9",
        "model.n_layers=99999999",
        "train.steps=0",
        "train.seq_len=1",
        "model.window=3",
        "tokenizer.vocab_size=70000",
        "cpu",
        "wgpu:7",
        "run/step-000006",
        "run/receipt.json",
        "recipe.toml",
        "prompts.jsonl",
        "page.html",
    ];
    for _ in 0..draws.below(4) {
        let at = draws.below(line.len() + 1);
        match draws.below(5) {
            0 if at < line.len() => drop(line.remove(at)),
            1 if at < line.len() => line.insert(at, line[at].clone()),
            2 => line.insert(at, draws.one_of(options()).clone()),
            3 if at < line.len() => {
                // No argument holds a zero: nothing could pass it on.
                let bytes: Vec<u8> = mutate_bytes(line[at].as_bytes(), draws).into_iter().filter(|b| *b != 0).collect();
                line[at] = String::from_utf8_lossy(&bytes).into_owned();
            }
            _ if at < line.len() => line[at] = (*draws.one_of(&odd)).to_owned(),
            _ => line.push((*draws.one_of(&odd)).to_owned()),
        }
    }
    // What would fill the disk or the processors of whoever tests, as it was asked to.
    line.retain(|argument| !argument.contains("..") && argument != "bench");
    line
}

/// A directory with a run, a text and prompts, far below any that a path could lead to by mistake.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().expect("a directory") };
        let path = place.path();
        fs::create_dir_all(&path).expect("a directory");
        copy(run(), &path.join("run"));
        fs::write(path.join("text.txt"), TEXT.repeat(20)).expect("written");
        fs::write(path.join("recipe.toml"), recipe()).expect("written");
        fs::write(path.join("prompts.txt"), "The\nfox\n\n").expect("written");
        fs::write(path.join("prompts.jsonl"), prompts()).expect("written");
        place
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("a/b/c/d")
    }

    /// Runs the program, and says what of it is not as promised.
    fn try_line(&self, line: &[String], stdin: &[u8]) -> Result<(), String> {
        let [out, err] = ["stdout", "stderr"].map(|name| self.dir.path().join(name));
        let file = |path: &Path| fs::File::create(path).expect("a file");
        let mut child = Command::new(assert_cmd::cargo_bin!("tril"))
            .args(line)
            .current_dir(self.path())
            .stdin(Stdio::piped())
            .stdout(file(&out))
            .stderr(file(&err))
            .spawn()
            .expect("it runs");
        // Whoever does not read has gone, and its pipe with it.
        let _ = child.stdin.take().expect("piped").write_all(stdin);
        let end = wait(&mut child)?;
        let stderr = String::from_utf8(fs::read(&err).expect("read")).map_err(|_| "no UTF-8 on stderr".to_owned())?;
        let code = match end {
            End::Asked => return Ok(()),
            End::Code(code) => code.ok_or_else(|| format!("ended by a signal: {stderr}"))?,
        };
        if ![0, 1, 2, 3].contains(&code) || stderr.contains("panicked") {
            return Err(format!("exit code {code}: {stderr}"));
        }
        if stderr.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
            return Err(format!("what a terminal obeys: {stderr:?}"));
        }
        if code == 2 && !stderr.starts_with("error: ") && !stderr.contains("\nerror: ") && !stderr.contains("Usage: ") {
            return Err(format!("refused without a message: {stderr:?}"));
        }
        Ok(())
    }
}

enum End {
    Code(Option<i32>),
    /// It went on as it was asked to, until it was asked to stop.
    Asked,
}

/// Waits for the end of a process, which may take its time if it ends when it is asked to.
fn wait(child: &mut Child) -> Result<End, String> {
    let begun = Instant::now();
    let (mut is_asked, mut peak) = (false, 0);
    loop {
        peak = peak.max(peak_memory(&child.id().to_string()).unwrap_or(0));
        if let Some(status) = child.try_wait().expect("a process") {
            if peak > MOST_MEMORY {
                return Err(format!("{peak} bytes of memory"));
            }
            return Ok(if is_asked { End::Asked } else { End::Code(status.code()) });
        }
        if !is_asked && begun.elapsed() > TURN {
            is_asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().is_ok();
        }
        if begun.elapsed() > MOST_TIME {
            child.kill().expect("killed");
            child.wait().expect("a process");
            return Err("no end".to_owned());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        let to = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, to).expect("copied");
        }
    }
}

fn recipe() -> &'static str {
    tril::SHIPPED_RECIPES.iter().find(|(name, _)| *name == "smoke").expect("shipped").1
}

fn prompts() -> String {
    let lines = [
        json!({"prompt": "The", "id": 7}),
        json!({"prompt": "fox", "seed": 3, "sample": 1, "max_tokens": 2, "temperature": 0.5, "top_k": 3}),
        json!({"prompt": "", "logit_bias": {"3": 1.5}, "min_p": 0.1, "repetition_penalty": 1.1}),
    ];
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Tries inputs in a place that is made anew from time to time, since what is asked may change what is there.
fn fuzz_places(reader: &str, usual: u64, input: impl Fn(&Path, &mut Draws) -> (Vec<String>, Vec<u8>)) {
    let (mut place, mut uses) = (Place::new(), 0);
    fuzz(reader, usual, |draws| {
        if uses % 20 == 19 {
            place = Place::new();
        }
        uses += 1;
        let (line, stdin) = input(&place.path(), draws);
        if let Err(fault) = place.try_line(&line, &stdin) {
            panic!("{line:?} with {:?}: {fault}", String::from_utf8_lossy(&stdin));
        }
    });
}

#[test]
fn command_lines() {
    fuzz_places("command lines", 150, |_, draws| (mutate_line(draws), b"The fox\n/quit\n".to_vec()));
}

#[test]
fn prompts_and_their_lines_of_json() {
    fuzz_places("prompts", 60, |path, draws| {
        let is_json = draws.below(4) > 0;
        let bytes: Vec<u8> = if is_json {
            let lines = prompts();
            let lines = lines.lines().map(|line| match draws.below(3) {
                0 => line.as_bytes().to_vec(),
                1 => mutate_json(line.as_bytes(), draws),
                _ => mutate_bytes(line.as_bytes(), draws),
            });
            lines.collect::<Vec<_>>().join(&b'\n')
        } else {
            mutate_bytes(b"The\nfox\n\n", draws)
        };
        // More tokens than these are allowed, and take their time.
        let is_long = |line: &[u8]| {
            serde_json::from_slice::<Value>(line)
                .is_ok_and(|line| line["max_tokens"].as_u64().is_some_and(|tokens| tokens > 1000))
        };
        let short: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').filter(|line| !is_long(line)).collect();
        fs::write(path.join("mutated"), short.join(&b'\n')).expect("written");
        let line = match is_json {
            true => "sample run --prompts mutated --jsonl --max-tokens 3",
            false => {
                *draws.one_of(&["sample run --prompts mutated --max-tokens 3", "sample run --prompt-file mutated"])
            }
        };
        (line.split(' ').map(str::to_owned).collect(), Vec::new())
    });
}

#[test]
fn chats() {
    fuzz_places("chats", 40, |_, draws| {
        let mut said = Vec::new();
        for _ in 0..1 + draws.below(12) {
            let line = draws.one_of(&CHAT).as_bytes();
            said.extend(if draws.below(3) == 0 { line.to_vec() } else { mutate_bytes(line, draws) });
            said.push(b'\n');
        }
        ("chat run --max-tokens 4".split(' ').map(str::to_owned).collect(), said)
    });
}
