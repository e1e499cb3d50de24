// Base and adapter side by side: one question, two streamed answers, each with the digest that wrote it.

import { ApiError, events, get, send } from "./api.js";
import { actionButton, el, heading, notice } from "./dom.js";

// Turns outlive the view, so that looking at a job and coming back loses nothing.
const turns = [];

export async function chatView({ root, query, signal }) {
  const log = el("div", { class: "turns" });
  const hint = el("p", { class: "hint muted" });
  const alias = el("select", { id: "alias" });
  const version = el("select", { id: "version" });
  const temperature = el("input", { id: "temperature", type: "number", min: "0", max: "2", step: "0.1", value: "0" });
  const limit = el("input", { id: "limit", type: "number", min: "1", max: "4096", step: "1", value: "128" });
  const earlier = el("input", { id: "earlier", type: "checkbox" });
  const box = el("textarea", { id: "question", rows: "2", placeholder: "Ask both models the same question…", value: query.get("q") ?? "" });
  const ask = el("button", { class: "primary", type: "submit", disabled: true }, "Ask");
  const stop = el("button", { class: "quiet", type: "button", hidden: true }, "Stop");
  const form = el("form", { class: "composer", "aria-label": "Ask" },
    el("label", { for: "question", class: "unseen" }, "Question"), box, el("div", { class: "actions" }, stop, ask));
  root.append(
    heading("Chat", "The same question to the frozen base and to what it has learned. No passage is added to the prompt."),
    el("div", { class: "bar" },
      el("div", { class: "field" }, el("label", { for: "alias" }, "Adapter"), alias),
      el("div", { class: "field" }, el("label", { for: "version" }, "Version"), version),
      el("details", { class: "settings" }, el("summary", {}, "Settings"),
        el("div", { class: "field" }, el("label", { for: "temperature" }, "Temperature"), temperature),
        el("div", { class: "field" }, el("label", { for: "limit" }, "Longest answer, tokens"), limit),
        el("div", { class: "check" }, earlier, el("label", { for: "earlier" }, "Send earlier turns along"))),
      actionButton("Clear", () => { turns.length = 0; log.replaceChildren(); hint.hidden = false; })),
    hint, log, form);

  const [models, adapters] = await Promise.all([get("/v1/models", signal), get("/adapters?limit=100", signal)]);
  const base = models.data.find((model) => !model.parent)?.id;
  if (!base) throw new ApiError("The server lists no base model.", 0, "no-base");
  const wanted = query.get("adapter") ?? "";
  const [wantedAlias, wantedVersion] = wanted.split("@");
  const names = adapters.items.filter((adapter) => adapter.live_version).map((adapter) => adapter.name);
  alias.append(...(names.length ? names : [""]).map((name) => el("option", { value: name }, name || "none yet")));
  alias.disabled = names.length === 0;
  if (names.includes(wantedAlias)) alias.value = wantedAlias;
  else if (wantedAlias) root.insertBefore(notice(`There is no adapter ${wantedAlias} (any more).`), hint);
  hint.replaceChildren(...(names.length
    ? ["Ask something that only the adapter's documents say."]
    : ["There is no adapter yet, so only the base answers. ", el("a", { href: "#/teach" }, "Teach it a document"), " to get one."]));
  hint.hidden = turns.length > 0;

  async function listVersions() {
    version.replaceChildren(el("option", { value: "" }, "live"));
    version.disabled = !alias.value;
    if (!alias.value) return;
    const name = alias.value;
    const page = await get(`/adapters/${encodeURIComponent(name)}/versions?limit=100`, signal);
    if (name !== alias.value) return;
    version.append(...page.items.map((item) => el("option", { value: String(item.version) }, `@${item.version}${item.live ? " (live)" : ""}`)));
  }
  alias.addEventListener("change", () => listVersions().catch((error) => {
    if (!signal.aborted) root.insertBefore(notice(error.message), hint);
  }));
  await listVersions();
  if (wantedVersion && alias.value === wantedAlias) version.value = wantedVersion;

  for (const turn of turns) log.append(drawTurn(turn).node);
  log.lastElementChild?.scrollIntoView({ block: "end" });

  let stopping = null;
  stop.addEventListener("click", () => stopping?.abort());
  signal.addEventListener("abort", () => stopping?.abort());
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const question = box.value.trim();
    if (!question || stopping) return;
    const ids = [base];
    if (alias.value) ids.push(version.value ? `${alias.value}@${version.value}` : alias.value);
    const history = earlier.checked ? [...turns] : [];
    const turn = { question, answers: ids.map((model) => ({ model, text: "", note: "", error: "", fingerprint: "" })) };
    turns.push(turn);
    const drawn = drawTurn(turn);
    log.append(drawn.node);
    drawn.node.scrollIntoView({ block: "end", behavior: "smooth" });
    box.value = "";
    hint.hidden = true;
    ask.hidden = true;
    stop.hidden = false;
    stopping = new AbortController();
    const settings = { temperature: Number(temperature.value) || 0, max_tokens: Number(limit.value) || 128 };
    await Promise.all(turn.answers.map((answer, side) =>
      stream(answer, messages(history, side, question), settings, drawn.cards[side], stopping.signal)));
    stopping = null;
    ask.hidden = false;
    stop.hidden = true;
    if (!signal.aborted) box.focus();
  });
  // Until here nothing listened to the form, and a browser would have sent it by itself.
  ask.disabled = false;
  if (matchMedia("(hover: hover)").matches) box.focus();
}

