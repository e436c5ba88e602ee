//! How fast candle trains the shapes of `tril bench`, on the CPU: the same model as scripts/torch_baseline.py, nanoGPT's.
//!
//! ```text
//! RUSTFLAGS="-C target-cpu=native" cargo run --release --manifest-path scripts/candle_baseline/Cargo.toml -- char-cpu 5
//! ```
//!
//! It repeats optimizer steps on random tokens (forward, backward, clipping to a global norm of 1, AdamW) for so many seconds
//! after a warm-up of a fifth of them, and prints the median rate in tokens a second as one JSON object.
//! `RAYON_NUM_THREADS` says how many threads.

use std::time::Instant;

use candle_core::backprop::GradStore;
use candle_core::{D, DType, Device, Result, Tensor, Var};
use candle_nn::ops::softmax;
use candle_nn::{AdamW, LayerNorm, Module, Optimizer, ParamsAdamW, loss};

const VOCAB_SIZE: usize = 65;

/// Sizes of a model and of the batch that trains it.
#[derive(Clone, Copy)]
struct Shape {
    layers: usize,
    heads: usize,
    width: usize,
    seq_len: usize,
    rows: usize,
    params: usize,
}

fn shape(preset: &str) -> Option<Shape> {
    let [layers, heads, width, seq_len, rows, params] = match preset {
        "char-cpu" => [4, 4, 128, 64, 12, 804_096],
        "micro" => [1, 4, 64, 16, 16, 54_528],
        "baby" => [6, 6, 384, 256, 8, 10_745_088],
        _ => return None,
    };
    Some(Shape { layers, heads, width, seq_len, rows, params })
}

/// Parameters, as they are made: matrices decay, the others do not.
struct Params {
    device: Device,
    matrices: Vec<Var>,
    gains: Vec<Var>,
}

impl Params {
    fn matrix(&mut self, rows: usize, columns: usize, std: f64) -> Result<Tensor> {
        let var = Var::randn_f64(0.0, std, (rows, columns), DType::F32, &self.device)?;
        self.matrices.push(var.clone());
        Ok(var.as_tensor().clone())
    }

    fn norm(&mut self, width: usize) -> Result<LayerNorm> {
        let var = Var::ones(width, DType::F32, &self.device)?;
        self.gains.push(var.clone());
        Ok(LayerNorm::new_no_bias(var.as_tensor().clone(), 1e-5))
    }

    fn all(&self) -> impl Iterator<Item = &Var> {
        self.matrices.iter().chain(&self.gains)
    }
}

/// Matrices are `[d_input, d_output]`, so that a product takes them as they lie.
struct Block {
    attention_norm: LayerNorm,
    qkv: Tensor,
    output: Tensor,
    mlp_norm: LayerNorm,
    up: Tensor,
    down: Tensor,
}

struct Gpt {
    shape: Shape,
    tokens: Tensor,
    positions: Tensor,
    blocks: Vec<Block>,
    final_norm: LayerNorm,
    /// 0 where a position sees another, −∞ where not: `[seq_len, seq_len]`
    mask: Tensor,
}

/// `[rows, seq_len, d_input]` times `[d_input, d_output]`, as one product.
fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let (rows, seq_len, d_input) = x.dims3()?;
    x.reshape((rows * seq_len, d_input))?.matmul(weight)?.reshape((rows, seq_len, weight.dim(1)?))
}

impl Gpt {
    fn new(shape: Shape, params: &mut Params) -> Result<Self> {
        let Shape { layers, width, seq_len, .. } = shape;
        let residual = 0.02 / (2.0 * layers as f64).sqrt();
        let (tokens, positions) = (params.matrix(VOCAB_SIZE, width, 0.02)?, params.matrix(seq_len, width, 0.02)?);
        let block = |_| {
            Ok(Block {
                attention_norm: params.norm(width)?,
                qkv: params.matrix(width, 3 * width, 0.02)?,
                output: params.matrix(width, width, residual)?,
                mlp_norm: params.norm(width)?,
                up: params.matrix(width, 4 * width, 0.02)?,
                down: params.matrix(4 * width, width, residual)?,
            })
        };
        let blocks = (0..layers).map(block).collect::<Result<_>>()?;
        let sees = |i: usize| (0..seq_len).map(move |j| if j > i { f32::NEG_INFINITY } else { 0.0 });
        let mask: Vec<f32> = (0..seq_len).flat_map(sees).collect();
        let mask = Tensor::from_vec(mask, (seq_len, seq_len), &params.device)?;
        Ok(Self { shape, tokens, positions, blocks, final_norm: params.norm(width)?, mask })
    }

