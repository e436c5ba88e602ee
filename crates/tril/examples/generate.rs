//! Several texts at once from one model: each piece as it becomes certain, why each ended, and what each token was
//! chosen from.
//!
//!     cargo run --release -p tril --example generate -- runs/tales "There was once" "The fox"

#![expect(clippy::print_stdout, reason = "this is what it does")]

use std::error::Error;
use std::num::NonZeroUsize;

use tril::{ComputeDevice, Model, StopTexts, TextEventKind};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("usage: generate RUN PROMPT…")?;
    let model = Model::open(path, &ComputeDevice::cpu())?;

    // Two texts go together at a time; the others wait for their turn.
    let mut generator = model.generator().with_batch_size(NonZeroUsize::new(2).ok_or("not zero")?);
    let prompts: Vec<String> = args.collect();
    for prompt in &prompts {
        let mut request = model.request(prompt)?;
        request.options.max_tokens = 40;
        request.options.sampler.temperature = 0.8;
        request.options.alternatives = 3;
        request.stop = StopTexts::new(["\n"])?;
        generator.add(request)?;
    }

    let mut texts = prompts.clone();
    for event in generator {
        let event = event?;
        match event.kind {
            TextEventKind::Token(token) => {
                let name = |id: u32| model.tokenizer().token_text(id);
                let others: Vec<String> =
                    token.alternatives.iter().map(|(id, p)| format!("{:?} {p:.2}", name(*id))).collect();
                let (chosen, logprob) = (name(token.sampled.token), token.sampled.logprob);
                println!("text {}: {chosen:?}, ln p = {logprob:.3}, of {}", event.request, others.join(", "));
            }
            TextEventKind::Text(piece) => texts[event.request].push_str(&piece),
            TextEventKind::Hidden(_) => {}
            TextEventKind::Finished(text) => {
                println!("text {} ended ({:?}) after {} tokens", event.request, text.finish, text.tokens);
            }
        }
    }
    for text in texts {
        println!("---\n{text}");
    }
    Ok(())
}
