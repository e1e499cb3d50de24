// Documents: what was posted, what became of it, and everything that happened on the way.

import { get } from "./api.js";
import { badge, el, empty, heading, inspect, pages, row, scores, table, when } from "./dom.js";
import { documentCard } from "./learning.js";

const COLUMNS = ["Document", "Adapter", "State", "Score", "Posted"];
const PARTS = ["Part", "Tokens", "Questions kept"];
const STAGES = ["Stage", "Seconds", "Prompt tokens", "Generated", "Scored", "Trained"];

export async function documentsView({ root, signal }) {
  const host = el("div", {});
  const more = el("div", { class: "more" });
  root.append(heading("Documents", "Everything the model was asked to learn, and whether it did."), host, more);
  const list = table("Documents", COLUMNS, []);
  const load = (cursor) => get(`/documents?limit=30${cursor ? `&after=${encodeURIComponent(cursor)}` : ""}`, signal);
  await pages(load, (items) => list.body.append(...items.map((item) => row(COLUMNS, [
    el("a", { href: `#/documents/${encodeURIComponent(item.id)}` }, item.title || item.id), adapterLink(item.adapter),
    badge(item.state), scores(item.score_before, item.score_after), when(item.created_at),
  ]))), more);
  if (list.body.children.length) host.append(list.node);
  else {
    host.append(empty("No documents yet", "Paste one, and the model studies it and is tested on it.",
      el("a", { href: "#/teach", class: "button" }, "Teach a document")));
  }
}

function adapterLink(name) {
  return el("a", { href: `#/adapters/${encodeURIComponent(name)}` }, name);
}

export async function documentView({ root, id, signal }) {
  const found = await get(`/documents/${encodeURIComponent(id)}`, signal);
  const { report, text, title, adapter, state, version, score_before: before, score_after: after, job_id: job, created_at: made, id: _, ...rest } = found;
  root.append(heading(title || id),
    el("section", { class: "card" },
      el("dl", { class: "facts" },
        fact("State", badge(state)), fact("Adapter", el("span", {}, adapterLink(adapter), version ? `, version ${version}` : "")),
        fact("Score", scores(before ?? report?.score_before, after ?? report?.score_after)), fact("Posted", when(made)),
        job ? fact("Job", el("a", { href: `#/jobs/${encodeURIComponent(job)}` }, "Watch how it was learned")) : []),
      typeof text === "string" ? el("details", {}, el("summary", {}, "Text"), el("pre", { class: "text" }, text)) : null));
  const { self_edits: edits, probes, decision, parts, seconds, tokens, ...details } = report ?? {};
  if (parts?.length) root.append(partsCard(parts));
  if (Object.keys(seconds ?? {}).length) root.append(stagesCard(seconds, tokens ?? {}));
  if (report) root.append(learned(found, { edits, probes, decision }));
  const told = { ...rest, ...details };
  if (Object.keys(told).length) {
    root.append(el("section", { class: "card report" }, el("details", {}, el("summary", {}, "Everything that was recorded"), inspect(told))));
  }
}

// Where the time and the tokens went.
function stagesCard(seconds, tokens) {
  const figures = Object.entries(seconds).map(([stage, took]) => {
    const { prompt = 0, generated = 0, scored = 0, trained = 0 } = tokens[stage] ?? {};
    return row(STAGES, [stage.replace("_", " "), took.toFixed(1), String(prompt), String(generated), String(scored), String(trained)]);
  });
  return el("section", { class: "card stages" }, el("h2", {}, "Stages"), table("Stages", STAGES, figures).node);
}

// What a long document is learned in.
function partsCard(parts) {
  return el("section", { class: "card parts" },
    el("h2", {}, "Parts ", el("span", { class: "figure" }, `${parts.length}`)),
    table("Parts", PARTS, parts.map((part) => row(PARTS, [part.title, String(part.tokens), String(part.probes)]))).node);
}

// The report tells the same story as the job's events, so it is drawn by the same card.
function learned({ adapter, state, report }, { edits, probes, decision }) {
  const card = documentCard(null, adapter);
  card.take("document", { title: "What happened", state });
  for (const edit of edits ?? []) {
    card.take("self_edit", { ...edit, sequences: (edit.statements?.length ?? 0) + (edit.pairs?.length ?? 0) });
  }
  card.take("probes", { kept: probes ?? [], dropped: report.dropped_probes?.length ?? 0 });
  for (const time of ["before", "after"]) {
    const asked = (probes ?? []).filter((probe) => probe[time])
      .map((probe) => ({ question: probe.question, answer: probe.answer, got: probe[time].answer, correct: probe[time].correct }));
    if (asked.length) card.take("score", { when: time, score: report[`score_${time}`], probes: asked });
  }
  const losses = report.attempts?.at(-1)?.losses ?? [];
  losses.forEach((loss, index) => card.take("train", { step: index + 1, steps: losses.length, loss }));
  if (state === "failed") card.take("document", { state, reason: decision?.reason });
  else if (decision) card.take("decision", decision);
  return card.node;
}

function fact(name, value) {
  return [el("dt", {}, name), el("dd", {}, value)];
}
