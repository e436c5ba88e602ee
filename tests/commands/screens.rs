//! What commands show in a terminal of 80 and of 40 columns: no line is wider than that, and those screens that tell no time
//! are kept in `tests/snapshots`. `TRIL_SNAPSHOTS=write cargo test --release --test tests -- screens` writes them anew.

use std::path::PathBuf;

use super::terminal::{self, Screen};
use super::test_dir::*;

/// Commands by the name of their screens, all of which look the same each time.
const STABLE: [(&str, &str); 15] = [
    ("help", "--help"),
    ("help-train", "train --help"),
    ("train", "train smoke.toml --data text.txt --out new --verbose --set data.validation_fraction=0.1"),
    ("train-from", "train --from run --data text.txt --out tuned --lora 2 --steps 2 --set sample.max_tokens=30"),
    ("dry-run-refused", "train --from run --data text.txt --dry-run --set model.n_layers=3"),
    ("resume-done", "train --resume run"),
    ("sample", "sample run -p a -n 20"),
    ("trace", "sample run -p a -n 2 --trace"),
    ("prove", "prove run --prompt the"),
    ("score-columns", "score run line.txt --color never"),
    ("eval", "eval run text.txt"),
    ("data-stats", "data stats text.txt"),
    ("recipes", "recipes"),
    ("no-checkpoint", "sample nothing-of-this-name"),
    ("unknown-flag", "train --stpes 3"),
];

/// Commands whose screens tell times, speeds or devices.
const OTHERS: [&str; 18] = [
    "verify run receipt.json",
    "score run line.txt",
    "cost run --max-tokens 24",
    "devices",
    "doctor --device cpu",
    "lab mask run --text the",
    "lab batch run the",
    "lab mask --remove --steps 2",
    "lab routes run --text the --phrase he",
    "lab sums --seeds 2 --tokens 2000 --set train.batch_size=4 --set model.d_model=16",
    "lab parity --seeds 1 --tokens 2000 --set train.batch_size=4 --set model.d_model=16",
    "lab wait --seeds 1 --tokens 2000 --problems 1 --set train.batch_size=4 --set model.d_model=16",
    "bench decode --seconds 0.1",
    "train smoke.toml --data text.txt --out dry --dry-run --set data.validation_fraction=0.1",
    "sample run -n 20 --num-samples 3",
    "sample run -n 300 --ignore-eos",
    "--version",
    "completions tcsh",
];

/// With a run, a receipt and a short text.
fn with_run() -> TestDir {
    let test_dir = TestDir::with_run();
    test_dir.stdout("sample run -p a -n 5 --receipt receipt.json");
    test_dir.write("line.txt", "the old fox lost a piñata");
    test_dir
}

fn screen(test_dir: &TestDir, arguments: &str, columns: u16) -> Screen {
    let mut command = test_dir.process(arguments);
    // The same on every machine.
    command
        .args(takes_threads(arguments).then_some(["--threads", "1"]).into_iter().flatten())
        .env("TRIL_SIMD", "plain");
    terminal::run(command, columns)
}

fn takes_threads(arguments: &str) -> bool {
    let first = arguments.split(' ').next().unwrap_or_default();
    let computes = ["train", "sample", "prove", "verify", "score", "eval", "cost", "doctor", "lab", "bench"];
    computes.contains(&first) && !arguments.contains("--help")
}

/// Without what tells a time: notes, which stand between brackets, on several lines where they are folded; times of passes, and
/// how long a run took.
fn timeless(lines: &[String]) -> String {
    let mut is_note = false;
    let kept = lines.iter().filter(|line| {
        is_note = is_note || line.starts_with('[');
        let keeps = !is_note && !line.contains(" ms ") && !line.starts_with("time  ");
        is_note = is_note && !line.ends_with(']');
        keeps
    });
    kept.map(|line| line.clone() + "\n").collect()
}

#[test]
fn no_line_is_wider_than_the_terminal_and_screens_are_those_that_are_kept() {
    let snapshots = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/snapshots"));
    let writes = std::env::var("TRIL_SNAPSHOTS").is_ok_and(|value| value == "write");
    let mut wrong = Vec::new();
    for columns in [80, 40] {
        for (name, arguments) in STABLE {
            let Screen { lines, broken, .. } = screen(&with_run(), arguments, columns);
            wrong.extend(broken.iter().map(|line| format!("{name} at {columns} columns is broken at: {line}")));
            let (path, shown) = (snapshots.join(format!("{name}-{columns}.txt")), timeless(&lines));
            if writes {
                std::fs::write(&path, &shown).expect("written");
            }
            let kept = std::fs::read_to_string(&path).unwrap_or_default();
            if kept != shown {
                wrong.push(format!("{name} at {columns} columns is not what {} holds:\n{shown}", path.display()));
            }
        }
        for arguments in OTHERS {
            let Screen { broken, .. } = screen(&with_run(), arguments, columns);
            wrong.extend(broken.iter().map(|line| format!("{arguments} at {columns} columns is broken at: {line}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_object_stays_one_line_wherever_the_terminal_breaks_it() {
    let Screen { broken, .. } = screen(&with_run(), "sample run -p a -n 20 --jsonl", 40);
    assert!(broken[0].starts_with(r#"{"prompt":"a","text":""#), "{broken:?}");
    assert_eq!(broken[0].chars().count(), 40 + 2, "{broken:?}");
}

#[test]
fn a_line_that_is_too_wide_is_found() {
    let echo = |text: &str, columns| {
        let mut command = std::process::Command::new("printf");
        command.arg(text);
        terminal::run(command, columns)
    };
    let fits = echo("0123456789 0123456789\\n猫猫\\rx", 21);
    assert!(fits.broken.is_empty() && fits.status.success());
    assert_eq!(fits.lines, ["0123456789 0123456789", "x猫"]);
    assert_eq!(echo("0123456789 0123456789", 20).broken, ["0123456789 0123456789…"]);
    assert_eq!(echo("猫猫猫", 5).broken.len(), 1, "two columns each");
    assert_eq!(echo("wide\\r\\033[Know\\033[1mb\\033[0m", 20).lines, ["nowb"], "what is drawn over is gone");
}

#[test]
fn ctrl_c_leaves_nothing_in_the_terminal_and_the_terminal_as_it_was() {
    // What the terminal itself would write for Ctrl-C is switched off while an answer comes, and on again in the end.
    let test_dir = with_run();
    let script = "stty -a | tr ' ' '\\n' | grep -x -- '-*echoctl'; tril sample run -n 5 >/dev/null 2>&1; \
        stty -a | tr ' ' '\\n' | grep -x -- '-*echoctl'";
    let bin = std::path::Path::new(assert_cmd::cargo_bin!("tril")).parent().expect("a directory").to_owned();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script]).current_dir(test_dir.path(".")).env("PATH", path).env_remove("CARGO");
    let Screen { lines, .. } = terminal::run(command, 80);
    assert_eq!(lines.first(), lines.last(), "{lines:?}");
    assert!(lines.len() == 2, "{lines:?}");
}
