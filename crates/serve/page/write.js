// View 1: a text as it is written; what else could have come, and the draw that decided.
import { button, chartWidth, colours, el, level, notice, panel, percent, put, quoted, renew, svg, visible } from "./dom.js";
import { t } from "./words.js";

const SETTINGS = [
  ["temperature", "temperature", { min: 0, max: 2, step: 0.05 }],
  ["top_k", "top-k (0: all)", { min: 0, max: 100, step: 1 }],
  ["top_p", "top-p", { min: 0.05, max: 1, step: 0.05 }],
];

export async function writeView(app, root) {
  const own = (app.state.write ||= { prompt: "", temperature: 0.8, top_k: 0, top_p: 1, seed: 1337, max_tokens: 100, prompted: [], written: [], end: null, chosen: null });
  put(root, el("p", { class: "lead" }, t("A model gives each token of its vocabulary a probability, and one number from 0 to 1 decides. The colour says how probable each token was; press one to see what else could have come, and go on from there.")));
  const text = el("div", { class: "writing", id: "writing", "aria-live": "off" });
  const detail = el("div", { id: "token" });
  const status = el("p", { class: "about", id: "status", role: "status" });
  // A text goes on while the page is drawn anew, in another language or at another width: what it calls is `own`'s, and that is
  // the view of today.
  const main = document.getElementById("view");
  const stop = () => {
    if (own.running) own.running.abort();
    own.running = null;
    main.dataset.writing = "no";
  };

  const prompt = el("textarea", { id: "prompt", rows: 2, spellcheck: "false", placeholder: t("begin where a text begins"), "aria-label": t("prompt") });
  prompt.value = own.prompt;
  prompt.addEventListener("input", () => { own.prompt = prompt.value; });
  prompt.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) write();
  });
  let waiting = 0;
  // A setting changes what follows the prompt, at once: the draws stay those of the seed and the position.
  const again = () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => (own.written.length ? write(own.fork, own.kept) : undefined), 250);
  };
  const field = ([key, name, limits]) => {
    const value = el("output", {}, String(own[key]));
    const input = el("input", { type: "range", id: key, ...limits, value: own[key], "aria-label": t(name) });
    input.addEventListener("input", () => {
      own[key] = Number(input.value);
      value.textContent = input.value;
      again();
    });
    return el("label", { class: "field" }, el("span", { class: "label" }, t(name), " ", value), input);
  };
  const number = (key, name, limits) => {
    const input = el("input", { type: "number", id: key, value: own[key], ...limits });
    input.addEventListener("change", () => {
      if (input.value !== "") own[key] = Number(input.value);
      again();
    });
    return el("label", { class: "field" }, el("span", { class: "label" }, t(name)), input);
  };

  // `ids` are those of a text that another token was taken in, `kept` what is known of its last ones: they stay as they were.
  const write = async (ids, kept) => {
    stop();
    clearTimeout(waiting);
    const chosen = own.chosen;
    const control = new AbortController();
    own.running = control;
    Object.assign(own, { fork: ids, kept, prompted: [], written: [], end: null, chosen: null });
    show();
    main.dataset.writing = "yes";
    const { temperature, top_k, top_p, seed, max_tokens } = own;
    try {
      const asked = { prompt: ids ? "" : own.prompt, ids: ids || [], temperature, top_k, top_p, seed, max_tokens };
      for await (const event of app.source.write(asked, control.signal)) {
        if (own.running !== control) return;
        if (event.type === "prompt") {
          own.written = [...(kept || [])];
          own.prompted = event.tokens.slice(0, event.tokens.length - own.written.length);
        }
        if (event.type === "token") own.written.push(event);
        if (event.type === "end") own.end = event;
        if (event.type === "error") throw new Error(event.message);
        if (event.type !== "text") own.grow();
      }
    } catch (error) {
      if (error.name !== "AbortError") own.tell(notice(error.message, "bad"));
    } finally {
      if (own.running === control) {
        own.running = null;
        main.dataset.writing = "no";
      }
    }
    if (own.running === null && own.chosen === null && own.written.length) own.pick(own.written[chosen] ? chosen : 0);
  };

  const piece = (token, index) => {
    const name = visible(token.text) || "∅";
    const made = button(name, () => pick(index), { class: "token p" + level(token.p) + (token.taken ? " taken" : ""), title: percent(token.p), "data-index": index, "aria-pressed": String(index === own.chosen) });
    return token.text.includes("\n") ? [made, el("span", { class: "break" })] : made;
  };
  const before = () => own.prompted.map((token) => [el("span", { class: "token given" }, visible(token.text)), token.text.includes("\n") && el("span", { class: "break" })]);
  // While it grows, only what is new is added.
  let drawn = [0, 0];
  const grow = () => {
    if (drawn[1] === 0 || drawn[0] !== own.prompted.length) {
      show();
      return;
    }
    own.written.slice(drawn[1]).forEach((token, index) => put(text, piece(token, drawn[1] + index)));
    drawn = [own.prompted.length, own.written.length];
    finish();
  };
  const show = () => {
    renew(text, before(), own.written.map(piece));
    drawn = [own.prompted.length, own.written.length];
    if (!own.prompted.length && !own.written.length) put(text, el("span", { class: "about" }, t("Press Write.")));
    finish();
    renew(detail, own.chosen === null ? null : tokenDetail(app, own.written[own.chosen], chartWidth(root, 1), (other) => {
      const taken = { ...own.written[own.chosen], ...other, taken: true };
      const known = [...own.written.slice(0, own.chosen), taken];
      write([...own.prompted, ...known].map((token) => token.id), known);
    }));
  };
  const finish = () => {
    const reasons = { max_tokens: t("as many tokens as were asked for"), end_of_text: t("the model ended the text"), context_full: t("the context is full") };
    const drawnByModel = own.written.filter((token) => !token.taken);
    const mean = drawnByModel.reduce((sum, token) => sum + token.logprob, 0) / (drawnByModel.length || 1);
    renew(status, own.written.length ? [t("{count} tokens", { count: own.written.length }), " · ", t("mean −ln p {loss} nats", { loss: (0 - mean).toFixed(3) })] : "",
      own.end ? " · " + (reasons[own.end.reason] || own.end.reason) : "");
  };
  const pick = (index) => {
    own.chosen = index;
    text.querySelectorAll("button").forEach((press) => press.setAttribute("aria-pressed", String(Number(press.dataset.index) === index)));
    show();
  };
  Object.assign(own, { grow, pick, tell: (node) => renew(status, node) });
  text.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const to = by && own.chosen !== null && own.written[own.chosen + by] ? own.chosen + by : null;
    if (to === null) return;
    event.preventDefault();
    pick(to);
    text.querySelector(`[data-index="${to}"]`).focus();
  });

  put(root, el("div", { class: "writer" }, el("section", { class: "panel settings" }, prompt, el("div", { class: "controls" }, button(t("Write"), () => write(), { class: "primary", id: "go" }), button(t("Stop"), stop, { id: "stop" })),
    SETTINGS.map(field), el("div", { class: "fields" }, number("seed", "seed", { min: 0, step: 1 }), number("max_tokens", "tokens", { min: 1, max: 2000, step: 1 }))),
  el("section", { class: "panel" }, text, status, scale())), detail);
  show();
}

