//! A working directory of its own for each test, with the recipe `smoke.toml`, a small `text.txt`, and the binary.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

/// Trains on `text.txt` into `run`, in well under a second.
pub const TRAIN: &str = "train smoke.toml --verbose --data text.txt --out run --set data.validation_fraction=0.1";

/// The same with documents, which end in a token of their own: what stands between them has no character that they
/// lack.
pub const TRAIN_DOCUMENTS: &str = "train smoke.toml --data text.txt --out run --set data.validation_fraction=0.1 \
    --set tokenizer.end_of_text=true --separator (0).\\n";

/// Far longer than any command of these tests takes, so that one that hangs fails.
const PATIENCE: Duration = Duration::from_secs(300);

/// A working directory that is gone after the test.
pub struct TestDir {
    dir: TempDir,
}

impl TestDir {
    /// With `smoke.toml` and `text.txt`.
    pub fn new() -> Self {
        let test_dir = Self::empty();
        let recipe = concat!(env!("CARGO_MANIFEST_DIR"), "/../tril/configs/smoke.toml");
        fs::copy(recipe, test_dir.path("smoke.toml")).expect("the smoke recipe");
        test_dir.write("text.txt", text());
        test_dir
    }

    /// With nothing in it.
    pub fn empty() -> Self {
        Self { dir: TempDir::new().expect("a directory") }
    }

    /// With the run that [`TRAIN`] makes, finished, in `run`.
    pub fn with_run() -> Self {
        static RUN: OnceLock<Tree> = OnceLock::new();
        let test_dir = Self::new();
        let trained = RUN.get_or_init(|| {
            let test_dir = Self::new();
            test_dir.tril(TRAIN).assert().success();
            Tree::read(&test_dir.path("run"))
        });
        trained.write(&test_dir.path("run"));
        test_dir
    }

    /// Where something is or will be.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The text of a file.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Makes or replaces a file.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// The binary, in this directory, with arguments that spaces separate.
    pub fn tril(&self, arguments: &str) -> Command {
        let mut command = Command::new(assert_cmd::cargo_bin!("tril"));
        // Cargo sets CARGO for tests; a user's shell does not, and the hints on what to type next depend on it.
        command.args(arguments.split_whitespace()).current_dir(self.dir.path()).env_remove("CARGO").timeout(PATIENCE);
        // What a user has fetched is no matter of a test.
        command.env("TRIL_CACHE", self.path("cache"));
        command
    }

    /// The same as [`TestDir::tril`], as a process that can be watched and sent signals.
    pub fn process(&self, arguments: &str) -> std::process::Command {
        let mut command = std::process::Command::new(assert_cmd::cargo_bin!("tril"));
        command.args(arguments.split_whitespace()).current_dir(self.dir.path()).env_remove("CARGO");
        command.env("TRIL_CACHE", self.path("cache"));
        command
    }

    /// A command line as the binary printed it, through the shell.
    #[cfg(unix)]
    pub fn shell(&self, line: &str) -> Command {
        let bin = Path::new(assert_cmd::cargo_bin!("tril")).parent().expect("a directory").to_owned();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths([bin].into_iter().chain(std::env::split_paths(&path))).expect("a PATH");
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(self.dir.path()).env("PATH", path).env_remove("CARGO").timeout(PATIENCE);
        command.env("TRIL_CACHE", self.path("cache"));
        command
    }

    /// Replaces the last part of the weights of the run's best checkpoint with NaN.
    pub fn spoil_weights(&self) {
        let path = checkpoint(&self.path("run"), "best").join("model.safetensors");
        let mut weights = fs::read(&path).expect("weights");
        let end = weights.len();
        weights[end - 4000..].fill(0xff);
        fs::write(path, weights).expect("written");
    }

    /// What a command that succeeds prints.
    pub fn stdout(&self, arguments: &str) -> String {
        stdout(&mut self.tril(arguments))
    }

    /// Runs what must be refused and returns the message: exit code 2, nothing but one message, and no file or
    /// directory made, changed or lost. Nothing is said twice.
    pub fn refused(&self, arguments: &str) -> String {
        self.refused_command(&mut self.tril(arguments))
    }

