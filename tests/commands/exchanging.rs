//! `tril import`, `export` and `info` as a user meets them; what the files hold is in `formats`.

use std::fs;

use serde_json::Value;

use super::test_dir::{TRAIN_DOCUMENTS, TestDir, assert_says, stdout};

fn fixture(name: &str) -> String {
    format!("{}/../../tests/fixtures/formats/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A run that has learnt where documents end, whose window is as long as its context.
fn with_run() -> TestDir {
    let test_dir = TestDir::new();
    test_dir.tril(&format!("{TRAIN_DOCUMENTS} --set model.window=16 --set model.mlp=swiglu")).assert().success();
    test_dir
}

#[test]
fn a_model_of_another_tool_is_imported_and_works_in_place_as_well_as_its_checkpoint() {
    let test_dir = TestDir::new();
    let foreign = fixture("qwen3");
    let told = test_dir.stdout(&format!("import {foreign} mine"));
    assert_says(&told, &["read     ", "million parameters", "written  mine"]);
    test_dir.write("short.txt", "The cat's in the hat.\n");
    for command in ["sample M --seed 3 --max-tokens 20 The", "eval M short.txt", "score M short.txt --color never"] {
        let of = |model: &str| test_dir.stdout(&command.replace('M', model)).replace(model, "M");
        assert_eq!(of(&foreign), of("mine"), "{command}");
    }
    test_dir.stdout(&format!("prove {foreign} --text short.txt"));
    let receipt = format!("sample {foreign} --max-tokens 5 --receipt receipt.json");
    test_dir.stdout(&receipt);
    test_dir.stdout(&format!("verify {foreign} receipt.json"));
    assert!(test_dir.path("mine/chat_template.jinja").exists());
    let message = test_dir.refused(&format!("import {foreign} mine"));
    assert_says(&message, &["mine", "already"]);
    test_dir.stdout(&format!("import {foreign} mine --force"));
    // What somebody has downloaded is nobody else's to replace.
    fs::create_dir(test_dir.path("theirs")).expect("a directory");
    for name in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"] {
        fs::copy(format!("{foreign}/{name}"), test_dir.path("theirs").join(name)).expect("copied");
    }
    assert_says(&test_dir.refused("import theirs theirs --force"), &["theirs", "already"]);
    fs::copy(format!("{}/model.gguf", fixture("gguf")), test_dir.path("theirs.gguf")).expect("copied");
    assert_says(&test_dir.refused("export mine theirs.gguf --format gguf --force"), &["theirs.gguf", "already"]);
    test_dir.stdout(&format!("import {foreign} shorter --max-seq-len 7"));
    let info: Value = serde_json::from_str(&test_dir.stdout("info shorter --json")).expect("JSON");
    assert_eq!(info["config"]["max_seq_len"], 7);
    let message = test_dir.refused(&format!("import {} other --max-seq-len 7", fixture("gpt2")));
    assert_says(&message, &["max_seq_len = 7", "learned"]);
}

#[test]
fn a_shard_that_is_missing_is_told_in_one_message() {
    let test_dir = TestDir::new();
    fs::create_dir(test_dir.path("llama")).expect("a directory");
    for entry in fs::read_dir(fixture("llama")).expect("a directory").flatten() {
        fs::copy(entry.path(), test_dir.path("llama").join(entry.file_name())).expect("copied");
    }
    // The fixture has no tokenizer, which is told first.
    assert_says(&test_dir.refused("sample llama"), &["llama", "no tokenizer.json"]);
    let tokenizer = fs::read_to_string(format!("{}/tokenizer.json", fixture("qwen3"))).expect("read");
    fs::write(test_dir.path("llama/tokenizer.json"), tokenizer).expect("written");
    assert_says(&test_dir.refused("sample llama"), &["271 tokens", "vocab_size = 37"]);
}

#[test]
fn a_run_is_exported_to_each_tool_and_comes_back_with_the_same_hash() {
    let test_dir = with_run();
    let info = |model: &str| -> Value {
        serde_json::from_str(&test_dir.stdout(&format!("info {model} --json"))).expect("JSON")
    };
    let hash = info("run")["hashes"]["model"].clone();
    for (format, out) in [("hf", "hf"), ("gguf", "model.gguf")] {
        let told = test_dir.stdout(&format!("export run {out} --format {format}"));
        assert_says(&told, &["read     run", &format!("written  {out}")]);
        test_dir.stdout(&format!("import {out} from-{format}"));
        assert_eq!(info(&format!("from-{format}"))["hashes"]["model"], hash, "{format}");
        let sample = |model: &str| test_dir.stdout(&format!("sample {model} --max-tokens 30 --seed 5"));
        assert_eq!(sample(out), sample("run"), "{format}");
    }
    let message = test_dir.refused("export run llama2c --format llama2c");
    assert_says(&message, &["run", "cannot be written as llama2c", "tokenizer.kind = char"]);
    assert_says(&test_dir.refused("export run hf --format hf"), &["hf", "already"]);
    assert_says(&test_dir.refused("export run hf8 --format hf --dtype q8_0"), &["dtype = q8_0"]);
    assert_says(&test_dir.refused("export run nowhere/x.gguf --format gguf"), &["nowhere"]);
}

#[test]
fn info_tells_of_a_run_of_a_directory_and_of_a_file() {
    let test_dir = with_run();
    let told = test_dir.stdout("info run");
    let rows = [
        "parameters",
        "token embedding",
        "tokenizer",
        "texts begin with",
        "cache",
        "however long",
        "trained     on text.txt: 6 of 6 steps",
    ];
    assert_says(&told, &rows);
    assert_says(&told, &["exports to  hf: yes", "gguf: yes", "llama2c: no", "\nsha256      ", "\noptimizer   "]);
    assert!(told.lines().all(|line| line.chars().count() <= 80), "{told}");
    test_dir.stdout("export run model.gguf --format gguf --dtype bf16");
    assert_says(&test_dir.stdout("info model.gguf"), &["stored as   llama", "BF16", "F32", "no record of a run"]);
    let gpt2 = test_dir.stdout(&format!("info {}", fixture("gpt2")));
    assert_says(&gpt2, &["stored as   gpt2", "F16", "position embedding", "gguf: yes"]);
    let json: Value = serde_json::from_str(&test_dir.stdout("info run --json")).expect("JSON");
    assert_eq!(json["training"]["steps"], 6);
    assert_eq!(json["training"]["tokens"], 6 * 4 * 16);
    let kinds = json["parameters"].as_array().expect("kinds");
    let sum: u64 = kinds.iter().filter_map(|kind| kind["count"].as_u64()).sum();
    assert_eq!(json["parameters_total"], sum);
    assert_eq!(json["cache"][0]["bytes"], json["cache_bytes_per_token"].as_u64().expect("a number") * 16);
    assert_eq!(json["exports"][2]["fits"], false);
}

#[test]
fn tokens_of_a_text_are_counted_by_the_tokenizer_of_a_model_of_another_tool() {
    let test_dir = TestDir::new();
    test_dir.write("short.txt", "The cat's in the hat.\n");
    fs::create_dir(test_dir.path("words")).expect("a directory");
    for name in ["vocab.json", "merges.txt"] {
        fs::copy(format!("{}/{name}", fixture("gpt2")), test_dir.path("words").join(name)).expect("copied");
    }
    let tokens = |of: &str| -> Value {
        let told = stdout(test_dir.tril("data stats short.txt --json --tokenizer").arg(of));
        serde_json::from_str::<Value>(&told).expect("JSON")["tokenizer"]["tokens"].clone()
    };
    let counted = tokens("words");
    assert!(counted.as_u64().is_some_and(|tokens| tokens > 5 && tokens < 22), "{counted}");
    assert_eq!(tokens(&fixture("gpt2")), counted);
}