function scale() {
  const names = ["p ≥ 50 %", "≥ 20 %", "≥ 5 %", "≥ 1 %", "≥ 0.1 %", t("less")];
  return el("p", { class: "scale" }, names.map((name, index) => el("span", { class: "token p" + index }, name)), el("span", { class: "token given" }, t("given")));
}

// A token's candidates, and [0, 1) as they divide it.
function tokenDetail(app, token, width, take) {
  const first = token.candidates[0].p;
  const rows = token.candidates.map((other) => el("li", { class: other.id === token.id ? "drawn" : "" }, el("span", { class: "name" }, quoted(other.text)),
    el("span", { class: "meter" }, el("i", { style: { width: (100 * other.p) / first + "%" } })), el("b", {}, percent(other.p)),
    other.id === token.id ? el("span", { class: "tag" }, token.taken ? t("taken") : t("drawn")) : button(t("take this"), () => take(other), { class: "take", "data-id": other.id })));
  const left = token.others ? t("and {count} others", { count: token.others }) : t("no others were left");
  return panel(t("Token {position}: {token}", { position: token.position, token: quoted(token.text) }),
    token.taken ? t("You took it in place of what was drawn. After temperature and filters:")
      : t("The model itself gave it {p}, seeing {context} tokens. After temperature and filters:", { p: percent(token.p), context: token.context }),
    el("ol", { class: "bars candidates" }, rows, el("li", { class: "rest" }, left)), line(token, width), app.source.live && el("p", { class: "figures" },
      token.taken ? null : token.uniform === null ? t("At temperature 0 nothing is drawn: the most probable token comes.")
        : [t("draw "), el("b", { id: "uniform" }, token.uniform.toFixed(6)), t(" lies in "), el("b", { id: "interval" }, `[${token.cdf_interval[0].toFixed(6)}, ${token.cdf_interval[1].toFixed(6)})`),
          ": ", t("tokens lie side by side in order of id. The draw is named by seed and position, and stays when the temperature changes.")]));
}

function line(token, width) {
  const [top, height] = [26, 34];
  const { accent, muted } = colours();
  const box = svg("svg", { class: "draw", viewBox: `0 0 ${width} 84`, role: "img", "aria-label": t("the line from 0 to 1") });
  put(box, svg("rect", { class: "ground", x: 0, y: top, width, height }));
  [...token.candidates].sort((a, b) => a.cdf_interval[0] - b.cdf_interval[0]).forEach((other, index) => {
    const [from, to] = other.cdf_interval;
    const wide = (to - from) * width;
    put(box, svg("rect", { class: other.id === token.id ? "share own" : "share s" + (index % 2), x: from * width, y: top, width: Math.max(0.8, wide - 1), height }, svg("title", {}, quoted(other.text) + " " + percent(other.p))));
    if (wide > 46) put(box, svg("text", { class: other.id === token.id ? "on" : "", x: from * width + wide / 2, y: top + 22, "text-anchor": "middle" }, visible(other.text).slice(0, Math.floor(wide / 11))));
  });
  if (token.uniform !== null && !token.taken) {
    const x = token.uniform * width;
    put(box, svg("path", { d: `M${x - 6} 8 L${x + 6} 8 L${x} 19 Z`, fill: accent }), svg("line", { x1: x, x2: x, y1: 8, y2: top + height + 6, stroke: accent, "stroke-width": 2 }));
  }
  put(box, svg("text", { x: 0, y: 80, fill: muted }, "0"), svg("text", { x: width, y: 80, "text-anchor": "end", fill: muted }, "1"));
  return box;
}
