//! Opening text, and what is said of text that cannot be opened.

use std::fs;
use std::path::Path;

use tril_data::{Corpus, DataError, DocumentFormat, FileGlob};
use tril_text::TextError;

fn open(path: &Path) -> Result<Corpus, DataError> {
    Corpus::open(path.to_str().expect("UTF-8"))
}

#[test]
fn a_file_is_one_document_as_it_is_but_for_a_byte_order_mark() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("poem.txt");
    fs::write(&path, "\u{feff}first\r\nsecond 句\n").unwrap();
    let corpus = open(&path).unwrap();
    assert_eq!(corpus.name, "poem.txt");
    assert_eq!(corpus.texts(), ["first\r\nsecond 句\n"]);
    assert_eq!(corpus.documents[0].nats, None);
    assert_eq!(corpus.text_len(), 18);
    assert!(!corpus.has_documents);
}

#[test]
fn a_directory_is_read_in_order_of_paths_without_hidden_and_empty_files() {
    let folder = tempfile::tempdir().unwrap();
    let files =
        [("b.txt", "B"), ("a/2.txt", "A2"), ("a/10.txt", "A10"), (".hidden", "no"), (".git/x", "no"), ("e", "")];
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let corpus = open(folder.path()).unwrap();
    assert_eq!(corpus.texts(), ["A10", "A2", "B"]);
    assert!(corpus.documents[2].origin.ends_with("b.txt"));
}

#[cfg(unix)]
#[test]
fn links_to_files_are_read_and_links_to_directories_are_not() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("real"), "text").unwrap();
    std::os::unix::fs::symlink(folder.path().join("real"), folder.path().join("link")).unwrap();
    std::os::unix::fs::symlink(folder.path(), folder.path().join("circle")).unwrap();
    assert_eq!(open(folder.path()).unwrap().texts(), ["text", "text"]);
}

#[test]
fn the_embedded_stories_are_documents_of_known_probability() {
    let corpus = Corpus::open("tales").unwrap();
    assert_eq!(corpus.name, "tales");
    assert!(corpus.documents.len() > 100);
    assert!(corpus.documents.iter().all(|story| story.nats.is_some_and(|nats| nats > 0.0) && !story.text.is_empty()));
    assert!((500_000..2_000_000).contains(&corpus.text_len()), "{}", corpus.text_len());
    assert_eq!(corpus, Corpus::open("tales").unwrap());
}

#[test]
fn an_unknown_name_is_answered_with_the_names_that_exist() {
    let error = Corpus::open("shakespear").unwrap_err();
    assert!(matches!(error, DataError::UnknownCorpus { .. }), "{error:?}");
    assert!(
        error.to_string().starts_with(
            "corpus `shakespear`: no corpus that is known (tales, names, songci, tinyshakespeare, tinystories) "
        ),
        "{error}"
    );
}

#[test]
fn a_missing_path_is_answered_with_the_path() {
    for path in ["no/such/folder", "missing.txt", "./tales"] {
        let error = Corpus::open(path).unwrap_err();
        assert!(matches!(error, DataError::Text(TextError::Unreadable { .. })), "{error:?}");
        assert!(error.to_string().starts_with(&format!("{path}: cannot be read: ")), "{error}");
    }
}

#[test]
fn text_that_is_not_utf_8_is_reported_with_path_and_offset() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.txt"), "fine").unwrap();
    let path = folder.path().join("latin1.txt");
    fs::write(&path, b"caf\xE9 au lait").unwrap();
    for source in [path.as_path(), folder.path()] {
        let error = open(source).unwrap_err();
        assert!(
            matches!(&error, DataError::Text(TextError::NotUtf8 { path: at, offset: 3 }) if *at == path),
            "{error:?}"
        );
        assert!(error.to_string().contains("latin1.txt: not UTF-8 text at byte 3; "), "{error}");
    }
}

#[test]
fn pictures_in_a_directory_are_left_out_by_name_and_a_pattern_that_picks_one_is_refused() {
    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.txt"), "text").unwrap();
    for name in ["1.png", "2.png", "3.png", "4.png", "5.png", "6.png"] {
        fs::write(folder.path().join(name), PNG).unwrap();
    }
    let corpus = open(folder.path()).unwrap();
    assert_eq!(corpus.texts(), ["text"]);
    let [left_out] = corpus.skipped.as_slice() else { panic!("one sentence: {:?}", corpus.skipped) };
    let expected =
        format!("{}: 1.png, 2.png, 3.png, 4.png and 2 more are no text, and left out", folder.path().display());
    assert_eq!(*left_out, expected);

    let source = folder.path().to_str().unwrap();
    let picks = |pattern| {
        let glob = FileGlob::new(pattern).unwrap();
        Corpus::open_as(source, &DocumentFormat::Files, glob.as_ref())
    };
    assert!(picks("*.txt").unwrap().skipped.is_empty(), "a pattern has picked already");
    assert!(picks("*.png").unwrap_err().to_string().contains("1.png: no text, by the bytes"));
    assert!(open(&folder.path().join("2.png")).unwrap_err().to_string().contains("2.png: no text, by the bytes"));
    fs::remove_file(folder.path().join("a.txt")).unwrap();
    let error = open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("no text in this directory") && error.contains("1.png, 2.png"), "{error}");
}

#[test]
fn emptiness_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(open(folder.path()).unwrap_err(), DataError::EmptyDirectory { .. }));
    let path = folder.path().join("empty.txt");
    fs::write(&path, "").unwrap();
    assert!(matches!(open(&path).unwrap_err(), DataError::EmptyFile { .. }));
    assert!(matches!(open(folder.path()).unwrap_err(), DataError::EmptyDirectory { .. }));
}

#[cfg(unix)]
#[test]
fn what_is_no_text_in_a_directory_is_left_out_by_name_and_the_rest_is_read() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("a.txt"), "text").expect("written");
    std::os::unix::fs::symlink("nowhere", dir.path().join("b.txt")).expect("a link");
    std::os::unix::fs::symlink("a.txt", dir.path().join("c.txt")).expect("a link");
    let made = std::process::Command::new("mkfifo").arg(dir.path().join("d")).status().expect("mkfifo");
    assert!(made.success());
    let corpus = Corpus::open(dir.path().to_str().expect("UTF-8")).expect("a corpus");
    assert_eq!(corpus.texts(), ["text", "text"]);
    let named: Vec<Option<&str>> =
        corpus.skipped.iter().map(|left| left.split(':').next()?.rsplit('/').next()).collect();
    assert_eq!(named, [Some("b.txt"), Some("d")], "{:?}", corpus.skipped);
}
