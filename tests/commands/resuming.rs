//! `tril train --resume`: a run that was stopped, killed or cut short ends in the bytes of one that ran through.

use std::fs;
use std::path::Path;

use super::test_dir::*;

/// Long enough to be caught in the middle; with dropout, which draws random numbers at every step.
const LONG: &str = "train --verbose smoke.toml --data text.txt --out run --set data.validation_fraction=0.1 \
    --set train.steps=150 --set train.batch_size=8 --set train.dropout=0.1 --set train.eval_interval=30 \
    --set train.checkpoint_interval=12 --set sample.interval=0";

/// Asserts that two runs hold the same: files, bytes, and metrics but for what a clock decides.
#[track_caller]
fn assert_same_run(left: &TestDir, right: &TestDir) {
    let [left, right] = [left, right].map(|test_dir| test_dir.path("run"));
    assert_eq!(timeless_metrics(&left), timeless_metrics(&right));
    let [left, right] = [left, right].map(|run| Tree::read(&run).without("metrics.jsonl"));
    assert_eq!(left.differences(&right), Vec::<String>::new());
}

/// The same run, stopped after some steps and gone on with to the twelfth, has a schedule that knows of the twelfth.
fn train_to(test_dir: &TestDir, steps: usize) {
    test_dir
        .stdout(&format!("{TRAIN} --set optimizer.decay_steps=12 --set train.dropout=0.1 --set train.steps={steps}"));
}

#[test]
fn a_run_of_an_earlier_release_is_resumed_and_saved_under_the_names_of_today() {
    let test_dir = TestDir::empty();
    Tree::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/old_run")))
        .write(&test_dir.path(""));
    let holds = |path: &str, name: &str| {
        let bytes = fs::read(test_dir.path(path)).expect("a file");
        bytes.windows(name.len()).any(|part| part == name.as_bytes())
    };
    let saved = ["run/step-000006", "run/step-000009"].map(|step| {
        if step.ends_with('9') {
            test_dir.stdout("train --resume run --set train.steps=9");
        }
        let files = [format!("{step}/optimizer.safetensors"), format!("{step}/config.toml")];
        let names = [[".first", ".exp_avg"], ["matrix_learning_rate", "muon_learning_rate"]];
        [0, 1].map(|file| names[file].map(|name| holds(&files[file], name)))
    });
    assert_eq!(saved, [[[true, false]; 2], [[false, true]; 2]]);
    assert_eq!(metrics(&test_dir.path("run")).iter().filter(|line| line["kind"] == "step").count(), 9);
}

