//! A served page in a browser: the same views, and what only a live page can: writing, other texts, other tokens, proofs.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tril::{ComputeDevice, Model};
use tril_serve::page::{self, PageSource, ServedPage, WriteEvent, WriteRequest};

use super::browser::Browser;
use super::reports::{HOSTILE, with_bytes, working_model};
use crate::commands::test_dir::*;

fn open(path: &Path) -> Model {
    Model::open(path, &ComputeDevice::cpu()).expect("a run")
}

fn served(source: PageSource) -> ServedPage {
    ServedPage::start(source).expect("a port")
}

#[test]
fn a_text_is_written_and_gone_on_with_from_another_candidate() {
    let Some(browser) = Browser::start("writing in a browser") else { return };
    let test_dir = TestDir::with_run();
    let model = open(&test_dir.path("run"));
    let served = served(PageSource::new(model.clone()));
    browser.open(&served.address);
    browser.ready("write");
    browser.fill("#prompt", "one cat");
    browser.fill("#max_tokens", "12");
    browser.fill("#seed", "5");
    browser.click("#go");
    browser.wait("document.querySelector('main').dataset.writing === 'no' && document.querySelector('#uniform')");
    let written = |request: &WriteRequest| {
        let mut tokens = Vec::new();
        page::write(&model, request, &mut |event| {
            if let WriteEvent::Token(token) = event {
                tokens.push(token);
            }
            true
        })
        .expect("it writes");
        tokens
    };
    let request = WriteRequest { prompt: "one cat".into(), max_tokens: 12, seed: 5, ..WriteRequest::default() };
    let expected = written(&request);
    let shown =
        || browser.eval("return [...document.querySelectorAll('#writing button')].map((token) => token.textContent)");
    let texts = |tokens: &[page::WrittenToken]| -> Value {
        json!(tokens.iter().map(|token| token.text.replace('\n', "↵")).collect::<Vec<_>>())
    };
    assert_eq!(shown(), texts(&expected));
    // The fourth token: its draw, its part of the line, its candidates.
    browser.click("#writing [data-index='3']");
    let token = &expected[3];
    assert_eq!(browser.text("#uniform"), format!("{:.6}", token.uniform.expect("drawn")));
    assert_eq!(browser.text("#interval"), format!("[{:.6}, {:.6})", token.cdf_interval[0], token.cdf_interval[1]));
    assert_eq!(browser.count("#token .bars li:not(.rest)"), token.candidates.len() as u64);
    // Another candidate in its place.
    let other = token.candidates.iter().find(|other| other.id != token.id).expect("another");
    browser.click(&format!("#token .take[data-id='{}']", other.id));
    browser.wait("document.querySelector('main').dataset.writing === 'no' && document.querySelector('#token .bars')");
    let mut ids = model.tokenizer().encode_prompt("one cat").expect("letters");
    ids.extend(expected[..3].iter().map(|token| token.id).chain([other.id]));
    // What stood before it stays, and can be pressed as before.
    let rest = texts(&written(&WriteRequest { ids, ..request.clone() }));
    let mut whole = texts(&expected[..3]).as_array().cloned().expect("texts");
    whole.push(json!(other.text.replace('\n', "↵")));
    whole.extend(rest.as_array().cloned().expect("texts"));
    assert_eq!(shown(), Value::from(whole));
    browser.click("#writing [data-index='3']");
    assert_says(&browser.text("#token"), &["You took it"]);
    browser.click("#writing [data-index='1']");
    assert_eq!(browser.text("#uniform"), format!("{:.6}", expected[1].uniform.expect("drawn")));
    // At temperature 0 nothing is drawn.
    browser.eval("const t = document.querySelector('#temperature'); t.value = 0; t.dispatchEvent(new Event('input'))");
    std::thread::sleep(std::time::Duration::from_millis(600));
    browser.wait("document.querySelector('main').dataset.writing === 'no'");
    browser.click("#writing [data-index='6']");
    assert_says(&browser.text("#token"), &["At temperature 0 nothing is drawn"]);
    assert_eq!(browser.complaints(), Vec::<String>::new());
    let outside = |asked: &String| !asked.starts_with(&served.address);
    assert_eq!(browser.requested().into_iter().filter(outside).collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn every_view_of_a_served_page_shows_what_the_library_computes_of_a_new_text() {
    let Some(browser) = Browser::start("a served page in a browser") else { return };
    let test_dir = TestDir::with_run();
    test_dir
        .stdout("train smoke.toml --data text.txt --out other --set data.validation_fraction=0.1 --set train.seed=7");
    let model = open(&test_dir.path("run"));
    let served = served(PageSource::new(model.clone()).with_runs([test_dir.path("other")]));
    browser.open(&format!("{}#steps", served.address));
    browser.ready("steps");
    browser.fill("#text", "catsawtwo");
    browser.click("#look");
    browser.wait(
        "document.querySelector('.stepname') && document.querySelector('.stepname').textContent.includes('of 9')",
    );
    let steps = page::steps(&model, "catsawtwo").expect("steps");
    assert_eq!(browser.attribute("#cached-bytes", "title").replace('\u{202f}', ""), steps.cached.bytes.to_string());
    assert_says(&browser.text("#equal"), &["to the last bit"]);

    // A text that the vocabulary cannot write is told, and can be mended.
    browser.fill("#text", "catsaw%");
    browser.click("#look");
    browser.wait("document.querySelector('.place > .notice.bad')");
    assert_says(&browser.text(".place > .notice.bad"), &["%"]);
    browser.fill("#text", "catsawtwo");
    browser.click("#look");
    browser.wait(
        "document.querySelector('.stepname') && document.querySelector('.stepname').textContent.includes('of 9')",
    );

    browser.view("routes");
    let heads = page::heads(&model, "catsawtwo").expect("heads");
    browser.click("[data-off='2']");
    assert_eq!(browser.text("#loss-without"), format!("{:.4}", heads.heads[2].loss));
    assert_eq!(browser.text("#loss-with"), format!("{:.4}", heads.loss));

    browser.view("change");
    browser.click(".strip [data-index='4']");
    browser.wait("document.querySelector('.token.chosen').dataset.index === '4'");
    browser.fill("#replacement", "y");
    browser.click("#replace");
    browser.wait("document.querySelector('#now').textContent.includes('y')");
    let id = model.tokenizer().encode("y").expect("a letter")[0];
    let change = page::change(&model, "catsawtwo", 4, id).expect("a change");
    let moved: f64 = browser.attribute("[data-moved='4']", "title").parse().expect("a share");
    assert_eq!(moved, change.rows[4].moved);
    assert_eq!(
        browser.attribute("td[data-after='2'][data-position='8']", "data-different"),
        change.residuals[2].different[8].to_string()
    );
    browser.fill("#replacement", "two letters");
    browser.click("#replace");
    browser.wait("document.querySelector('.edit .notice.bad')");
    assert_says(&browser.text(".edit .notice.bad"), &["11 tokens"]);
    // The refused request is in the console, as any answer of 400 is.
    assert!(browser.complaints().iter().all(|line| line.contains("400")));

    browser.view("training");
    assert_eq!(browser.count(".last-loss"), 2, "both runs");

    browser.view("proofs");
    browser.click("#prove");
    browser
        .wait("document.querySelectorAll('[data-proof]').length === 22 && !document.querySelector('#prove').disabled");
    let proofs = page::proofs(&model, None).expect("proofs");
    let passed = proofs.report.count(tril::prove::ProofOutcome::Pass);
    assert_eq!(browser.count(".proof.pass"), passed as u64);

    browser.view("working");
    assert_eq!(browser.count("#train-parity"), 1, "no model of the lab is open");
    browser.click("#train-parity");
    browser.wait("document.querySelector('#same')");
    assert_says(&browser.text("#same"), &["The ids are the same"]);
    // That there is none is an answer of 404, which is in the console too.
    assert!(browser.complaints().iter().all(|line| line.contains("404")));
    let outside = |asked: &String| !asked.starts_with(&served.address);
    assert_eq!(browser.requested().into_iter().filter(outside).collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn a_chain_of_thought_is_hidden_and_shown_and_its_tokens_are_the_same() {
    let test_dir = TestDir::with_run();
    let working = open(&working_model(&test_dir.path("lab")));
    let problem = "01101001101010010110";
    let found = page::working(&working, problem).expect("an answer");
    let ids: Vec<u32> = found.tokens.iter().map(|token| token.id).collect();
    assert_eq!(ids, found.hidden_ids);
    assert!(found.tokens.iter().filter(|token| token.hidden).count() == found.probe.hidden.hidden_tokens);
    let Some(browser) = Browser::start("a chain of thought in a browser") else { return };
    let served = served(PageSource::new(open(&test_dir.path("run"))).with_working(working));
    browser.open(&format!("{}#working", served.address));
    browser.ready("working");
    browser.fill("#problem", problem);
    browser.click("#ask");
    browser.wait("document.querySelector('#reading') && document.querySelector('#reading').textContent.startsWith('01101001101010010110=')");
    assert_eq!(browser.text("#written"), found.tokens.len().to_string());
    assert_says(&browser.text("#same"), &["The ids are the same"]);
    let visible = "return [...document.querySelectorAll('#reading .token')].filter((token) => !token.hidden).map((token) => token.textContent).join('')";
    let all: String = found.tokens.iter().map(|token| token.text.as_str()).collect();
    assert_eq!(browser.eval(visible), json!(all));
    browser.click("[data-hidden=true]");
    let said: String = found.tokens.iter().filter(|token| !token.hidden).map(|token| token.text.as_str()).collect();
    assert_eq!(browser.eval(visible), json!(said));
    assert_eq!(browser.text("#written"), found.tokens.len().to_string(), "as many are written");
    browser.fill("#problem", "12");
    browser.click("#ask");
    browser.wait("document.querySelector('#found .notice.bad')");
    assert_says(&browser.text("#found .notice.bad"), &["20 bits"]);
    assert!(browser.complaints().iter().all(|line| line.contains("400")));
}

#[test]
fn a_hostile_text_stays_text_on_a_served_page() {
    let Some(browser) = Browser::start("a hostile text on a served page") else { return };
    let test_dir = with_bytes();
    let served = served(PageSource::new(open(&test_dir.path("run"))));
    browser.open(&format!("{}#change", served.address));
    browser.ready("change");
    let script = "const area = document.querySelector('#text'); area.value = arguments[0]";
    browser.eval(&script.replace("arguments[0]", &json!(HOSTILE).to_string()));
    browser.click("#look");
    browser.wait("document.querySelector('.strip') && document.querySelector('.strip').textContent.startsWith('</script><script>')");
    for view in ["steps", "routes", "write", "change"] {
        browser.view(view);
        assert_eq!(browser.eval("return window.stolen === undefined"), true);
        assert_eq!(browser.count("main script, main img"), 0, "{view}");
    }
    browser.view("write");
    browser.eval(&format!(
        "const p = document.querySelector('#prompt'); p.value = {}; p.dispatchEvent(new Event('input'))",
        json!(HOSTILE)
    ));
    browser.click("#go");
    browser.wait("document.querySelector('main').dataset.writing === 'no' && document.querySelector('#uniform')");
    assert_eq!(browser.eval("return window.stolen === undefined"), true);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_key_is_asked_for_where_the_server_asks_for_one() {
    let Some(browser) = Browser::start("a page that needs a key") else { return };
    let test_dir = TestDir::with_run();
    let served = served(PageSource::new(open(&test_dir.path("run"))));
    browser.open(&served.address);
    browser.ready("write");
    // What a server with a key answers.
    browser.eval(
        "const real = window.fetch;
         window.fetch = (path, request) => request.headers.authorization === 'Bearer secret'
           ? real(path, request) : Promise.resolve(new Response('{\"error\":{\"message\":\"a key\"}}', { status: 401 }))",
    );
    browser.click("#tab-training");
    browser.wait("document.querySelector('dialog[open] input')");
    browser.fill("dialog input", "wrong");
    browser.click("dialog button");
    browser.wait("document.querySelector('dialog[open] input') && document.querySelector('dialog input').value === ''");
    browser.fill("dialog input", "secret");
    browser.click("dialog button");
    browser.ready("training");
    assert_eq!(browser.count(".last-loss"), 1);
}

#[test]
fn requests_that_cannot_be_are_refused_with_one_message() {
    let test_dir = TestDir::with_run();
    let served = served(PageSource::new(open(&test_dir.path("run"))));
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
    let post = |path: &str, content_type: &str, body: &str| {
        let request = agent.post(format!("{}{path}", served.address)).content_type(content_type);
        let mut response = request.send(body).expect("an answer");
        let text = response.body_mut().read_to_string().expect("a text");
        (response.status().as_u16(), text)
    };
    let json = "application/json";
    for (path, content_type, body, status, says) in [
        ("page/pass", json, "{\"text\": \"one%\"}", 400, "%"),
        ("page/pass", json, "{\"text\": \"o\"}", 400, "two tokens"),
        ("page/pass", json, "{\"text\": \"one cat\", \"more\": 1}", 422, "more"),
        ("page/pass", json, "{\"text\": ", 400, "JSON"),
        ("page/pass", "text/plain", "{\"text\": \"one cat\"}", 415, "Content-Type"),
        ("page/change", json, "{\"text\": \"one cat\", \"position\": 99, \"id\": 0}", 400, "7 tokens"),
        ("page/change", json, "{\"text\": \"one cat\", \"position\": 1, \"id\": 999999}", 400, "vocabulary"),
        ("page/change", json, "{\"text\": \"one cat\", \"position\": 1}", 400, "either an id or a replacement"),
        ("page/working", json, "{\"problem\": \"1+1\"}", 404, "tril lab sums"),
    ] {
        let (found, text) = post(path, content_type, body);
        assert_eq!(found, status, "{path} {body}: {text}");
        let told: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_says(told["error"]["message"].as_str().expect("a message"), &[says]);
    }
    assert_eq!(post("page/pass", json, &format!("{{\"text\": \"{}\"}}", "a".repeat(300_000))).0, 413);
    let (_, text) = post("page/write", json, "{\"temperature\": -1}");
    assert_says(&text, &["data: ", "\"type\":\"error\"", "temperature"]);
    for (path, status) in
        [("", 200), ("page/assets/main.js", 200), ("page/assets/../lib.rs", 404), ("page/assets/x.js", 404)]
    {
        let response = agent.get(format!("{}{path}", served.address)).call().expect("an answer");
        assert_eq!(response.status().as_u16(), status, "{path}");
        if status == 200 {
            let policy = response.headers()["content-security-policy"].to_str().expect("a policy");
            assert_says(policy, &["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"]);
        }
    }
}

/// The checkpoint and other runs in TRIL_PAGE, separated by commas, a model of the lab in TRIL_PAGE_WORKING.
fn by_hand() -> PageSource {
    let paths: Vec<PathBuf> = std::env::var("TRIL_PAGE").expect("TRIL_PAGE").split(',').map(PathBuf::from).collect();
    let source = PageSource::new(open(&paths[0])).with_runs(paths[1..].iter().cloned());
    match std::env::var_os("TRIL_PAGE_WORKING") {
        Some(working) => source.with_working(open(Path::new(&working))),
        None => source,
    }
}

/// A page to look at, until it is stopped.
#[test]
#[ignore = "serves until it is stopped"]
fn a_page_to_look_at() {
    let served = served(by_hand());
    eprintln!("{}", served.address);
    std::thread::sleep(std::time::Duration::from_secs(3600));
}

/// Pictures of every view, to be looked at: of the page in TRIL_PAGE, into the directory TRIL_PAGE_PICTURES, in both languages,
/// at two widths, light and dark.
#[test]
#[ignore = "pictures for people"]
fn pictures_of_every_view() {
    let Some(browser) = Browser::start("pictures of the page") else { return };
    let directory = PathBuf::from(std::env::var_os("TRIL_PAGE_PICTURES").expect("TRIL_PAGE_PICTURES"));
    let served = served(by_hand());
    let wanted = std::env::var("TRIL_PAGE_VIEWS").unwrap_or("write,steps,routes,change,training,proofs,working".into());
    for (language, scheme, width) in
        [("en", "light", 1280), ("zh", "dark", 1280), ("zh", "light", 390), ("en", "dark", 390)]
    {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        browser.devtools("Emulation.setEmulatedMedia", features);
        for view in wanted.split(',') {
            browser.resize(width);
            browser.open("about:blank");
            browser.open(&format!("{}?lang={language}#{view}", served.address));
            browser.ready(view);
            // Drawn again, if the width has come later than the page.
            std::thread::sleep(std::time::Duration::from_millis(400));
            browser.ready(view);
            match view {
                "write" => {
                    browser.fill("#prompt", "Once there was");
                    browser.click("#go");
                    browser.wait(
                        "document.querySelector('main').dataset.writing === 'no' && document.querySelector('.bars')",
                    );
                    browser.click("#writing [data-index='4']");
                }
                "proofs" => {
                    browser.click("#prove");
                    browser.wait("document.querySelectorAll('[data-proof]').length === 22");
                }
                // Half-way, so that the cache is seen to grow.
                "steps" => {
                    browser.eval(
                        "const s = document.querySelector('#step'); s.value = Math.round(s.max * 0.65); s.dispatchEvent(new Event('input'))",
                    );
                }
                _ => {}
            }
            browser.picture(width, &directory.join(format!("{view}-{width}-{language}-{scheme}.png")));
        }
    }
}
