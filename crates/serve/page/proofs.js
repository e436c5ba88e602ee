// View 6: the rows of `tril prove`, each with what it means.
import { button, el, grouped, notice, put, renew, small } from "./dom.js";
import { t } from "./words.js";

const CLAIMS = [
  ["One function", "A position's logits are the same by every route: one pass, step by step, with the cache, in chunks."],
  ["Batching changes nothing", "Who else is computed beside a text, and on how many threads, makes no difference."],
  ["The mask is the graph", "What comes later cannot reach what comes before: not its numbers, not its gradients."],
  ["The cache can be trained through", "Gradients through the cache are those of the one pass."],
  ["One row is many problems", "The loss of a row is that of its prefixes, each a problem of its own."],
  ["Training ends in the same weights", "Neither threads nor a stop on the way change a bit of what steps from this checkpoint end in."],
];

const MEANINGS = {
  recomputed: "Done plainly, with the whole text again at each step, the numbers are those of the one pass.",
  cached: "Keeping keys and values saves work and changes no bit.",
  prefilled: "A prompt may enter at once and the rest step by step.",
  chunked: "A long prompt may enter in pieces of any size.",
  ring: "Past the window the cache gives up the oldest keys, which nobody sees any more.",
  rewound: "Taken back and continued with other tokens, the cache holds nothing of what was there.",
  generated: "The step by which text is written, all blocks in one go, gives those numbers too.",
  guessed: "Several guessed tokens may be checked in one pass: right ones are kept, wrong ones leave nothing behind.",
  batched: "A text beside others is what it is alone.",
  batched_cached: "The same with a cache that the batch shares.",
  packed: "Rounded weights are read in fewer bytes while a text is written, and stand for the numbers that every pass computes with.",
  ragged: "Others may stand elsewhere in their texts, come later and leave earlier.",
  threads: "One thread or many: the same bits.",
  later_tokens: "A later token replaced: earlier predictions keep every bit.",
  later_gradients: "A position's loss has a gradient of exactly zero at every later position.",
  scaled_later_tokens: "The same where attention is as sharp as can be, where a mask of large numbers would leak.",
  scaled_later_gradients: "The same of gradients.",
  cache_gradients: "Learning through the cache would learn the same.",
  prefix_problems: "Training on a row trains on each of its prefixes at once.",
  prefix_reused: "A text may go on from what another request has kept of the same beginning.",
  accumulated: "Pieces of a batch are added up in their order, whichever thread is done first.",
  micro_batches: "The gradient of a batch is that of its pieces, within rounding.",
  resumed: "Stopped after any step and gone on from what was saved: the same bits, of weights and of the optimizer's state.",
};

const NOW = { recomputed: "again at each step", cached: "with the cache", prefilled: "a prompt at once", chunked: "in chunks", ring: "past the window",
  rewound: "taken back", generated: "as text is written", guessed: "guesses checked", packed: "weights in fewer bytes", batched: "in a batch", batched_cached: "in a batch, cached", ragged: "joining and leaving", threads: "threads", later_tokens: "later tokens",
  later_gradients: "later gradients", scaled_later_tokens: "later tokens, sharp", scaled_later_gradients: "later gradients, sharp",
  cache_gradients: "gradients", prefix_problems: "prefixes", prefix_reused: "another's cache", accumulated: "threads, in pieces", micro_batches: "in pieces", resumed: "stopped and gone on" };

export async function proofsView(app, root) {
  const { source, state } = app;
  put(root, el("p", { class: "lead" }, t("Each row is tried on this checkpoint, and can fail. A test suite plants nineteen mistakes in a second model and sees that these rows find them.")));
  const own = (state.proofs ||= { report: null });
  const place = el("div", { id: "proof-rows" });
  if (source.live) {
    const note = el("span", { class: "about" });
    const run = (text) => async () => {
      const begun = performance.now();
      const timer = setInterval(() => { note.textContent = t("proving… {seconds} s", { seconds: ((performance.now() - begun) / 1000).toFixed(0) }); }, 200);
      presses.forEach((press) => { press.disabled = true; });
      note.textContent = t("proving…");
      try {
        own.report = await source.proofs(text);
        renew(place, rows(own.report));
        note.textContent = t("took {seconds} s", { seconds: ((performance.now() - begun) / 1000).toFixed(1) });
      } catch (error) {
        note.textContent = "";
        renew(place, notice(error.message, "bad"));
      } finally {
        clearInterval(timer);
        presses.forEach((press) => { press.disabled = false; });
      }
    };
    const presses = [button(t("Prove it"), run(null), { class: "primary", id: "prove" }), button(t("On the text of views 2 to 4"), run(state.text), { id: "prove-text" })];
    put(root, el("div", { class: "controls" }, presses, note));
  } else {
    own.report = await source.proofs();
  }
  put(root, place);
  if (own.report) renew(place, rows(own.report));
  else renew(place, el("p", { class: "about" }, t("Nothing has been proved yet. It takes some seconds; `tril prove` does the same in a terminal.")));
}

const OUTCOMES = { pass: "pass", fail: "fail", open: "open", "n/a": "n/a" };

function rows(report) {
  const passed = report.proofs.filter((proof) => proof.outcome === "pass").length;
  const origin = { given: t("on the text given"), model: t("on a text that the model wrote"), all_tokens: t("on all tokens in turn") }[report.origin];
  return [el("div", { class: "verdict" }, el("strong", { id: "all", class: report.pass ? "good" : "bad" }, report.pass ? t("Nothing failed.") : t("Something does not hold.")),
    el("p", {}, t("{passed} of {all} rows pass, {origin}, {tokens} tokens long", { passed, all: report.proofs.length, origin, tokens: grouped(report.proved_tokens) }))),
  CLAIMS.map(([title, about], index) => el("section", { class: "panel claim" }, el("h3", {}, t(title)), el("p", { class: "about" }, t(about)),
    report.proofs.filter((proof) => proof.claim === index + 1).map(oneProof))), control(report)];
}

function oneProof(proof) {
  const difference = proof.max_ulps !== null ? (proof.max_difference === 0 ? t("no bit differs") : t("differs by up to {by}", { by: small(proof.max_difference) }))
    : proof.max_difference === null ? "" : proof.max_difference === 0 ? t("exactly 0") : t("differs by up to {by}", { by: small(proof.max_difference) });
  return el("article", { class: "proof " + proof.outcome.replace("/", ""), "data-proof": proof.id }, el("span", { class: "pill" }, t(OUTCOMES[proof.outcome])),
    el("div", {}, el("h4", {}, t(NOW[proof.id])), el("p", {}, t(MEANINGS[proof.id])),
      el("p", { class: "figures" }, t("{cases} cases, {positions} positions compared", { cases: grouped(proof.cases), positions: grouped(proof.positions) }),
        difference && " · ", difference && el("b", {}, difference), proof.reason && " · " + proof.reason)));
}

function control(report) {
  const found = report.control;
  return found && el("section", { class: "panel" }, el("h3", {}, t("A control that must differ")),
    el("p", { class: "about" }, t("Equal bits are no matter of course: with each sum of the output head cut in two, {count} of {all} positions have other bits, by up to {by}.",
      { count: grouped(found.positions_that_differ), all: grouped(found.positions), by: small(found.max_difference) })));
}
