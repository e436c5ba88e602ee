// Lines over steps or positions, as SVG with axes, a legend, and a reader of values that follows the pointer and arrow keys.
import { el, put, small, svg } from "./dom.js";

const LEFT = 52;
const RIGHT = 14;
const TOP = 10;
const BOTTOM = 26;

// `lines`: { name, x, y, colour (a class), faint, dots, dash }; all of `x` in order.
export function lineChart(options) {
  const { lines, width = 560, height = 220, xName, label, log, format = small } = options;
  const shown = lines.filter((line) => line.x.length);
  const box = svg("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, tabindex: 0 });
  if (!shown.length) return el("div", { class: "chartbox" }, box);
  const xs = shown.flatMap((line) => line.x);
  const ys = shown.flatMap((line) => line.y).filter((y) => Number.isFinite(y) && (!log || y > 0));
  const [x0, x1] = [Math.min(...bounds(xs)), Math.max(...bounds(xs), Math.min(...bounds(xs)) + 1)];
  const [low, high] = bounds(ys);
  const pad = log ? 1 : (high - low || Math.abs(high) || 1) * 0.06;
  const scale = log ? Math.log : (y) => y;
  const [y0, y1] = log ? [scale(low), scale(high) + (high > low ? 0 : 1)] : [Math.min(low, low - pad), high + pad];
  const px = (x) => LEFT + ((x - x0) / (x1 - x0)) * (width - LEFT - RIGHT);
  const py = (y) => height - BOTTOM - ((scale(y) - y0) / (y1 - y0 || 1)) * (height - TOP - BOTTOM);
  for (const y of log ? logTicks(low, high) : ticks(y0, y1, height < 250 ? 5 : 7)) {
    if (py(y) < TOP - 1 || py(y) > height - BOTTOM + 1) continue;
    put(box, svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: py(y), y2: py(y) }),
      svg("text", { class: "tick", x: LEFT - 6, y: py(y) + 4, "text-anchor": "end" }, format(y)));
  }
  for (const x of ticks(x0, x1, 6).filter((x) => Number.isInteger(x))) {
    put(box, svg("text", { class: "tick", x: px(x), y: height - 8, "text-anchor": "middle" }, String(x)));
  }
  put(box, svg("line", { class: "axis", x1: LEFT, x2: width - RIGHT, y1: height - BOTTOM, y2: height - BOTTOM }));
  if (xName) put(box, svg("text", { class: "tick", x: LEFT - 6, y: height - 8, "text-anchor": "end" }, xName));
  for (const line of shown) {
    const points = line.x.map((x, index) => [x, line.y[index]]).filter(([, y]) => Number.isFinite(y) && (!log || y > 0));
    const path = points.map(([x, y], index) => (index ? "L" : "M") + px(x).toFixed(1) + " " + py(y).toFixed(1)).join("");
    put(box, svg("path", { class: "line " + line.colour + (line.faint ? " faint" : "") + (line.dash ? " dash" : ""), d: path }));
    if (line.dots) points.forEach(([x, y]) => put(box, svg("circle", { class: "dot " + line.colour, cx: px(x), cy: py(y), r: 3.2 })));
  }
  const reader = svg("line", { class: "reader", y1: TOP, y2: height - BOTTOM, x1: -9, x2: -9 });
  put(box, reader);
  const legend = el("div", { class: "legend" });
  const tell = (x) => {
    if (x !== null) {
      reader.setAttribute("x1", px(x));
      reader.setAttribute("x2", px(x));
    }
    legend.replaceChildren(...shown.map((line) => {
      const near = x === null ? line.x.length - 1 : nearest(line.x, x);
      const value = Number.isFinite(line.y[near]) ? format(line.y[near]) : "–";
      const place = line.dash ? "" : ` · ${line.x[near]}`;
      return el("span", { class: "key" }, el("i", { class: "swatch " + line.colour + (line.faint ? " faint" : "") + (line.dash ? " dash" : "") }),
        line.name + " ", el("b", {}, value), el("small", {}, place));
    }));
  };
  let at = null;
  box.addEventListener("pointermove", (event) => {
    const frame = box.getBoundingClientRect();
    const x = ((event.clientX - frame.left) / frame.width) * width;
    at = Math.min(x1, Math.max(x0, x0 + ((x - LEFT) / (width - LEFT - RIGHT)) * (x1 - x0)));
    tell(at);
  });
  box.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const line = shown.find((other) => !other.dash) || shown[0];
    const index = Math.max(0, Math.min(line.x.length - 1, (at === null ? line.x.length - 1 : nearest(line.x, at)) + by));
    at = line.x[index];
    tell(at);
  });
  tell(null);
  return el("div", { class: "chartbox" }, box, legend);
}

export function nearest(xs, x) {
  let best = 0;
  for (let index = 1; index < xs.length; index += 1) {
    if (Math.abs(xs[index] - x) < Math.abs(xs[best] - x)) best = index;
  }
  return best;
}

function bounds(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return [low, high];
}

function ticks(from, to, count) {
  const raw = (to - from) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw);
  const found = [];
  for (let at = Math.ceil(from / step) * step; at <= to + step * 1e-9; at += step) found.push(Number(at.toPrecision(12)));
  return found;
}

function logTicks(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
    const near = [1, 2, 5].map((factor) => factor * 10 ** power).filter((value) => value >= low * 0.999 && value <= high * 1.001);
    found.push(...near);
  }
  return found.length > 7 ? found.filter((value) => String(value.toExponential(0)).startsWith("1")) : found;
}

// Shares of a whole over positions, one on the other. `rows[position]` are shares that add up to 1.
export function areaChart(options) {
  const { rows, names, width = 560, height = 200, label } = options;
  const box = svg("svg", { class: "chart areas", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  const px = (index) => LEFT + (index / Math.max(1, rows.length - 1)) * (width - LEFT - RIGHT);
  const py = (share) => height - BOTTOM - share * (height - TOP - BOTTOM);
  const sums = rows.map((row) => row.reduce((all, share) => [...all, all[all.length - 1] + share], [0]));
  names.forEach((name, group) => {
    const upper = sums.map((row, index) => px(index).toFixed(1) + " " + py(row[group + 1]).toFixed(1));
    const lower = sums.map((row, index) => px(index).toFixed(1) + " " + py(row[group]).toFixed(1)).reverse();
    put(box, svg("path", { class: "area a" + group, d: "M" + upper.concat(lower).join("L") + "Z" }));
  });
  for (const share of [0, 0.5, 1]) {
    put(box, svg("text", { class: "tick", x: LEFT - 6, y: py(share) + 4, "text-anchor": "end" }, 100 * share + " %"));
  }
  for (const x of ticks(0, rows.length - 1, 6).filter((value) => Number.isInteger(value))) {
    put(box, svg("text", { class: "tick", x: px(x), y: height - 8, "text-anchor": "middle" }, String(x)));
  }
  const legend = el("div", { class: "legend" }, names.map((name, group) =>
    el("span", { class: "key" }, el("i", { class: "swatch fill a" + group }), name)));
  return el("div", { class: "chartbox" }, box, legend);
}
