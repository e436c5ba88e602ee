//! A device of another machine, over loopback; only with `--features remote`, by hand: `scripts/check_remote.sh`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use burn::server::telemetry::{TelemetryEvent, TelemetryProbe};
use burn::server::{RemoteServer, WebSocketTransport};
use burn::tensor::Device;
use serde_json::Value;
use tril::{ComputeDevice, Recipe};
use tril_model::Gpt;
use tril_train::{Trainer, TrainingText};

use crate::commands::test_dir::*;

/// Far longer than a run of these tests takes to save something.
const PATIENCE: Duration = Duration::from_secs(120);

/// A device server that is gone after the test.
struct DeviceServer {
    child: Child,
    address: SocketAddr,
    /// What it has said on stderr.
    said: std::sync::Arc<Mutex<String>>,
}

impl DeviceServer {
    fn start(dir: &TestDir, options: &str) -> Self {
        let mut process = dir.process(&format!("serve-device --port 0 {options}"));
        let mut child = process.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let Some(address) = line.trim().strip_prefix("listening on ") else {
            let mut message = String::new();
            child.stderr.take().expect("a pipe").read_to_string(&mut message).expect("text");
            panic!("{line:?}: {message}");
        };
        let said = std::sync::Arc::new(Mutex::new(String::new()));
        let (stderr, heard) = (child.stderr.take().expect("a pipe"), std::sync::Arc::clone(&said));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                *heard.lock().unwrap_or_else(PoisonError::into_inner) += &(line + "\n");
            }
        });
        Self { address: address.parse().expect("an address"), child, said }
    }

    /// For `--device`.
    fn name(&self) -> String {
        format!("remote:127.0.0.1:{}", self.address.port())
    }

    fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for DeviceServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_run_on_another_machine_has_the_cpus_losses_and_its_checkpoint_the_same_text_and_proofs() {
    let dir = TestDir::with_run();
    let server = DeviceServer::start(&dir, "--device cpu");
    let name = server.name();
    dir.tril(&format!("{} --device {name}", TRAIN.replace("--out run", "--out far"))).assert().success();
    let losses = |run: &str| {
        let records = metrics(&dir.path(run));
        ["step", "evaluation"].map(|kind| column(&records, kind, "loss")).concat()
    };
    let (found, expected) = (losses("far"), losses("run"));
    assert!(found.len() == expected.len() && found.len() > 6, "{found:?}");
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-4, "{found}, not {expected}");
    }
    dir.tril(&format!("train --resume far --set train.steps=8 --device {name}")).assert().success();

    let on = |arguments: &str, device: &str| dir.stdout(&format!("{arguments} --device {device}"));
    for same in ["sample run --temperature 0 --max-tokens 40", "sample run --temperature 0 --max-tokens 9 --no-cache"] {
        assert_eq!(on(same, &name), on(same, "cpu"), "{same}");
    }
    let proofs = on("prove run --prompt the.old.fox.saw.a.red.kite --json", &name);
    let proofs: Value = serde_json::from_str(&proofs).expect("a JSON object");
    assert_eq!(proofs["pass"], true, "{proofs}");
    dir.tril(&format!("sample run --max-tokens 12 --receipt receipt.json --device {name}")).assert().success();
    dir.tril("verify run receipt.json --tolerance 1e-4").assert().success();
    let printed = on("doctor", &name);
    assert!(printed.contains(&format!("ok    {name}")) && printed.contains("proofs hold"), "{printed}");
    assert!(server.said().contains("uses the device"), "{}", server.said());
}

#[test]
fn a_connection_that_breaks_ends_the_run_with_one_message_and_a_whole_checkpoint() {
    let dir = TestDir::new();
    let mut server = DeviceServer::start(&dir, "--device cpu");
    let long = "--set train.steps=100000 --set train.eval_interval=20 --set train.checkpoint_interval=5";
    let mut command = dir.process(&format!("{TRAIN} {long} --device {}", server.name()));
    let run = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let begin = Instant::now();
    let index = dir.path("run/checkpoints.json");
    while !std::fs::read_to_string(&index).is_ok_and(|index| index.contains("step-")) {
        assert!(begin.elapsed() < PATIENCE, "no checkpoint");
        std::thread::sleep(Duration::from_millis(20));
    }
    server.child.kill().expect("killed");
    let ended = wait(run);
    let message = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{message}");
    let errors: Vec<&str> = message.lines().filter(|line| line.contains("error: ")).collect();
    assert_eq!(errors.len(), 1, "{message}");
    assert_says(&message, &[&format!("error: {}: the connection broke", server.name()), "serve-device", "--resume"]);
    for word in ["panicked", "backtrace", "thread '"] {
        assert!(!message.contains(word), "{message}");
    }
    // Here, without that machine.
    dir.tril("sample run --max-tokens 5 --device cpu").assert().success();
    let taken = checkpoint(&dir.path("run"), "last").file_name().expect("a name").to_string_lossy().into_owned();
    let taken: usize = taken.trim_start_matches("step-").parse().expect("a step");
    dir.tril(&format!("train --resume run --set train.steps={} --device cpu", taken + 3)).assert().success();
    // Nor does generation hang.
    let lost = dir.tril(&format!("sample run --device {}", server.name())).output().expect("it runs");
    assert_eq!(lost.status.code(), Some(2), "{}", String::from_utf8_lossy(&lost.stderr));
}

