// View 3: where heads look, what each layer would say, what a head is good for, how far back weight goes.
import { areaChart } from "./chart.js";
import { bits, button, chartWidth, colours, el, headName, level, mix, panel, percent, put, quoted, renew, sharpestHead, small } from "./dom.js";
import { leftOut, textBox, tokenStrip } from "./tokens.js";
import { drawTriangle, shade, walkable } from "./triangle.js";
import { t } from "./words.js";

const DISTANCES = [0, 1, 2, 4, 8, 16, 32];

export async function routesView(app, root) {
  const { source, state } = app;
  put(root, el("p", { class: "lead" }, t("Attention is the only way by which one token hears of another. Each head of each layer has a triangle of weights: a row for each token, adding up to 1 over the tokens that it may see.")));
  put(root, textBox(app));
  const [pass, off] = await Promise.all([source.pass(state.text), source.heads(state.text)]);
  const own = (state.routes ||= { head: String(sharpestHead(pass.attention)), query: null, off: null, lens: null });
  const valid = own.head === "all" || own.head.startsWith("layer-") || Number(own.head) < pass.attention.length;
  if (!valid) own.head = "0";
  put(root, leftOut(pass), attentionPanel(root, pass, own), distancePanel(root, pass, own), lensPanel(app, pass, own), offPanel(pass, off, own));
}

// The weights of one head, or the mean of several: of a layer, or of all.
function weightsOf(pass, name) {
  const chosen = pass.attention.filter((head, index) => name === "all" || name === "layer-" + head.layer || name === String(index));
  if (chosen.length === 1) return chosen[0].weights;
  return chosen[0].weights.map((row, query) => row.map((unused, key) =>
    chosen.reduce((sum, head) => sum + head.weights[query][key], 0) / chosen.length));
}

function nameOf(pass, name) {
  if (name === "all") return t("the mean of all heads");
  if (name.startsWith("layer-")) return t("the mean of layer {layer}", { layer: name.slice(6) });
  const head = pass.attention[Number(name)];
  return headName(head.layer, head.head);
}

function attentionPanel(root, pass, own) {
  const n = pass.tokens.length;
  const labels = pass.tokens.map((token) => token.text);
  const grid = el("div", { class: "heads", role: "group", "aria-label": t("heads") });
  const big = el("div", { class: "big" });
  const layers = [...new Set(pass.attention.map((head) => head.layer))];
  const thumbs = [];
  const add = (place, name, title, weights) => {
    const canvas = el("canvas", { "aria-hidden": "true" });
    const press = button([canvas, el("span", {}, title)], () => {
      own.head = name;
      show();
    }, { class: "thumb", "data-head": name });
    thumbs.push([press, name]);
    put(place, press);
    drawTriangle(canvas, window.innerWidth <= 560 ? 60 : 84, n, (query, key) => (key > query ? null : weights[query][key]));
  };
  for (const layer of layers) {
    const row = el("div", { class: "layer" }, el("span", { class: "label" }, t("layer {layer}", { layer })));
    pass.attention.forEach((head, index) => head.layer === layer && add(row, String(index), t("head {head}", { head: head.head }), head.weights));
    if (pass.attention.filter((head) => head.layer === layer).length > 1) add(row, "layer-" + layer, t("mean"), weightsOf(pass, "layer-" + layer));
    put(grid, row);
  }
  if (pass.attention.length > 1) {
    put(grid, el("div", { class: "layer" }, el("span", { class: "label" }, t("all")), ""));
    add(grid.lastChild, "all", t("mean"), weightsOf(pass, "all"));
  }
  const show = () => {
    thumbs.forEach(([press, name]) => press.setAttribute("aria-pressed", String(name === own.head)));
    const weights = weightsOf(pass, own.head);
    const isOne = !Number.isNaN(Number(own.head));
    const canvas = el("canvas", { id: "triangle", role: "img", "aria-label": t("attention of {head}", { head: nameOf(pass, own.head) }) });
    const readout = el("div", { class: "readout", id: "weight", "aria-live": "polite" });
    const byToken = el("div", { id: "by-token" });
    const size = Math.min(560, chartWidth(root, 1));
    renew(big, el("h4", {}, nameOf(pass, own.head)), canvas, readout, el("h4", {}, t("by token")), byToken);
    const tell = ([query, key]) => {
      const weight = weights[query][key];
      const value = key > query ? t("0, exactly: a later token cannot be seen") : isOne ? Math.fround(weight).toPrecision(6) : weight.toPrecision(6);
      renew(readout, el("span", { class: "where" }, t("{from} (token {query}) looks at {to} (token {key})",
        { from: quoted(labels[query]), query, to: quoted(labels[key]), key })), el("b", { id: "weight-value" }, value),
      isOne && el("code", { id: "weight-bits" }, bits(weight)));
      if (own.query !== query || !byToken.firstChild) {
        own.query = query;
        tellToken();
      }
    };
    const tellToken = () => {
      const { surface, accent } = colours();
      const query = Math.min(own.query === null ? n - 1 : own.query, n - 1);
      const strip = tokenStrip(pass.tokens, {
        label: t("tokens"), chosen: query,
        paint: (index) => (index > query ? { class: "unseen", title: t("exactly 0") }
          : { background: mix(surface, accent, 0.75 * shade(weights[query][index])), title: percent(weights[query][index]) }),
        press: (index) => walker.move(index, Math.min(index, walker.cursor()[1])),
      });
      const best = weights[query].map((weight, key) => [weight, key]).sort((a, b) => b[0] - a[0]).slice(0, 5).filter(([weight]) => weight > 0);
      renew(byToken, strip, el("ol", { class: "bars" }, best.map(([weight, key]) => el("li", {}, el("span", { class: "name" }, quoted(labels[key])),
        el("span", { class: "meter" }, el("i", { style: { width: 100 * weight + "%" } })), el("b", {}, percent(weight))))));
    };
    let walker = { move: () => {}, cursor: () => [0, 0] };
    const begin = [Math.min(own.query === null ? n - 1 : own.query, n - 1), 0];
    walker = walkable(canvas, n, (cursor) => drawTriangle(canvas, size, n, (query, key) => weights[query][key], { labels, cursor }), tell, begin);
    const distance = document.getElementById("distance");
    if (distance) distance.replaceWith(distancePanel(root, pass, own));
  };
  show();
  return panel(t("Where heads look"), t("The stronger the colour, the more weight. Dots above the diagonal are weights on later tokens: computed, and exactly 0. Move over a triangle, or use the arrow keys."),
    el("div", { class: "attention" }, grid, big));
}

