//! What `run.c` of llama2.c would read: sizes, order of rows, and a tokenizer whose greedy merges by score give our tokens.

use std::collections::HashMap;

use tril_data::Corpus;

use super::*;

/// `model.bin` and `tokenizer.bin` of a model.
fn files(model: &Model) -> (Vec<u8>, Vec<u8>) {
    let dir = tempfile::tempdir().expect("a directory");
    let out = exported(model, dir.path(), ExportOptions::new(ExportFormat::Llama2c));
    (std::fs::read(out.join("model.bin")).expect("read"), std::fs::read(out.join("tokenizer.bin")).expect("read"))
}

fn form() -> GptConfig {
    GptConfig { d_model: 24, d_head: 0, rope_theta: 10_000.0, norm_eps: 1e-5, ..llama() }
}

fn integers(bytes: &[u8]) -> Vec<i32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// Pieces with their scores, as `build_tokenizer` reads them.
fn pieces(bytes: &[u8]) -> Vec<(Vec<u8>, f32)> {
    let mut rest = &bytes[4..];
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (score, length) = (floats(&rest[..4])[0], integers(&rest[4..8])[0] as usize);
        assert!(length > 0, "run.c reads no piece of no length");
        pieces.push((rest[8..8 + length].to_vec(), score));
        rest = &rest[8 + length..];
    }
    pieces
}

/// The ids of a text as `encode` makes them: a space before it, a character a token or its bytes, then the best merge until
/// there is none.
fn run_c_ids(pieces: &[(Vec<u8>, f32)], text: &str) -> Vec<usize> {
    let ids: HashMap<&[u8], usize> = pieces.iter().enumerate().map(|(id, (piece, _))| (piece.as_slice(), id)).collect();
    let mut tokens = vec![ids[b" ".as_slice()]];
    for character in text.chars() {
        let bytes = character.to_string().into_bytes();
        match ids.get(bytes.as_slice()) {
            Some(id) => tokens.push(*id),
            None => tokens.extend(bytes.iter().map(|byte| usize::from(*byte) + 3)),
        }
    }
    loop {
        let mut best: Option<(f32, usize, usize)> = None;
        for at in 0..tokens.len().saturating_sub(1) {
            let joined = [&pieces[tokens[at]].0[..], &pieces[tokens[at + 1]].0[..]].concat();
            if let Some(id) = ids.get(joined.as_slice())
                && pieces[*id].1 > best.map_or(-1e10, |(score, _, _)| score)
            {
                best = Some((pieces[*id].1, at, *id));
            }
        }
        let Some((_, at, id)) = best else { return tokens };
        tokens[at] = id;
        tokens.remove(at + 1);
    }
}

#[test]
fn sizes_and_rows_are_in_run_cs_order() {
    for tied_head in [true, false] {
        let model = noisy(GptConfig { tied_head, ..form() }, tokenizer(TokenizerKind::Bpe));
        let GptConfig { vocab_size, max_seq_len, n_layers, n_heads, n_kv_heads, d_model, d_ff, .. } = *model.config();
        let (weights, tokenizer) = files(&model);
        let sizes = [d_model, d_ff, n_layers, n_heads, n_kv_heads].map(|size| size as i32);
        let vocab = if tied_head { vocab_size as i32 } else { -(vocab_size as i32) };
        assert_eq!(integers(&weights[..28]), [&sizes[..], &[vocab, max_seq_len as i32]].concat());
        let kv = n_kv_heads * d_model / n_heads;
        let block = 2 * d_model + 2 * d_model * d_model + 2 * d_model * kv + 3 * d_model * d_ff;
        let tables = if tied_head { 1 } else { 2 };
        let angles = max_seq_len * d_model / n_heads;
        assert_eq!(weights.len(), 28 + 4 * (tables * vocab_size * d_model + n_layers * block + d_model + angles));
        // The first rows of the embedding are those of the tokens that the pieces name.
        let pieces = pieces(&tokenizer);
        assert_eq!(pieces.len(), vocab_size);
        let embedding = tril_model::parameters::list(&**model.gpt());
        let (_, rows) = embedding.iter().find(|(path, _)| path == "token_embedding.weight").expect("an embedding");
        let rows: Vec<f32> = rows.clone().try_into_vec::<f32>().expect("f32");
        let row = |id: u32| &rows[id as usize * d_model..][..d_model];
        let theirs = floats(&weights[28..]);
        let end = model.tokenizer().end_of_text().expect("one");
        assert_eq!(&theirs[d_model..2 * d_model], row(end));
        for byte in [b' ', b'a', 0xE7] {
            let ours = (0..vocab_size as u32)
                .find(|id| model.tokenizer().byte_len(*id) == 1 && model.tokenizer().token_text(*id) == shown(byte));
            let place = usize::from(byte) + 3;
            assert_eq!(pieces[place].0, [byte]);
            assert_eq!(&theirs[place * d_model..][..d_model], row(ours.expect("a token for each byte")));
        }
    }
}

