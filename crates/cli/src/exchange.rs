//! `tril import` and `tril export`: models from other tools and for them.

use std::process::ExitCode;

use anyhow::{Context, Result};
use tril::{ComputeDevice, DataType, ExistingFiles, ExportFormat, ExportOptions, Gelu, Model};

use crate::args::{ExportArgs, FormatArg, ImportArgs};
use crate::open::{check_output, program, quoted};
use crate::{quantity, runs, shown};

/// Reads a model of another tool and writes it as a checkpoint.
pub fn import(args: &ImportArgs) -> Result<ExitCode> {
    let device = ComputeDevice::cpu();
    let max_seq_len = args.max_seq_len.map(|tokens| tokens as usize);
    let model = Model::open_shortened(&args.from, max_seq_len, &device)?;
    runs::note_notes(&model);
    model.save(&args.out, existing(args.force))?;
    let parameters = model.parameter_count();
    println!("read     {}", shown::path(&args.from));
    println!(
        "model    {} million parameters, context {}",
        quantity::significant(parameters as f64 / 1e6),
        model.config().max_seq_len
    );
    println!("tokens   {}", model.tokenizer().vocab_size());
    println!("written  {}", shown::path(&args.out));
    note!("next: {} sample {}", program(), quoted(&args.out));
    Ok(ExitCode::SUCCESS)
}

/// Writes a model for another tool.
pub fn export(args: &ExportArgs) -> Result<ExitCode> {
    if args.format == FormatArg::Gguf && !args.out.is_dir() {
        check_output("OUT", &args.out)?;
    }
    let model = runs::model(&args.checkpoint, &ComputeDevice::cpu())?;
    let gelu = if args.approximate_gelu { Gelu::Approximate } else { Gelu::AsItIs };
    let options = ExportOptions { format: args.format.into(), data_type: DataType::from(args.dtype), gelu };
    model.export(options, &args.out, existing(args.force)).with_context(|| args.checkpoint.display().to_string())?;
    println!("read     {}", shown::path(model.path()));
    println!("written  {} ({})", shown::path(&args.out), written(args.format));
    note!("next: {}", next(args));
    Ok(ExitCode::SUCCESS)
}

fn existing(force: bool) -> ExistingFiles {
    if force { ExistingFiles::Replace } else { ExistingFiles::Keep }
}

fn written(format: FormatArg) -> &'static str {
    match ExportFormat::from(format) {
        ExportFormat::Hf => "a directory for transformers",
        ExportFormat::Gguf => "a file for llama.cpp",
        ExportFormat::Llama2c => "model.bin and tokenizer.bin for run.c",
    }
}

/// How the other tool is called.
fn next(args: &ExportArgs) -> String {
    let out = quoted(&args.out);
    match ExportFormat::from(args.format) {
        ExportFormat::Hf => format!("AutoModelForCausalLM.from_pretrained({:?})", args.out.display().to_string()),
        ExportFormat::Gguf => format!("llama-server -m {out}"),
        ExportFormat::Llama2c => {
            let [model, tokenizer] = ["model.bin", "tokenizer.bin"].map(|name| quoted(&args.out.join(name)));
            format!("./run {model} -z {tokenizer}")
        }
    }
}