// The groups of distances are those of `tril lab routes`.
function distancePanel(root, pass, own) {
  const weights = weightsOf(pass, own.head);
  const rows = weights.map((row, query) => {
    const shares = DISTANCES.map(() => 0);
    row.forEach((weight, key) => {
      if (key > query) return;
      shares[DISTANCES.filter((least) => least <= query - key).length - 1] += weight;
    });
    return shares;
  });
  const names = DISTANCES.map((least, index) => {
    const next = DISTANCES[index + 1];
    if (least === 0) return t("itself");
    return next === undefined ? `${least}+` : next - 1 === least ? String(least) : `${least}–${next - 1}`;
  });
  const mean = names.map((unused, group) => rows.reduce((sum, row) => sum + row[group], 0) / rows.length);
  const back = weights.map((row, query) => row.slice(0, query + 1).reduce((sum, weight, key) => sum + weight * (query - key), 0));
  return el("section", { class: "panel", id: "distance" }, el("h3", {}, t("How far back weight goes")),
    el("p", { class: "about" }, t("{head}: at each position, the share of its weight by distance in tokens. As the context grows, there is more to look back to.", { head: nameOf(pass, own.head) })),
    areaChart({ rows, names, width: chartWidth(root, 1), height: 210, label: t("weight by distance at each position") }),
    el("p", { class: "figures" }, t("mean distance at the last position: "), el("b", {}, t("{back} tokens", { back: small(back[back.length - 1]) })), " · ",
      names.map((name, group) => [el("span", { class: "pairing" }, name + " ", el("b", { "data-distance": DISTANCES[group], title: String(mean[group]) }, percent(mean[group]))), " "])));
}

