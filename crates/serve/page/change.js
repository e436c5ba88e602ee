// View 4: one token replaced; what changed after it, and what did not change before it, to the bit.
import { button, colours, el, grouped, mix, notice, panel, percent, put, quoted, renew, small, visible } from "./dom.js";
import { leftOut, textBox, tokenStrip } from "./tokens.js";
import { t } from "./words.js";

export async function changeView(app, root) {
  const { source, state } = app;
  put(root, el("p", { class: "lead" }, t("Press a token and put another in its place. Everything the model computes at earlier positions stays the same, bit for bit: that is what the mask means. Later positions may change.")));
  put(root, textBox(app));
  const pass = await source.pass(state.text);
  const own = (state.change ||= { position: null, by: null });
  const n = pass.tokens.length;
  if (own.position === null || own.position >= n) Object.assign(own, { position: Math.min(n - 1, Math.max(1, Math.floor(n / 3))), by: null });
  const place = el("div", { class: "changed" });
  put(root, leftOut(pass), place);
  const show = async () => {
    const { position } = own;
    const others = position > 0 ? pass.rows[position - 1].next.filter((next) => next.id !== pass.tokens[position].id) : [];
    const by = own.by || { id: others.length ? others[0].id : (pass.tokens[position].id + 1) % app.facts.config.vocab_size };
    const change = await source.change(state.text, position, by);
    if (!change) {
      renew(place, notice(t("No change of this token is recorded."), "bad"));
      return;
    }
    renew(place, whole(app, pass, change, others, (at, other) => {
      Object.assign(own, { position: at, by: other });
      root.closest("main").removeAttribute("data-ready");
      show().catch((error) => {
        const old = place.querySelector(".notice.bad");
        if (old) old.remove();
        put(place.querySelector(".edit") || place, notice(error.message, "bad"));
      }).finally(() => root.closest("main").setAttribute("data-ready", "change"));
    }));
  };
  await show();
}

function whole(app, pass, change, others, choose) {
  const { surface, warm } = colours();
  const { position } = change;
  const tokens = pass.tokens.map((token, index) => (index === position ? change.replacement : token));
  const first = app.source.live ? 0 : 1;
  const paint = (index) => {
    const row = change.rows[index];
    if (index < position) return { class: "same", title: t("no bit of {count} logits has changed", { count: grouped(app.facts.config.vocab_size) }) };
    return { background: mix(surface, warm, Math.sqrt(row.moved) * 0.85), class: row.different ? "" : "same", title: t("{share} of the next token's probability moved", { share: percent(row.moved) }) };
  };
  const strip = tokenStrip(tokens, { paint, press: (index) => choose(index, null), chosen: position, label: t("tokens"), first });
  const candidates = others.slice(0, 5).map((other) => button([quoted(other.text), " ", el("small", {}, percent(other.p))], () => choose(position, { id: other.id }),
    { class: "candidate", "aria-pressed": String(other.id === change.replacement.id), "data-id": other.id }));
  const free = el("input", { id: "replacement", "aria-label": t("another token"), placeholder: t("another token"), autocomplete: "off", spellcheck: "false" });
  const use = () => free.value && choose(position, { replacement: free.value });
  free.addEventListener("keydown", (event) => event.key === "Enter" && use());
  const was = pass.tokens[position];
  const edit = el("div", { class: "edit" }, el("p", {}, t("token {position}: ", { position }), el("del", {}, quoted(was.text)), " → ", el("ins", { id: "now" }, quoted(change.replacement.text))),
    app.source.live ? el("div", { class: "candidates" }, candidates, free, button(t("Replace"), use, { id: "replace" })) : el("p", { class: "about" }, t("One replacement of each token is recorded; a live page takes any.")));
  const after = change.rows.slice(position);
  const touched = after.filter((row) => row.different > 0).length;
  const { before } = change;
  const proof = el("div", { class: "verdict" }, el("strong", { id: "before", class: before.different ? "bad" : "good" }, position === 0 ? t("Nothing stands before the first token.")
    : before.different === 0 ? t("Before it: {numbers} logits at {positions} positions compared, no bit differs.", { numbers: grouped(before.numbers), positions: position })
      : t("Before it: {different} of {numbers} logits differ.", { different: grouped(before.different), numbers: grouped(before.numbers) })),
  el("p", { id: "after" }, t("From it on: {touched} of {positions} positions predict with other numbers.", { touched, positions: after.length })));
  return [panel(t("The text"), t("Warmer: more of the next token's probability has moved. Outlined: no bit has changed."), strip, edit, proof),
    heights(tokens, change), predictions(pass, tokens, change)];
}

// The residual stream at each height and position: nothing left of the change, and after it a cone.
function heights(tokens, change) {
  const { surface, warm } = colours();
  const most = Math.max(...change.residuals.flatMap((height) => height.max_difference), 1e-12);
  const cell = (height, index) => {
    const [different, by] = [height.different[index], height.max_difference[index]];
    const told = different === 0 ? t("0 numbers differ") : t("{different} numbers differ, by up to {by}", { different, by: small(by) });
    return el("td", { class: different === 0 ? "zero" : "", title: told, "data-after": height.after, "data-position": index, "data-different": different,
      style: different ? { background: mix(surface, warm, 0.12 + 0.88 * Math.sqrt(by / most)) } : {} }, different === 0 ? "0" : "");
  };
  const rows = [...change.residuals].reverse().map((height) => el("tr", {}, el("th", { scope: "row" }, height.after ? t("after layer {layer}", { layer: height.after - 1 }) : t("embedding")),
    tokens.map((unused, index) => cell(height, index))));
  const head = el("tr", {}, el("th", {}), tokens.map((token, index) => el("th", { scope: "col", class: index === change.position ? "here" : "", title: String(index) }, el("span", {}, visible(token.text).replaceAll(" ", "␣")))));
  const table = el("div", { class: "scroll" }, el("table", { class: "cone" }, el("tbody", {}, rows), el("tfoot", {}, head)));
  // Where there is no room for all of it, the change is what is to be seen.
  requestAnimationFrame(() => {
    const here = table.querySelector(".here");
    if (here && here.offsetLeft > table.clientWidth - 60) table.scrollLeft = here.offsetLeft - table.clientWidth / 2;
  });
  return panel(t("How far the change goes"), t("The residual stream of each position after each layer. 0: not one of its numbers has another bit. The change enters at its own position and reaches later ones through attention alone."),
    table);
}

function predictions(pass, tokens, change) {
  const from = Math.max(0, change.position - 2);
  const rows = change.rows.slice(from).map((row, index) => [row, from + index]).slice(0, 14);
  return panel(t("What comes next, before and after"), null, el("div", { class: "scroll" }, el("table", { class: "predictions" }, el("thead", {}, el("tr", {},
    [t("at"), t("before"), t("after"), t("moved"), t("logits, before and after")].map((name) => el("th", { scope: "col" }, name)))),
  el("tbody", {}, rows.map(([row, position]) => el("tr", { class: row.different ? "" : "same" }, el("th", { scope: "row" }, el("small", {}, String(position)), " ", quoted(tokens[position].text)),
    el("td", {}, quoted(pass.rows[position].next[0].text), " ", el("small", {}, percent(pass.rows[position].next[0].p))),
    el("td", {}, quoted(row.best.text), " ", el("small", {}, percent(row.best.p))), el("td", { "data-moved": position, title: String(row.moved) }, percent(row.moved)),
    el("td", {}, el("code", {}, pass.rows[position].logits), el("br", {}), el("code", { class: row.different ? "bad" : "good" }, row.logits))))))));
}