#[cfg(unix)]
mod signals {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Output, Stdio};
    use std::sync::OnceLock;
    use std::time::Duration;

    use super::*;

    /// Starts a command, sends it a signal as soon as `ready` holds, and waits for its end.
    fn signalled(test_dir: &TestDir, arguments: &str, signal: &str, ready: impl Fn() -> bool) -> Output {
        let mut command = test_dir.process(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        while child.try_wait().expect("a process").is_none() {
            if ready() {
                let pid = child.id().to_string();
                std::process::Command::new("kill").args([signal, &pid]).status().expect("kill");
                break;
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        wait(child)
    }

    /// Lines of the metrics, as far as they are written.
    fn n_lines(run: &Path) -> usize {
        fs::read(run.join("metrics.jsonl")).map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count())
    }

    /// Whether a run has saved a checkpoint.
    fn has_checkpoint(run: &Path) -> bool {
        fs::read_to_string(run.join("checkpoints.json")).is_ok_and(|index| index.contains("step-"))
    }

    /// Lines of the metrics that a resumed run of [`LONG`] keeps.
    fn lines_saved(run: &Path) -> usize {
        if !has_checkpoint(run) {
            return 0;
        }
        let name = checkpoint(run, "last").file_name().expect("a name").to_string_lossy().into_owned();
        let step: usize = name.trim_start_matches("step-").parse().expect("a step");
        step + step / 30 // and an evaluation every 30
    }

    /// Whether a checkpoint or a file is being written beside its place.
    fn is_writing(run: &Path) -> bool {
        let names = fs::read_dir(run).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.file_name());
        names.into_iter().any(|name| name.to_string_lossy().ends_with(".partial"))
    }

    /// [`LONG`] with Muon, whose momentum is still rising when it is killed, and with an average of weights.
    const LONG_MUON: &str = " --set optimizer.kind=muon --set optimizer.decay=linear --set optimizer.decay_start=70 \
        --set model.zero_init_outputs=true --set model.tied_head=false --set train.ema_decay=0.95";

    #[test]
    fn a_run_by_muon_that_is_killed_and_resumed_on_other_threads_ends_in_the_same_hashes() {
        let (test_dir, through) = (TestDir::new(), TestDir::new());
        let run = test_dir.path("run");
        let arguments = format!("{LONG}{LONG_MUON}");
        let mut begin = arguments.clone() + " --threads 1";
        for (lines, threads) in [(20, 2), (60, 3), (110, 1)] {
            let killed = signalled(&test_dir, &begin, "-KILL", || n_lines(&run) >= lines);
            assert_eq!(killed.status.signal(), Some(9), "at line {lines}: it ended by itself");
            begin = format!("train --resume run --verbose --threads {threads}");
        }
        let hashes = super::super::bits::hashes(&test_dir.stdout(&begin));
        assert_eq!(hashes, super::super::bits::hashes(&through.stdout(&arguments)));
        assert_same_run(&test_dir, &through);
        let message = test_dir.refused("train --resume run --set optimizer.kind=adamw");
        assert_says(&message, &["optimizer.kind", "begin a new run"]);
    }

    /// The run of [`LONG`] that nothing stopped.
    fn uninterrupted() -> TestDir {
        static RUN: OnceLock<Tree> = OnceLock::new();
        let test_dir = TestDir::new();
        let tree = RUN.get_or_init(|| {
            let test_dir = TestDir::new();
            test_dir.stdout(LONG);
            Tree::read(&test_dir.path("run"))
        });
        tree.write(&test_dir.path("run"));
        test_dir
    }

    #[test]
    fn a_run_killed_again_and_again_opens_each_time_and_ends_in_the_same_bytes() {
        let test_dir = TestDir::new();
        let run = test_dir.path("run");
        let mut kills = 0;
        // Lines at which to kill it, and whether to wait from there until something is being written.
        let moments =
            [(1, false), (5, true), (16, false), (30, true), (31, true), (55, true), (80, false), (100, true)];
        for (lines, while_writing) in moments {
            let arguments = match has_checkpoint(&run) {
                true => "train --resume run".to_owned(),
                false => format!("{LONG} --force"),
            };
            // What an earlier try wrote is not what this one has reached.
            let begun = std::time::SystemTime::now();
            let is_new =
                || fs::metadata(run.join("metrics.jsonl")).is_ok_and(|data| data.modified().is_ok_and(|at| at > begun));
            let ready = || is_new() && n_lines(&run) >= lines && (!while_writing || is_writing(&run));
            let killed = signalled(&test_dir, &arguments, "-KILL", ready);
            if killed.status.signal() == Some(9) {
                kills += 1;
            } else {
                assert!(killed.status.success(), "{}", String::from_utf8_lossy(&killed.stderr));
            }
            if has_checkpoint(&run) {
                let text = test_dir.stdout("sample run --max-tokens 5");
                assert_eq!(text.chars().count(), 6, "{text:?}");
            }
        }
        assert!(kills >= 4, "only {kills} of {} kills came before the end: make the run longer", moments.len());
        test_dir.stdout("train --resume run");
        assert_same_run(&test_dir, &uninterrupted());
    }

    /// `TRIL_KILLS=100 cargo test --release --test tests -- random_moments` kills it so often.
    #[test]
    fn a_run_killed_at_random_moments_and_resumed_on_any_number_of_threads_ends_in_the_same_hashes() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let seed = u64::from(now.subsec_nanos());
        let mut draws = 0;
        let mut random = |below: u64| {
            draws += 1;
            (tril_model::random::hash([seed, draws]) >> 20) % below
        };
        let kills = std::env::var("TRIL_KILLS").map_or(5, |kills| kills.parse().expect("a number of kills"));
        // So many that the kills do not reach the end, each at most 20 lines from where the one before left off.
        let steps = format!("--set train.steps={}", 30 * kills);
        let test_dir = TestDir::new();
        let run = test_dir.path("run");
        let arguments = || match has_checkpoint(&run) {
            true => "train --resume run --verbose".to_owned(),
            false => format!("{LONG} {steps} --set train.checkpoint_interval=3 --force"),
        };
        let mut moments = Vec::new();
        for _ in 0..kills {
            let threads = 1 + random(3);
            let (lines, pause) = (lines_saved(&run) + random(20) as usize, Duration::from_micros(random(3000)));
            let begun = std::time::SystemTime::now();
            let is_new =
                || fs::metadata(run.join("metrics.jsonl")).is_ok_and(|data| data.modified().is_ok_and(|at| at > begun));
            let ready = || {
                let is_time = is_new() && n_lines(&run) >= lines;
                if is_time {
                    std::thread::sleep(pause);
                }
                is_time
            };
            let killed = signalled(&test_dir, &format!("{} --threads {threads}", arguments()), "-KILL", ready);
            moments.push(format!("line {lines} + {pause:?} on {threads} threads"));
            assert_eq!(killed.status.signal(), Some(9), "seed {seed}, killed at {moments:?}: it ended by itself");
        }
        let hashes = super::super::bits::hashes(&test_dir.stdout(&arguments()));
        let through = TestDir::new();
        let expected = super::super::bits::hashes(&through.stdout(&format!("{LONG} {steps}")));
        assert_eq!(hashes, expected, "seed {seed}, killed at {moments:?}");
        assert_eq!(timeless_metrics(&run), timeless_metrics(&through.path("run")), "seed {seed}, {moments:?}");
    }

    #[test]
    fn a_run_killed_as_it_begins_leaves_what_can_be_opened_or_replaced() {
        for milliseconds in [0, 1, 3, 8, 20, 50] {
            let test_dir = TestDir::new();
            let begin = std::time::Instant::now();
            signalled(&test_dir, LONG, "-KILL", || begin.elapsed() >= Duration::from_millis(milliseconds));
            if has_checkpoint(&test_dir.path("run")) {
                test_dir.stdout("sample run --max-tokens 5");
            }
            test_dir.stdout(&format!("{TRAIN} --force"));
            assert_eq!(column(&metrics(&test_dir.path("run")), "step", "step").len(), 6);
        }
    }

    #[test]
    fn a_run_that_is_asked_to_end_by_the_system_saves_as_after_ctrl_c() {
        for signal in ["-TERM", "-HUP"] {
            let test_dir = TestDir::new();
            let run = test_dir.path("run");
            let output = signalled(&test_dir, LONG, signal, || n_lines(&run) >= 16);
            assert_eq!(output.status.code(), Some(130), "{signal}: {}", String::from_utf8_lossy(&output.stderr));
            let step = column(&metrics(&run), "step", "step").len();
            assert_eq!(checkpoint(&run, "last"), run.join(format!("step-{step:06}")), "{signal}: no step is lost");
        }
    }

    #[test]
    fn a_run_that_goes_on_is_not_taken_from_its_process_until_that_ends_however_it_ends() {
        let test_dir = TestDir::new();
        let run = test_dir.path("run");
        let mut live = test_dir.process(&LONG.replace("train.steps=150", "train.steps=100000"));
        let mut live = live.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        while !has_checkpoint(&run) || n_lines(&run) < 14 {
            std::thread::sleep(Duration::from_millis(1));
        }
        for arguments in ["train --resume run", &format!("{LONG} --force")] {
            let output = test_dir.tril(arguments).output().expect("it runs");
            let message = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{message}");
            assert_says(&message, &["run", "another process"]);
        }
        test_dir.stdout("sample run --max-tokens 3");
        live.kill().expect("killed");
        live.wait().expect("a process");
        // How far it came meanwhile is the machine's affair.
        let saved = checkpoint(&run, "last").file_name().expect("a name").to_string_lossy().into_owned();
        let step: usize = saved.trim_start_matches("step-").parse().expect("a step");
        test_dir.stdout(&format!("train --resume run --set train.steps={}", step + 1));
    }

    #[test]
    fn what_a_run_learned_later_stays_until_going_on_from_an_earlier_checkpoint_has_saved_its_first() {
        let test_dir = TestDir::new();
        let run = test_dir.path("run");
        test_dir.stdout(&LONG.replace("train.steps=150", "train.steps=12"));
        let earlier = Tree::read(&run.join("step-000012"));
        test_dir.stdout("train --resume run --set train.steps=24");
        earlier.write(&run.join("step-000012"));
        let before = Tree::read(&run);
        let begin = "train --resume run/step-000012 --force --set train.steps=100000 --set train.batch_size=64 \
            --set train.checkpoint_interval=50000 --set train.eval_interval=50000";
        let started = std::time::Instant::now();
        let killed = signalled(&test_dir, begin, "-KILL", || started.elapsed() > Duration::from_millis(700));
        assert_eq!(killed.status.signal(), Some(9), "{}", String::from_utf8_lossy(&killed.stderr));
        assert_eq!(Tree::read(&run).differences(&before), Vec::<String>::new());
    }

    #[test]
    fn a_run_whose_messages_nobody_reads_goes_on_to_its_end() {
        let test_dir = TestDir::new();
        let mut command = test_dir.process(LONG);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        drop(child.stderr.take());
        assert!(wait(child).status.success());
        assert_same_run(&test_dir, &uninterrupted());
    }

    #[test]
    fn ctrl_c_saves_says_how_to_go_on_and_that_ends_in_the_same_bytes() {
        let test_dir = TestDir::new();
        let run = test_dir.path("run");
        let output = signalled(&test_dir, LONG, "-INT", || n_lines(&run) >= 16);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{stderr}");
        assert!(stderr.contains("stopping after this step") && !stderr.contains("error:"), "{stderr}");

        let stdout = String::from_utf8(output.stdout).expect("UTF-8");
        let step = column(&metrics(&run), "step", "step").len();
        assert!((16..150).contains(&step), "it was stopped at step {step}");
        assert_eq!(checkpoint(&run, "last"), run.join(format!("step-{step:06}")), "no step is lost");
        assert_says(&stdout, &[&format!("stopped after step {step}"), &format!("step-{step:06}")]);
        let hint = stdout.lines().find_map(|line| line.strip_prefix("continue with: ")).expect("a hint");
        assert_eq!(hint, "tril train --resume run");
        let end = super::super::test_dir::stdout(&mut test_dir.shell(hint));
        assert!(end.contains("validation loss"), "{end}");
        assert_same_run(&test_dir, &uninterrupted());
    }
}

