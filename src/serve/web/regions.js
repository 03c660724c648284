// The region table: what is in force, changes to it that are tried before they are made, and its history.
import { api, get, seg } from "./api.js";
import { ask, duration, el, pager, state, time, toast } from "./ui.js";

const idPath = (endpoint, region) => `endpoints/${seg(region)}/${endpoint.slice(region.length + 1).split("/").map(seg).join("/")}`;

function effect(change) {
  return el("div", {}, change.changed ? el("ul", { class: "diff" }, change.diff.map((line) => el("li", {}, line)))
    : el("p", { class: "soft" }, "It says the same as the table in force."), change.changed ? el("p", {}, `For jobs that run: ${change.text}.`) : null);
}

const who = [{ name: "reason", label: "Why (for the records)", required: true }, { name: "author", label: "Who" }];
const signed = (v, more = {}) => ({ ...more, reason: v.reason, ...(v.author ? { author: v.author } : {}) });

function pauseButton(path, name, paused, done) {
  const verb = paused ? "Resume" : "Pause";
  return el("button", {
    onclick: () => ask(`${verb} ${name}`, who, verb, async (v) => done(await api("POST", `${path}/${verb.toLowerCase()}`, signed(v)))),
  }, verb);
}

function limitsButton(e, done) {
  const fields = [{ name: "slots", label: "Requests at once (slots; empty: as the file says)", value: e.slots }, { name: "rate", label: "Requests a minute (rate)", value: e.rate ?? "" }];
  const number = (text) => (text.trim() === "" ? null : Number(text));
  return el("button", {
    onclick: () => ask(`Limits of ${e.endpoint}`, [...fields, ...who], "Set", async (v) => {
      const wanted = {};
      if (v.slots !== String(e.slots)) wanted.slots = number(v.slots);
      if (v.rate !== String(e.rate ?? "")) wanted.rate = number(v.rate);
      done(await api("PATCH", idPath(e.endpoint, e.region), signed(v, wanted)));
    }),
  }, "Limits");
}

function endpointTable(table, done) {
  const rows = table.regions.flatMap((r) => [
    el("tr", {}, el("th", { scope: "row", colspan: 2 }, r.id.toUpperCase(), r.aliases.length ? el("span", { class: "soft" }, ` also ${r.aliases.join(", ")}`) : null),
      el("td", {}, r.paused ? state("paused", r.paused) : "", r.paused ? ` ${r.paused}` : ""), el("td", { class: "num" }, r.in_flight ? `≤ ${r.in_flight}` : ""),
      el("td", { class: "wide" }), el("td", {}, pauseButton(`regions/${seg(r.id)}`, r.id, r.paused, done))),
    ...table.endpoints.filter((e) => e.region === r.id).map((e) => el("tr", {}, el("td", {}), el("td", {}, e.model),
      el("td", {}, state(e.live.state, e.live.detail), e.live.detail ? ` ${e.live.detail}` : "", e.live.for_s !== null ? ` for ${duration(e.live.for_s)}` : ""),
      el("td", { class: "num" }, `${e.live.in_flight} of ${e.slots}`), el("td", { class: "wide mono" }, e.url),
      el("td", {}, el("span", { class: "row start" }, pauseButton(idPath(e.endpoint, e.region), e.endpoint, e.paused, done), limitsButton(e, done))))),
  ]);
  const head = ["Region", "Model", "Status", "In flight", "URL", "Actions"];
  return el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, head.map((t) =>
    el("th", { scope: "col", class: t === "In flight" ? "num" : t === "URL" ? "wide" : null }, t)))), el("tbody", {}, rows)));
}

function editor(done) {
  const lines = el("div", { class: "lines", "aria-hidden": "true" }), text = el("textarea", { spellcheck: "false", wrap: "off", "aria-label": "The region table's text" });
  const verdict = el("div", { role: "status" }), apply = el("button", { class: "main", disabled: true }, "Apply");
  let timer = null, saved = "", number = 0;
  const count = () => { lines.textContent = text.value.split("\n").map((_, i) => i + 1).join("\n"); };
  const tryIt = async () => {
    const mine = ++number;
    try {
      const change = await api("PUT", "regions?dry_run=true", { source: text.value });
      if (mine !== number) return;
      verdict.replaceChildren(effect(change));
      apply.disabled = !change.changed;
    } catch (e) {
      if (mine === number) { verdict.replaceChildren(el("p", { class: "error" }, e.message)); apply.disabled = true; }
    }
  };
  text.addEventListener("input", () => {
    count();
    apply.disabled = true;
    clearTimeout(timer);
    timer = setTimeout(tryIt, 400);
  });
  text.addEventListener("scroll", () => { lines.scrollTop = text.scrollTop; });
  apply.addEventListener("click", () => ask("Apply the change", who, "Apply", async (v) => {
    const change = await api("PUT", "regions", signed(v, { source: text.value }));
    saved = text.value;
    done(change);
  }, verdict.firstChild?.cloneNode(true)));
  return {
    node: el("div", {}, el("div", { class: "editor" }, lines, text), verdict, el("div", { class: "row" }, apply)),
    set(source) { // what somebody is writing is not taken from under their hands
      if (text.value !== saved) return;
      text.value = saved = source;
      count();
      verdict.replaceChildren();
      apply.disabled = true;
    },
  };
}