    /// As [`TestDir::refused`], for arguments that hold spaces.
    pub fn refused_command(&self, command: &mut Command) -> String {
        let before = Tree::read(self.dir.path());
        let output = command.env("RUST_BACKTRACE", "1").output().expect("it runs");
        let message = String::from_utf8(output.stderr).expect("UTF-8 on stderr");
        assert_eq!(output.status.code(), Some(2), "{command:?}\n{message}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "stdout is for results; {command:?}\n{message}");
        assert!(message.starts_with("error: "), "the message alone was expected; {command:?}\n{message}");
        assert_eq!(message.matches("error: ").count(), 1, "{command:?}\n{message}");
        for word in ["panicked", "backtrace", "RUST_", "thread '"] {
            assert!(!message.contains(word), "{command:?}\n{message}");
        }
        for part in message.split([':', ';']).map(str::trim).filter(|part| part.len() >= 12) {
            assert_eq!(message.matches(part).count(), 1, "`{part}` is said twice; {command:?}\n{message}");
        }
        let changed = Tree::read(self.dir.path()).differences(&before);
        assert!(changed.is_empty(), "{command:?} was refused, but left {changed:?}");
        message.replace('\\', "/") // paths as other systems than Windows write them
    }
}

/// What a command that succeeds prints.
pub fn stdout(command: &mut Command) -> String {
    let output = command.output().expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {:?}\n{stderr}", output.status);
    String::from_utf8(output.stdout).expect("UTF-8 on stdout")
}

/// Waits for the end of a process that should be near it.
pub fn wait(mut child: std::process::Child) -> std::process::Output {
    let begin = std::time::Instant::now();
    while child.try_wait().expect("a process").is_none() {
        if begin.elapsed() > PATIENCE {
            child.kill().expect("killed");
            panic!("it did not end by itself");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    child.wait_with_output().expect("a process")
}

/// Asserts that a message holds all of these.
#[track_caller]
pub fn assert_says(message: &str, fragments: &[&str]) {
    for fragment in fragments {
        assert!(message.contains(fragment), "`{fragment}` is missing in: {message}");
    }
}

/// All files and directories below one, by relative path; a directory has no bytes.
#[derive(Clone, PartialEq)]
pub struct Tree(pub BTreeMap<PathBuf, Option<Vec<u8>>>);

impl Tree {
    /// Reads what is below `root`.
    pub fn read(root: &Path) -> Self {
        let mut entries = BTreeMap::new();
        let mut left = vec![root.to_owned()];
        while let Some(dir) = left.pop() {
            for entry in fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
                let path = entry.expect("an entry").path();
                let bytes = path.is_file().then(|| fs::read(&path).expect("a file that is there"));
                entries.insert(path.strip_prefix(root).expect("below it").to_owned(), bytes);
                if path.is_dir() {
                    left.push(path);
                }
            }
        }
        Self(entries)
    }

    /// Writes it below `root`, which it makes.
    pub fn write(&self, root: &Path) {
        fs::create_dir_all(root).expect("a directory");
        for (path, bytes) in &self.0 {
            match bytes {
                None => fs::create_dir_all(root.join(path)).expect("a directory"),
                Some(bytes) => fs::write(root.join(path), bytes).expect("a file"),
            }
        }
    }

    /// Paths that only one of the two has or that differ.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let paths: std::collections::BTreeSet<&PathBuf> = self.0.keys().chain(other.0.keys()).collect();
        let differ = paths.into_iter().filter(|path| self.0.get(*path) != other.0.get(*path));
        differ.map(|path| path.display().to_string()).collect()
    }

    /// Without one of its entries.
    pub fn without(mut self, name: &str) -> Self {
        self.0.remove(Path::new(name));
        self
    }
}

/// The lines of a run's `metrics.jsonl`.
pub fn metrics(run: &Path) -> Vec<Value> {
    let path = run.join("metrics.jsonl");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

/// [`metrics`] without what a clock decides.
pub fn timeless_metrics(run: &Path) -> Vec<Value> {
    let mut records = metrics(run);
    for fields in records.iter_mut().filter_map(Value::as_object_mut) {
        fields.remove("tokens_per_second");
    }
    records
}

/// A field of the records of one kind, in order.
pub fn column(records: &[Value], kind: &str, field: &str) -> Vec<f64> {
    let of_kind = records.iter().filter(|record| record["kind"] == kind);
    of_kind.map(|record| record[field].as_f64().unwrap_or_else(|| panic!("a number `{field}` in {record}"))).collect()
}

/// The checkpoint of a run that `checkpoints.json` calls its `best` or `last`.
pub fn checkpoint(run: &Path, which: &str) -> PathBuf {
    let index = fs::read_to_string(run.join("checkpoints.json")).expect("checkpoints.json");
    let index: Value = serde_json::from_str(&index).expect("JSON");
    run.join(index[which].as_str().unwrap_or_else(|| panic!("a {which} checkpoint in {index}")))
}

/// Some thousand characters that repeat with variations, letters beyond ASCII among them.
pub fn text() -> String {
    let who = ["a cat", "the old fox", "my niece Zoë", "one crow", "a piñata"];
    let what = ["saw", "lost", "drew", "sold", "found", "named"];
    let which = ["three birds", "a red kite", "the café", "some rain", "no one"];
    let sentence =
        |i: usize| format!("{} {} {} ({}).\n", who[i * 3 % 5], what[i * i % 6], which[(i + i / 7) % 5], i % 13);
    (0..120).map(sentence).collect()
}

/// How many tokens the first sample of `receipt.json` has.
pub fn tokens_of_receipt(test_dir: &TestDir) -> usize {
    let receipt: Value = serde_json::from_str(&test_dir.read("receipt.json")).expect("JSON");
    receipt["prompts"][0]["samples"][0]["tokens"].as_array().expect("a list").len()
}
