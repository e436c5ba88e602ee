//! Where results go: files, links, pipes, devices, a full disk, readers that have gone.

use std::fs;
use std::path::Path;

use super::test_dir::*;

const SAMPLE: &str = "sample run --max-tokens 5 --seed 3";

/// What `sample --receipt` writes as [`SAMPLE`].
fn receipt(test_dir: &TestDir) -> Vec<u8> {
    test_dir.stdout(&format!("{SAMPLE} --receipt expected.json"));
    fs::read(test_dir.path("expected.json")).expect("a receipt")
}

#[cfg(unix)]
#[test]
fn results_go_through_links_into_the_files_behind_them_and_links_stay() {
    let test_dir = TestDir::with_run();
    fs::create_dir(test_dir.path("elsewhere")).expect("a directory");
    let kinds = [
        (format!("{SAMPLE} --receipt"), "receipt.json"),
        ("score run text.txt --html".to_owned(), "page.html"),
        ("cost run --max-tokens 4 --svg".to_owned(), "plot.svg"),
    ];
    for (command, name) in kinds {
        std::os::unix::fs::symlink(Path::new("elsewhere").join(name), test_dir.path(name)).expect("a link");
        for _ in 0..2 {
            test_dir.stdout(&format!("{command} {name}"));
            assert!(test_dir.path(name).is_symlink(), "{name}");
            assert!(test_dir.path("elsewhere").join(name).is_file(), "{name}");
        }
    }
    assert_eq!(fs::read(test_dir.path("elsewhere/receipt.json")).expect("a receipt"), receipt(&test_dir));
}

#[cfg(unix)]
#[test]
fn a_pipe_gets_the_receipt_and_stays_a_pipe() {
    let test_dir = TestDir::with_run();
    let pipe = test_dir.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let read = std::thread::scope(|scope| {
        let reader = scope.spawn(|| fs::read(&pipe).expect("read"));
        test_dir.stdout(&format!("{SAMPLE} --receipt pipe"));
        reader.join().expect("bytes")
    });
    assert_eq!(read, receipt(&test_dir));
    assert!(!pipe.is_file());
}

#[cfg(target_os = "linux")]
#[test]
fn standard_output_gets_the_receipt_after_the_text_also_where_it_is_a_file() {
    let test_dir = TestDir::with_run();
    let expected = String::from_utf8(receipt(&test_dir)).expect("UTF-8");
    let line = format!("tril {SAMPLE} --receipt /dev/stdout");
    let piped = stdout(&mut test_dir.shell(&line));
    stdout(&mut test_dir.shell(&format!("{line} > both.txt")));
    let text = test_dir.stdout(SAMPLE);
    for both in [piped, test_dir.read("both.txt")] {
        assert_eq!(both, format!("{text}{expected}"));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_device_without_room_fails_the_command_and_stays_a_device() {
    let test_dir = TestDir::with_run();
    for arguments in [&format!("{SAMPLE} --receipt /dev/full"), "cost run --max-tokens 4 --svg /dev/full"] {
        let output = test_dir.tril(arguments).output().expect("it runs");
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert_says(&message, &["error: ", "/dev/full"]);
        assert!(!Path::new("/dev/full").is_file());
    }
    for (line, code) in [
        (format!("tril {SAMPLE} > /dev/full"), 1),
        ("tril train --resume run --set train.steps=8 > /dev/full".to_owned(), 1),
        ("tril train --resume run --set train.steps=10 2> /dev/full".to_owned(), 0),
    ] {
        let output = test_dir.shell(&line).output().expect("it runs");
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{line}: {message}");
        assert_eq!(message.contains("error: "), code == 1, "{line}: {message}");
    }
    assert_eq!(column(&metrics(&test_dir.path("run")), "step", "step").len(), 10, "both runs went to their end");
}

#[cfg(target_os = "linux")]
#[test]
fn a_checkpoint_that_does_not_fit_on_the_disk_fails_the_run_and_leaves_nothing_half_written() {
    let test_dir = TestDir::with_run();
    let before = Tree::read(&test_dir.path("run")).without("metrics.jsonl");
    // No file may become larger than 8 blocks, which the weights do: as on a full disk, but without a disk to fill.
    for command in ["train --resume run --set train.steps=8", "train smoke.toml --data text.txt --out new"] {
        let limited = format!("trap '' XFSZ; ulimit -f 8; exec tril {command}");
        let output = test_dir.shell(&limited).output().expect("it runs");
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert_says(&message, &["error: cannot write", "safetensors"]);
    }
    assert_eq!(Tree::read(&test_dir.path("run")).without("metrics.jsonl").differences(&before), Vec::<String>::new());
    let left = Tree::read(&test_dir.path("new"));
    let names: Vec<_> = left.0.keys().map(|path| path.display().to_string()).collect();
    assert_eq!(names, ["checkpoints.json", "config.toml", "metrics.jsonl"]);
    test_dir.stdout("train --resume run --set train.steps=8");
}

#[cfg(target_os = "linux")]
#[test]
fn a_place_that_takes_no_files_is_refused_before_anything_is_computed() {
    let test_dir = TestDir::with_run();
    // No one writes there, not even root.
    for (arguments, option) in [
        ("sample run --max-tokens inf --receipt /sys/kernel/receipt.json", "--receipt"),
        ("score run text.txt --html /sys/kernel/page.html", "--html"),
        ("cost run --svg /sys/kernel/plot.svg", "--svg"),
    ] {
        assert_says(&test_dir.refused(arguments), &[option, "/sys/kernel/", "nothing can be written there"]);
    }
    for arguments in ["train smoke.toml --data text.txt --out /sys/kernel/run", "train smoke.toml --out /proc/run"] {
        assert_says(&test_dir.refused(arguments), &["cannot create /", "--out"]);
    }
    let chat = test_dir.tril("chat run --max-tokens 3").write_stdin("The\n/save /sys/kernel/text\n").output();
    let chat = chat.expect("it runs");
    assert_says(&String::from_utf8_lossy(&chat.stderr), &["/save", "/sys/kernel/text"]);
    assert_eq!(chat.status.code(), Some(0));
}
