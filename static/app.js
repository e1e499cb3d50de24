// The console's entry: turns the address after # into a view, and says whether the server is ready.
// A view is a function of ({root, id, query, signal}); the signal fires when the reader leaves it.

import { get, pause } from "./api.js";
import { notice } from "./dom.js";
import { chatView } from "./chat.js";
import { teachView } from "./ingest.js";
import { adapterView, adaptersView } from "./adapters.js";
import { documentView, documentsView } from "./documents.js";
import { jobView, jobsView } from "./jobs.js";

const VIEWS = {
  chat: { title: "Chat", list: chatView },
  teach: { title: "Teach", list: teachView },
  adapters: { title: "Adapters", list: adaptersView, one: adapterView },
  documents: { title: "Documents", list: documentsView, one: documentView },
  jobs: { title: "Jobs", list: jobsView, one: jobView },
};

let leaving = new AbortController();

async function show() {
  const [path, search] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, id] = path.split("/").map(decodeURIComponent);
  const key = name in VIEWS ? name : "chat";
  const view = VIEWS[key];
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const root = document.createElement("div");
  root.className = `view ${key}`;
  document.getElementById("view").replaceChildren(root);
  document.title = `${id ?? view.title} · Autodidact`;
  for (const link of document.querySelectorAll("#nav a")) {
    if (link.hash === `#/${key}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  try {
    await (id && view.one ? view.one : view.list)({ root, id, query: new URLSearchParams(search), signal });
  } catch (error) {
    if (!signal.aborted) root.append(notice(error.message));
  }
}

async function watchServer() {
  const place = document.getElementById("server");
  for (;;) {
    try {
      await get("/readyz");
      const base = (await get("/v1/models")).data.find((model) => !model.parent);
      place.textContent = base?.id ?? "ready";
      place.className = "server ready";
      return;
    } catch (error) {
      place.textContent = error.status === 0 ? "Server not reachable" : "Model is loading…";
      place.className = "server waiting";
      if (error.status === 401) return;
    }
    await pause(2000);
  }
}

window.addEventListener("hashchange", async () => {
  if (location.hash === "#view") return;
  await show();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("view").focus();
});
show();
watchServer();