fn shown(byte: u8) -> String {
    if byte.is_ascii() { char::from(byte).to_string() } else { format!("<0x{byte:02X}>") }
}

#[test]
fn run_c_makes_the_tokens_of_every_story_that_are_made_here() {
    let corpus = Corpus::open("tales").expect("the stories");
    let recipe = tril::Recipe::shipped("tales").expect("shipped");
    let tokenizer = Tokenizer::build(&recipe.tokenizer, &corpus.texts()).expect("a tokenizer");
    let model = noisy(GptConfig { n_layers: 1, ..form() }, tokenizer);
    let (_, file) = files(&model);
    let pieces = pieces(&file);
    let mut compared = 0;
    for document in corpus.documents.iter().step_by(20) {
        let text = document.text.as_str();
        let theirs: Vec<u8> = run_c_ids(&pieces, text).iter().flat_map(|id| pieces[*id].0.clone()).collect();
        assert_eq!(theirs, format!(" {text}").into_bytes());
        let ours = model.tokenizer().encode(&format!(" {text}")).expect("ids");
        let ours: Vec<usize> = ours.iter().map(|id| model.tokenizer().byte_len(*id)).collect();
        let theirs: Vec<usize> = run_c_ids(&pieces, text).iter().map(|id| pieces[*id].0.len()).collect();
        assert_eq!(theirs, ours, "{text}");
        compared += ours.len();
    }
    assert!(compared > 10_000, "{compared}");
}

#[test]
fn what_run_c_does_not_have_is_named() {
    let kinds = [
        (form(), TokenizerKind::Char, "tokenizer.kind = char"),
        (form(), TokenizerKind::Byte, "vocab_size = 257"),
        (GptConfig { rope_theta: 500.0, ..form() }, TokenizerKind::Bpe, "rope_theta = 500"),
        (GptConfig { norm_eps: 1e-6, ..form() }, TokenizerKind::Bpe, "norm_eps"),
        (GptConfig { qk_norm: true, ..form() }, TokenizerKind::Bpe, "qk_norm = true"),
        (GptConfig { mlp: MlpKind::Relu2, ..form() }, TokenizerKind::Bpe, "mlp = relu2"),
        (GptConfig { window: 4, ..form() }, TokenizerKind::Bpe, "window = 4"),
        (GptConfig { d_head: 8, ..form() }, TokenizerKind::Bpe, "d_head = 8"),
        (gpt2(), TokenizerKind::Bpe, "positions = learned"),
        (GptConfig { qkv_bias: true, ..form() }, TokenizerKind::Bpe, "qkv_bias = true"),
    ];
    for (config, kind, expected) in kinds {
        let model = noisy(config, tokenizer(kind));
        let dir = tempfile::tempdir().expect("a directory");
        let options = ExportOptions::new(ExportFormat::Llama2c);
        let error = model.export(options, &dir.path().join("x"), ExistingFiles::Keep).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
}
