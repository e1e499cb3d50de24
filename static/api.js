// Talking to the server: JSON in and out, its error sentences, server-sent events over fetch.
// EventSource cannot send a bearer key, so streams are read from the response body.

import { el, notice } from "./dom.js";

const KEY = "autodidact-key";
export const TERMINAL = new Set(["succeeded", "failed", "cancelled"]);

export class ApiError extends Error {
  constructor(message, status, code, field) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
    this.field = field;
  }
}

export const get = (path, signal) => json("GET", path, undefined, { signal });
export const post = (path, body, options) => json("POST", path, body, options);
export const remove = (path) => json("DELETE", path);

async function json(method, path, body, options) {
  const response = await send(method, path, body, options);
  return response.status === 204 ? null : response.json();
}

export async function send(method, path, body, { headers = {}, signal } = {}) {
  const all = { ...headers };
  // The browser writes the content type of a form itself, with the border between its fields.
  const form = body instanceof FormData;
  if (body !== undefined && !form) all["content-type"] = "application/json";
  const key = sessionStorage.getItem(KEY);
  if (key) all.authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(path, { method, headers: all, signal, body: body === undefined || form ? body : JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server cannot be reached. Is it still running?", 0, "unreachable");
  }
  if (response.ok) return response;
  if (response.status === 401 && (await askForKey(key))) return send(method, path, body, { headers, signal });
  throw await readError(response);
}

async function readError(response) {
  let told = {};
  try {
    told = await response.json();
  } catch {
    // Not JSON: the status alone has to do.
  }
  const error = told.error ?? told;
  const sentence = error.detail ?? error.message ?? error.title ?? `The server answered with status ${response.status}.`;
  return new ApiError(sentence, response.status, error.code, error.field ?? error.param);
}

// Several requests may meet a 401 at once; they share one dialog.
let asking = null;

function askForKey(tried) {
  if (sessionStorage.getItem(KEY) !== tried) return Promise.resolve(true);
  asking ??= new Promise((resolve) => {
    const dialog = document.getElementById("key");
    const input = document.getElementById("key-input");
    input.value = "";
    dialog.returnValue = "no";
    dialog.addEventListener("close", () => {
      const given = dialog.returnValue === "yes" && input.value.trim();
      if (given) sessionStorage.setItem(KEY, given);
      asking = null;
      resolve(Boolean(given));
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

// The events of one response body, as {id, event, data}.
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      buffer = (buffer + value).replaceAll("\r\n", "\n");
      for (let end = buffer.indexOf("\n\n"); end >= 0; end = buffer.indexOf("\n\n")) {
        const event = parseEvent(buffer.slice(0, end));
        buffer = buffer.slice(end + 2);
        if (event) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parseEvent(block) {
  const event = { id: null, event: "message", data: [] };
  for (const line of block.split("\n")) {
    const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line);
    if (field === "data") event.data.push(value);
    else if (field === "id" || field === "event") event[field] = value;
  }
  return event.data.length ? { ...event, data: event.data.join("\n") } : null;
}

// A job's events up to its terminal state, through lost connections and server restarts.
export async function* follow(path, signal, onLost) {
  let last = null;
  for (;;) {
    try {
      const headers = { accept: "text/event-stream", ...(last === null ? {} : { "last-event-id": last }) };
      for await (const event of events(await send("GET", path, undefined, { headers, signal }))) {
        onLost(false);
        last = event.id ?? last;
        const data = JSON.parse(event.data);
        yield { event: event.event, data };
        if (event.event === "state" && TERMINAL.has(data.state)) return;
      }
    } catch (error) {
      if (signal.aborted || (error instanceof ApiError && error.status >= 400 && error.status < 500)) throw error;
    }
    signal.throwIfAborted();
    onLost(true);
    await pause(1000, signal);
  }
}

export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}

// A link cannot carry the bearer key, so with one the file is fetched and handed over.
export function downloadLink(path, name, attributes) {
  const link = el("a", { href: path, download: name, ...attributes }, "Download");
  link.addEventListener("click", async (event) => {
    if (!sessionStorage.getItem(KEY)) return;
    event.preventDefault();
    try {
      const url = URL.createObjectURL(await (await send("GET", path)).blob());
      el("a", { href: url, download: name }).click();
      URL.revokeObjectURL(url);
    } catch (error) {
      link.after(notice(error.message));
    }
  });
  return link;
}
