//! A report in a browser, opened from a disk.

use serde_json::Value;

use super::browser::Browser;
use super::reports::{HOSTILE, data, with_bytes, working_model};
use crate::commands::test_dir::*;

fn report(test_dir: &TestDir, call: &str) -> (String, Value) {
    test_dir.stdout(call);
    let address = format!("file://{}", test_dir.path("out.html").canonicalize().expect("a file").display());
    (address, data(&test_dir.read("out.html")))
}

/// The bits of a number as the page writes them.
fn bits(value: &Value) -> String {
    format!("0x{:08x}", (value.as_f64().expect("a number") as f32).to_bits())
}

#[test]
fn every_view_of_a_report_shows_its_numbers_and_asks_for_nothing() {
    let Some(browser) = Browser::start("a report in a browser") else { return };
    let test_dir = TestDir::with_run();
    let (address, data) = report(&test_dir, "report run out.html --prompt onecatsawrain");
    browser.open(&address);
    browser.ready("steps");
    assert_eq!(browser.count("[role=tab]"), 5, "views 2 to 6");

    // View 2: the slider takes steps back, cells have the bits of the data.
    assert_says(&browser.text("#equal"), &["Every number is the same"]);
    assert_eq!(
        browser.attribute("#parallel-flops", "title").replace('\u{202f}', ""),
        data["steps"]["parallel"]["flops"].to_string()
    );
    assert_eq!(
        browser.attribute("#recomputed-bytes", "title").replace('\u{202f}', ""),
        data["steps"]["recomputed"]["bytes"].to_string()
    );
    let head: usize =
        browser.eval("return Number(document.querySelector('#steps-head').value)").as_u64().expect("a head") as usize;
    browser.keys("#one-pass", "\u{e010}\u{e015}\u{e011}\u{e014}"); // End, Down, Home, Right
    let [query, key] = cursor(&browser);
    assert_eq!(key, 1);
    let weight = &data["pass"]["attention"][head]["weights"][query][key];
    assert_says(&browser.text("#cell-pass"), &[&bits(weight)]);
    let row = &data["steps"]["attention"][head]["rows"][query];
    let first = row["first_key"].as_u64().expect("a position") as usize;
    let expected = if key >= first { bits(&row["weights"][key - first]) } else { "–".into() };
    assert_says(&browser.text("#cell-step"), &[&expected]);
    browser.eval("const s = document.querySelector('#step'); s.value = 3; s.dispatchEvent(new Event('input'))");
    assert_eq!(browser.text("#many-kept").split(' ').next(), Some("3"), "three columns are kept");
    browser.click("#play");
    browser.wait("Number(document.querySelector('#step').value) > 3");

    // View 3.
    browser.view("routes");
    browser.click("[data-head='3']");
    browser.keys("#triangle", "\u{e010}\u{e011}\u{e013}");
    let shown = browser.text("#weight-bits");
    let rows = data["pass"]["attention"][3]["weights"].as_array().expect("rows");
    assert!(rows.iter().any(|row| bits(&row[0]) == shown), "{shown}");
    let named: f64 = browser.attribute("[data-distance='0']", "title").parse().expect("a share");
    let own = rows.iter().enumerate().map(|(query, row)| row[query].as_f64().expect("a weight")).sum::<f64>()
        / rows.len() as f64;
    assert!((named - own).abs() < 1e-6, "weight on the token itself: {named}, {own}");
    browser.click("[data-off='1']");
    assert_eq!(
        browser.text("#loss-without"),
        format!("{:.4}", data["heads"]["heads"][1]["loss"].as_f64().expect("a loss"))
    );
    browser.click("button.lens[data-after='0'][data-position='2']");
    let target = 100.0 * data["pass"]["lens"][0]["rows"][2]["target"].as_f64().expect("a probability");
    assert!(
        browser.text("#lens-target").starts_with(&format!("{target:.1}")),
        "{target}, {}",
        browser.text("#lens-target")
    );

    // View 4: a press on a token shows the recorded change.
    browser.view("change");
    browser.click(".strip [data-index='5']");
    browser.wait("document.querySelector('#before') && document.querySelector('.token.chosen').dataset.index === '5'");
    browser.ready("change");
    let vocab_size = data["model"]["config"]["vocab_size"].as_u64().expect("a size");
    assert_says(
        &browser.text("#before").replace('\u{202f}', ""),
        &[&format!("{} logits at 5 positions", 5 * vocab_size), "no bit differs"],
    );
    assert_eq!(browser.count("td[data-position='4'].zero"), 3, "at every height");
    assert_eq!(browser.count("td[data-position='4']:not(.zero)"), 0);
    let moved = browser.attribute("[data-moved='5']", "title").parse::<f64>().expect("a share");
    assert_eq!(moved, data["changes"][4]["rows"][5]["moved"].as_f64().expect("a share"));

    // View 5.
    browser.view("training");
    let loss = data["training"][0]["evaluations"].as_array().expect("points").last().expect("one")["loss"]
        .as_f64()
        .expect("a loss");
    assert_eq!(browser.text(".last-loss"), format!("{loss:.4}"));
    browser.click("[data-sample='0']");
    assert_eq!(browser.text(".sample"), data["training"][0]["samples"][0]["text"].as_str().expect("a text"));

    // View 6.
    browser.view("proofs");
    assert_eq!(browser.count("[data-proof]"), 22);
    let passed =
        data["proofs"]["proofs"].as_array().expect("rows").iter().filter(|row| row["outcome"] == "pass").count();
    assert_eq!(browser.count(".proof.pass"), passed as u64);

    // Chinese, and back.
    browser.click("[data-language=zh]");
    browser.ready("proofs");
    assert_says(&browser.text("#all"), &["没有一项失败"]);
    assert_eq!(browser.attribute("html", "lang"), "zh-Hans");
    browser.click("[data-language=en]");
    // Tabs by the keyboard.
    browser.keys("#tab-proofs", "\u{e012}"); // Left
    browser.ready("training");

    assert_eq!(browser.complaints(), Vec::<String>::new());
    assert_eq!(browser.requested(), [address], "the file itself and nothing else");
}

