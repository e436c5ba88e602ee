//! The examples run as their first lines say.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What an example prints.
fn run(name: &str, arguments: &[&Path], more: &[&str]) -> String {
    // Examples stand beside the directory of the tests.
    let tests = std::env::current_exe().expect("this test");
    let path: PathBuf = tests.ancestors().nth(2).expect("the build's directory").join("examples").join(name);
    let output = Command::new(&path).args(arguments).args(more).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn a_run_is_trained_stopped_and_resumed_generated_from_and_looked_into() {
    let directory = tempfile::tempdir().expect("a directory");
    let (text, dir) = (directory.path().join("text.txt"), directory.path().join("run"));
    std::fs::write(&text, "The fox ran. The owl sat. The fox sat by the owl.\n".repeat(60)).expect("written");
    let trained = run("train", &[&text, &dir], &[]);
    for part in
        ["step  10: loss ", "Stopped { step: 20", "resumed at step 20", "step  40: ", "finished with a loss of "]
    {
        assert!(trained.contains(part), "{part:?} is missing in {trained}");
    }
    let generated = run("generate", &[&dir], &["The ", "owl"]);
    for part in ["text 0: ", "text 1: ", " ended (", "---\nThe ", "---\nowl"] {
        assert!(generated.contains(part), "{part:?} is missing in {generated}");
    }
    let inspected = run("inspect", &[&dir], &["The fox sat"]);
    for part in [" after 0 blocks", " after 2 blocks", "layer 1, head 1 looks most at ", "without head 0 of layer 1"] {
        assert!(inspected.contains(part), "{part:?} is missing in {inspected}");
    }
}