#[test]
fn a_wrong_peer_is_told_from_a_device_and_from_nothing() {
    let dir = TestDir::with_run();
    let sample = |address: SocketAddr| dir.refused(&format!("sample run --device remote:{address}"));
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address")
    };
    let begin = Instant::now();
    assert_says(&sample(closed), &[&format!("remote:{closed}"), "nothing accepts connections there", "serve-device"]);
    assert!(begin.elapsed() < Duration::from_secs(10), "at once, and not after many tries");

    let answers: [&[u8]; 4] = [
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"\x1b[31m\x00\xff\xfe, not HTTP\r\n\r\n",
        b"",
    ];
    for answer in answers {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut head = [0; 1024];
                let _ = stream.read(&mut head);
                let _ = stream.write_all(answer);
            }
        });
        let message = sample(address);
        assert_says(&message, &[&format!("remote:{address}"), "what answers there is no device", "serve-device"]);
        assert!(!message.contains('\u{1b}'), "{message:?}");
    }
    assert_says(&dir.refused("sample run --device remote:nowhere"), &["remote:HOST:PORT"]);
    assert_says(&dir.refused("sample run --device remote:no.such.host.invalid:1"), &["the host is not known"]);
}

#[test]
fn a_key_is_asked_for_where_others_can_reach_the_device() {
    let dir = TestDir::with_run();
    dir.write("key.txt", "open sesame\n");
    dir.write("other.txt", "open barley\n");
    assert_says(&dir.refused("serve-device --host 0.0.0.0 --port 0"), &["--key-file", "0.0.0.0"]);
    let server = DeviceServer::start(&dir, "--device cpu --host 0.0.0.0 --key-file key.txt");
    let sample = || dir.tril(&format!("sample run --max-tokens 3 --device {}", server.name()));
    sample().env("TRIL_DEVICE_KEY_FILE", dir.path("key.txt")).assert().success();
    assert_says(&dir.refused_command(&mut sample()), &["asks for a key", "TRIL_DEVICE_KEY_FILE"]);
    let mut wrong = sample();
    let wrong = wrong.env("TRIL_DEVICE_KEY_FILE", dir.path("other.txt"));
    assert_says(&dir.refused_command(wrong), &["asks for another key"]);
    let mut none = sample();
    assert_says(&dir.refused_command(none.env("TRIL_DEVICE_KEY_FILE", dir.path("none.txt"))), &["cannot be read"]);
    let said = server.said();
    assert!(said.contains("turned away") && !said.contains("sesame") && !said.contains("barley"), "{said}");
}

/// Burn's server tells what it is asked for, so that what is read can be counted by another than us.
#[test]
fn ten_steps_are_read_once_by_the_count_of_the_server() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let name = format!("remote:{}", listener.local_addr().expect("an address"));
    let (probe, mut events) = TelemetryProbe::channel(1 << 20);
    std::thread::spawn(move || {
        let server = RemoteServer::new([Device::flex()]).with_telemetry(probe);
        server.serve(WebSocketTransport::from_listener(listener))
    });
    let device = ComputeDevice::open(name.parse().expect("a device")).expect("a connection");
    let mut recipe = Recipe::shipped("smoke").expect("a recipe");
    recipe.set_all(&["model.vocab_size=65"]).expect("a field");
    let gpt = Gpt::new(recipe.model.resolve().expect("a config"), 1, device.inner()).expect("a model");
    let ids: Vec<u32> = (0..4000).map(|i| (i * i * 7 + i) % 65).collect();
    let text = TrainingText::new(ids, recipe.train.seq_len).expect("long enough");
    let mut trainer = Trainer::new(gpt, Default::default(), 0, recipe.train, recipe.optimizer).expect("sound");
    trainer.step(&text).expect("a step");
    let mut counted = || {
        let mut all = Vec::new();
        events.drain_into(&mut all);
        let of = |wanted: fn(&TelemetryEvent) -> bool| all.iter().filter(|event| wanted(event)).count();
        let waits = of(|event| matches!(event, TelemetryEvent::Read { .. } | TelemetryEvent::Sync { .. }));
        (waits, of(|event| matches!(event, TelemetryEvent::Op { .. })))
    };
    counted();
    for _ in 0..10 {
        trainer.advance(&text).expect("a step");
    }
    let reports = trainer.take_reports().expect("sound");
    let (waits, operations) = counted();
    println!("ten steps of 2 layers: {operations} operations, read {waits} times");
    assert_eq!((reports.len(), waits), (10, 1));
    assert!(operations > 1000, "{operations}");
    for _ in 0..10 {
        trainer.step(&text).expect("a step");
    }
    assert_eq!(counted().0, 10, "one by one");
}
