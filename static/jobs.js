// Jobs: the list, and one job watched live from its event stream. The stream starts at the job's first
// event, so a finished job shows the same page as a running one.

import { TERMINAL, follow, get, pause, post } from "./api.js";
import { actionButton, badge, confirmed, duration, el, empty, heading, notice, pages, row, table, when } from "./dom.js";
import { documentCard } from "./learning.js";

const COLUMNS = ["Job", "Adapter", "State", "Progress", "Created", ""];

export async function jobsView({ root, signal }) {
  const host = el("div", {});
  const more = el("div", { class: "more" });
  root.append(heading("Jobs", "Every document is learned by a durable job: it survives a restart and goes on where it was."), host, more);
  const rows = new Map();
  const list = table("Jobs", COLUMNS, []);
  const load = (cursor) => get(`/jobs?limit=30${cursor ? `&after=${encodeURIComponent(cursor)}` : ""}`, signal);
  const draw = (job) => {
    const drawn = jobRow(job, refresh);
    rows.get(job.id)?.node.replaceWith(drawn);
    rows.set(job.id, { job, node: drawn });
    return drawn;
  };
  async function refresh(id) {
    draw(await get(`/jobs/${encodeURIComponent(id)}`, signal));
  }
  await pages(load, (items) => list.body.append(...items.map(draw)), more);
  if (rows.size === 0) {
    host.append(empty("No jobs yet", "A job appears here as soon as a document is posted.", el("a", { href: "#/teach", class: "button" }, "Teach a document")));
    return;
  }
  host.append(list.node);
  while (!signal.aborted) {
    await pause(3000, signal);
    if (document.hidden) continue;
    for (const { job } of [...rows.values()]) {
      if (!TERMINAL.has(job.state)) await refresh(job.id);
    }
  }
}

function jobRow(job, refresh) {
  const progress = job.progress ?? {};
  return row(COLUMNS, [
    el("a", { href: `#/jobs/${encodeURIComponent(job.id)}` }, el("code", {}, job.id)),
    job.adapter, badge(job.state),
    TERMINAL.has(job.state) ? "" : el("progress", { max: "1", value: progress.fraction ?? 0, "aria-label": `Progress of ${job.id}` }),
    when(job.created_at), controls(job, refresh),
  ]);
}

function controls(job, changed) {
  const move = (verb) => async () => {
    if (verb === "cancel" && !(await confirmed("Cancel this job?", "What it has trained so far is dropped. The adapter stays as it is.", "Cancel the job", true))) return;
    await post(`/jobs/${encodeURIComponent(job.id)}/${verb}`);
    await changed(job.id);
  };
  const buttons = [];
  if (job.state === "queued" || job.state === "running") buttons.push(actionButton("Pause", move("pause")));
  if (job.state === "paused") buttons.push(actionButton("Resume", move("resume")));
  if (!TERMINAL.has(job.state)) buttons.push(actionButton("Cancel", move("cancel")));
  return el("div", { class: "controls" }, buttons);
}

export async function jobView({ root, id, signal }) {
  const path = `/jobs/${encodeURIComponent(id)}`;
  let job = await get(path, signal);
  const state = el("span", {});
  const buttons = el("div", {});
  const bar = el("progress", { max: "1", "aria-label": "Progress" });
  const stage = el("p", { class: "stage", "aria-live": "polite" });
  const lost = notice("The connection is lost; trying again…", "info");
  const failure = el("div", { class: "failure" });
  const cards = el("div", { class: "cards" });
  lost.hidden = true;
  root.append(
    heading(`Learning into ${job.adapter}`),
    el("section", { class: "card job", id: "job" },
      el("div", { class: "between" }, el("div", { class: "inline" }, state, el("code", { class: "muted" }, job.id)), buttons),
      bar, stage, lost, failure),
    cards);

  async function reload() {
    job = await get(path, signal);
    drawState();
  }
  function drawState() {
    state.replaceChildren(badge(job.state));
    root.querySelector("#job").dataset.state = job.state;
    buttons.replaceChildren(controls(job, reload));
    bar.hidden = TERMINAL.has(job.state);
    if (job.error) failure.replaceChildren(notice(job.error.message));
    if (TERMINAL.has(job.state)) stage.replaceChildren(ending(job));
  }
  function drawProgress(progress) {
    if (TERMINAL.has(job.state)) return;
    const { stage: name, fraction, eta_seconds: eta, message } = progress ?? {};
    bar.value = fraction ?? 0;
    const left = duration(eta);
    stage.replaceChildren(el("strong", {}, name ?? "waiting"), message ? ` ${message}` : "", left ? el("span", { class: "muted" }, ` about ${left} left`) : "");
  }
  drawState();
  drawProgress(job.progress);

  const documents = new Map();
  function card(documentId) {
    if (!documents.has(documentId)) {
      documents.set(documentId, documentCard(documentId, job.adapter));
      cards.append(documents.get(documentId).node);
    }
    return documents.get(documentId);
  }
  for await (const { event, data } of follow(`${path}/events`, signal, (is) => { lost.hidden = !is; })) {
    if (event === "state") {
      job = { ...job, state: data.state };
      if (TERMINAL.has(data.state)) await reload();
      else drawState();
    } else if (event === "progress") drawProgress(data);
    else if (data.document_id) card(data.document_id).take(event, data);
  }
  for (const result of job.result?.documents ?? []) card(result.id).finish(result);
}

function ending(job) {
  const took = job.started_at && job.finished_at ? duration(seconds(job.finished_at) - seconds(job.started_at)) : "";
  return el("span", {}, { succeeded: "Finished", failed: "Failed", cancelled: "Cancelled" }[job.state], took ? ` after ${took}.` : ".");
}

function seconds(time) {
  return typeof time === "number" ? time : Date.parse(time) / 1000;
}
