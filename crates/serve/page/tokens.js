// A text as a strip of tokens that can be pressed, each with a colour; and the box in which a text is given.
import { button, el, notice, put, visible } from "./dom.js";
import { t } from "./words.js";

// `paint(index)` gives { background, title, class }; `press(index)` makes the tokens buttons.
export function tokenStrip(tokens, options) {
  const { paint, press, chosen, label, first } = { first: 0, ...options };
  const strip = el("div", { class: "strip", role: "group", "aria-label": label });
  tokens.forEach((token, index) => {
    const look = (paint && paint(index)) || {};
    const attributes = {
      class: "token " + (look.class || "") + (index === chosen ? " chosen" : ""),
      title: look.title, "data-index": index, style: look.background ? { background: look.background } : {},
    };
    const text = visible(token.text) || "∅";
    if (press && index >= first) {
      put(strip, button(text, () => press(index), { ...attributes, "aria-pressed": String(index === chosen) }));
    } else {
      put(strip, el("span", attributes, text));
    }
    if (token.text.endsWith("\n")) put(strip, el("span", { class: "break" }));
  });
  strip.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const buttons = [...strip.querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement);
    if (by && at >= 0 && buttons[at + by]) {
      event.preventDefault();
      buttons[at + by].focus();
    }
  });
  return strip;
}

// The text that views 2 to 4 look at: a box on a live page, what was recorded in a report.
export function textBox(app) {
  const { source, state, facts } = app;
  if (!source.live) return el("p", { class: "recorded" }, t("recorded text, {checkpoint}", { checkpoint: facts.checkpoint }));
  const area = el("textarea", { id: "text", rows: 2, spellcheck: "false", "aria-label": t("text") });
  area.value = state.text;
  const look = () => {
    if (area.value && area.value !== state.text) {
      state.text = area.value;
      app.render();
    }
  };
  area.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) look();
  });
  return el("div", { class: "textbox" }, area, button(t("Look"), look, { id: "look", class: "primary" }));
}

export function leftOut(text) {
  return text.left_out > 0 && notice(t("{count} tokens at the end are left out: this page shows {shown} of this model",
    { count: text.left_out, shown: text.tokens.length }));
}
