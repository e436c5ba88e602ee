//! Generation by the libraries alone: an iterator of steps, and the text of each as soon as it is certain.
//!
//!     cargo run --release --example steps -- runs/tales/step-000880 "Once"

use std::error::Error;
use std::path::PathBuf;

use burn::tensor::Device;
use tril_infer::{GenerateOptions, Generator, SamplerConfig};
use tril_model::checkpoint;
use tril_text::{TextStream, Tokenizer};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let directory = PathBuf::from(args.next().ok_or("usage: steps CHECKPOINT PROMPT")?);
    let prompt = args.next().ok_or("usage: steps CHECKPOINT PROMPT")?;
    let gpt = checkpoint::load_model(&directory, &Device::flex())?;
    let tokenizer = Tokenizer::open(&directory.join(checkpoint::TOKENIZER))?;
    let options = GenerateOptions {
        sampler: SamplerConfig { temperature: 0.8, top_p: 0.95, ..SamplerConfig::default() },
        max_tokens: 20,
        stop_token: tokenizer.end_of_text(),
        alternatives: 3,
        ..GenerateOptions::default()
    };
    let mut text = TextStream::new(&tokenizer);
    for step in Generator::new(&gpt, &tokenizer.encode(&prompt)?, options)? {
        let step = step?;
        let piece = text.push(step.token)?.unwrap_or_default();
        let others: Vec<String> = step.alternatives.iter().map(|(id, _)| tokenizer.token_text(*id)).collect();
        println!("{:5}  {piece:12?}  ln p = {:6.3}  first choices: {others:?}", step.token, step.logprob);
    }
    Ok(())
}