function messages(history, side, question) {
  const earlier = history.flatMap((turn) => {
    const answer = turn.answers[side];
    return answer?.text ? [{ role: "user", content: turn.question }, { role: "assistant", content: answer.text }] : [];
  });
  return [...earlier, { role: "user", content: question }];
}

async function stream(answer, prompt, settings, card, signal) {
  const started = performance.now();
  let tokens = null;
  card.busy(true);
  try {
    const response = await send("POST", "/v1/chat/completions",
      { model: answer.model, messages: prompt, stream: true, stream_options: { include_usage: true }, ...settings }, { signal });
    for await (const { data } of events(response)) {
      if (data === "[DONE]") break;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new ApiError(chunk.error.message, 200, chunk.error.code);
      answer.fingerprint = chunk.system_fingerprint ?? answer.fingerprint;
      answer.text += chunk.choices?.[0]?.delta?.content ?? "";
      tokens = chunk.usage?.completion_tokens ?? tokens;
      card.update();
    }
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    answer.note = tokens === null ? `${seconds} s` : `${tokens} tokens, ${seconds} s`;
  } catch (error) {
    if (signal.aborted) answer.note = "stopped";
    else answer.error = error.message;
  }
  card.busy(false);
}

function drawTurn(turn) {
  const cards = turn.answers.map((answer, side) => drawAnswer(answer, side));
  const node = el("section", { class: "turn", "aria-label": turn.question },
    el("p", { class: "question" }, turn.question), el("div", { class: "pair" }, cards.map((card) => card.node)));
  return { node, cards };
}

function drawAnswer(answer, side) {
  const text = el("div", { class: "answer", "aria-live": "polite" });
  const foot = el("footer", {});
  const node = el("article", { class: side === 0 ? "card base" : "card learned", "data-model": answer.model },
    el("header", {}, el("span", { class: "role" }, side === 0 ? "Base" : "Adapter"), el("strong", {}, answer.model)), text, foot);
  function update() {
    text.textContent = answer.text;
    if (answer.error) text.append(notice(answer.error));
    foot.replaceChildren(...(answer.fingerprint ? [el("code", { title: "system_fingerprint: the weights that wrote this" }, answer.fingerprint)] : []),
      el("span", {}, answer.note));
  }
  // While busy, screen readers wait; then they read the whole answer instead of every token.
  function busy(is) {
    text.setAttribute("aria-busy", String(is));
    node.classList.toggle("writing", is);
    update();
  }
  update();
  return { node, update, busy };
}
