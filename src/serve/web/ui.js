// Elements, made from code: a text from the server is only ever put in as text.

export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.className = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

export function svg(tag, props = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(props)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const icons = {
  succeeded: "✓", failed: "✕", partial: "◐", cancelled: "⊘", skipped: "↷", timed_out: "⧗", running: "▶", queued: "…",
  pending: "…", paused: "‖", waiting_result: "⧗", backing_off: "↻", idle: "·", asking: "▶", cold: "❄", held: "◷",
  breaker_open: "⚠", given_up: "✕", waiting: "…",
};

export function state(word, detail) {
  return el("span", { class: `state s-${word}`, title: detail || null }, el("i", { "aria-hidden": "true" }, icons[word] || "?"),
    word.replaceAll("_", " "));
}

const busy = ["running", "waiting_result", "backing_off"];
const closed = ["cancelled", "skipped"];
const sum = (c, names) => names.reduce((n, name) => n + (c[name] || 0), 0);

// c: counts by status, with `planned`, which is every denominator.
export function bar(c) {
  const refused = c.refused || 0;
  const parts = [["ok", c.succeeded - refused], ["ref", refused], ["no", c.failed], ["off", sum(c, closed)], ["now", sum(c, busy)]];
  const said = `${c.succeeded} of ${c.planned} succeeded` + (refused ? `, ${refused} of them refusals` : "") + (c.failed ? `, ${c.failed} failed` : "") +
    (sum(c, closed) ? `, ${sum(c, closed)} cancelled or skipped` : "");
  const node = el("div", { class: "bar", role: "img", "aria-label": said });
  for (const [name, n] of parts) {
    if (!n) continue;
    const part = el("i", { class: name });
    part.style.width = `${100 * n / Math.max(c.planned, 1)}%`;
    node.append(part);
  }
  return node;
}

export function barline(c) {
  return el("div", { class: "barline" }, bar(c),
    el("span", {}, `${c.succeeded}/${c.planned}`, c.refused ? el("span", { class: "no-text" }, ` R ${c.refused}`) : null, c.failed ? el("span", { class: "no-text" }, ` ✕ ${c.failed}`) : null));
}

export function duration(s) {
  if (s === null || s === undefined || !isFinite(s)) return "–";
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 60) return `${s.toFixed(s < 10 ? 1 : 0)} s`;
  const minutes = Math.floor(s / 60);
  return minutes < 60 ? `${minutes}m ${String(Math.floor(s % 60)).padStart(2, "0")}s`
    : `${Math.floor(minutes / 60)}h ${String(minutes % 60).padStart(2, "0")}m`;
}

export function time(unix) {
  if (unix === null || unix === undefined) return "–";
  const at = new Date(unix * 1000), today = new Date();
  return at.toDateString() === today.toDateString() ? at.toLocaleTimeString() : at.toLocaleString();
}

export function toast(text) {
  const node = el("div", {}, text);
  document.getElementById("toast").append(node);
  setTimeout(() => node.remove(), 6000);
}

// Fields: [{name, label, value?, options?, required?, type?}]. act(values) may throw: its message is shown and the dialog stays.
export function ask(title, fields, verb, act, intro) {
  return new Promise((resolve) => {
    const error = el("p", { class: "error", role: "alert" });
    const inputs = fields.map((f) => [f.name, f.options
      ? el("select", { name: f.name }, f.options.map((o) => el("option", { value: o }, o)))
      : el(f.rows ? "textarea" : "input", { name: f.name, type: f.type || "text", value: f.value, rows: f.rows, required: f.required,
        autocomplete: "off", placeholder: f.placeholder })]);
    const go = el("button", { class: "main", type: "submit" }, verb);
    const form = el("form", { method: "dialog" }, el("h2", {}, title), intro || null,
      inputs.map(([, input], i) => el("label", {}, fields[i].label, input)), error,
      el("div", { class: "row" }, el("button", { type: "button", onclick: () => dialog.close() }, "Not now"), go));
    const dialog = el("dialog", { "aria-label": title }, form);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      go.disabled = true;
      try {
        await act(Object.fromEntries(inputs.map(([name, input]) => [name, input.value])));
        resolve(true);
        dialog.close();
      } catch (e) {
        error.textContent = e.message;
      }
      go.disabled = false;
    });
    dialog.addEventListener("close", () => { dialog.remove(); resolve(false); });
    document.body.append(dialog);
    dialog.showModal();
  });
}

// A row that opens into another one. inside() makes what is shown; it may be async.
export function opening(label, columns, inside, cells) {
  const holder = el("td", { class: "inset", colspan: columns });
  const below = el("tr", { hidden: true }, holder);
  const button = el("button", { class: "plain", "aria-expanded": "false" }, label);
  const open = async (want) => {
    button.setAttribute("aria-expanded", String(want));
    below.hidden = !want;
    if (want) holder.replaceChildren(el("div", { class: "inner" }, await inside()));
  };
  button.addEventListener("click", () => open(below.hidden));
  const row = el("tr", {}, el("td", {}, button), cells);
  return { row, below, isOpen: () => !below.hidden, open };
}

export function pager(page, total, shown, more) {
  if (shown >= total) return null;
  return el("div", { class: "pages" }, el("span", { class: "soft small" }, `${shown} of ${total}`),
    page ? el("button", { onclick: more }, "More") : null);
}
