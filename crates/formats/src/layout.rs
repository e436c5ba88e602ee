//! Which tensor of another tool holds which part of which parameter of ours: one table, read in both directions.
//!
//! Matrices here are `[in, out]`; other tools' are `[out, in]`, but for GPT-2's in Hugging Face form.

use std::ops::Range;

use tril_model::GptConfig;

use crate::form::{Architecture, Container, Form};

/// One tensor of another tool.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    /// Its name, without a prefix such as `model.`.
    pub name: String,
    /// Its shape, outermost first.
    pub shape: Vec<usize>,
    pub origin: Origin,
}

/// What a tensor of another tool is filled with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Origin {
    /// Columns of a parameter of ours, or elements of one that is a vector.
    Parameter { path: String, columns: Range<usize>, rows: Rows },
    /// One number throughout: a gain or a bias that ours does not have.
    Filled(f32),
}

/// In which order the rows of theirs are the columns of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// Theirs has the order of ours, axes included.
    AsOurs,
    /// Theirs has a row for each of our columns.
    OurColumns,
    /// As `OurColumns`, and within a head of this width the rows of a rotary pair are neighbours.
    NeighbouringPairs { d_head: usize },
}

/// All tensors of a model of a resolved config, in a form that it fits. In theirs there is each gain and bias that the form
/// demands.
pub(crate) fn layout(config: &GptConfig, form: Form) -> Vec<Entry> {
    let mut builder = Builder { config, form, entries: Vec::new() };
    builder.all();
    builder.entries
}

struct Builder<'a> {
    config: &'a GptConfig,
    form: Form,
    entries: Vec<Entry>,
}

/// Which gains and biases a norm or a matrix has.
#[derive(Clone, Copy, PartialEq)]
enum Demand {
    /// Theirs has it whether or not ours does.
    Always,
    /// Theirs has it where ours does.
    AsOurs,
    /// Theirs has it where this is so, whether or not ours does.
    If(bool),
}

