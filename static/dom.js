// Building blocks every view shares: elements, words for figures, notices, a confirm dialog.
// Text only ever enters the page as text nodes, so nothing a model or a document says becomes markup.

export function el(tag, props = {}, ...children) {
  return dress(document.createElement(tag), props, children);
}

export function svg(tag, props = {}, ...children) {
  return dress(document.createElementNS("http://www.w3.org/2000/svg", tag), props, children);
}

function dress(node, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value") node.value = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  // What is typed runs as its own first letter does, right to left for Arabic.
  if (node.matches?.("textarea, input:not([type])")) node.dir = "auto";
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export function heading(title, lead) {
  return el("div", { class: "heading" }, el("h1", { tabindex: "-1" }, title), lead ? el("p", { class: "lead" }, lead) : null);
}

export function notice(message, kind = "error") {
  return el("p", { class: `notice ${kind}`, role: kind === "error" ? "alert" : "status" }, message);
}

export function empty(title, text, action) {
  return el("div", { class: "empty" }, el("h2", {}, title), el("p", {}, text), action ?? null);
}

export function badge(state) {
  return el("span", { class: `badge ${state}` }, state);
}

// A button that runs an async action once at a time and shows its error next to itself.
export function actionButton(label, action, className = "quiet") {
  const button = el("button", { type: "button", class: className }, label);
  button.addEventListener("click", async () => {
    button.disabled = true;
    button.parentNode.querySelector(":scope > .notice.error")?.remove();
    try {
      await action();
    } catch (error) {
      if (error.name !== "AbortError") button.parentNode?.append(notice(error.message));
    } finally {
      button.disabled = false;
    }
  });
  return button;
}

export function confirmed(title, text, yes, danger = false) {
  const dialog = document.getElementById("confirm");
  document.getElementById("confirm-title").textContent = title;
  document.getElementById("confirm-text").textContent = text;
  const button = document.getElementById("confirm-yes");
  button.textContent = yes;
  button.className = danger ? "danger" : "primary";
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

// Rows of a cursor-paged list, with a button for the next page as long as there is one.
export async function pages(load, addRows, moreHost) {
  async function next(cursor) {
    const page = await load(cursor);
    addRows(page.items);
    moreHost.replaceChildren();
    if (page.next) moreHost.append(actionButton("Show more", () => next(page.next)));
    return page;
  }
  return next(null);
}

// `headers` are the column names; they label the cells when a narrow screen stacks the rows.
export function table(caption, headers, rows) {
  const body = el("tbody", {}, rows);
  const node = el("div", { class: "scroll" },
    el("table", {},
      el("caption", { class: "unseen" }, caption),
      el("thead", {}, el("tr", {}, headers.map((name) => el("th", { scope: "col" }, name)))),
      body));
  return { node, body };
}

export function row(headers, cells) {
  return el("tr", {}, cells.map((cell, index) =>
    el("td", { "data-label": headers[index] }, el("div", {}, cell))));
}

export function percent(value) {
  return typeof value === "number" ? `${Math.round(value * 100)} %` : "–";
}

export function scores(before, after) {
  if (typeof before !== "number" && typeof after !== "number") return "not probed";
  return `${percent(before)} → ${percent(after)}`;
}

export function duration(seconds) {
  if (typeof seconds !== "number" || !Number.isFinite(seconds)) return "";
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

export function bytes(count) {
  if (typeof count !== "number") return "–";
  if (count < 1e6) return `${Math.max(1, Math.round(count / 1e3))} kB`;
  return `${(count / 1e6).toFixed(1)} MB`;
}

export function when(time) {
  if (!time) return "–";
  const date = new Date(typeof time === "number" ? time * 1000 : time);
  if (Number.isNaN(date.getTime())) return String(time);
  return el("time", { datetime: date.toISOString(), title: date.toLocaleString() },
    date.toLocaleString(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" }));
}

export function shortDigest(digest) {
  if (!digest) return "–";
  return el("code", { title: digest }, digest.replace(/^sha256:/, "").slice(0, 12));
}

// Any JSON as definition lists, tables and text: used for reports and lineage, whose details depend
// on the kind of self-edit and may grow without the console having to know.
export function inspect(value) {
  if (value === null || value === undefined || value === "") return el("span", { class: "muted" }, "–");
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
  if (typeof value === "string") {
    return value.length > 90 || value.includes("\n") ? el("pre", { class: "text" }, value) : value;
  }
  if (Array.isArray(value)) {
    if (value.length === 0) return el("span", { class: "muted" }, "none");
    if (value.every((item) => item && typeof item === "object" && !Array.isArray(item))) {
      const headers = [...new Set(value.flatMap((item) => Object.keys(item)))];
      return table("Details", headers.map(words),
        value.map((item) => row(headers.map(words), headers.map((key) => inspect(item[key]))))).node;
    }
    return el("ol", { class: "plain" }, value.map((item) => el("li", {}, inspect(item))));
  }
  return el("dl", { class: "facts" }, Object.entries(value).flatMap(([key, item]) =>
    [el("dt", {}, words(key)), el("dd", {}, inspect(item))]));
}

function words(key) {
  return key.replaceAll("_", " ");
}
