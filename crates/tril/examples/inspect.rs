//! A look inside a model while it reads a text: what it would predict after each block, where each head looks from the
//! last token, and what each head is worth.
//!
//!     cargo run --release -p tril --example inspect -- runs/tales "There was once a"

#![expect(clippy::print_stdout, reason = "this is what it does")]

use std::error::Error;

use tril::model::{ForwardContext, HeadId, Observation, WindowBatch};
use tril::{ComputeDevice, Model};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (path, text) = args.next().zip(args.next()).ok_or("usage: inspect RUN TEXT")?;
    let model = Model::open(path, &ComputeDevice::cpu())?;
    let gpt = model.gpt();
    let ids = model.tokenizer().encode(&text)?;
    let last = ids.len().checked_sub(1).filter(|last| *last > 0).ok_or("the text is shorter than two tokens")?;
    let inputs = gpt.inputs(&ids, 1); // [1, ids.len()]
    let name = |id: usize| model.tokenizer().token_text(id as u32);

    // One pass, whatever is to be seen of it: the observer keeps what it wants.
    let (mut residuals, mut looks) = (Vec::new(), Vec::new());
    let mut observer = |observation: Observation<'_>| match observation {
        Observation::Activation(activation) => {
            if let Some(blocks) = activation.residual_after() {
                residuals.push((blocks, activation.values.clone()));
            }
        }
        Observation::Attention(attention) => {
            let probs = attention.probs().narrow(2, last, 1).squeeze_dims::<2>(&[0, 2]); // [n_heads, keys]
            looks.push((attention.layer, attention.first_key, probs));
        }
    };
    gpt.forward_with(inputs.clone(), ForwardContext { observer: Some(&mut observer), ..ForwardContext::default() });

    println!("after {:?} the model would go on with:", name(ids[last] as usize));
    for (blocks, residual) in residuals {
        let logits = gpt.logit_lens(residual.narrow(1, last, 1)); // [1, 1, vocab_size]
        let logits = logits.try_into_vec_as::<f32>()?;
        println!("  {:?} after {blocks} blocks", name(largest(&logits)));
    }
    for (layer, first_key, probs) in looks {
        let keys = probs.dims()[1];
        for (head, probs) in probs.try_into_vec_as::<f32>()?.chunks(keys).enumerate() {
            let key = largest(probs);
            let token = name(ids[first_key + key] as usize);
            println!("  layer {layer}, head {head} looks most at {token:?}, {:.0} %", 100.0 * probs[key]);
        }
    }

    let window = WindowBatch { begin: 0, rows: 1, seq_len: last }; // all tokens but the first are predicted
    let loss = |disabled_heads: &[HeadId]| -> Result<f64, Box<dyn Error>> {
        let context = ForwardContext { disabled_heads, ..ForwardContext::default() };
        let losses = gpt.window_losses(&ids, &window, context).losses.try_into_vec_as::<f32>()?;
        Ok(losses.iter().map(|loss| f64::from(*loss)).sum::<f64>() / losses.len() as f64)
    };
    let whole = loss(&[])?;
    println!("the loss of the text is {whole:.3}");
    for layer in 0..model.config().n_layers {
        for head in 0..model.config().n_heads {
            let without = loss(&[HeadId { layer, head }])?;
            println!("  {:+.3} without head {head} of layer {layer}", without - whole);
        }
    }
    Ok(())
}

/// The place of the largest number.
fn largest(values: &[f32]) -> usize {
    (0..values.len()).max_by(|a, b| values[*a].total_cmp(&values[*b])).unwrap_or(0)
}
