// The page: seven views of one model, a tab each. Numbers come from `source`; nothing here computes what the model did.
import { changeView } from "./change.js";
import { button, el, grouped, notice, put, renew, svg } from "./dom.js";
import { proofsView } from "./proofs.js";
import { routesView } from "./routes.js";
import { openSource } from "./source.js";
import { stepsView } from "./steps.js";
import { trainingView } from "./training.js";
import { chooseLanguage, chosenLanguage, t } from "./words.js";
import { workingView } from "./working.js";
import { writeView } from "./write.js";

const VIEWS = [
  ["write", "Write", writeView],
  ["steps", "One pass, many steps", stepsView],
  ["routes", "Routes", routesView],
  ["change", "Change a token", changeView],
  ["training", "Training", trainingView],
  ["proofs", "Proofs", proofsView],
  ["working", "Thinking is tokens", workingView],
];

const app = { source: null, facts: null, views: VIEWS, state: { view: "write", text: "" }, render: () => {}, leave: [] };

async function start() {
  try {
    app.source = openSource();
    app.facts = await app.source.model();
  } catch (error) {
    put(document.getElementById("view"), notice(error.message, "bad"));
    return;
  }
  app.state.text = app.source.text || app.facts.text;
  if (!app.source.live) {
    const { working } = app.facts;
    app.views = VIEWS.filter(([name]) => name !== "write" && (name !== "working" || working));
  }
  app.render = render;
  window.addEventListener("hashchange", fromAddress);
  let waiting = 0;
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", render);
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(render, 150);
  });
  fromAddress();
}

function fromAddress() {
  const name = location.hash.slice(1);
  app.state.view = app.views.some(([view]) => view === name) ? name : app.views[0][0];
  render();
}

function go(name) {
  if (location.hash === "#" + name) render();
  else location.hash = name;
}

function render() {
  app.leave.splice(0).forEach((stop) => stop());
  document.documentElement.lang = chosenLanguage() === "zh" ? "zh-Hans" : "en";
  frame();
  const root = renew(document.getElementById("view"));
  const [name, title, view] = app.views.find(([other]) => other === app.state.view);
  root.setAttribute("aria-labelledby", "tab-" + name);
  root.dataset.view = name;
  root.removeAttribute("data-ready");
  put(root, el("h2", {}, t(title)));
  const place = put(root, el("div", { class: "place" })).lastChild;
  const wait = setTimeout(() => put(place, el("p", { class: "waiting" }, t("computing…"))), 120);
  // What went wrong is told below what is there already: a text that cannot be looked at can be mended.
  view(app, place).catch((error) => put(place, notice(error.message, "bad"))).finally(() => {
    clearTimeout(wait);
    const left = place.querySelector(":scope > .waiting");
    if (left) left.remove();
    if (place.isConnected) root.dataset.ready = name;
  });
}

function frame() {
  const { facts } = app;
  const { config } = facts;
  const cells = [0, 1, 2].flatMap((row) => [0, 1, 2].filter((column) => column <= row).map((column) =>
    svg("rect", { x: 1 + column * 8, y: 1 + row * 8, width: 7, height: 7, rx: 1 })));
  renew(document.getElementById("brand"), svg("svg", { viewBox: "0 0 26 26", width: 26, height: 26, "aria-hidden": "true" }, cells), "tril");
  renew(document.getElementById("facts"), el("b", {}, facts.name), " ", t(
    "{parameters} parameters · {layers} layers of {heads} heads · width {width} · vocabulary {vocab} · context {context}",
    { parameters: grouped(facts.parameters), layers: config.n_layers, heads: config.n_heads, width: config.d_model,
      vocab: grouped(config.vocab_size), context: config.max_seq_len }));
  const language = (code, name) => button(name, () => {
    chooseLanguage(code);
    render();
  }, { lang: code, "aria-pressed": String(chosenLanguage() === code), "data-language": code });
  renew(document.getElementById("languages"), language("en", "English"), language("zh", "中文"));
  const tabs = app.views.map(([name, title], index) => button([el("span", { class: "number" }, String(VIEWS.findIndex(([view]) => view === name) + 1)), t(title)],
    () => go(name), { role: "tab", id: "tab-" + name, "aria-controls": "view", "aria-selected": String(name === app.state.view),
      tabindex: name === app.state.view ? 0 : -1, "data-index": index }));
  const bar = renew(document.getElementById("tabs"), tabs);
  bar.setAttribute("aria-label", t("views"));
  bar.onkeydown = (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by || !event.target.dataset.index) return;
    event.preventDefault();
    const to = (Number(event.target.dataset.index) + by + app.views.length) % app.views.length;
    go(app.views[to][0]);
    document.getElementById("tab-" + app.views[to][0]).focus();
  };
  const chosen = bar.querySelector("[aria-selected=true]");
  if (chosen && bar.scrollWidth > bar.clientWidth) {
    bar.scrollLeft = chosen.offsetLeft - bar.offsetLeft - (bar.clientWidth - chosen.offsetWidth) / 2;
  }
  renew(document.getElementById("foot"), t(app.source.live
    ? "Every number on this page was computed by this checkpoint, on your machine."
    : "Every number in this file was computed by this checkpoint and recorded. It opens without a network."),
    " ", el("span", { class: "version" }, "tril " + facts.version));
}

start();
