//! `tril eval`: the loss of a text under a checkpoint.

use std::process::ExitCode;

use anyhow::{Context, Result};
use tril_train::evaluate;

use crate::args::EvalArgs;
use crate::open;

/// Windows evaluated at once.
const BATCH_SIZE: usize = 12;

pub fn run(args: &EvalArgs) -> Result<ExitCode> {
    let (device, _) = open::device(&args.compute)?;
    let open::Checkpoint { gpt, tokenizer, path } = open::checkpoint(&args.checkpoint, &device)?;
    let text = open::text(&args.file)?;
    let ids = tokenizer.encode(&text).with_context(|| args.file.display().to_string())?;
    let bytes = text.len() - ids.first().map_or(0, |first| tokenizer.byte_len(*first)).min(text.len());
    let evaluation = evaluate(&gpt, &ids, bytes, gpt.config().max_seq_len, BATCH_SIZE)
        .with_context(|| args.file.display().to_string())?;
    if args.json {
        println!("{}", serde_json::to_string(&evaluation)?);
    } else {
        println!("{} under {}", args.file.display(), path.display());
        println!("loss           {:.4} nats a token", evaluation.loss);
        println!("perplexity     {:.3}", evaluation.perplexity);
        println!("bits per byte  {:.4}", evaluation.bits_per_byte);
        println!("over           {} tokens, {} bytes", evaluation.tokens, evaluation.bytes);
    }
    Ok(ExitCode::SUCCESS)
}