    fn attention(&self, block: &Block, x: &Tensor) -> Result<Tensor> {
        let Shape { heads, width, seq_len, rows, .. } = self.shape;
        let qkv = linear(x, &block.qkv)?;
        let part = |index: usize| {
            let part = qkv.narrow(2, index * width, width)?;
            part.reshape((rows, seq_len, heads, width / heads))?.transpose(1, 2)?.contiguous()
        };
        let (queries, keys, values) = (part(0)?, part(1)?, part(2)?); // [rows, heads, seq_len, d_head]
        let scale = 1.0 / ((width / heads) as f64).sqrt();
        let scores = (queries.matmul(&keys.t()?)? * scale)?.broadcast_add(&self.mask)?;
        let mixed = softmax(&scores, D::Minus1)?.matmul(&values)?;
        linear(&mixed.transpose(1, 2)?.reshape((rows, seq_len, width))?, &block.output)
    }

    /// The mean loss in nats a token; inputs and targets are `[rows · seq_len]`.
    fn loss(&self, inputs: &Tensor, targets: &Tensor) -> Result<Tensor> {
        let Shape { width, seq_len, rows, .. } = self.shape;
        let embedded = self.tokens.index_select(inputs, 0)?.reshape((rows, seq_len, width))?;
        let mut x = embedded.broadcast_add(&self.positions)?;
        for block in &self.blocks {
            x = (&x + self.attention(block, &block.attention_norm.forward(&x)?)?)?;
            let raised = linear(&block.mlp_norm.forward(&x)?, &block.up)?.gelu_erf()?;
            x = (&x + linear(&raised, &block.down)?)?;
        }
        let logits = linear(&self.final_norm.forward(&x)?, &self.tokens.t()?)?;
        loss::cross_entropy(&logits.reshape((rows * seq_len, VOCAB_SIZE))?, targets)
    }
}

/// Scales all gradients so that their norm is at most 1.
fn clip(params: &Params, grads: &mut GradStore) -> Result<()> {
    let mut squares = 0.0;
    for var in params.all() {
        let grad = grads.get(var).expect("each parameter has a gradient");
        squares += f64::from(grad.sqr()?.sum_all()?.to_scalar::<f32>()?);
    }
    if squares > 1.0 {
        for var in params.all() {
            let scaled = (grads.get(var).expect("each parameter has a gradient") / squares.sqrt())?;
            grads.insert(var, scaled);
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asked = arguments.first().and_then(|preset| shape(preset)).zip(arguments.get(1).and_then(|s| s.parse().ok()));
    let Some((shape, seconds)): Option<(Shape, f64)> = asked else {
        eprintln!("candle-baseline: give char-cpu, micro or baby, and how many seconds to measure");
        std::process::exit(2);
    };
    let device = Device::Cpu;
    let mut params = Params { device: device.clone(), matrices: Vec::new(), gains: Vec::new() };
    let gpt = Gpt::new(shape, &mut params)?;
    let count: usize = params.all().map(|var| var.elem_count()).sum();
    assert_eq!(count, shape.params, "parameters here, and in tril");
    let settings = |weight_decay| ParamsAdamW { lr: 1e-3, beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay };
    let mut optimizers = [
        AdamW::new(params.matrices.clone(), settings(0.1))?,
        AdamW::new(params.gains.clone(), settings(0.0))?,
    ];
    let tokens = shape.rows * shape.seq_len;
    let ids: Vec<u32> = (0..=tokens as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 16) % VOCAB_SIZE as u32).collect();
    let inputs = Tensor::new(&ids[..tokens], &device)?;
    let targets = Tensor::new(&ids[1..], &device)?;
    let (mut first, mut last) = (None, 0.0);
    let mut times = Vec::new();
    for (budget, fewest) in [(seconds / 5.0, 1), (seconds, 3)] {
        times.clear();
        let begin = Instant::now();
        while times.len() < fewest || begin.elapsed().as_secs_f64() < budget {
            let step = Instant::now();
            let loss = gpt.loss(&inputs, &targets)?;
            let mut grads = loss.backward()?;
            clip(&params, &mut grads)?;
            for optimizer in &mut optimizers {
                optimizer.step(&grads)?;
            }
            last = loss.to_scalar::<f32>()?;
            first.get_or_insert(last);
            times.push(step.elapsed().as_secs_f64());
        }
    }
    times.sort_by(f64::total_cmp);
    let rate = tokens as f64 / times[times.len() / 2];
    let first = first.unwrap_or(last);
    println!(r#"{{"candle": "0.11", "params": {count}, "train_tok_s": {rate}, "first_loss": {first}, "last_loss": {last}}}"#);
    Ok(())
}
