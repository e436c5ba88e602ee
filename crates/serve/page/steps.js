// View 2: one parallel pass beside many steps with a cache; every cell is the same number.
import { bits, button, chartWidth, compact, el, grouped, headName, notice, panel, put, quoted, renew, select, sharpestHead } from "./dom.js";
import { leftOut, textBox } from "./tokens.js";
import { drawTriangle, walkable } from "./triangle.js";
import { t } from "./words.js";

export async function stepsView(app, root) {
  const { source, state } = app;
  put(root, el("p", { class: "lead" }, t("The mask hides what comes later. So one pass over the whole text computes what many steps compute one by one, with the keys and values of earlier tokens kept. The cache changes the cost, never a number.")));
  put(root, textBox(app));
  const [pass, steps] = await Promise.all([source.pass(state.text), source.steps(state.text)]);
  const n = pass.tokens.length;
  const own = (state.steps ||= { head: sharpestHead(pass.attention), at: null });
  own.head = Math.min(own.head, pass.attention.length - 1);
  const labels = pass.tokens.map((token) => token.text);
  const verdict = el("div", { class: "verdict", id: "verdict" });
  put(root, leftOut(pass), verdict);

  const one = el("canvas", { id: "one-pass", role: "img" });
  const many = el("canvas", { id: "many-steps", role: "img" });
  const [oneFacts, manyFacts] = [el("dl", { class: "work", id: "one-work" }), el("dl", { class: "work", id: "many-work" })];
  const cache = el("div", { class: "cache", "aria-hidden": "true" });
  const readout = el("div", { class: "readout", id: "cell", "aria-live": "polite" });
  const slider = el("input", { type: "range", id: "step", min: 0, max: n, "aria-label": t("steps taken") });
  const stepName = el("output", { class: "stepname", for: "step" });
  const playButton = button(t("Play"), () => play(), { id: "play", class: "primary" });
  const heads = pass.attention.map((head, index) => [String(index), headName(head.layer, head.head)]);
  const bar = el("div", { class: "controls" }, playButton, slider, stepName,
    select(t("attention of"), heads, String(own.head), (value) => {
      own.head = Number(value);
      paint();
    }, "steps-head"));
  const size = () => Math.min(520, chartWidth(root, root.clientWidth > 772 ? 2 : 1));
  let taken = own.at === null ? n : Math.min(own.at, n);

  const weightOfPass = (query, key) => (taken > 0 ? pass.attention[own.head].weights[query][key] : null);
  const weightOfStep = (query, key) => {
    if (query >= taken || key > query) return null;
    const row = steps.attention[own.head].rows[query];
    return key < row.first_key ? null : row.weights[key - row.first_key];
  };
  let walkers = [];
  const paint = () => {
    slider.value = taken;
    stepName.textContent = t("{step} of {all} steps", { step: taken, all: n });
    walkers.forEach((walker) => walker.redraw());
    tellCell(walkers.length ? walkers[0].cursor() : [n - 1, 0]);
    tellWork();
  };
  const tellWork = () => {
    const [parallel, cached, recomputed] = [steps.parallel, steps.cached, steps.recomputed];
    const sum = (route, field) => route.passes.slice(0, taken).reduce((all, passed) => all + passed[field], 0);
    const kept = taken ? cached.passes[taken - 1] : { kept: 0, kept_bytes: 0 };
    const row = (name, value, id) => [el("dt", {}, name), el("dd", { id }, value)];
    renew(oneFacts, row(t("passes"), taken ? "1" : "0"), row(t("operations"), taken ? compact(parallel.flops) : "0", "one-flops"),
      row(t("bytes read"), taken ? compact(parallel.bytes) : "0", "one-bytes"), row(t("kept"), t("nothing")));
    renew(manyFacts, row(t("passes"), String(taken)), row(t("operations"), compact(sum(cached, "flops")), "many-flops"),
      row(t("bytes read"), compact(sum(cached, "bytes")), "many-bytes"),
      row(t("kept"), t("{count} columns, {bytes}B", { count: kept.kept, bytes: compact(kept.kept_bytes) }), "many-kept"),
      row(t("without a cache"), t("{flops} operations", { flops: compact(sum(recomputed, "flops")) }), "again-flops"));
    renew(cache, pass.tokens.map((token, index) => el("i", { class: index < taken && index >= taken - kept.kept ? "held" : "" })));
  };
  const tellCell = ([query, key]) => {
    const [left, right] = [weightOfPass(query, key), weightOfStep(query, key)];
    const value = (weight) => (weight === null ? "–" : weight === 0 ? "0" : Math.fround(weight).toPrecision(6));
    const code = (weight) => (weight === null ? "" : bits(weight));
    const place = t("row {query}, column {key}: {from} looks at {to}", { query, key, from: quoted(labels[query]), to: quoted(labels[key]) });
    const same = key > query ? t("masked: exactly 0 in the pass, never computed in a step")
      : right === null ? (query >= taken ? t("this step has not been taken") : t("outside the window"))
        : bits(left) === bits(right) ? t("the same bits") : t("other bits");
    renew(readout, el("span", { class: "where" }, place), el("span", { class: "pair" },
      el("small", {}, t("in the pass")), el("code", { id: "cell-pass" }, value(left) + " " + code(left)), el("small", {}, t("in the step")), el("code", { id: "cell-step" }, value(right) + " " + code(right))),
      el("b", { class: key > query || right === null ? "" : bits(left) === bits(right) ? "good" : "bad" }, same));
    if (query < steps.rows.length) {
      const row = steps.rows[query];
      put(readout, el("span", { class: "where" }, t("logits of row {query}, as a fingerprint of their bits", { query })), el("span", { class: "pair" },
        el("code", {}, row.parallel), el("code", {}, query < taken ? row.cached : "–")));
    }
  };
  const draw = (canvas, cell, rows) => (cursor) => drawTriangle(canvas, size(), n, cell, { labels, cursor, rows: rows() });
  const side = (title, about, canvas, facts, more) => el("section", { class: "panel" },
    el("h3", {}, title), el("p", { class: "about" }, about), canvas, more, facts);
  put(root, bar, el("div", { class: "pair-of-panels" },
    side(t("One pass"), t("all rows at once, as in training"), one, oneFacts),
    side(t("Many steps"), t("a row at a time, as in writing; the cache grows below"), many, manyFacts, cache)), readout);
  for (const [canvas, name] of [[one, t("attention in one pass")], [many, t("attention step by step")]]) canvas.setAttribute("aria-label", name);
  const both = (moved) => (cursor) => {
    walkers.filter((walker, index) => index !== moved && walker.cursor().join() !== cursor.join()).forEach((walker) => walker.move(...cursor));
    tellCell(cursor);
  };
  const begin = [Math.min(n - 1, 6), Math.min(n - 1, 2)];
  walkers = [walkable(one, n, draw(one, weightOfPass, () => null), (cursor) => walkers.length && both(0)(cursor), begin)];
  walkers.push(walkable(many, n, draw(many, weightOfStep, () => null), (cursor) => walkers.length > 1 && both(1)(cursor), begin));
  slider.addEventListener("input", () => {
    stop();
    taken = Number(slider.value);
    own.at = taken;
    paint();
  });
  let timer = 0;
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    playButton.textContent = t("Play");
  };
  const play = () => {
    if (timer) return stop();
    if (taken >= n) taken = 0;
    playButton.textContent = t("Pause");
    timer = setInterval(() => {
      taken += 1;
      own.at = taken;
      paint();
      if (taken >= n) stop();
    }, Math.max(40, 2400 / n));
    return undefined;
  };
  app.leave.push(() => clearInterval(timer));
  paint();
  tellVerdict(verdict, app.facts, pass, steps);
  put(root, costPanel(steps, n));
}