#[test]
fn a_run_continued_to_more_steps_is_the_run_that_was_asked_for_them_at_once() {
    let (parts, whole) = (TestDir::new(), TestDir::new());
    train_to(&parts, 5);
    parts.stdout("train --resume run --set train.steps=9");
    let end = parts.stdout("train --resume run --set train.steps=12");
    assert!(end.contains("validation loss") && end.contains("next:"), "{end}");
    train_to(&whole, 12);
    // Evaluations at the ends of the parts are the parts' own.
    let steps = |test_dir: &TestDir| {
        let records = timeless_metrics(&test_dir.path("run"));
        records.into_iter().filter(|record| record["kind"] == "step").collect::<Vec<_>>()
    };
    assert_eq!(steps(&parts), steps(&whole));
    for file in ["model.safetensors", "optimizer.safetensors", "config.toml"] {
        let [a, b] = [&parts, &whole].map(|test_dir| fs::read(checkpoint(&test_dir.path("run"), "last").join(file)));
        assert!(a.expect("a file") == b.expect("a file"), "{file}");
    }
}

#[test]
fn resuming_cuts_the_metrics_at_the_checkpoint_and_keeps_the_best_so_far() {
    let (test_dir, whole) = (TestDir::new(), TestDir::new());
    train_to(&test_dir, 6);
    let kept = timeless_metrics(&test_dir.path("run"));
    let mut lines = test_dir.read("run/metrics.jsonl");
    lines +=
        "{\"kind\":\"step\",\"step\":7,\"loss\":0.0,\"grad_norm\":0.0,\"learning_rate\":1,\"tokens_per_second\":1}\n";
    lines += "{\"kind\":\"evaluation\",\"step\":7,\"loss\":0.0}\nno JSON at all\n\n[]\n";
    lines += "{\"kind\":\"step\",\"step\":8,\"lo";
    test_dir.write("run/metrics.jsonl", lines);

    test_dir.stdout("train --resume run --set train.steps=12");
    assert_eq!(timeless_metrics(&test_dir.path("run"))[..kept.len()], kept);
    train_to(&whole, 12);
    assert_same_run(&test_dir, &whole);
}