impl Builder<'_> {
    fn all(&mut self) {
        let GptConfig { vocab_size, max_seq_len, d_model, n_layers, .. } = *self.config;
        let is_gpt2 = self.is_gpt2();
        let (embedding, positions, last_norm, head) = match (self.form.container, is_gpt2) {
            (Container::HuggingFace, true) => ("wte", "wpe", "ln_f", "lm_head"),
            (Container::HuggingFace, false) => ("embed_tokens", "", "norm", "lm_head"),
            (Container::Gguf, _) => ("token_embd", "position_embd", "output_norm", "output"),
        };
        self.same(&format!("{embedding}.weight"), "token_embedding.weight", &[vocab_size, d_model]);
        if is_gpt2 {
            self.same(&format!("{positions}.weight"), "position_embedding.weight", &[max_seq_len, d_model]);
        }
        for layer in 0..n_layers {
            self.block(layer);
        }
        self.norm(last_norm, "final_norm", d_model);
        if !self.config.tied_head {
            let columns = 0..vocab_size;
            self.matrix(&format!("{head}.weight"), "head.weight", d_model, columns, Rows::OurColumns);
        }
    }

    fn block(&mut self, layer: usize) {
        let GptConfig { n_heads, n_kv_heads, d_model, d_head, d_ff, qk_norm, .. } = *self.config;
        let names = Names::of(self.form);
        let ours = format!("blocks.{layer}");
        let theirs = format!("{}.{layer}", names.block);
        self.norm(&format!("{theirs}.{}", names.attention_norm), &format!("{ours}.attention_norm"), d_model);
        let (queries, keys) = (n_heads * d_head, n_kv_heads * d_head);
        let rows = self.plain_rows();
        let qkv = format!("{ours}.attention.qkv");
        let has_attention_bias = self.attention_bias();
        if self.is_gpt2() {
            let name = format!("{theirs}.{}", names.qkv[0]);
            self.linear(&name, &qkv, d_model, 0..queries + 2 * keys, rows, Demand::Always);
        } else {
            let rotary = if self.form.has_neighbouring_pairs() { Rows::NeighbouringPairs { d_head } } else { rows };
            let ranges = [0..queries, queries..queries + keys, queries + keys..queries + 2 * keys];
            for ((name, columns), rows) in names.qkv.iter().zip(ranges).zip([rotary, rotary, rows]) {
                self.linear(&format!("{theirs}.{name}"), &qkv, d_model, columns, rows, has_attention_bias);
            }
        }
        if qk_norm {
            for (name, ours_name) in [(names.q_norm, "q_norm"), (names.k_norm, "k_norm")] {
                let path = format!("{ours}.attention.{ours_name}");
                let gain = self.config.norm_gain.then(|| format!("{path}.gain"));
                self.vector(&format!("{theirs}.{name}.weight"), gain, d_head, 1.0);
            }
        }
        let output = format!("{ours}.attention.output");
        self.linear(&format!("{theirs}.{}", names.output), &output, queries, 0..d_model, rows, has_attention_bias);
        self.norm(&format!("{theirs}.{}", names.mlp_norm), &format!("{ours}.mlp_norm"), d_model);
        let has_mlp_bias = if self.is_gpt2() { Demand::Always } else { Demand::AsOurs };
        let up = format!("{ours}.mlp.up");
        let is_gated = self.config.mlp == tril_model::MlpKind::Swiglu;
        let ups: &[(&str, Range<usize>)] = match (is_gated, self.form.is_self_gated) {
            (true, _) => &[(names.gate, 0..d_ff), (names.up, d_ff..2 * d_ff)],
            (false, true) => &[(names.gate, 0..d_ff), (names.up, 0..d_ff)],
            (false, false) => &[(names.up, 0..d_ff)],
        };
        for (name, columns) in ups {
            self.linear(&format!("{theirs}.{name}"), &up, d_model, columns.clone(), rows, has_mlp_bias);
        }
        let down = format!("{ours}.mlp.down");
        self.linear(&format!("{theirs}.{}", names.down), &down, d_ff, 0..d_model, rows, has_mlp_bias);
    }

    fn is_gpt2(&self) -> bool {
        self.form.architecture == Architecture::Gpt2
    }

    /// GPT-2's `Conv1D` has its weights as ours are.
    fn plain_rows(&self) -> Rows {
        let is_conv = self.is_gpt2() && self.form.container == Container::HuggingFace;
        if is_conv { Rows::AsOurs } else { Rows::OurColumns }
    }

    fn attention_bias(&self) -> Demand {
        match self.form.container {
            _ if self.is_gpt2() => Demand::Always,
            // There one field speaks of all four.
            Container::HuggingFace => Demand::If(self.config.qkv_bias || self.config.output_bias),
            Container::Gguf => Demand::AsOurs,
        }
    }

    fn same(&mut self, name: &str, path: &str, shape: &[usize]) {
        let columns = 0..shape[shape.len() - 1];
        let origin = Origin::Parameter { path: path.to_owned(), columns, rows: Rows::AsOurs };
        self.entries.push(Entry { name: name.to_owned(), shape: shape.to_vec(), origin });
    }

    fn vector(&mut self, name: &str, path: Option<String>, width: usize, otherwise: f32) {
        let origin = match path {
            Some(path) => Origin::Parameter { path, columns: 0..width, rows: Rows::AsOurs },
            None => Origin::Filled(otherwise),
        };
        self.entries.push(Entry { name: name.to_owned(), shape: vec![width], origin });
    }

    fn norm(&mut self, name: &str, path: &str, width: usize) {
        let gain = self.config.norm_gain.then(|| format!("{path}.gain"));
        self.vector(&format!("{name}.weight"), gain, width, 1.0);
        if self.is_gpt2() {
            let bias = self.config.norm_bias.then(|| format!("{path}.bias"));
            self.vector(&format!("{name}.bias"), bias, width, 0.0);
        }
    }

    fn matrix(&mut self, name: &str, path: &str, d_input: usize, columns: Range<usize>, rows: Rows) {
        let width = columns.len();
        let shape = if rows == Rows::AsOurs { vec![d_input, width] } else { vec![width, d_input] };
        let origin = Origin::Parameter { path: path.to_owned(), columns, rows };
        self.entries.push(Entry { name: name.to_owned(), shape, origin });
    }

    fn linear(&mut self, name: &str, path: &str, d_input: usize, columns: Range<usize>, rows: Rows, bias: Demand) {
        self.matrix(&format!("{name}.weight"), &format!("{path}.weight"), d_input, columns.clone(), rows);
        let ours_has_it = self.has_bias(path);
        let is_there = match bias {
            Demand::Always => true,
            Demand::AsOurs => ours_has_it,
            Demand::If(is_there) => is_there,
        };
        if is_there {
            let width = columns.len();
            let origin = match ours_has_it {
                true => Origin::Parameter { path: format!("{path}.bias"), columns, rows },
                false => Origin::Filled(0.0),
            };
            self.entries.push(Entry { name: format!("{name}.bias"), shape: vec![width], origin });
        }
    }

    fn has_bias(&self, path: &str) -> bool {
        let GptConfig { qkv_bias, output_bias, mlp_bias, .. } = *self.config;
        match path.rsplit('.').next() {
            Some("qkv") => qkv_bias,
            Some("output") => output_bias,
            _ => mlp_bias,
        }
    }
}

