// Elements, and how numbers and texts are shown. A text becomes a text node and nothing else.
import { t } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";

// An element with attributes and children; `on` has listeners, `style` properties, everything else is an attribute.
export function el(name, attributes, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function svg(name, attributes, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") Object.entries(value).forEach(([event, listener]) => node.addEventListener(event, listener));
    else if (name === "style") Object.entries(value).forEach(([key, set]) => node.style.setProperty(key, set));
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  put(node, ...children);
  return node;
}

// Replaces nothing: adds children, strings as text.
export function put(node, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}

export function renew(node, ...children) {
  node.replaceChildren();
  return put(node, ...children);
}

// A text on one line, in which nothing turns the line around: as in the terminal.
export function visible(text) {
  let shown = "";
  for (const character of text) {
    const code = character.codePointAt(0);
    if (character === "\n") shown += "↵";
    else if (character === "\t") shown += "⇥";
    else if (code < 32) shown += String.fromCodePoint(0x2400 + code);
    else if (code === 127) shown += "␡";
    else if ((code >= 0x80 && code <= 0x9f) || code === 0x61c || code === 0x200e || code === 0x200f
      || (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) || code === 0xfeff)
      shown += "\\u{" + code.toString(16) + "}";
    else shown += character;
  }
  return shown;
}

// A token by itself, with its spaces to be seen.
export function quoted(text) {
  return "“" + visible(text).replaceAll(" ", "␣") + "”";
}

export function percent(p) {
  const value = 100 * p;
  if (value === 0) return "0 %";
  if (value >= 99.95) return value.toFixed(0) + " %";
  if (value >= 0.95) return value.toFixed(1) + " %";
  if (value >= 0.0095) return value.toFixed(2) + " %";
  return value.toExponential(1) + " %";
}

export function grouped(value) {
  return Math.round(value).toLocaleString("en-US").replaceAll(",", "\u202f");
}

// A count with a unit of a thousand, a million…
export function compact(value) {
  for (const [size, unit] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (value >= size) {
      const scaled = value / size;
      return scaled.toFixed(scaled >= 100 ? 0 : scaled >= 10 ? 1 : 2) + "\u202f" + unit;
    }
  }
  return String(value);
}

export function small(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 0.001 && size < 10000 ? String(Number(value.toPrecision(4))) : value.toExponential(2);
}

const words32 = new DataView(new ArrayBuffer(4));

// The bits of a number that was computed in f32.
export function bits(value) {
  words32.setFloat32(0, value);
  return "0x" + words32.getUint32(0).toString(16).padStart(8, "0");
}

// The colours of the style sheet, for canvases.
export function colours() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(name).trim();
  return { ink: read("--ink"), muted: read("--muted"), line: read("--line"), surface: read("--surface"),
    accent: read("--accent"), warm: read("--warm"), back: read("--back"), good: read("--good") };
}

// A colour between two of the form #rrggbb.
export function mix(from, to, share) {
  const part = (colour, index) => parseInt(colour.slice(1 + 2 * index, 3 + 2 * index), 16);
  const at = Math.min(1, Math.max(0, share));
  const mixed = [0, 1, 2].map((index) => Math.round(part(from, index) * (1 - at) + part(to, index) * at));
  return "rgb(" + mixed.join(",") + ")";
}

// How surprising a probability is: 0 from a half on, 5 below a thousandth. The levels of `tril score`.
export function level(p) {
  return [0.5, 0.2, 0.05, 0.01, 0.001].filter((least) => p < least).length;
}

export function headName(layer, head) {
  return t("layer {layer} head {head}", { layer, head });
}

// How wide a drawing may be in one of so many columns of panels.
export function chartWidth(root, columns) {
  const room = root.clientWidth;
  const across = columns > 2 && window.innerWidth <= 900 ? 1 : columns;
  return Math.max(250, Math.floor((room - 18 * (across - 1)) / across) - (window.innerWidth <= 560 ? 30 : 42));
}

// The head that looks most sharply, to begin with: where weight is spread evenly there is little to see.
export function sharpestHead(attention) {
  const sharpness = attention.map((head) => head.weights.reduce((sum, row) => sum + Math.max(...row), 0));
  return sharpness.indexOf(Math.max(...sharpness));
}

// A panel with a title, a sentence about it, and what it shows.
export function panel(title, about, ...children) {
  return el("section", { class: "panel" }, el("h3", {}, title), about && el("p", { class: "about" }, about), children);
}

export function button(label, press, attributes) {
  return el("button", { type: "button", on: { click: press }, ...attributes }, label);
}

// One of several, as a row of buttons.
export function choice(label, options, chosen, choose) {
  const buttons = options.map(([value, name]) => button(name, () => choose(value), {
    "aria-pressed": String(value === chosen), "data-value": String(value),
  }));
  return el("div", { class: "choice", role: "group", "aria-label": label }, el("span", { class: "label" }, label), buttons);
}

// One of many.
export function select(label, options, chosen, choose, id) {
  const items = options.map(([value, name]) => el("option", { value, selected: value === chosen }, name));
  const box = el("select", { id, on: { change: (event) => choose(event.target.value) } }, items);
  return el("label", { class: "field" }, el("span", { class: "label" }, label), box);
}

// Asks for a secret; null if none is given.
export function askFor(question) {
  return new Promise((resolve) => {
    const input = el("input", { type: "password", autocomplete: "off", "aria-label": question });
    const done = () => dialog.close();
    const dialog = el("dialog", {}, el("p", {}, question), input, button(t("Continue"), done, { class: "primary" }));
    input.addEventListener("keydown", (event) => event.key === "Enter" && done());
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(input.value || null);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

export function notice(text, kind) {
  return el("p", { class: "notice " + (kind || ""), role: kind === "bad" ? "alert" : "status" }, text);
}
