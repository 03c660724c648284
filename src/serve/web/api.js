// Requests with the token, and the stream of events.
import { ask } from "./ui.js";

const base = "api/v1";

export function takeToken() {
  const found = /(?:^#|&)token=([^&]+)/.exec(location.hash);
  if (!found) return;
  sessionStorage.setItem("token", decodeURIComponent(found[1]));
  history.replaceState(null, "", location.pathname + "#/jobs");
}

const token = () => sessionStorage.getItem("token");
const headers = (more = {}) => (token() ? { ...more, Authorization: `Bearer ${token()}` } : more);

export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function askToken() {
  return ask("This needs the token", [{ name: "token", label: "Token", type: "password", required: true }], "Use it",
    async (v) => sessionStorage.setItem("token", v.token.trim()),
    "It stands in the file that the server named when it started, or in its environment as CANVASS_TOKEN.");
}

async function send(method, path, body) {
  const options = { method, headers: headers(body ? { "Content-Type": "application/json" } : {}) };
  if (body) options.body = JSON.stringify(body);
  const answer = await fetch(`${base}/${path}`, options);
  const json = await answer.json().catch(() => ({}));
  if (answer.ok) return json;
  throw new Problem(answer.status, json.detail || `${answer.status} ${answer.statusText}`);
}

export async function api(method, path, body) {
  try {
    return await send(method, path, body);
  } catch (e) {
    if (e.status !== 401 || !await askToken()) throw e;
    return send(method, path, body);
  }
}

// What a link would fetch, but with the token; the browser saves it under this name.
export async function download(path, name) {
  const answer = await fetch(`${base}/${path}`, { headers: headers() });
  if (!answer.ok) throw new Problem(answer.status, (await answer.json().catch(() => ({}))).detail || answer.statusText);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

export const get = (path) => api("GET", path);
export const seg = encodeURIComponent;
export const health = async () => (await fetch("health", { headers: headers() })).json();

// Reads the stream for ever: fetch, because an EventSource cannot send the token. told(type, data), linked(bool).
export async function listen(told, linked) {
  let last = null;
  for (let wait = 500; ; wait = Math.min(wait * 2, 15000)) {
    try {
      const answer = await fetch(`${base}/events`, { headers: headers(last ? { "Last-Event-ID": last } : {}) });
      if (!answer.ok) throw new Error(answer.status);
      linked(true);
      wait = 500;
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = ""; ;) {
        const { value, done } = await reader.read();
        if (done) break;
        const pieces = (rest + value).split("\n\n");
        rest = pieces.pop();
        for (const piece of pieces) {
          const event = Object.fromEntries(piece.split("\n").map((l) => [l.slice(0, l.indexOf(":")), l.slice(l.indexOf(":") + 2)]));
          if (event.id) last = event.id;
          if (event.data) told(event.event, JSON.parse(event.data));
        }
      }
    } catch { /* told below, and tried again */ }
    linked(false);
    await new Promise((r) => setTimeout(r, wait));
  }
}
