//! `tril serve`: models behind the API that OpenAI's clients speak, until SIGTERM or Ctrl-C.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::Result;
use tril::Draft;
use tril_model::memory;
use tril_serve::{Limits, ServeOptions, ServedModel, Server};

use crate::args::{LimitArgs, ServeArgs};
use crate::shown::on_one_line;
use crate::{drafts, open, runs, shown};

pub fn run(args: &ServeArgs) -> Result<ExitCode> {
    let names = ServedModel::names(&args.checkpoints)?;
    let limits = limits(&args.limits);
    // What the server could not have anyway is told before models are read.
    let server = Server::bind(ServeOptions {
        host: args.host.clone(),
        port: args.port,
        api_key_file: args.api_key_file.clone(),
        allowed_hosts: args.allow_host.clone(),
        allowed_origins: args.allow_origin.clone(),
        chat_format: args.format.clone(),
        limits: limits.clone(),
    })?;
    let device = open::device(&args.compute)?;
    let mut models = Vec::new();
    let mut caches: u128 = 0;
    for (name, path) in names.into_iter().zip(&args.checkpoints) {
        let model = ServedModel::open(name, &runs::meant(path)?, args.weights.format(), &device, &limits)?;
        let draft = drafts::open(&args.draft, model.model(), limits.max_texts(), &device)?;
        let guessing = draft.as_ref().and_then(Draft::guessing_model);
        let each: u128 = [Some(model.model()), guessing]
            .into_iter()
            .flatten()
            .map(|model| memory::cache_bytes(model.config()))
            .sum();
        caches += each * limits.max_texts() as u128 + limits.prefix_bytes;
        let what = format!("--max-batch {} and --prefix-cache {}", limits.max_batch, args.limits.prefix_cache);
        memory::check(&what, caches)?;
        let template = if model.has_chat_template() { "its own template" } else { "--format" };
        let name = on_one_line(model.name());
        let guesses = match &draft {
            None => String::new(),
            Some(draft) => match draft.guessing_model() {
                None => ", guesses by lookup".to_owned(),
                Some(model) => format!(", guesses by {}", shown::path(model.path())),
            },
        };
        note!(
            "[model {name}: {}, sha256 {}, chats by {template}{guesses}]",
            shown::path(model.model().path()),
            short(model.sha256())
        );
        models.push(match draft {
            Some(draft) => model.with_draft(draft),
            None => model,
        });
    }
    let address = address(&args.host, server.address());
    server.run(models, || {
        println!("listening on {address}");
        if args.open {
            open_in_browser(&address);
        }
    })?;
    note!("[stopped]");
    Ok(ExitCode::SUCCESS)
}

fn limits(args: &LimitArgs) -> Limits {
    Limits {
        max_batch: args.max_batch,
        queue: args.queue,
        body_bytes: args.max_body << 20,
        prompt_tokens: args.max_prompt.get(),
        request_time: Duration::from_secs(args.max_time),
        prefix_bytes: u128::from(args.prefix_cache) << 20,
    }
}

fn short(sha256: &str) -> &str {
    sha256.get(..16).unwrap_or(sha256)
}

/// Where a client on this machine finds the server.
fn address(host: &str, address: SocketAddr) -> String {
    let port = address.port();
    match address.ip() {
        ip if ip.is_unspecified() => format!("http://{}:{port}", IpAddr::V4(Ipv4Addr::LOCALHOST)),
        _ if host.parse::<IpAddr>().is_err() && !host.starts_with('[') => {
            format!("http://{}:{port}", on_one_line(host))
        }
        _ => format!("http://{address}"),
    }
}

/// Asks the desktop to show a page; it is no matter if there is none.
fn open_in_browser(address: &str) {
    let opener = if cfg!(target_os = "macos") {
        "open"
    } else if cfg!(windows) {
        "explorer"
    } else {
        "xdg-open"
    };
    let started =
        Command::new(opener).arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    if started.is_err() {
        note!("[--open: there is no {opener} here; open {address} by hand]");
    }
}