/// What the tensors of a block are called.
struct Names {
    block: &'static str,
    attention_norm: &'static str,
    /// Queries, keys and values; of GPT-2 the first is all three.
    qkv: [&'static str; 3],
    q_norm: &'static str,
    k_norm: &'static str,
    output: &'static str,
    mlp_norm: &'static str,
    gate: &'static str,
    up: &'static str,
    down: &'static str,
}

impl Names {
    fn of(form: Form) -> Self {
        match (form.container, form.architecture) {
            (Container::HuggingFace, Architecture::Gpt2) => Self {
                block: "h",
                attention_norm: "ln_1",
                qkv: ["attn.c_attn"; 3],
                q_norm: "",
                k_norm: "",
                output: "attn.c_proj",
                mlp_norm: "ln_2",
                gate: "",
                up: "mlp.c_fc",
                down: "mlp.c_proj",
            },
            (Container::HuggingFace, _) => Self {
                block: "layers",
                attention_norm: "input_layernorm",
                qkv: ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
                q_norm: "self_attn.q_norm",
                k_norm: "self_attn.k_norm",
                output: "self_attn.o_proj",
                mlp_norm: "post_attention_layernorm",
                gate: "mlp.gate_proj",
                up: "mlp.up_proj",
                down: "mlp.down_proj",
            },
            (Container::Gguf, architecture) => Self {
                block: "blk",
                attention_norm: "attn_norm",
                qkv: match architecture {
                    Architecture::Gpt2 => ["attn_qkv"; 3],
                    _ => ["attn_q", "attn_k", "attn_v"],
                },
                q_norm: "attn_q_norm",
                k_norm: "attn_k_norm",
                output: "attn_output",
                mlp_norm: "ffn_norm",
                gate: "ffn_gate",
                up: "ffn_up",
                down: "ffn_down",
            },
        }
    }
}

impl Rows {
    /// Which of our columns, counted from the first of the entry's, the row `row` of theirs is.
    fn column(self, row: usize) -> usize {
        match self {
            Self::AsOurs | Self::OurColumns => row,
            Self::NeighbouringPairs { d_head } => {
                let (head, within) = (row / d_head, row % d_head);
                head * d_head + (within % 2) * (d_head / 2) + within / 2
            }
        }
    }
}

impl Entry {
    /// For each element of theirs, in order, where it stands in our parameter of so many columns.
    fn places(&self, our_columns: usize, mut visit: impl FnMut(usize, usize)) {
        let Origin::Parameter { columns, rows, .. } = &self.origin else { return };
        match (&self.shape[..], rows) {
            (&[n_rows, width], Rows::AsOurs) => {
                for row in 0..n_rows {
                    for column in 0..width {
                        visit(row * width + column, row * our_columns + columns.start + column);
                    }
                }
            }
            (&[n_rows, width], _) => {
                for row in 0..n_rows {
                    let column = columns.start + rows.column(row);
                    for input in 0..width {
                        visit(row * width + input, input * our_columns + column);
                    }
                }
            }
            _ => (0..columns.len()).for_each(|index| visit(index, columns.start + rows.column(index))),
        }
    }

    /// Theirs, made of our parameter.
    ///
    /// - ours: the parameter's values; `our_columns` of them a row
    pub fn of_ours(&self, ours: &[f32], our_columns: usize) -> Vec<f32> {
        let mut theirs = vec![0.0; self.shape.iter().product()];
        self.places(our_columns, |to, from| theirs[to] = ours[from]);
        theirs
    }

    /// Puts theirs into its place in our parameter.
    pub fn put(&self, theirs: &[f32], ours: &mut [f32], our_columns: usize) {
        self.places(our_columns, |from, to| ours[to] = theirs[from]);
    }

    /// Whether theirs stands already in its place in our parameter, to the last bit.
    pub fn agrees(&self, theirs: &[f32], ours: &[f32], our_columns: usize) -> bool {
        let mut agrees = true;
        self.places(our_columns, |from, to| agrees &= ours[to].to_bits() == theirs[from].to_bits());
        agrees
    }
}
