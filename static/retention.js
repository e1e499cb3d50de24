// The forgetting matrix of an adapter as a heat map: a row a version, a column a document.

import { get } from "./api.js";
import { el, percent } from "./dom.js";

// The card, or null where nothing has been asked yet.
export async function retentionCard(path, signal) {
  const found = await get(`${path}/retention?limit=50`, signal);
  if (!found.documents.length || !found.versions.length) return null;
  const general = new Map(found.general.map((row) => [row.version, row]));
  const head = el("tr", {},
    el("th", { scope: "col" }, "Version"),
    found.documents.map((document, index) => el("th", { scope: "col", title: document.live ? document.title : `${document.title}: not known to the live version` },
      el("a", { href: `#/documents/${encodeURIComponent(document.id)}`, "aria-label": document.title }, String(index + 1)))),
    el("th", { scope: "col", title: "Mean over the documents known by then" }, "Mean"),
    el("th", { scope: "col", title: "General knowledge, as a share of what the base knows" }, "General"));
  const body = found.versions.map((version, i) => el("tr", { "data-version": version },
    el("th", { scope: "row" }, version === 0 ? "base" : `@${version}`),
    found.documents.map((document, j) => cell(found.cells[i][j], document, version)),
    el("td", { class: "figure" }, percent(found.mean[i])),
    el("td", { class: "figure" }, kept(general.get(version)))));
  return el("section", { class: "card retention" },
    el("h2", {}, "What it still knows"),
    el("p", { class: "muted small" }, summary(found)),
    el("div", { class: "scroll" }, el("table", { class: "heat" },
      el("caption", { class: "unseen" }, "Share of each document's questions answered right, by version"),
      el("thead", {}, head), el("tbody", {}, body))));
}

function cell(value, document, version) {
  if (!value) return el("td", { class: "heat-cell none", title: `${document.title}: not asked` }, "–");
  // Eleven steps of one colour: style attributes are forbidden by the page's policy.
  const own = version === document.version ? " own" : "";
  return el("td", { class: `heat-cell heat-${Math.round(value.score * 10)}${own}`,
    title: `${document.title}: ${value.correct} of ${value.probes} right` }, String(Math.round(value.score * 100)));
}

function kept(row) {
  if (!row || !row.base) return "–";
  return el("span", { title: `${row.probes} asked` }, percent(row.score / row.base));
}

function summary({ just_learned: just, final_row: last, backward_transfer: change }) {
  const parts = [];
  if (typeof just === "number") parts.push(`Just learned ${percent(just)}, now ${percent(last)}`);
  if (typeof change === "number") parts.push(change === 0 ? "nothing lost since" : `${change < 0 ? "lost" : "gained"} since: ${percent(Math.abs(change))}`);
  return parts.length ? `${parts.join("; ")}. Outlined: the version that learned the document.` : "Nothing has been asked yet.";
}
