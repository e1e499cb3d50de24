// Adapters: what there is, where each version comes from, and the moves: roll back, download, delete.

import { downloadLink, get, post, remove } from "./api.js";
import { actionButton, badge, bytes, confirmed, el, empty, heading, inspect, pages, row, scores, shortDigest, table, when } from "./dom.js";
import { retentionCard } from "./retention.js";

const COLUMNS = ["Adapter", "Live version", "Versions", "Documents", "Digest", "Updated", ""];

export async function adaptersView({ root, signal }) {
  const host = el("div", {});
  const more = el("div", { class: "more" });
  root.append(heading("Adapters", "A name is a line of immutable versions; one of them is live."), host, more);
  const list = table("Adapters", COLUMNS, []);
  const load = (cursor) => get(`/adapters?limit=30${cursor ? `&after=${encodeURIComponent(cursor)}` : ""}`, signal);
  await pages(load, (items) => list.body.append(...items.map((item) => row(COLUMNS, [
    el("a", { href: `#/adapters/${encodeURIComponent(item.name)}` }, item.name), item.live_version ? `@${item.live_version}` : "none yet", String(item.versions), String(item.documents),
    shortDigest(item.digest), when(item.updated_at),
    el("a", { href: `#/chat?${new URLSearchParams({ adapter: item.name })}` }, "Ask"),
  ]))), more);
  if (list.body.children.length) host.append(list.node);
  else {
    host.append(empty("No adapters yet", "Teach the model a document and what it learned becomes an adapter.",
      el("a", { href: "#/teach", class: "button" }, "Teach a document")));
  }
}

export async function adapterView({ root, id, signal }) {
  const path = `/adapters/${encodeURIComponent(id)}`;
  const host = el("div", { class: "cards" });
  const known = el("div", {});
  const more = el("div", { class: "more" });
  const actions = el("div", { class: "actions start" },
    el("a", { class: "button", href: `#/chat?${new URLSearchParams({ adapter: id })}` }, "Ask it"),
    el("a", { class: "button quiet", href: `#/teach?${new URLSearchParams({ adapter: id })}` }, "Teach it more"));
  root.append(heading(id), actions, known, host, more);

  async function draw() {
    const adapter = await get(path, signal);
    const card = await retentionCard(path, signal);
    known.replaceChildren(...(card ? [card] : []));
    host.replaceChildren();
    const load = (cursor) => get(`${path}/versions?limit=30${cursor ? `&after=${encodeURIComponent(cursor)}` : ""}`, signal);
    await pages(load, (items) => host.append(...items.map((item) => versionCard(adapter, item, path, draw))), more);
    return adapter;
  }
  const adapter = await draw();
  root.querySelector(".lead")?.remove();
  root.querySelector(".heading").append(el("p", { class: "lead" }, `Made `, when(adapter.created_at), adapter.live_version ? `, live version ${adapter.live_version}.` : ", nothing published yet."));
  actions.append(actionButton("Delete", async () => {
    const sure = await confirmed(`Delete ${id}?`, "The name and all its versions go. This cannot be undone.", `Delete ${id}`, true);
    if (!sure) return;
    const now = await get(path, signal);
    await remove(now.live_version ? `${path}?expected_version=${now.live_version}` : path);
    location.hash = "#/adapters";
  }, "danger quiet"));
}

function versionCard(adapter, item, path, redraw) {
  const { documents, ...rest } = item.lineage ?? {};
  const node = el("article", { class: item.live ? "card version live" : "card version", "data-version": item.version },
    el("div", { class: "between" },
      el("div", { class: "inline" }, el("h2", {}, `@${item.version}`), item.live ? badge("live") : null, shortDigest(item.digest)),
      el("div", { class: "controls" },
        item.live ? null : actionButton("Roll back to this", async () => {
          const sure = await confirmed(`Make ${adapter.name}@${item.version} live?`,
            `Requests for ${adapter.name} are answered by version ${item.version} from then on. Version ${adapter.live_version} is kept.`, `Roll back to @${item.version}`);
          if (!sure) return;
          await post(`${path}/rollback`, { version: item.version, expected_version: adapter.live_version });
          await redraw();
        }),
        downloadLink(`${path}/versions/${item.version}/weights`, `${adapter.name}-${item.version}.tar`, { class: "button quiet", title: "PEFT: adapter_config.json and adapter_model.safetensors" }))),
    el("p", { class: "muted small" }, "Made ", when(item.created_at), `, ${bytes(item.bytes)}`, item.parent ? `, continues ${parent(item.parent)}` : "", "."));
  if (Array.isArray(documents) && documents.length) {
    node.append(el("ul", { class: "lineage" }, documents.map((document) => lineageEntry(document))));
  }
  if (Object.keys(rest).length) node.append(el("details", {}, el("summary", {}, "How it was made"), inspect(rest)));
  return node;
}

function parent(value) {
  return typeof value === "number" || /^\d+$/.test(value) ? `@${value}` : String(value).replace(/^sha256:/, "").slice(0, 12);
}

function lineageEntry(document) {
  if (typeof document === "string") return el("li", {}, el("a", { href: `#/documents/${encodeURIComponent(document)}` }, document));
  const id = document.id ?? document.document_id;
  const name = document.title ?? id;
  return el("li", {}, id ? el("a", { href: `#/documents/${encodeURIComponent(id)}` }, name) : name,
    el("span", { class: "figure" }, scores(document.score_before, document.score_after)));
}
