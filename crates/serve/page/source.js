// Where the numbers come from: a server, or the data that stand in this file. Both speak one schema, docs/page.md.
import { askFor } from "./dom.js";
import { t } from "./words.js";

// The data block of a report; null on a page that a server sends.
export function recorded() {
  const block = document.getElementById("data");
  return block ? JSON.parse(block.textContent) : null;
}

export function openSource() {
  const report = recorded();
  return report ? recordedSource(report) : liveSource();
}

function recordedSource(report) {
  const absent = () => Promise.reject(new Error("not recorded"));
  return {
    live: false,
    text: report.text,
    model: async () => report.model,
    pass: async () => report.pass,
    steps: async () => report.steps,
    heads: async () => report.heads,
    change: async (text, position) => report.changes.find((change) => change.position === position),
    training: async () => report.training,
    proofs: async () => report.proofs,
    workingExample: async () => (report.working
      ? { task: report.working.probe.info.task, problem: report.working.probe.problem.question } : absent()),
    working: async () => report.working || absent(),
  };
}

function liveSource() {
  const kept = new Map();
  const keep = (key, make) => {
    if (!kept.has(key)) {
      const made = make();
      kept.set(key, made);
      made.catch(() => kept.delete(key));
      if (kept.size > 60) kept.delete(kept.keys().next().value);
    }
    return kept.get(key);
  };
  const read = (path) => keep(path, () => ask(path));
  const post = (path, body) => keep(path + JSON.stringify(body), () => ask(path, body));
  return {
    live: true,
    text: null,
    model: () => read("page/model"),
    pass: (text) => post("page/pass", { text }),
    steps: (text) => post("page/steps", { text }),
    heads: (text) => post("page/heads", { text }),
    change: (text, position, by) => post("page/change", { text, position, ...by }),
    training: () => ask("page/training"),
    proofs: (text) => ask("page/prove", text ? { text } : {}),
    workingExample: () => ask("page/working"),
    working: (problem) => ask("page/working", { problem }),
    write: (request, signal) => events("page/write", request, signal),
    train: (task) => events("page/working/train", { task }),
  };
}

// The key of a server that asks for one: kept while the page is open, and nowhere else.
let secret = null;
let asking = null;

function request(path, body, signal) {
  const headers = secret === null ? {} : { authorization: "Bearer " + secret };
  return fetch(path, body === undefined ? { headers, signal }
    : { method: "POST", headers: { ...headers, "content-type": "application/json" }, body: JSON.stringify(body), signal });
}

async function send(path, body, signal) {
  let response = await request(path, body, signal);
  while (response.status === 401) {
    asking ||= askFor(t("This server asks for its key."));
    const given = await asking;
    asking = null;
    if (given === null) break;
    secret = given;
    response = await request(path, body, signal);
  }
  if (!response.ok) {
    const told = await response.json().catch(() => null);
    throw new Error(told && told.error ? told.error.message : response.status + " " + response.statusText);
  }
  return response;
}

async function ask(path, body) {
  return (await send(path, body)).json();
}

// Server-sent events as they come, each an object.
async function* events(path, body, signal) {
  const response = await send(path, body, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      held += value;
      const blocks = held.split("\n\n");
      held = blocks.pop();
      for (const block of blocks) {
        const data = block.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart());
        if (data.length) yield JSON.parse(data.join("\n"));
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
