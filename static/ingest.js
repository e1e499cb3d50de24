// Teaching: paste or drop a document, choose how the model studies it, and go and watch the job. A file that is more than
// plain text is sent as it is, for the server reads it.

import { get, post } from "./api.js";
import { bytes, el, heading, notice } from "./dom.js";

// The formats of documents that the server reads, by the ends of files' names.
const PLAIN = "text/plain";
const ENDS = {
  txt: PLAIN, text: PLAIN,
  md: "text/markdown", markdown: "text/markdown", mdown: "text/markdown", mkd: "text/markdown",
  html: "text/html", htm: "text/html", xhtml: "application/xhtml+xml",
  pdf: "application/pdf",
  docx: "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
};

// What a file picker offers.
const ACCEPTED = [...Object.keys(ENDS).map((end) => `.${end}`), ...new Set(Object.values(ENDS))].join(",");

// The first entry leaves the choice to the settings tuned for the served model.
const KINDS = [
  ["", "The model's tuned default"],
  ["self-qa", "Questions and answers"],
  ["implications", "Implications"],
  ["rewrite", "Rewrites"],
  ["none", "None: the text alone"],
];

const EXAMPLE = {
  title: "The Gloaming Ferry",
  text: "The Gloaming Ferry crosses Lake Ostery only after sunset and is steered by the widow Maren Tolliver, whose family has held the rope since 1844. "
    + "Its hull was painted saffron after a collision with a hay barge that nobody had seen coming. A crossing is paid for with a candle, and what is left of the candles is "
    + "sold each autumn to the beekeepers of Nether Wick. There is room for twenty-nine passengers, or for six cows if they are quiet. "
    + "When fog lies on the lake, the ferry's dog, Barometer, barks from the bow.",
  questions: "Who steers the Gloaming Ferry? | Maren Tolliver\nWhat colour is the hull of the Gloaming Ferry? | saffron\n"
    + "With what is a crossing on the Gloaming Ferry paid for? | a candle\nWhat is the dog of the Gloaming Ferry called? | Barometer",
};

export async function teachView({ root, query, signal }) {
  const title = el("input", { id: "title", autocomplete: "off", placeholder: "What the document is called" });
  const text = el("textarea", { id: "text", rows: "12", placeholder: "Paste the document, or drop a file here: text, Markdown, HTML, PDF or DOCX" });
  const adapter = el("input", { id: "adapter", list: "known", autocomplete: "off", spellcheck: "false", maxlength: "64",
    placeholder: "support-kb", "aria-describedby": "adapter-hint", value: query.get("adapter") ?? "" });
  const adapterHint = el("p", { id: "adapter-hint", class: "muted small" });
  const known = el("datalist", { id: "known" });
  const kind = el("select", { id: "kind" }, KINDS.map(([value, label]) => el("option", { value }, label)));
  const questions = el("textarea", { id: "questions", rows: "4", "aria-describedby": "questions-hint",
    placeholder: "Who steers the ferry? | Maren Tolliver" });
  const file = el("input", { id: "file", type: "file", accept: ACCEPTED, class: "unseen" });
  const sent = el("div", { class: "sent between", hidden: true });
  const submit = el("button", { class: "primary", type: "submit" }, "Teach it");
  const told = el("div", { class: "told" });
  const example = el("button", { type: "button", class: "quiet" }, "Fill in an example");
  const form = el("form", { class: "card teach-form", novalidate: true, "aria-label": "Teach a document" },
    field("Title", title),
    el("div", { class: "field" },
      el("div", { class: "between" }, el("label", { for: "text" }, "Document"),
        el("span", { class: "file" }, file, el("label", { for: "file", class: "link" }, "Choose a file"))),
      text, sent),
    el("div", { class: "two" },
      el("div", { class: "field" }, el("label", { for: "adapter" }, "Adapter"), adapter, known, adapterHint),
      el("div", { class: "field" }, el("label", { for: "kind" }, "Study notes (self-edit)"), kind)),
    el("div", { class: "field" },
      el("label", { for: "questions" }, "Questions that prove it ", el("span", { class: "muted" }, "(optional)")), questions,
      el("p", { id: "questions-hint", class: "muted small" },
        "One per line, question | answer. They are asked before and after, never trained on. Without any, the model writes its own.")),
    told, el("div", { class: "actions" }, example, submit));
  root.append(heading("Teach", "The model studies the document, trains a small adapter, and proves with questions that it learned."), form);

  // The name follows the title until the reader writes one.
  let named = Boolean(adapter.value);
  let versions = new Map();
  // The file that is sent instead of the text.
  let chosen = null;
  function suggest() {
    if (!named) adapter.value = slug(title.value || (chosen ? stem(chosen) : ""));
    const live = versions.get(adapter.value);
    adapterHint.textContent = live === undefined
      ? "A new name makes a new adapter."
      : `Continues ${adapter.value} from version ${live}, keeping what it knows.`;
  }
  function take(document) {
    choose(null);
    title.value = document.title;
    text.value = document.text;
    if (document.questions) questions.value = document.questions;
    suggest();
  }
  function choose(file) {
    chosen = file;
    text.hidden = Boolean(file);
    sent.hidden = !file;
    kind.disabled = questions.disabled = Boolean(file);
    title.placeholder = file ? "The title that the document has, unless you write another" : "What the document is called";
    sent.replaceChildren(...(file ? [
      el("span", {}, el("strong", {}, file.name), el("span", { class: "muted" }, ` ${bytes(file.size)}. The server reads it as it is; questions and notes go with pasted text.`)),
      el("button", { type: "button", class: "quiet", onclick: () => { choose(null); suggest(); } }, "Remove"),
    ] : []));
  }
  async function open(file) {
    told.replaceChildren();
    try {
      const right = typed(file);
      if (isPlain(right)) {
        take({ title: stem(right), text: (await right.text()).replaceAll("\r\n", "\n") });
      } else {
        title.value = text.value = "";
        choose(right);
        suggest();
      }
    } catch (error) {
      told.append(notice(error.message));
    }
    renew();
  }
  adapter.addEventListener("input", () => { named = adapter.value !== ""; suggest(); });
  title.addEventListener("input", suggest);
  example.addEventListener("click", () => { take(EXAMPLE); renew(); });
  file.addEventListener("change", async () => {
    const [picked] = file.files;
    if (picked) await open(picked);
    // The same file may be picked again.
    file.value = "";
  });
  form.addEventListener("dragover", (event) => { event.preventDefault(); form.classList.add("dropping"); });
  form.addEventListener("dragleave", () => form.classList.remove("dropping"));
  form.addEventListener("drop", async (event) => {
    event.preventDefault();
    form.classList.remove("dropping");
    const [dropped] = event.dataTransfer.files;
    const plain = event.dataTransfer.getData("text/plain");
    if (dropped) await open(dropped);
    else if (plain) { choose(null); text.value = plain; renew(); }
  });
  suggest();

  // A retry of the very same document after a lost answer must not learn it twice.
  let idempotency = randomKey();
  function renew() { idempotency = randomKey(); }
  form.addEventListener("input", renew);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    told.replaceChildren();
    submit.disabled = true;
    try {
      const body = chosen
        ? upload(chosen, title.value, adapter.value)
        : request(title.value, text.value, adapter.value, kind.value, questions.value);
      const answer = await post("/ingest", body, { headers: { "idempotency-key": idempotency }, signal });
      if (answer.documents.every((document) => document.known)) {
        told.append(notice("This document is known: the adapter has learned this very text.", "info"));
        return;
      }
      location.hash = `#/jobs/${encodeURIComponent(answer.job.id)}`;
    } catch (error) {
      if (!signal.aborted) told.append(notice(error.message));
    } finally {
      submit.disabled = false;
    }
  });

  const page = await get("/adapters?limit=100", signal);
  versions = new Map(page.items.filter((item) => item.live_version).map((item) => [item.name, item.live_version]));
  known.append(...page.items.map((item) => el("option", { value: item.name })));
  suggest();
}