#[test]
fn a_best_from_before_the_stop_stays_the_best_if_nothing_after_it_is_better() {
    let test_dir = TestDir::with_run();
    let run = test_dir.path("run");
    let best = checkpoint(&run, "best");
    let saved = Tree::read(&best);
    // Rates that only do harm.
    let harm = "--set optimizer.learning_rate=3 --set optimizer.min_learning_rate=3 --set optimizer.warmup_steps=0";
    let output = test_dir.stdout(&format!("train --resume run --set train.steps=14 {harm}"));
    assert_eq!(checkpoint(&run, "best"), best);
    assert!(checkpoint(&run, "last").ends_with("step-000014"));
    assert_eq!(Tree::read(&best).differences(&saved), Vec::<String>::new());
    assert!(output.lines().any(|line| line.starts_with("best") && line.contains(" at step 6; ")), "{output}");
}

#[test]
fn a_best_checkpoint_that_the_user_removed_is_not_named_again() {
    let test_dir = TestDir::with_run();
    let run = test_dir.path("run");
    let harm = "--set optimizer.learning_rate=3 --set optimizer.min_learning_rate=3 --set optimizer.warmup_steps=0";
    test_dir.stdout(&format!("train --resume run --set train.steps=10 {harm}"));
    fs::remove_dir_all(checkpoint(&run, "best")).expect("removed");
    test_dir.stdout(&format!("train --resume run --set train.steps=12 {harm}"));
    test_dir.stdout("sample run --max-tokens 3");
}

