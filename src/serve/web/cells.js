// From a region down to one attempt: models, their questions, an execution with its answer and its hops.
import { api, get, seg } from "./api.js";
import { barline, duration, el, opening, pager, state, time, toast } from "./ui.js";

const retryable = (e) => e.status === "failed";

function attempt(a, hops) {
  const mine = hops.filter((h) => h.attempt === a.number);
  const line = (what, from, to) => (from && to ? `${what} ${duration(to - from)}` : null);
  return el("li", {}, el("div", {}, `Attempt ${a.number}: `, state(a.status), a.class ? ` ${a.class}` : "",
    a.http_status ? ` HTTP ${a.http_status}` : "", a.cold ? " · cold" : "",
    el("span", { class: "soft" }, " · ", [line("waited", a.queued_at, a.dispatched_at), line("first byte after", a.dispatched_at, a.first_byte_at),
      line("took", a.dispatched_at, a.ended_at)].filter(Boolean).join(", "))),
  a.error ? el("div", { class: "error" }, a.error) : null,
  mine.length ? el("ol", { class: "hops" }, mine.map((h) => el("li", { class: "mono" },
    `hop ${h.number + 1}: ${h.http_status ?? ""} → GET ${h.result_url}`))) : null,
  el("details", {}, el("summary", {}, "exact request and response"), el("pre", {}, a.request ?? ""), el("pre", {}, a.response ?? "–")));
}

async function execution(id, again) {
  const e = await get(`executions/${seg(id)}`);
  const retry = retryable(e) ? el("button", {
    onclick: () => api("POST", `executions/${seg(id)}/retry`, {}).then(() => { toast("It is being asked again"); again?.(); }, (x) => toast(x.message)),
  }, "Ask it again") : null;
  return el("div", {}, el("div", { class: "row start" }, state(e.status), retry), e.error ? el("p", { class: "error" }, e.error) : null,
    el("p", { class: "soft small" }, "Question"), el("div", { class: "answer" }, e.prompt ?? ""),
    el("p", { class: "soft small" }, `Answer${e.completion_tokens !== null ? `, ${e.completion_tokens} tokens` : ""}`),
    e.answer === null ? el("div", { class: "soft" }, "none") : el("div", { class: "answer" }, e.answer),
    el("p", { class: "soft small" }, `${e.posts} POST${e.posts === 1 ? "" : "s"}, ${e.hops} GETs, revision ${e.revision ?? "–"}`),
    el("ol", {}, e.attempts_made.map((a) => attempt(a, e.hops_made))));
}

// The executions of one endpoint, page by page.
function executions(job, endpoint, again) {
  const body = el("tbody"), pages = el("div");
  let shown = 0, cursor = null;
  const load = async () => {
    const page = await get(`jobs/${seg(job)}/executions?region=${seg(endpoint.region)}&model_id=${seg(endpoint.model)}&limit=50` +
      (cursor ? `&cursor=${seg(cursor)}` : ""));
    for (const e of page.executions) {
      const label = e.question_id + (e.sample > 1 ? ` #${e.sample}` : "");
      const made = opening(label, 4, () => execution(e.id, again), [el("td", {}, state(e.status, e.error)),
        el("td", {}, el("div", { class: "clip" }, (e.answer ?? e.error ?? "").slice(0, 400))),
        el("td", { class: "num wide" }, e.started_at && e.ended_at ? duration(e.ended_at - e.started_at) : "–")]);
      body.append(made.row, made.below);
    }
    shown += page.executions.length;
    cursor = page.cursor;
    pages.replaceChildren(...[pager(cursor, page.total, shown, load)].filter(Boolean));
  };
  return load().then(() => el("div", {}, el("table", {}, el("thead", {}, el("tr", {}, ["Question", "Status", "Answer"].map((t) =>
    el("th", { scope: "col" }, t)), el("th", { class: "num wide", scope: "col" }, "Took"))), body), pages));
}