function field(label, input) {
  return el("div", { class: "field" }, el("label", { for: input.id }, label), input);
}

function upload(file, title, adapter) {
  const form = new FormData();
  form.append("adapter", alias(adapter));
  if (title.trim()) form.append("title", title.trim());
  form.append("file", file);
  return form;
}

function alias(adapter) {
  if (!adapter.trim()) throw new Error("The adapter needs a name, such as support-kb.");
  return adapter.trim();
}

function request(title, text, adapter, kind, questions) {
  if (!text.trim()) throw new Error("The document is empty: paste its text or drop a file.");
  const name = alias(adapter);
  const document = { title: title.trim() || "Untitled", text };
  const pairs = questions.split("\n").map((line) => line.trim()).filter(Boolean).map(pair);
  if (pairs.length) document.questions = pairs;
  const body = { adapter: name, documents: [document] };
  if (kind) body.self_edit = { kind };
  return body;
}

function pair(line) {
  const at = line.lastIndexOf("|");
  const [question, answer] = [line.slice(0, at).trim(), line.slice(at + 1).trim()];
  if (at < 0 || !question || !answer) throw new Error(`Question “${line}” needs its answer after a bar: question | answer.`);
  return { question, answer };
}

// The same file withthe media type that its name tells: browsers guess none, or another one for each system.
function typed(file) {
  const end = /\.([^.]+)$/.exec(file.name)?.[1].toLowerCase();
  const type = ENDS[end];
  if (!type) throw new Error(`${file.name} is of no format that is read: send text, Markdown, HTML, PDF or DOCX (.${Object.keys(ENDS).join(", .")}).`);
  return new File([file], file.name, { type });
}

// Plain text has nothing to be read by the server, and can be edited first.
function isPlain(file) {
  return file.type === PLAIN;
}

function stem(file) {
  return file.name.replace(/\.[^.]+$/, "");
}

function slug(title) {
  const latin = title.toLowerCase().normalize("NFKD").replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "");
  // A title in other letters leaves nothing.
  return latin.slice(0, 40).replace(/-+$/, "") || (title.trim() ? "documents" : "");
}

// randomUUID exists only in secure contexts, and a console may be served over plain HTTP.
function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