#[test]
fn resuming_from_an_earlier_checkpoint_forgets_what_came_after_it() {
    let (test_dir, whole) = (TestDir::new(), TestDir::new());
    train_to(&test_dir, 6);
    let earlier = Tree::read(&test_dir.path("run/step-000006"));
    test_dir.stdout("train --resume run --set train.steps=12");
    earlier.write(&test_dir.path("run/step-000006"));
    test_dir.stdout("train --resume run/step-000006 --set train.steps=12 --force");
    train_to(&whole, 12);
    assert_same_run(&test_dir, &whole);
}

#[test]
fn a_new_run_from_an_earlier_checkpoint_is_the_whole_run_and_leaves_the_old_one_as_it_is() {
    let (test_dir, whole) = (TestDir::new(), TestDir::new());
    train_to(&test_dir, 6);
    let earlier = Tree::read(&test_dir.path("run/step-000006"));
    test_dir.stdout("train --resume run --set train.steps=9");
    earlier.write(&test_dir.path("run/step-000006"));
    let before = Tree::read(&test_dir.path("run"));
    let output = test_dir.stdout("train --resume run/step-000006 --set train.steps=12 --out branch");
    assert!(output.contains("next: tril sample branch"), "{output}");
    assert_eq!(Tree::read(&test_dir.path("run")).differences(&before), Vec::<String>::new());
    fs::rename(test_dir.path("run"), test_dir.path("old")).expect("moved");
    fs::rename(test_dir.path("branch"), test_dir.path("run")).expect("moved");
    train_to(&whole, 12);
    assert_same_run(&test_dir, &whole);
}

#[test]
fn a_run_whose_best_checkpoint_is_gone_is_sampled_from_its_last() {
    let test_dir = TestDir::with_run();
    let harm = "--set optimizer.learning_rate=3 --set optimizer.min_learning_rate=3 --set optimizer.warmup_steps=0";
    test_dir.stdout(&format!("train --resume run --set train.steps=10 {harm}"));
    let last = test_dir.stdout("sample run/step-000010 --max-tokens 9");
    fs::remove_dir_all(checkpoint(&test_dir.path("run"), "best")).expect("removed");
    assert_eq!(test_dir.stdout("sample run --max-tokens 9"), last);
}

#[test]
fn resuming_a_finished_run_changes_nothing_and_tells_its_loss_again() {
    let test_dir = TestDir::with_run();
    let before = Tree::read(&test_dir.path("run"));
    let output = test_dir.stdout("train --resume run");
    assert_eq!(Tree::read(&test_dir.path("run")).differences(&before), Vec::<String>::new());
    let losses = column(&metrics(&test_dir.path("run")), "evaluation", "loss");
    let loss = format!("{:.4} nats a token", losses.last().expect("an evaluation"));
    assert!(output.contains(&loss), "{output}");
}

#[test]
fn a_run_that_was_moved_resumes_where_it_is_now() {
    let test_dir = TestDir::with_run();
    fs::rename(test_dir.path("run"), test_dir.path("moved")).expect("moved");
    let output = test_dir.stdout("train --resume moved --set train.steps=8");
    assert!(output.contains("next: tril sample moved"), "{output}");
    assert_eq!(column(&metrics(&test_dir.path("moved")), "step", "step").len(), 8);
    assert!(!test_dir.path("run").exists());
}

#[test]
fn a_model_saved_before_its_first_step_is_trained_from_there_as_if_in_one_run() {
    let (test_dir, through) = (TestDir::new(), TestDir::new());
    train_to(&test_dir, 0);
    let fresh = fs::read(test_dir.path("run/step-000000/model.safetensors")).expect("the untrained model");
    test_dir.stdout("train --resume run --set train.steps=12");
    train_to(&through, 12);
    let weights = |test_dir: &TestDir| fs::read(test_dir.path("run/step-000012/model.safetensors")).expect("weights");
    assert_eq!(weights(&test_dir), weights(&through));
    assert_ne!(weights(&test_dir), fresh);
}
