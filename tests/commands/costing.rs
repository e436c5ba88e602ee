//! `tril cost`: the same tokens by three routes, in a table, as JSON and as a picture. How fast they are is no matter of
//! tests.

use serde_json::Value;

use super::test_dir::*;

fn json(output: &str) -> Value {
    serde_json::from_str(output).unwrap_or_else(|error| panic!("{error}: {output}"))
}

fn number(value: &Value, field: &str) -> f64 {
    value[field].as_f64().unwrap_or_else(|| panic!("no number `{field}` in {value}"))
}

#[test]
fn the_json_has_every_pass_of_three_routes_that_agree() {
    let test_dir = TestDir::with_run(); // a window of 8, and no end
    let found = json(&test_dir.stdout("cost run --json --threads 1"));
    assert_eq!((&found["agree"], &found["tolerance"]), (&Value::from(true), &Value::from("equal_bits")));
    assert_eq!([number(&found, "prompt_tokens"), number(&found, "new_tokens")], [1.0, 32.0], "four windows");
    assert_eq!([number(&found, "window"), number(&found, "threads"), number(&found, "seed")], [8.0, 1.0, 1337.0]);
    let routes = found["routes"].as_array().expect("routes");
    let names: Vec<&str> = routes.iter().filter_map(|route| route["route"].as_str()).collect();
    assert_eq!(names, ["recompute", "cached", "chunked"]);
    for route in routes {
        let passes = route["passes"].as_array().expect("passes");
        for field in ["flops", "bytes", "seconds"] {
            let sum: f64 = passes.iter().map(|pass| number(pass, field)).sum();
            assert!((number(route, field) / sum - 1.0).abs() < 1e-9 && sum > 0.0, "{field}: {route}");
        }
        assert_eq!(passes.iter().map(|pass| number(pass, "tokens")).sum::<f64>(), 32.0);
        assert_eq!(route["agreement"].is_null(), route["route"] == "recompute", "{route}");
    }
    let cached = routes[1]["passes"].as_array().expect("passes");
    assert_eq!(cached[8]["flops"], cached[31]["flops"], "constant from the window on: {cached:?}");
    assert!(number(&routes[0], "flops") > 10.0 * number(&routes[1], "flops"));

    let other = json(&test_dir.stdout("cost run --json --max-tokens 5 --prompt saw --seed 7"));
    assert_eq!(
        [number(&other, "prompt_tokens"), number(&other, "new_tokens"), number(&other, "seed")],
        [3.0, 5.0, 7.0]
    );
}

#[test]
fn the_table_has_a_row_for_each_part_of_the_context_and_says_what_it_shows() {
    let test_dir = TestDir::with_run();
    let table = test_dir.stdout("cost run --max-tokens 20 --prefill-chunk 3");
    assert!(table.replace('\\', "/").starts_with("run/step-000006 on cpu"), "{table}");
    assert_says(&table, &["a prompt of 1 token and 20 generated, seed 1337; a query sees 8 tokens"]);
    assert_says(&table, &["the first 11 tokens are known and enter in chunks of 3", "FLOP a token", "B read a token"]);
    assert_says(
        &table,
        &["ms a token", "pass  the same 20 tokens", "to the last bit", "b at 20 positions", "c at 13 positions"],
    );
    for row in ["1–3", "4–6", "7–9", "19–20", "all"] {
        let line = table.lines().find(|line| line.trim_start().starts_with(&format!("{row} ")));
        let line = line.unwrap_or_else(|| panic!("a row {row}: {table}"));
        assert_eq!(line.split_whitespace().count(), 10, "{line}");
    }
    for line in table.lines() {
        assert!(line.chars().count() <= 100 && line == line.trim_end(), "`{line}`");
    }
    assert!(!table.contains("FAIL"), "{table}");
    let one = test_dir.stdout("cost run --max-tokens 1");
    assert_says(&one, &["pass  the same 1 token by all three"]);
}

#[test]
fn a_model_with_learned_positions_is_measured_up_to_the_end_of_its_context() {
    let test_dir = TestDir::new();
    test_dir.stdout(&format!("{TRAIN} --set model.positions=learned --set model.window=0"));
    let found = json(&test_dir.stdout("cost run --json"));
    assert_eq!((number(&found, "new_tokens"), &found["window"], &found["agree"]), (16.0, &Value::Null, &true.into()));
    let message = test_dir.refused("cost run --max-tokens 17");
    assert_says(&message, &["a context of 16 tokens", "a prompt of 1 and 17 new", "at most 16 fit"]);
    let message = test_dir.refused_command(test_dir.tril("cost run").args(["--prompt", &text()[..40]]));
    assert_says(&message, &["16 tokens", "prompt of 40", "give a shorter one"]);
}

#[test]
fn the_picture_is_svg_with_both_diagrams_and_needs_nothing_else() {
    let test_dir = TestDir::with_run();
    let table = test_dir.stdout("cost run --svg cost.svg");
    assert_says(&table, &["plot  cost.svg"]);
    let svg = test_dir.read("cost.svg");
    assert!(svg.trim_start().starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
    assert_says(&svg, &["floating-point operations", "FLOP a token", "ms a token", "tokens of context"]);
    assert_says(&svg, &["without a cache", "with the cache", "prefill in chunks"]);
    assert!(svg.matches("<polyline").count() >= 6, "three lines in each diagram");
    assert!(!svg.contains("href") && !svg.contains("NaN"), "{svg}");
    assert!(json(&test_dir.stdout("cost run --svg cost.svg --json")).is_object(), "JSON alone on standard output");
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let test_dir = TestDir::with_run();
    for tokens in ["0", "99999"] {
        assert_says(
            &test_dir.refused(&format!("cost run --max-tokens {tokens}")),
            &["--max-tokens", tokens, "a whole number from 1 to 65535"],
        );
    }
    assert_says(&test_dir.refused("cost run --prefill-chunk 0"), &["--prefill-chunk"]);
    assert_says(&test_dir.refused("cost run --svg none/cost.svg"), &["--svg none/cost.svg", "no directory none"]);
    assert_says(&test_dir.refused("cost run --prompt 猫"), &["prompt", "'猫' (U+732B)"]);
    assert_says(&test_dir.refused("cost none"), &["none"]);
}