function history(done) {
  const body = el("tbody"), pages = el("div"), shown = el("div");
  let cursor = null, count = 0;
  const view = async (r) => {
    const one = await get(`regions/revisions/${r.revision}`);
    const change = await api("PUT", "regions?dry_run=true", { source: one.source }).catch((e) => ({ changed: true, diff: [e.message], text: "–" }));
    shown.replaceChildren(el("h2", {}, `Revision ${r.revision}, and what going back to its text would change`), effect(change), el("pre", {}, one.source),
      one.overrides ? el("pre", {}, one.overrides) : "");
    shown.scrollIntoView({ block: "nearest" });
  };
  const back = (r) => ask(`Roll back to revision ${r.revision}`, who, "Roll back", async (v) =>
    done(await api("POST", "regions/rollback", signed(v, { revision: r.revision }))));
  const load = async (more) => {
    const page = await get(`regions/revisions?limit=20${more && cursor ? `&cursor=${seg(cursor)}` : ""}`);
    if (!more) { body.replaceChildren(); count = 0; }
    page.revisions.forEach((r, i) => body.append(el("tr", {}, el("td", { class: "num" }, String(r.revision)), el("td", {}, r.author ?? "–"),
      el("td", {}, r.reason ?? "–"), el("td", { class: "wide" }, time(r.created_at)), el("td", {}, el("span", { class: "row start" },
        el("button", { onclick: () => view(r).catch((e) => toast(e.message)) }, "Show"),
        more || i > 0 ? el("button", { onclick: () => back(r) }, "Roll back") : el("span", { class: "soft" }, "in force"))))));
    count += page.revisions.length;
    cursor = page.cursor;
    pages.replaceChildren(...[pager(cursor, page.total, count, () => load(true))].filter(Boolean));
  };
  const head = ["Revision", "Author", "Reason", "When", "Actions"];
  return {
    node: el("div", {}, el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, head.map((t) =>
      el("th", { scope: "col", class: t === "When" ? "wide" : t === "Revision" ? "num" : null }, t)))), body)), pages, shown),
    load,
  };
}

function settings() {
  const inside = el("div", { class: "scroll" });
  const load = async () => {
    const { settings: list } = await get("regions?settings=true");
    inside.replaceChildren(el("table", {}, el("thead", {}, el("tr", {}, ["Setting", "Value", "Set by"].map((t) => el("th", { scope: "col" }, t)))),
      el("tbody", {}, list.map((s) => el("tr", {}, [s.setting, s.value, s.set_by].map((t) => el("td", { class: "mono" }, t)))))));
  };
  const node = el("details", { ontoggle: () => node.open && load().catch((e) => toast(e.message)) }, el("summary", {}, "Every setting in force"), inside);
  return { node, update: () => node.open && load().catch(() => {}) };
}

export function regionsPage() {
  const title = el("span", { class: "soft" }), table = el("div"), all = settings(), error = el("p", { class: "error" }), warnings = el("ul", { class: "soft" });
  const done = (change) => { toast(change.changed ? `Revision ${change.revision} is in force` : "Nothing has changed"); load(); };
  const edit = editor(done), past = history(done);
  let timer = null, closed = false;

  async function load() {
    try {
      const now = await get("regions");
      title.textContent = `revision ${now.revision}, ${now.path}`;
      table.replaceChildren(endpointTable(now, done));
      warnings.replaceChildren(...now.warnings.map((w) => el("li", {}, w)));
      all.update();
      edit.set(now.source);
      error.textContent = now.error || "";
      await past.load(false);
    } catch (e) {
      error.textContent = e.message;
    }
  }

  load();
  return {
    title: "Regions",
    node: el("div", {}, el("div", { class: "head" }, el("h1", {}, "Region table"), title), error, warnings, table, el("h2", {}, "Edit"), edit.node,
      el("h2", {}, "History"), past.node, all.node),
    told(type) {
      if (type === "regions" || type === "reset") load();
      else if (!timer && (type === "endpoint" || type === "job"))
        timer = setTimeout(async () => {
          timer = null;
          if (!closed && !document.querySelector("dialog")) table.replaceChildren(endpointTable(await get("regions"), done));
        }, 2000);
    },
    close() { closed = true; },
  };
}
