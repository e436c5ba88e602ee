//! What every shipped recipe can be exported to. The head comment of a recipe that can be exported to nothing says why not.

use tril::{DataConfig, Recipe, SHIPPED_RECIPES, shipped_recipe};
use tril_data::Corpus;

use super::*;

/// A model of a recipe as it begins, with the tokenizer that it learns from this text, and what it can be exported to.
fn exports(recipe: &str) -> Vec<(ExportFormat, bool, String)> {
    let recipe = Recipe::shipped(recipe).expect("shipped");
    let corpus = Corpus::open(&DataConfig::default().source).expect("the stories");
    let tokenizer = Tokenizer::build(&recipe.tokenizer, &corpus.texts()).expect("a tokenizer");
    let config = GptConfig { vocab_size: tokenizer.vocab_size(), n_layers: 1, ..recipe.model };
    let gpt = Gpt::new(config, 1, &Device::flex()).expect("a model");
    let model = Model::new(gpt, Arc::new(tokenizer), "memory").expect("they fit");
    let dir = tempfile::tempdir().expect("a directory");
    let export = |format: ExportFormat| {
        let done = model.export(ExportOptions::new(format), &dir.path().join(format.name()), ExistingFiles::Keep);
        (format, done.is_ok(), done.err().map_or(String::new(), |error| error.to_string()))
    };
    ExportFormat::ALL.into_iter().map(export).collect()
}

#[test]
fn every_shipped_recipe_can_be_exported_to_llama_cpp_or_transformers_or_says_why_not() {
    for (name, _) in SHIPPED_RECIPES {
        let found = exports(name);
        let fits = found.iter().any(|(format, fits, _)| *fits && *format != ExportFormat::Llama2c);
        let text = shipped_recipe(name).expect("shipped");
        let head: String = text.lines().take_while(|line| line.starts_with('#')).collect();
        assert!(fits || head.contains("tril export"), "{name}: {found:?}");
    }
}

#[test]
fn the_default_recipe_goes_to_all_three() {
    for (format, fits, reason) in exports("tales") {
        assert!(fits, "{format}: {reason}");
    }
}
