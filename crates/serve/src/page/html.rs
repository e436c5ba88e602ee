//! The page as a file: HTML, a style sheet and modules, by themselves for the server, or as one file with recorded data.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::{PageError, Report};

const STYLE: &str = include_str!("../../page/page.css");
const BODY: &str = include_str!("../../page/body.html");

/// The modules, each after those that it imports.
const MODULES: [(&str, &str); 15] = [
    ("chinese.js", include_str!("../../page/chinese.js")),
    ("words.js", include_str!("../../page/words.js")),
    ("dom.js", include_str!("../../page/dom.js")),
    ("source.js", include_str!("../../page/source.js")),
    ("triangle.js", include_str!("../../page/triangle.js")),
    ("tokens.js", include_str!("../../page/tokens.js")),
    ("chart.js", include_str!("../../page/chart.js")),
    ("write.js", include_str!("../../page/write.js")),
    ("steps.js", include_str!("../../page/steps.js")),
    ("routes.js", include_str!("../../page/routes.js")),
    ("change.js", include_str!("../../page/change.js")),
    ("training.js", include_str!("../../page/training.js")),
    ("proofs.js", include_str!("../../page/proofs.js")),
    ("working.js", include_str!("../../page/working.js")),
    ("main.js", include_str!("../../page/main.js")),
];

/// The page without data may have so many bytes.
pub const PAGE_BYTES: usize = 300_000;

/// A style sheet or module by its name, with its content type.
pub fn asset(name: &str) -> Option<(&'static str, &'static str)> {
    if name == "page.css" {
        return Some(("text/css; charset=utf-8", STYLE));
    }
    let module = MODULES.iter().find(|(module, _)| *module == name);
    module.map(|(_, text)| ("text/javascript; charset=utf-8", *text))
}

/// The bytes of a report without its data.
pub fn page_bytes() -> usize {
    script().len() + STYLE.len() + live_html().len()
}

/// The page as the server sends it.
pub fn live_html() -> String {
    let head = "<link rel=\"stylesheet\" href=\"page/assets/page.css\">\n\
        <script type=\"module\" src=\"page/assets/main.js\"></script>\n";
    html("tril", head, "")
}

/// The page as one file that needs no other, with what it shows. The file's own policy lets nothing be loaded, and nothing run
/// but the page's script; data are a block that no browser runs, in which no `<` stands.
///
/// # Errors
/// [`PageError::Json`].
pub fn report_html(report: &Report) -> Result<String, PageError> {
    let script = script();
    let policy = format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; img-src data:; base-uri 'none'; form-action 'none'",
        hash(&script),
        hash(STYLE)
    );
    let head = format!("<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n<style>{STYLE}</style>\n");
    let data = in_block(&serde_json::to_string(report)?);
    let end = format!(
        "<script type=\"application/json\" id=\"data\">{data}</script>\n<script type=\"module\">{script}</script>\n"
    );
    Ok(html(&format!("tril: {}", report.model.name), &head, &end))
}

fn html(title: &str, head: &str, end: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n\
         <title>{}</title>\n{head}</head>\n<body>\n{BODY}{end}</body>\n</html>\n",
        escaped(title)
    )
}

/// All modules as one: what they import stands before them.
fn script() -> String {
    let mut script = String::new();
    for (_, module) in MODULES {
        for line in module.lines().filter(|line| !line.starts_with("import ")) {
            script.push_str(line.strip_prefix("export ").unwrap_or(line));
            script.push('\n');
        }
    }
    script
}

/// JSON that can stand in a script block: nothing in it ends the block, begins a comment or ends a line of a script.
fn in_block(json: &str) -> String {
    // These characters stand in strings only, where their numbers mean the same.
    let mut block = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                block.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            character => block.push(character),
        }
    }
    block
}

/// What a policy names a script or a style by.
fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text.as_bytes())))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn nothing_in_data_ends_their_block() {
        let block = in_block(&serde_json::json!({ "a": "</script><!-- <script> & \u{2028}" }).to_string());
        assert!(!block.contains(['<', '>', '&', '\u{2028}']), "{block}");
        let read: serde_json::Value = serde_json::from_str(&block).expect("the same JSON");
        assert_eq!(read["a"], "</script><!-- <script> & \u{2028}");
    }

    #[test]
    fn all_modules_fit_into_one_scope_and_into_the_limit() {
        let mut names: BTreeMap<String, &str> = BTreeMap::new();
        for (module, text) in MODULES {
            // What stands at the left edge is the module's.
            for line in text.lines().filter(|line| !line.starts_with(' ')) {
                let line = line.strip_prefix("export ").unwrap_or(line);
                assert!(!line.starts_with("default ") && !line.starts_with("{"), "{module}: {line}");
                let mut words = line.split([' ', '(', '=', ';', '{']).filter(|word| !word.is_empty());
                let mut first = words.next();
                if first == Some("async") {
                    first = words.next();
                }
                if matches!(first, Some("const" | "let" | "function" | "class" | "function*")) {
                    let name = words.next().expect("a name").to_owned();
                    assert!(!name.starts_with('['), "{module}: one name a line: {line}");
                    let other = names.insert(name.clone(), module);
                    assert_eq!(other, None, "`{name}` is in {module} too");
                }
                if line.starts_with("import ") {
                    assert!(line.ends_with(".js\";") && line.contains(" from \"./"), "{module}: on one line: {line}");
                }
            }
        }
        let bytes = page_bytes();
        assert!(bytes < PAGE_BYTES, "{bytes} bytes");
        assert!(!script().to_lowercase().contains("</script") && !STYLE.contains("</"), "nothing ends its own block");
        assert!(!script().contains("innerHTML") && !script().contains("insertAdjacentHTML"), "texts are set as texts");
    }

    #[test]
    fn every_text_of_the_page_has_its_chinese() {
        let chinese = MODULES[0].1;
        let mut texts = 0;
        for (module, text) in &MODULES[2..] {
            for call in text.split("t(\"").skip(1) {
                let before = text[..call.as_ptr() as usize - text.as_ptr() as usize - 3].chars().next_back();
                if before.is_some_and(|character| character.is_alphanumeric()) {
                    continue; // of another function, such as put("…")
                }
                let english = call.split_once('"').expect("its end").0;
                assert!(chinese.contains(&format!("\"{english}\": \"")), "{module}: {english}");
                texts += 1;
            }
        }
        assert!(texts > 150, "{texts} texts were found");
    }
}