// What was compared, once by whoever computed it and once here.
function tellVerdict(place, facts, pass, steps) {
  let [cells, other] = [0, 0];
  pass.attention.forEach((head, index) => steps.attention[index].rows.forEach((row, query) => row.weights.forEach((weight, at) => {
    cells += 1;
    if (bits(weight) !== bits(head.weights[query][row.first_key + at])) other += 1;
  })));
  const rows = steps.rows.filter((row) => row.parallel !== row.cached || row.parallel !== row.recomputed).length;
  const { logits_cached: cached, logits_recomputed: again, attention_above: above } = steps;
  const equal = other === 0 && rows === 0 && cached.different === 0 && again.different === 0;
  const line = (count, what, different) => el("li", { class: different ? "bad" : "good" }, el("b", {}, grouped(count)), " " + what + " ",
    el("span", {}, different ? t("{count} differ", { count: grouped(different) }) : t("all the same bits")));
  renew(place, el("strong", { class: equal ? "good" : "bad", id: "equal" },
    equal ? t("Every number is the same, to the last bit.") : facts.exact ? t("Some numbers differ: that is a fault.")
      : t("This device sums in an order of its own: numbers are close, and some bits differ.")),
  el("ul", {},
    line(cells, t("attention weights, with the cache"), other),
    line(cached.numbers, t("logits, with the cache"), cached.different),
    line(again.numbers, t("logits, without a cache"), again.different),
    line(above.numbers, t("weights above the diagonal, compared with 0"), above.different)));
}

function costPanel(steps, n) {
  const routes = [["parallel", t("one pass")], ["cached", t("steps with a cache")], ["recomputed", t("steps without")]];
  const most = Math.max(...routes.map(([name]) => steps[name].flops));
  const mostBytes = Math.max(...routes.map(([name]) => steps[name].bytes));
  const bar = (value, all) => el("span", { class: "meter" }, el("i", { style: { width: (100 * value) / all + "%" } }));
  const rows = routes.map(([name, title]) => el("tr", {}, el("th", { scope: "row" }, title), el("td", {}, String(steps[name].passes.length)),
    el("td", {}, bar(steps[name].flops, most), el("b", { id: name + "-flops", title: grouped(steps[name].flops) }, compact(steps[name].flops))),
    el("td", {}, bar(steps[name].bytes, mostBytes), el("b", { id: name + "-bytes", title: grouped(steps[name].bytes) }, compact(steps[name].bytes)))));
  return panel(t("What {count} tokens cost", { count: n }),
    t("Counted from the model's shape. With the cache a step does only its own row: the operations are those of the one pass, but the weights are read again at each step."),
    el("div", { class: "scroll" }, el("table", { class: "costs" }, el("thead", {}, el("tr", {},
      [t("route"), t("passes"), t("operations"), t("bytes read")].map((name) => el("th", { scope: "col" }, name)))), el("tbody", {}, rows))),
    steps.window && steps.window < n ? notice(t("This model sees {window} tokens: the cache keeps no more.", { window: steps.window })) : null);
}