function lensPanel(app, pass, own) {
  const n = pass.tokens.length;
  const detail = el("div", { class: "readout", id: "lens-cell", "aria-live": "polite" });
  const head = el("tr", {}, el("th", { scope: "col" }, ""), pass.tokens.map((token, index) =>
    el("th", { scope: "col", title: t("position {index}", { index }) }, quoted(token.text))));
  const rows = [...pass.lens].reverse().map((layer) => {
    const title = layer.after === 0 ? t("embedding") : t("after layer {layer}", { layer: layer.after - 1 });
    return el("tr", {}, el("th", { scope: "row" }, title), layer.rows.map((row, position) => {
      const best = row.next[0];
      const hit = position + 1 < n && best.id === pass.tokens[position + 1].id;
      return el("td", {}, button(quoted(best.text), () => tell(layer, position), {
        class: "lens l" + (5 - level(best.p)) + (hit ? " hit" : ""), title: percent(best.p), "data-after": layer.after, "data-position": position,
      }));
    }));
  });
  const tell = (layer, position) => {
    own.lens = [layer.after, position];
    const row = layer.rows[position];
    const target = pass.tokens[position + 1];
    renew(detail, el("span", { class: "where" }, t("after {count} blocks, at {token}, next would come", { count: layer.after, token: quoted(pass.tokens[position].text) })),
      row.next.map((next) => el("span", { class: "pairing" }, quoted(next.text) + " ", el("b", {}, percent(next.p)))),
      target && el("span", { class: "where" }, t("{token}, which does come: ", { token: quoted(target.text) }), el("b", { id: "lens-target" }, percent(row.target))));
  };
  const [after, position] = own.lens && own.lens[0] < pass.lens.length && own.lens[1] < n ? own.lens : [pass.lens.length - 1, Math.max(0, n - 2)];
  tell(pass.lens.find((layer) => layer.after === after), position);
  return panel(t("What each layer would say"), t("The output head applied to the residual stream between layers, as if the rest of the model were not there (the logit lens). The uppermost row is what the model itself says. Stronger is more probable; a dotted line marks the token that does come next."),
    el("div", { class: "scroll" }, el("table", { class: "lenses" }, el("thead", {}, head), el("tbody", {}, rows))), detail);
}

function offPanel(pass, off, own) {
  if (own.off === null || own.off >= off.heads.length) {
    const by = off.heads.map((head) => head.loss);
    own.off = by.indexOf(Math.max(...by));
  }
  const place = el("div", { id: "head-off" });
  const worst = Math.max(...off.heads.map((head) => Math.abs(head.loss - off.loss)), 1e-9);
  const list = el("div", { class: "offs", role: "group", "aria-label": t("heads") }, off.heads.map((head, index) => {
    const more = head.loss - off.loss;
    return button([el("span", { class: "name" }, headName(head.layer, head.head)),
      el("span", { class: "meter " + (more < 0 ? "less" : "") }, el("i", { style: { width: (100 * Math.abs(more)) / worst + "%" } })),
      el("b", {}, (more >= 0 ? "+" : "−") + Math.abs(more).toFixed(3))], () => {
      own.off = index;
      show();
    }, { class: "off", "data-off": index });
  }));
  const show = () => {
    [...list.children].forEach((press, index) => press.setAttribute("aria-pressed", String(index === own.off)));
    const head = off.heads[own.off];
    const { surface, warm, good } = colours();
    const paint = (index) => {
      if (head.logprobs[index] === null) return { title: t("nothing predicts the first token") };
      const more = head.logprobs[index] - off.logprobs[index];
      const [was, is] = [off.logprobs[index], head.logprobs[index]].map((logprob) => percent(Math.exp(logprob)));
      return { background: mix(surface, more < 0 ? warm : good, Math.min(1, Math.abs(more) / 2) * 0.8), title: `${was} → ${is}` };
    };
    const changed = head.best.map((best, position) => [best, off.best[position], position]).filter(([is, was]) => is.id !== was.id);
    renew(place, el("p", { class: "figures" }, t("loss on this text: "), el("b", { id: "loss-with" }, off.loss.toFixed(4)), t(" with all heads, "),
      el("b", { id: "loss-without" }, head.loss.toFixed(4)), t(" without {head}", { head: headName(head.layer, head.head) })),
    tokenStrip(pass.tokens, { paint, label: t("tokens") }),
    el("p", { class: "legend" }, el("span", { class: "key" }, el("i", { class: "swatch fill warm" }), t("less probable without the head")),
      el("span", { class: "key" }, el("i", { class: "swatch fill good" }), t("more probable without it"))),
    el("p", { class: "about" }, changed.length ? t("At {count} of {all} positions another token becomes the most probable:", { count: changed.length, all: head.best.length })
      : t("At no position another token becomes the most probable.")),
    el("ul", { class: "swaps" }, changed.slice(0, 12).map(([is, was, position]) => el("li", {}, el("small", {}, String(position)), quoted(pass.tokens[position].text) + ": ",
      quoted(was.text), " → ", el("b", {}, quoted(is.text))))));
  };
  show();
  return panel(t("A head switched off"), t("Its output is replaced by zeros, and the text goes through the model again. The bars are nats a token that the loss grows by."),
    el("div", { class: "two" }, list, place));
}
