//! Debian's Chromium, driven by its driver in the words of WebDriver (<https://www.w3.org/TR/webdriver2/>), and a server for a
//! page.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::Agent;

use crate::support::say_skipped;

/// Far longer than anything on a page takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// By this name WebDriver tells an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser that is gone after the test.
pub struct Browser {
    agent: Agent,
    /// Of the session.
    address: String,
    driver: Child,
    /// New and empty, so that nothing of a user's is read.
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser; `None` where Chromium or its driver is absent, with a line on stderr.
    pub fn start(test: &str) -> Option<Self> {
        let is_there = |program: &str| {
            Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
        };
        if let Some(program) = ["chromium", "chromedriver"].into_iter().find(|program| !is_there(program)) {
            say_skipped(test, &format!("no {program}: install Debian's packages chromium and chromium-driver"));
            return None;
        }
        let (driver, port) = Self::driver();
        let profile = TempDir::new().expect("a directory");
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--window-size=1280,900",
            &format!("--user-data-dir={}", profile.path().display()),
        ];
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        } } });
        let config = Agent::config_builder().http_status_as_error(false).proxy(None).timeout_global(Some(PATIENCE));
        let agent: Agent = config.build().into();
        let mut browser =
            Self { agent, address: format!("http://127.0.0.1:{port}/session"), driver, _profile: profile };
        let session = browser.ask("", capabilities);
        browser.address = format!("{}/{}", browser.address, session["sessionId"].as_str().expect("a session"));
        Some(browser)
    }

    /// A driver that listens, and its port. It draws a port on `::1` and ends where another process, a server of another
    /// test perhaps, has that of `127.0.0.1`; it is then started again, and draws another.
    fn driver() -> (Child, u16) {
        let mut said = String::new();
        for _ in 0..100 {
            let mut driver = Command::new("chromedriver")
                .arg("--port=0")
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("the driver starts");
            let mut lines = BufReader::new(driver.stdout.take().expect("its output")).lines();
            let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
                let port =
                    line.split("started successfully on port ").nth(1).map(|port| port.trim_end_matches('.').parse());
                said.push_str(&format!("{line}\n"));
                port?.ok()
            });
            if let Some(port) = port {
                // What it says later is read too, so that it never waits for a reader.
                std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
                return (driver, port);
            }
            let status = driver.wait().expect("its end");
            said.push_str(&format!("{status}\n"));
        }
        panic!("the driver names no port:\n{said}")
    }

    /// A command of WebDriver, and what it answers.
    fn ask(&self, path: &str, body: Value) -> Value {
        self.try_ask(path, &body).unwrap_or_else(|error| panic!("{path} {body}: {error}"))
    }

    fn try_ask(&self, path: &str, body: &Value) -> Result<Value, String> {
        let request = self.agent.post(format!("{}{path}", self.address)).content_type("application/json");
        let mut response = request.send(body.to_string()).map_err(|error| error.to_string())?;
        let is_success = response.status().is_success();
        let text =
            response.body_mut().with_config().limit(1 << 28).read_to_string().map_err(|error| error.to_string())?;
        let answer: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        if is_success { Ok(answer["value"].clone()) } else { Err(answer["value"]["message"].to_string()) }
    }

    /// The path of the first element of a selector.
    fn element(&self, selector: &str) -> String {
        let found = self.ask("/element", json!({ "using": "css selector", "value": selector }));
        format!("/element/{}", found[ELEMENT].as_str().unwrap_or_else(|| panic!("{selector}: {found}")))
    }

    /// Opens an address.
    pub fn open(&self, address: &str) {
        self.ask("/url", json!({ "url": address }));
    }

    /// What a function body returns.
    pub fn eval(&self, script: &str) -> Value {
        self.ask("/execute/sync", json!({ "script": script, "args": [] }))
    }

    /// Waits until an expression is true.
    pub fn wait(&self, expression: &str) {
        let begin = Instant::now();
        while self.eval(&format!("return Boolean({expression})")) != Value::Bool(true) {
            if begin.elapsed() > PATIENCE {
                let shown = self.eval("return document.body.innerText");
                panic!("`{expression}` did not become true; the page shows:\n{shown}\n{:?}", self.complaints());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Goes to a view by its tab, and waits until it is drawn.
    pub fn view(&self, name: &str) {
        self.click(&format!("#tab-{name}"));
        self.ready(name);
    }

    /// Waits until a view is drawn, without a word of anything that went wrong.
    pub fn ready(&self, name: &str) {
        self.wait(&format!("document.querySelector('main').dataset.ready === '{name}'"));
        let said =
            self.eval("return [...document.querySelectorAll('.place > .notice.bad')].map((bad) => bad.textContent)");
        assert_eq!(said, json!([]), "{name}");
    }

    /// Presses the first element of a selector, once it is there.
    pub fn click(&self, selector: &str) {
        self.wait(&format!("document.querySelector({})", json!(selector)));
        // Not under the header, which stays where it is.
        self.eval(&format!("document.querySelector({}).scrollIntoView({{ block: 'center' }})", json!(selector)));
        self.ask(&format!("{}/click", self.element(selector)), json!({}));
    }

    /// Types into an element, after what stands there has been taken out.
    pub fn fill(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.ask(&format!("{element}/clear"), json!({}));
        self.ask(&format!("{element}/value"), json!({ "text": text }));
    }

    /// Sends keys to an element.
    pub fn keys(&self, selector: &str, keys: &str) {
        self.ask(&format!("{}/value", self.element(selector)), json!({ "text": keys }));
    }

    /// The text of the first element of a selector.
    pub fn text(&self, selector: &str) -> String {
        let script = format!("return document.querySelector({}).textContent", json!(selector));
        self.eval(&script).as_str().unwrap_or_else(|| panic!("{selector}")).to_owned()
    }

    /// An attribute of it.
    pub fn attribute(&self, selector: &str, name: &str) -> String {
        let script = format!("return document.querySelector({}).getAttribute({})", json!(selector), json!(name));
        self.eval(&script).as_str().unwrap_or_else(|| panic!("{selector} {name}")).to_owned()
    }

    /// How many elements a selector has.
    pub fn count(&self, selector: &str) -> u64 {
        let script = format!("return document.querySelectorAll({}).length", json!(selector));
        self.eval(&script).as_u64().unwrap_or_default()
    }

    /// Warnings and errors of the console since the last call.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.ask("/se/log", json!({ "type": "browser" }));
        let lines = log.as_array().into_iter().flatten();
        lines
            .filter(|line| line["level"] != "INFO" && line["level"] != "DEBUG")
            .map(|line| line["message"].to_string())
            .collect()
    }

    /// Every address that pages have asked for since the last call, but those of data in the page itself, and those of the
    /// browser's own first page.
    pub fn requested(&self) -> Vec<String> {
        let log = self.ask("/se/log", json!({ "type": "performance" }));
        let events = log.as_array().into_iter().flatten().filter_map(|line| {
            serde_json::from_str::<Value>(line["message"].as_str()?).ok().map(|event| event["message"].clone())
        });
        let asked = events.filter(|event| event["method"] == "Network.requestWillBeSent");
        let addresses = asked.map(|event| event["params"]["request"]["url"].as_str().unwrap_or_default().to_owned());
        addresses.filter(|address| !address.starts_with("data:") && !address.starts_with("chrome:")).collect()
    }

    /// A command of the browser's own protocol.
    pub fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.ask("/goog/cdp/execute", json!({ "cmd": command, "params": parameters }))
    }

    /// Has the page so wide, as on a screen of that width.
    pub fn resize(&self, width: u32) {
        let device = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", device);
    }

    /// A picture of the whole page.
    pub fn picture(&self, width: u32, path: &Path) {
        self.eval("scrollTo(0, 0)");
        let height = self.eval("return document.documentElement.scrollHeight").as_u64().unwrap_or(900).min(4000);
        let clip = json!({ "x": 0, "y": 0, "width": width, "height": height, "scale": 1 });
        let found = self.devtools("Page.captureScreenshot", json!({ "captureBeyondViewport": true, "clip": clip }));
        let data = found["data"].as_str().expect("a picture");
        let bytes = base64::engine::general_purpose::STANDARD.decode(data).expect("base64");
        std::fs::write(path, bytes).expect("written");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Closes the browser; the driver would leave it running.
        let _ = self.agent.delete(&self.address).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
