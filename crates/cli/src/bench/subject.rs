//! What `tril bench` measures: the model and the training step of a preset or of a recipe.

use std::path::Path;

use anyhow::{Context, Result};
use tril::Recipe;
use tril_model::GptConfig;
use tril_prove::bench::BenchShape;
use tril_text::{Tokenizer, TokenizerConfig, TokenizerKind};

use crate::args::{BenchOptions, Preset};
use crate::open::set_fields;

/// The characters of Tiny Shakespeare: the vocabulary where a recipe leaves it to characters of a text not read here.
const CHARACTERS: usize = 65;

/// A shape to be measured.
#[derive(Debug, Clone)]
pub struct Subject {
    /// What it is called: the preset's name or the recipe's path.
    pub name: String,
    pub shape: BenchShape,
}

/// How the shape of implementations in some hundred lines differs from nanoGPT's for a CPU.
const MICRO: [&str; 5] =
    ["model.n_layers=1", "model.d_model=64", "model.max_seq_len=16", "train.seq_len=16", "train.batch_size=16"];

impl Preset {
    /// Its recipe, and how the shape that PyTorch is measured at differs from it.
    fn recipe(self) -> (&'static str, &'static str, &'static [&'static str]) {
        match self {
            Self::CharCpu => ("char-cpu", "shakespeare_char", &[]),
            Self::Micro => ("micro", "shakespeare_char", &MICRO),
            // The batch is cut to what a CPU computes in seconds.
            Self::Baby => ("baby", "baby", &["train.batch_size=8", "train.micro_batches=8", "train.dropout=0"]),
        }
    }
}

impl Subject {
    /// The shape that the command line asks for.
    ///
    /// # Errors
    /// For a recipe that cannot be read or that no model or run can have.
    pub fn open(options: &BenchOptions) -> Result<Self> {
        let (name, recipe) = match &options.config {
            Some(path) => (path.display().to_string(), Recipe::open(path)?),
            None => {
                let (name, base, differences) = options.preset.recipe();
                let mut recipe = Recipe::shipped(base)?;
                recipe.set_all(differences)?;
                (name.to_owned(), recipe)
            }
        };
        let mut recipe = recipe;
        set_fields(&mut recipe, &options.set)?;
        recipe.train.check()?;
        recipe.optimizer.check()?;
        let GptConfig { vocab_size: known, .. } = recipe.model;
        let vocab_size = if known == 0 { vocab_size(&recipe.tokenizer)? } else { known };
        recipe.model = GptConfig { vocab_size, ..recipe.model }.resolve().with_context(|| name.clone())?;
        recipe.check_memory()?;
        let Recipe { model, train, optimizer, .. } = recipe;
        Ok(Self { name, shape: BenchShape { model, train, optimizer, weights: options.weights.format() } })
    }
}

/// How many tokens a recipe's tokenizer would have. No text is read for it.
fn vocab_size(config: &TokenizerConfig) -> Result<usize> {
    let end_of_text = usize::from(config.end_of_text);
    Ok(match config.kind {
        TokenizerKind::Char => CHARACTERS + end_of_text,
        TokenizerKind::Byte => 256 + end_of_text,
        TokenizerKind::Bpe => config.vocab_size,
        TokenizerKind::File => Tokenizer::open(Path::new(&config.path))?.vocab_size(),
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{BenchCommand, Cli, Command};

    fn subject(arguments: &str) -> Subject {
        let cli = Cli::try_parse_from(["tril", "bench", "train"].into_iter().chain(arguments.split_whitespace()));
        match cli.expect("sound arguments").command {
            Command::Bench(BenchCommand::Train(options)) => Subject::open(&options).expect("a sound shape"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn presets_have_the_shapes_that_torch_baseline_has() {
        // SHAPES of scripts/torch_baseline.py: layers, heads, width, seq_len, rows.
        for (name, expected) in
            [("char-cpu", [4, 4, 128, 64, 12]), ("micro", [1, 4, 64, 16, 16]), ("baby", [6, 6, 384, 256, 8])]
        {
            let BenchShape { model, train, optimizer, .. } = subject(&format!("--preset {name}")).shape;
            let shape = [model.n_layers, model.n_heads, model.d_model, train.seq_len, train.batch_size];
            assert_eq!(shape, expected, "{name}");
            assert_eq!((model.vocab_size, model.max_seq_len, model.d_ff), (65, train.seq_len, 4 * model.d_model));
            assert_eq!((train.dropout, optimizer.max_grad_norm), (0.0, 1.0), "{name}");
            let plain = GptConfig { d_head: 0, d_ff: 0, n_kv_heads: 0, vocab_size: 0, ..model.clone() };
            let shape = [plain.max_seq_len, plain.n_layers, plain.n_heads, plain.d_model];
            let [max_seq_len, n_layers, n_heads, d_model] = shape;
            let gpt2 = GptConfig { max_seq_len, n_layers, n_heads, d_model, ..GptConfig::default() };
            assert_eq!(plain, gpt2, "{name}: layer norm, learned positions, exact GELU, no bias, a tied head");
        }
    }

    #[test]
    fn a_field_that_is_set_is_measured_so() {
        let BenchShape { model, train, .. } =
            subject("--preset baby --set train.batch_size=16 --set model.vocab_size=99").shape;
        assert_eq!((train.batch_size, model.vocab_size), (16, 99));
    }
}
