// View 7: a chain of thought, shown and hidden: the same tokens.
import { button, compact, el, notice, panel, percent, put, quoted, renew } from "./dom.js";
import { t } from "./words.js";

export async function workingView(app, root) {
  const { source, state } = app;
  put(root, el("p", { class: "lead" }, t("A model that writes its working does so in tokens like any others. Whether a reader is shown them is a choice of the display: the model writes the same, and it costs the same.")));
  const own = (state.working ||= { problem: null, hidden: false, found: null });
  const place = el("div", {});
  put(root, place);
  let example;
  try {
    example = await source.workingExample();
  } catch (error) {
    renew(place, source.live ? trainPanel(app, error) : notice(error.message, "bad"));
    return;
  }
  if (own.task !== example.task) Object.assign(own, { task: example.task, problem: example.problem, found: null });
  const about = example.task === "parity" ? t("Is the number of ones among six of these twenty bits odd? Which six, the model was never told: it has learnt it.")
    : t("Two numbers of equally many digits are added, digit by digit from the right, with the carry.");
  const found = el("div", { id: "found" });
  const problem = el("input", { id: "problem", value: own.problem, "aria-label": t("problem"), spellcheck: "false", autocomplete: "off", readonly: !source.live });
  const solve = async () => {
    own.problem = problem.value;
    try {
      own.found = await source.working(problem.value);
      renew(found, answer(own, () => renew(found, answer(own))));
    } catch (error) {
      renew(found, notice(error.message, "bad"));
    }
  };
  problem.addEventListener("keydown", (event) => event.key === "Enter" && solve());
  renew(place, el("div", { class: "textbox" }, problem, source.live && button(t("Ask"), solve, { class: "primary", id: "ask" })), el("p", { class: "about" }, about), found);
  if (own.found) renew(found, answer(own));
  else await solve();
}

function answer(own) {
  const { tokens, prompt, shown, hidden_ids: hiddenIds, probe, flops } = own.found;
  const place = el("div", {});
  const same = tokens.length === hiddenIds.length && tokens.every((token, index) => token.id === hiddenIds[index]);
  const count = tokens.filter((token) => token.hidden).length;
  const show = () => {
    const pieces = tokens.map((token) => el("span", { class: "token " + (token.hidden ? "thought" : "said"), title: percent(token.p), hidden: own.hidden && token.hidden }, token.text));
    const toggle = [[false, t("shown")], [true, t("hidden")]].map(([value, name]) => button(name, () => {
      own.hidden = value;
      show();
    }, { "aria-pressed": String(own.hidden === value), "data-hidden": String(value) }));
    renew(place, el("div", { class: "choice", role: "group", "aria-label": t("the working") }, el("span", { class: "label" }, t("the working")), toggle),
      el("p", { class: "dialogue", id: "reading" }, el("span", { class: "asked" }, prompt), pieces),
      el("dl", { class: "work" }, el("dt", {}, t("tokens written")), el("dd", { id: "written" }, String(tokens.length)), el("dt", {}, t("of them shown")), el("dd", { id: "shown-tokens" }, String(own.hidden ? tokens.length - count : tokens.length)),
        el("dt", {}, t("operations")), el("dd", {}, compact(flops)), el("dt", {}, t("the answer is")), el("dd", {}, probe.right ? t("right") : t("wrong: {answer}", { answer: probe.problem.answer }))));
  };
  show();
  const ids = (list) => el("code", { class: "ids" }, list.join(" "));
  const best = Math.max(...probe.steps.map((step) => Math.exp(step.answer_logprob)), 1e-9);
  const names = { digit_in_place: t("a digit changed, the rest left standing"), digit_and_on: t("a digit changed, and the model goes on"), cut_short: t("cut short"), of_another: t("the working of another problem") };
  return [panel(t("The same tokens"), t("Written twice: once with the working shown, once with it hidden from the reader."), place,
    el("div", { class: "verdict" }, el("strong", { class: same ? "good" : "bad", id: "same" }, same ? t("The ids are the same, {count} of {count}.", { count: tokens.length }) : t("The ids differ.")),
      el("p", {}, el("small", {}, t("shown")), " ", ids(tokens.map((token) => token.id))), el("p", {}, el("small", {}, t("hidden")), " ", ids(hiddenIds)), el("p", { class: "about" }, t("what a reader sees with the working hidden: "), el("code", {}, shown)))),
  panel(t("What the working does"), t("How probable the true answer is, if the working ended after each of its tokens."), el("ol", { class: "bars growing" }, probe.steps.map((step) => {
    const p = Math.exp(step.answer_logprob);
    return el("li", {}, el("span", { class: "name" }, "[" + step.working + "]"), el("span", { class: "meter" }, el("i", { style: { width: (100 * p) / best + "%" } })), el("b", {}, percent(p)));
  }))),
  panel(t("The working changed"), t("The same model goes on from a working that it did not write so. Bold is what it was given."), el("div", { class: "scroll" }, el("table", { class: "changes" }, el("tbody", {}, probe.changes.map((change) =>
    el("tr", {}, el("td", {}, names[change.change]), el("td", {}, el("b", {}, change.given), change.completion.slice(change.given.length)), el("td", { class: change.right ? "good" : "bad" }, change.right ? t("right") : t("wrong"))))))))];
}

function trainPanel(app, why) {
  const bar = el("progress", { max: 1, value: 0, hidden: true, "aria-label": t("training") });
  const note = el("p", { class: "about", id: "train-note" });
  const train = (task) => async () => {
    presses.forEach((press) => { press.disabled = true; });
    bar.hidden = false;
    try {
      for await (const event of app.source.train(task)) {
        if (event.type === "error") throw new Error(event.message);
        if (event.type === "step") {
          bar.value = event.step / event.steps;
          note.textContent = t("step {step} of {steps}, loss {loss}", { step: event.step, steps: event.steps, loss: event.loss.toFixed(3) });
        }
      }
      app.render();
    } catch (error) {
      note.textContent = error.message;
      presses.forEach((press) => { press.disabled = false; });
    }
  };
  const presses = [button(t("Train one on parity (under a minute)"), train("parity"), { class: "primary", id: "train-parity" }), button(t("Train one on sums (some minutes)"), train("sums"), { id: "train-sums" })];
  return panel(t("A model that writes its working"), t("None is open. A small one can be trained here, and is kept while the server runs; or give one that `tril lab sums --formats worked --out DIR` has saved."),
    el("div", { class: "controls" }, presses), bar, note, el("details", {}, el("summary", {}, t("what the server said")), el("p", { class: "about" }, quoted(why.message))));
}
