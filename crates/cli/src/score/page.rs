//! A scored text as one self-contained HTML page: colours by surprise, and what the model thought of each token
//! beside it.

use super::cells::{Cell, LEVEL_NAMES, level};
use super::columns::{choice, percent, write_summary};
use super::{Scored, Token};
use crate::shown::{Shown, quoted, shown};

/// The page. Whatever comes from a file is escaped; nothing is loaded, which the page's own policy says too.
pub fn render(scored: &Scored) -> String {
    let title = escaped(&scored.file);
    let mut page = format!(
        "<!doctype html>\n<html><head><meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}: surprise by token</title>\n\
         <style>\n{}</style></head><body>\n<h1>{title}</h1>\n<p>under {}</p>\n",
        include_str!("page.css"),
        escaped(&scored.checkpoint),
    );
    push_summary(scored, &mut page);
    push_legend(scored, &mut page);
    page.push_str("<div id=\"text\">");
    let mut end = 0;
    for cell in &scored.cells {
        push_text(&scored.text[end..cell.bytes.start.max(end)], &mut page);
        end = cell.bytes.end;
        push_cell(scored, cell, &mut page);
    }
    push_text(&scored.text[end..], &mut page);
    page.push_str("</div>\n<div id=\"tip\"></div>\n<script>\n");
    page.push_str(include_str!("page.js"));
    page.push_str("</script></body></html>\n");
    page
}

/// The lines of the plain summary as rows of a table.
fn push_summary(scored: &Scored, page: &mut String) {
    let mut lines = Vec::new();
    // Writing to memory does not fail.
    let _ = write_summary(scored, &mut lines);
    page.push_str("<table>\n");
    for line in String::from_utf8_lossy(&lines).lines() {
        let (name, value) = line.split_once("  ").unwrap_or((line, ""));
        page.push_str(&format!("<tr><td>{}</td><td>{}</td></tr>\n", escaped(name), escaped(value.trim())));
    }
    page.push_str("</table>\n");
}

fn push_legend(scored: &Scored, page: &mut String) {
    page.push_str("<p class=\"legend\">");
    for (level, name) in LEVEL_NAMES.iter().enumerate() {
        page.push_str(&format!("<span class=\"s{level}\">{name}</span> "));
    }
    page.push_str("probability of the token, or of the tokens that make up a character; ");
    page.push_str("<span class=\"u\">dotted</span>: nothing predicts the first");
    if scored.summary.windows > 1 {
        page.push_str("; <span class=\"w\"></span> a window begins, from an empty context");
    }
    page.push_str("</p>\n");
}

fn push_cell(scored: &Scored, cell: &Cell, page: &mut String) {
    let class = scored.surprise(cell).map_or("u".to_owned(), |surprise| format!("s{}", level(surprise)));
    let window = if scored.begins_window(cell) { " w" } else { "" };
    let tokens = &scored.tokens[cell.tokens.clone()];
    let told: Vec<String> = tokens.iter().map(|token| tell(scored, token)).collect();
    let told = escaped(&told.join("\n\n"));
    page.push_str(&format!("<span class=\"{class}{window}\" data-t=\"{told}\">"));
    push_text(&scored.text[cell.bytes.clone()], page);
    page.push_str("</span>");
}

/// What is said of a token beside it.
fn tell(scored: &Scored, Token { id, bytes, score }: &Token) -> String {
    let text = quoted(&scored.tokenizer.token_text(*id));
    let place = format!("{text}  id {id}, byte {}", bytes.start);
    let Some(score) = score else {
        return format!("{place}\nthe first token: nothing predicts it");
    };
    let (logprob, rank, entropy, context) = (score.logprob, score.rank, score.entropy, score.context);
    let probability = percent(libm::exp(logprob));
    let mut told = format!(
        "{place}\np {probability}, log p {logprob:.4} nats\nrank {rank}, entropy {entropy:.4} nats\ncontext {context} token{}",
        if context == 1 { "" } else { "s" }
    );
    for (place, alternative) in score.alternatives.iter().enumerate() {
        let mark = if alternative.0 == *id { " ←" } else { "" };
        told.push_str(&format!("\n{}. {}{mark}", place + 1, choice(scored, *alternative)));
    }
    told
}

/// Text of the file, its line ends marked.
fn push_text(text: &str, page: &mut String) {
    for character in text.chars() {
        match shown(character) {
            Shown::Plain(character) => push_escaped(character, page),
            Shown::LineEnd => page.push_str("<i></i>\n"),
            Shown::Escaped(shown) => page.push_str(&shown),
        }
    }
}

fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    text.chars().for_each(|character| push_escaped(character, &mut html));
    html
}

/// As text and within quotation marks.
fn push_escaped(character: char, html: &mut String) {
    match character {
        '&' => html.push_str("&amp;"),
        '<' => html.push_str("&lt;"),
        '>' => html.push_str("&gt;"),
        '"' => html.push_str("&quot;"),
        '\'' => html.push_str("&#39;"),
        _ => html.push(character),
    }
}