const live = (e) => (e.live ? el("span", {}, state(e.live.state, e.live.detail), e.live.detail ? ` ${e.live.detail}` : "",
  e.live.for_s !== null ? el("span", { class: "soft" }, ` for ${duration(e.live.for_s)}`) : null,
  e.live.state === "cold" ? el("span", { class: "soft" }, " starting") : null,
  e.live.oldest_in_flight_s !== null ? el("span", { class: "soft" }, ` ${duration(e.live.oldest_in_flight_s)}`) : null)
  : ended(e));

function ended(c) {
  const left = c.planned - c.succeeded - c.failed - c.cancelled - c.skipped;
  return state(left ? "pending" : c.succeeded === c.planned ? "succeeded" : c.succeeded ? "partial" : c.failed ? "failed" : "cancelled");
}

const add = (list) => {
  const total = {};
  for (const e of list)
    for (const [name, n] of Object.entries(e))
      if (typeof n === "number" && !name.endsWith("_s") && !name.endsWith("_at")) total[name] = (total[name] || 0) + n;
  return total;
};

const first = (list) => list.reduce((at, e) => (e.first_dispatch_at && (!at || e.first_dispatch_at < at) ? e.first_dispatch_at : at), null);

// The worst of what its endpoints do, for the region's own line.
function regionState(list) {
  const order = ["given_up", "breaker_open", "held", "paused", "backing_off", "cold", "asking", "waiting", "idle"];
  const words = list.filter((e) => e.live).map((e) => e.live.state);
  const worst = order.find((w) => words.includes(w));
  return worst ? state(worst, words.join(", ")) : ended(add(list));
}

export function regionTable(job, control) {
  const body = el("tbody");
  const regions = new Map(); // id -> {opened, cells}; rows stay, so that what is open stays open
  const columns = ["Region", "Progress", "Status", "Models", "Questions", "Started", "Actions"];

  function models(region) {
    const list = region.endpoints;
    return el("table", {}, el("thead", {}, el("tr", {}, ["Model", "Progress", "Status", "Cold", "Warm"].map((t, i) =>
      el("th", { scope: "col", class: i > 2 ? "num wide" : null }, t)))), el("tbody", {}, list.flatMap((e) => {
      const cells = [el("td", {}), el("td", {}), el("td", { class: "num wide" }), el("td", { class: "num wide" })];
      const made = opening(e.model, 5, () => executions(job, e, control.again), cells);
      region.models.set(e.endpoint, (now) => {
        cells[0].replaceChildren(barline(now));
        cells[1].replaceChildren(live(now));
        cells[2].textContent = now.cold_answers ? duration(now.cold_mean_s) : "–";
        cells[3].textContent = now.warm_answers ? duration(now.warm_mean_s) : "–";
      });
      region.models.get(e.endpoint)(e);
      return [made.row, made.below];
    })));
  }

  function make(id) {
    const region = { endpoints: [], models: new Map(), cells: columns.slice(1).map((t) => el("td", { class: ["Models", "Questions", "Started"].includes(t) ? "wide" : null })) };
    const made = opening(id.toUpperCase(), columns.length, () => models(region), region.cells);
    body.append(made.row, made.below);
    regions.set(id, region);
    return region;
  }

  return {
    node: el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, columns.map((t) =>
      el("th", { scope: "col", class: ["Models", "Questions", "Started"].includes(t) ? "wide" : null }, t)))), body)),
    update(endpoints, questions) {
      const by = new Map();
      for (const e of endpoints) by.set(e.region, [...(by.get(e.region) || []), e]);
      for (const [id, list] of by) {
        const region = regions.get(id) || make(id), total = add(list);
        const [progress, status, count, asked, started, actions] = region.cells;
        region.endpoints = list;
        progress.replaceChildren(barline(total));
        status.replaceChildren(regionState(list));
        count.textContent = String(list.length);
        asked.textContent = String(questions);
        started.textContent = time(first(list));
        const failed = total.failed > 0;
        if (actions.dataset.failed !== String(failed)) {
          actions.dataset.failed = String(failed);
          actions.replaceChildren(...(failed ? [el("button", { onclick: () => control.retry({ region: id }) }, "Retry failed")] : []));
        }
        for (const e of list) region.models.get(e.endpoint)?.(e);
      }
    },
  };
}
