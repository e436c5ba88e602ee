//! What is given out: crates that can be published one by one, each with all that it embeds, and one version everywhere.

use std::fs;
use std::path::{Path, PathBuf};

use toml::Table;

/// The directory of this repository.
fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).canonicalize().expect("a directory")
}

/// Directories of all crates.
fn crates() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("crates")).expect("crates");
    entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.join("Cargo.toml").is_file()).collect()
}

fn read_toml(path: &Path) -> Table {
    fs::read_to_string(path).expect("a file").parse().expect("TOML")
}

/// All sources below a directory.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => sources(&path),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

#[test]
fn what_a_crate_embeds_lies_in_it() {
    let mut embedded = 0;
    for dir in crates() {
        for source in sources(&dir.join("src")) {
            let text = fs::read_to_string(&source).expect("a source");
            let macros = ["include_str!(", "include_bytes!(", "include!("];
            let included = macros.iter().flat_map(|name| text.split(name).skip(1));
            for path in included.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next()) {
                let file = source.parent().expect("a directory").join(path).canonicalize().expect("it is there");
                assert!(file.starts_with(&dir), "{} embeds {}", source.display(), file.display());
                embedded += 1;
            }
        }
    }
    assert!(embedded > 20, "recipes, stories and the page: {embedded}");
}

#[test]
fn every_crate_says_what_a_registry_asks_for() {
    assert_eq!(crates().len(), 12);
    for dir in crates() {
        let path = dir.join("Cargo.toml");
        let manifest = read_toml(&path);
        let package = manifest["package"].as_table().expect("a section");
        let (of, list) = (path.display(), |name: &str| package[name].as_array().expect("a list").len());
        assert!(package["description"].as_str().is_some_and(|text| text.len() > 20), "{of}");
        assert!((1..=5).contains(&list("keywords")) && (1..=5).contains(&list("categories")), "{of}");
        assert!(!package.contains_key("publish"), "{of}");
        let readme = dir.join(package["readme"].as_str().expect("a path"));
        assert!(fs::read_to_string(&readme).is_ok_and(|text| text.starts_with("# ")), "{}", readme.display());
        for (license, begins) in [("LICENSE-MIT", "MIT License"), ("LICENSE-APACHE", "")] {
            let text = fs::read_to_string(dir.join(license)).unwrap_or_else(|error| panic!("{of}: {license}: {error}"));
            assert!(text.len() > 500 && text.trim_start().starts_with(begins), "{of}: {license}");
        }
    }
}

#[test]
fn crates_of_one_version_depend_on_exactly_each_other() {
    let manifest = read_toml(&root().join("Cargo.toml"));
    let workspace = manifest["workspace"].as_table().expect("a section");
    let version = workspace["package"]["version"].as_str().expect("a version");
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    let ours =
        workspace["dependencies"].as_table().expect("a section").iter().filter(|(_, one)| one.get("path").is_some());
    let mut count = 0;
    for (name, dependency) in ours {
        assert_eq!(dependency["version"].as_str(), Some(&*format!("={version}")), "{name}");
        count += 1;
    }
    assert_eq!(count, 11, "all but the command");
    let changes = fs::read_to_string(root().join("CHANGELOG.md")).expect("a file");
    assert!(changes.contains(&format!("\n## {version}\n")), "the changes of {version} are told");
}
