//! `tril recipes`: the recipes that this program carries, as a list or one of them as its TOML.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use tril::{SHIPPED_RECIPES, shipped_recipe};

use crate::args::RecipesArgs;
use crate::output::line_writer;

pub fn run(args: &RecipesArgs) -> Result<ExitCode> {
    match &args.name {
        // As its file is, whatever the terminal.
        Some(name) => write!(std::io::stdout().lock(), "{}", shipped_recipe(name)?)?,
        None => {
            let mut out = line_writer();
            let width = SHIPPED_RECIPES.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
            for (name, text) in SHIPPED_RECIPES {
                writeln!(out, "{name:<width$}  {}", summary(text))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The first sentence of the comment that a recipe begins with.
fn summary(text: &str) -> String {
    let comment = text.lines().map_while(|line| line.strip_prefix("# ")).collect::<Vec<_>>().join(" ");
    comment.split_once(". ").map_or_else(|| comment.trim_end_matches('.').to_owned(), |(first, _)| first.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_recipe_is_told_in_one_sentence() {
        for (name, text) in SHIPPED_RECIPES {
            let summary = summary(text);
            assert!(summary.len() > 20 && !summary.ends_with('.'), "{name}: {summary:?}");
        }
    }
}