/// The cell that the readout of view 2 names.
fn cursor(browser: &Browser) -> [usize; 2] {
    let told = browser.text("#cell .where");
    let mut numbers = told.split(|character: char| !character.is_ascii_digit()).filter_map(|word| word.parse().ok());
    [numbers.next().expect("a row"), numbers.next().expect("a column")]
}

#[test]
fn text_that_looks_like_a_script_stays_text() {
    let Some(browser) = Browser::start("a hostile text in a browser") else { return };
    let test_dir = with_bytes();
    test_dir.write("odd.txt", HOSTILE);
    let (address, _) = report(&test_dir, "report run out.html --text odd.txt");
    browser.open(&address);
    for view in ["steps", "routes", "change", "training", "proofs"] {
        browser.view(view);
        assert_eq!(browser.eval("return window.stolen === undefined"), true);
        assert_eq!(browser.count("main script, main img"), 0, "{view}");
    }
    browser.view("routes");
    let shown = browser
        .eval("return [...document.querySelectorAll('#by-token .token')].map((token) => token.textContent).join('')");
    assert!(
        shown.as_str().is_some_and(|shown| shown.starts_with("</script><script>window.stolen=1</script>")),
        "{shown}"
    );
    assert_eq!(browser.complaints(), Vec::<String>::new());
    assert_eq!(browser.requested(), [address]);
}

#[test]
fn the_pages_policy_lets_nothing_else_run_or_load() {
    let Some(browser) = Browser::start("the policy of a report") else { return };
    let test_dir = TestDir::with_run();
    let (address, _) = report(&test_dir, "report run out.html --prompt onecat");
    browser.open(&address);
    browser.ready("steps");
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    elsewhere.set_nonblocking(true).expect("it does not wait");
    let port = elsewhere.local_addr().expect("an address").port();
    browser.eval(&format!(
        "const s = document.createElement('script'); s.textContent = 'window.stolen = 1'; document.body.append(s);
         const i = document.createElement('img'); i.src = 'http://127.0.0.1:{port}/x'; document.body.append(i);",
    ));
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(browser.eval("return window.stolen === undefined"), true);
    let complaints = browser.complaints().join("\n");
    assert!(complaints.contains("Content Security Policy"), "{complaints}");
    assert!(elsewhere.accept().is_err(), "the picture was not asked for");
}

#[test]
fn a_report_with_a_model_of_the_lab_has_its_chain_of_thought() {
    let test_dir = TestDir::with_run();
    working_model(&test_dir.path("lab"));
    let (address, data) = report(&test_dir, "report run out.html --prompt onecat --working lab/parity-worked-1337");
    let tokens = data["working"]["tokens"].as_array().expect("tokens");
    let hidden: Vec<&Value> = data["working"]["hidden_ids"].as_array().expect("ids").iter().collect();
    assert_eq!(tokens.iter().map(|token| &token["id"]).collect::<Vec<_>>(), hidden);
    let Some(browser) = Browser::start("a chain of thought in a report") else { return };
    browser.open(&format!("{address}#working"));
    browser.ready("working");
    browser.click("[data-hidden=true]");
    assert_eq!(browser.text("#written"), tokens.len().to_string());
    assert_says(&browser.text("#same"), &["The ids are the same"]);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
