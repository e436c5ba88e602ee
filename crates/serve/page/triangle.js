// Attention as a triangle: a row for each query, a column for each key. Arrow keys move over it, and what is under the cursor
// is told to whoever draws it.
import { colours, mix, visible } from "./dom.js";

// How a weight is coloured: small ones are to be seen too.
export function shade(weight) {
  return Math.sqrt(weight);
}

// Draws cells [query][key] into a canvas. `cell` gives a weight, or null where nothing was computed.
export function drawTriangle(canvas, size, n, cell, options) {
  const { labels, cursor, rows } = { labels: null, cursor: null, rows: null, ...options };
  const scale = Math.min(3, window.devicePixelRatio || 1);
  // Where there is no room to read them, no room is kept for them.
  const room = labels ? Math.min(96, Math.floor(size * 0.24)) : 0;
  const margin = (size - room) / n >= 8 ? room : 0;
  const step = (size - margin) / n;
  canvas.width = Math.round(size * scale);
  canvas.height = Math.round((size - margin) * scale);
  canvas.style.setProperty("width", size + "px");
  canvas.style.setProperty("height", size - margin + "px");
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  const { ink, muted, line, surface, accent, warm } = colours();
  const gap = step > 5 ? 1 : 0;
  for (let query = 0; query < n; query += 1) {
    for (let key = 0; key < n; key += 1) {
      const weight = cell(query, key);
      const [x, y] = [margin + key * step, query * step];
      if (weight === null) {
        if (key <= query) {
          context.fillStyle = line;
          context.globalAlpha = 0.35;
          context.fillRect(x, y, step - gap, step - gap);
          context.globalAlpha = 1;
        }
      } else if (key > query || weight === 0) {
        // Exactly zero: a dot. Above the diagonal anything else would be seen at once.
        context.fillStyle = weight === 0 ? line : warm;
        const dot = weight === 0 ? Math.max(1, step / 6) : step - gap;
        context.fillRect(x + (step - dot) / 2, y + (step - dot) / 2, dot, dot);
      } else {
        context.fillStyle = mix(surface, accent, 0.06 + 0.94 * shade(weight));
        context.fillRect(x, y, step - gap, step - gap);
      }
    }
  }
  if (labels && margin) {
    context.font = Math.min(12, step - 1) + "px ui-monospace, monospace";
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (let query = 0; query < n; query += 1) {
      if (rows !== null && query >= rows) break;
      context.fillStyle = cursor && cursor[0] === query ? ink : muted;
      context.fillText(fitting(context, visible(labels[query]), margin - 8), margin - 6, query * step + step / 2);
    }
  }
  if (cursor) {
    context.strokeStyle = ink;
    context.lineWidth = 1.5;
    context.strokeRect(margin + cursor[1] * step - 0.5, cursor[0] * step - 0.5, step, step);
  }
  return { margin, step };
}

function fitting(context, text, width) {
  let shown = text;
  while (shown.length > 1 && context.measureText(shown).width > width) shown = shown.slice(0, -1);
  return shown;
}

// A canvas that can be walked over. `draw` draws it with the cursor, and returns its geometry; `tell` is told of each move.
export function walkable(canvas, n, draw, tell, begin) {
  let cursor = begin || [n - 1, 0];
  let geometry = draw(cursor);
  const move = (query, key) => {
    const to = [Math.max(0, Math.min(n - 1, query)), Math.max(0, Math.min(n - 1, key))];
    cursor = to;
    geometry = draw(cursor);
    tell(cursor);
  };
  canvas.tabIndex = 0;
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    const key = Math.floor((event.clientX - box.left - geometry.margin) / geometry.step);
    const query = Math.floor((event.clientY - box.top) / geometry.step);
    if (key >= 0 && key < n && query >= 0 && query < n && (query !== cursor[0] || key !== cursor[1])) move(query, key);
  });
  canvas.addEventListener("keydown", (event) => {
    const by = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1],
      Home: [0, -n], End: [0, n], PageUp: [-8, 0], PageDown: [8, 0] }[event.key];
    if (!by) return;
    event.preventDefault();
    move(cursor[0] + by[0], cursor[1] + by[1]);
  });
  tell(cursor);
  return { move, redraw: () => { geometry = draw(cursor); }, cursor: () => cursor };
}
