// One document being learned: what the events of its job say about it, in the order a reader asks:
// was it accepted, can it answer now, how did training go, what did it study.

import { badge, el, percent, row, svg, table } from "./dom.js";

const COLUMNS = ["Question", "Expected", "Before", "After"];

// Without an id the card stands on the document's own page and links nowhere.
export function documentCard(id, adapter) {
  const name = el(id ? "a" : "span", id ? { href: `#/documents/${encodeURIComponent(id)}` } : {}, "Document");
  const title = el("h2", {}, name);
  const state = el("span", {});
  const decision = el("div", { class: "decision", "aria-live": "polite" });
  const probes = el("section", { hidden: true });
  const training = el("section", { hidden: true });
  const notes = el("section", { hidden: true });
  const node = el("article", { class: "card document", "data-document": id },
    el("div", { class: "between" }, title, state), decision, probes, training, notes);
  const asked = new Map();
  const sum = {};
  const edits = new Map();
  let losses = [];
  let dropped = 0;

  function drawProbes() {
    if (asked.size === 0) return;
    probes.hidden = false;
    const figures = [sum.before, sum.after].filter((score) => typeof score === "number").map(percent).join(" → ");
    probes.replaceChildren(el("h3", {}, "Questions", figures ? el("span", { class: "figure" }, figures) : null),
      table("Questions before and after", COLUMNS, [...asked].map(([question, probe]) =>
        row(COLUMNS, [question, probe.answer, mark(probe.before), mark(probe.after)]))).node,
      dropped ? el("p", { class: "muted small" }, `${dropped} more that the model wrote did not pass its own check.`) : "");
  }
  const on = {
    document(data) {
      if (data.title) name.textContent = data.title;
      if (data.state) state.replaceChildren(badge(data.state));
      if (data.state === "failed" && data.reason) failed(data.reason);
    },
    self_edit(data) {
      // A resumed job may tell of the same notes again.
      edits.set(data.text, data);
      notes.hidden = false;
      const sequences = [...edits.values()].reduce((total, edit) => total + (edit.sequences ?? 0), 0);
      notes.replaceChildren(el("details", { open: true },
        el("summary", {}, `Study notes: ${data.kind}`, sequences ? el("span", { class: "muted" }, ` (${sequences} training ${sequences === 1 ? "sequence" : "sequences"})`) : ""),
        [...edits.keys()].map((text) => el("pre", { class: "text" }, text || "The text alone, no notes."))));
    },
    probes(data) {
      for (const { question, answer } of data.kept ?? []) asked.set(question, { ...asked.get(question), answer });
      dropped = data.dropped ?? 0;
      drawProbes();
    },
    score(data) {
      sum[data.when] = data.score;
      for (const probe of data.probes ?? []) {
        asked.set(probe.question, { ...asked.get(probe.question), answer: probe.answer, [data.when]: probe });
      }
      drawProbes();
    },
    train(data) {
      // A gentler second try starts counting again: show the run that is going on.
      if (losses.length && data.step <= losses.at(-1).step) losses = [];
      losses.push(data);
      training.hidden = false;
      training.replaceChildren(el("h3", {}, "Training", el("span", { class: "figure" }, `step ${data.step} of ${data.steps}`)), sparkline(losses));
    },
    decision(data) {
      settle(data.accepted, data.reason, data.version);
    },
  };

  function settle(accepted, reason, version) {
    state.replaceChildren(badge(accepted ? "learned" : "refused"));
    decision.className = `decision ${accepted ? "accepted" : "refused"}`;
    const question = asked.keys().next().value;
    const target = version ? `${adapter}@${version}` : adapter;
    const query = new URLSearchParams({ adapter: target, ...(question ? { q: question } : {}) });
    decision.replaceChildren(
      el("p", {}, el("strong", {}, accepted ? `Accepted as version ${version}. ` : "Refused. "), el("span", { class: "reason" }, reason ?? "")),
      accepted ? el("a", { class: "button", href: `#/chat?${query}` }, "Ask it now") : "");
  }

  function failed(reason) {
    state.replaceChildren(badge("failed"));
    decision.className = "decision refused";
    decision.replaceChildren(el("p", {}, el("strong", {}, "Failed. "), el("span", { class: "reason" }, reason ?? "")));
  }

  return {
    node,
    take: (event, data) => on[event]?.(data),
    // The result of the finished job also covers documents whose decision event never came.
    finish(result) {
      if (!decision.hasChildNodes() && result.state !== "failed") settle(result.state === "learned", result.reason, result.version);
      else if (result.state === "failed") failed(result.reason);
    },
  };
}

function mark(probe) {
  if (!probe) return el("span", { class: "muted" }, "…");
  return el("span", { class: probe.correct ? "mark right" : "mark wrong" },
    el("span", { "aria-hidden": "true" }, probe.correct ? "✓ " : "✗ "),
    el("span", { class: "unseen" }, probe.correct ? "right: " : "wrong: "),
    probe.got || "(nothing)");
}

function sparkline(points) {
  const [width, height, edge] = [600, 90, 4];
  const values = points.map((point) => point.loss);
  const top = Math.max(...values, 1e-9);
  const steps = Math.max(points.at(-1).steps ?? 1, points.at(-1).step, 2);
  const x = (step) => edge + ((width - 2 * edge) * step) / steps;
  const y = (loss) => height - edge - ((height - 2 * edge) * loss) / top;
  const said = `loss ${values[0].toFixed(2)} → ${values.at(-1).toFixed(2)}`;
  return el("figure", { class: "spark" },
    svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Training ${said}`, preserveAspectRatio: "none" },
      svg("line", { x1: 0, x2: width, y1: y(0), y2: y(0), class: "axis" }),
      svg("polyline", { points: points.map((point) => `${x(point.step).toFixed(1)},${y(point.loss).toFixed(1)}`).join(" ") })),
    el("figcaption", { class: "muted small" }, said));
}
