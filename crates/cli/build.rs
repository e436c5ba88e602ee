//! Finds the commit that the program is built from, for `tril --version`: the release script names it, a published crate
//! carries it, and a checkout has it. Elsewhere there is none, and nothing depends on it.

use std::path::Path;
use std::process::Command;

/// What the release script sets.
const VARIABLE: &str = "TRIL_COMMIT";
/// What `cargo package` puts beside the manifest of a crate.
const OF_PACKAGE: &str = ".cargo_vcs_info.json";
/// Digits that are shown.
const DIGITS: usize = 12;

fn main() {
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    println!("cargo::rerun-if-changed=build.rs");
    let named = std::env::var(VARIABLE).ok().filter(|commit| !commit.is_empty());
    if let Some(commit) = named.or_else(of_package).or_else(of_checkout) {
        let shown: String = commit.chars().filter(char::is_ascii_alphanumeric).take(DIGITS).collect();
        println!("cargo::rustc-env=TRIL_BUILT_FROM={shown}");
    }
}

/// Of a crate that was published: `"sha1": "…"`.
fn of_package() -> Option<String> {
    let path = Path::new(OF_PACKAGE);
    if !path.is_file() {
        return None;
    }
    println!("cargo::rerun-if-changed={OF_PACKAGE}");
    let text = std::fs::read_to_string(path).ok()?;
    let (_, rest) = text.split_once("\"sha1\"")?;
    rest.split('"').nth(1).map(ToOwned::to_owned)
}

/// Of a checkout of this repository, and not of another one that this directory happens to lie in.
fn of_checkout() -> Option<String> {
    git(&["ls-files", "--error-unmatch", "build.rs"])?;
    // HEAD moves with the branch that is checked out, the others with each commit of it.
    let branch = git(&["rev-parse", "--symbolic-full-name", "HEAD"])?;
    for name in ["HEAD", "logs/HEAD", "packed-refs", branch.as_str()] {
        let path = git(&["rev-parse", "--git-path", name])?;
        if Path::new(&path).is_file() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "HEAD"])
}

/// What git answers, if there is a git and it knows.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
