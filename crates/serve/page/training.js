// View 5: how the run went. The same as `tril plot`.
import { lineChart } from "./chart.js";
import { button, chartWidth, compact, el, notice, panel, put, renew } from "./dom.js";
import { t } from "./words.js";

const COLOURS = 6;

export async function trainingView(app, root) {
  put(root, el("p", { class: "lead" }, t("The loss is the mean of −ln p over the tokens that were predicted. What it falls by is what the model has learnt.")));
  const runs = await app.source.training();
  if (!runs.length) {
    put(root, notice(t("This checkpoint lies in no run, so there is nothing to draw. A run is what `tril train` makes.")));
    return;
  }
  const own = (app.state.training ||= { sample: null, run: 0 });
  const colour = (index) => "c" + (index % COLOURS);
  const losses = runs.flatMap((run, index) => [
    { name: t("{run}, training", { run: run.name }), x: run.step, y: run.loss, colour: colour(index), faint: true },
    { name: t("{run}, held out", { run: run.name }), x: run.evaluations.map((point) => point.step), y: run.evaluations.map((point) => point.loss), colour: colour(index), dots: true },
    run.floor !== null && run.step.length && { name: t("floor"), x: [run.step[0], run.step[run.step.length - 1]], y: [run.floor, run.floor], colour: colour(index), dash: true },
  ].filter(Boolean));
  const last = runs.map((run) => {
    const end = run.evaluations[run.evaluations.length - 1];
    return el("p", { class: "figures" }, el("b", {}, run.name), " · ", t("{steps} steps", { steps: run.step.length ? run.step[run.step.length - 1] : 0 }),
      end && [" · ", t("held-out loss "), el("b", { class: "last-loss" }, end.loss.toFixed(4)), " · ", t("{bits} bits per byte", { bits: end.bits_per_byte.toFixed(3) })],
      run.floor !== null && [" · ", t("floor "), el("b", {}, run.floor.toFixed(4))], run.stride > 1 && [" · ", t("each point is the mean of {stride} steps", { stride: run.stride })]);
  });
  put(root, panel(t("Loss"), runs.some((run) => run.floor !== null)
    ? t("In nats a token. The floor is the loss of the grammar that wrote the held-out stories: no model can do better, but by chance.") : t("In nats a token."),
  lineChart({ lines: losses, width: chartWidth(root, 1), height: 300, label: t("Loss"), xName: t("step") }), last,
  runs.length > 1 && el("p", { class: "about" }, t("Runs with different tokenizers predict different tokens: compare their bits per byte."))));
  const field = (name, key, log, format) => panel(name, null, lineChart({
    lines: runs.map((run, index) => ({ name: run.name, x: run.step, y: run[key], colour: colour(index) })), label: name, width: chartWidth(root, 3), height: 190, xName: t("step"), log, format,
  }));
  put(root, el("div", { class: "pair-of-panels three" }, field(t("Learning rate"), "learning_rate"), field(t("Gradient norm"), "grad_norm", true), field(t("Tokens a second"), "tokens_per_second", false, (value) => compact(Math.round(value)))));
  put(root, samples(runs, own));
}

// What the model wrote at each evaluation.
function samples(runs, own) {
  const place = el("div", { id: "samples" });
  const run = runs[Math.min(own.run, runs.length - 1)];
  if (!runs.some((other) => other.samples.length)) {
    return panel(t("Samples"), t("This run kept no samples: runs keep one at each evaluation since tril has this page."));
  }
  const show = (which) => {
    own.run = runs.indexOf(which);
    own.sample = Math.min(own.sample === null ? which.samples.length - 1 : own.sample, which.samples.length - 1);
    const sample = which.samples[own.sample];
    renew(place, runs.length > 1 && el("div", { class: "choice" }, runs.map((other) => button(other.name, () => show(other), { "aria-pressed": String(other === which) }))),
      el("div", { class: "choice", role: "group", "aria-label": t("step") }, el("span", { class: "label" }, t("step")), which.samples.map((other, index) => button(String(other.step), () => {
        own.sample = index;
        show(which);
      }, { "aria-pressed": String(index === own.sample), "data-sample": index }))),
      el("blockquote", { class: "sample" }, sample ? sample.text : "–"));
  };
  show(run.samples.length ? run : runs.find((other) => other.samples.length));
  return panel(t("Samples"), t("The same prompt and the same draws at each evaluation; only the weights differ."), place);
}
