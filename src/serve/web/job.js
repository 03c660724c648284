// One job: how far it is, by question and region, and what can be done with it.
import { api, get, seg } from "./api.js";
import { ask, bar, barline, duration, el, state, time, toast } from "./ui.js";
import { regionTable } from "./cells.js";
import { timeline } from "./timeline.js";
import { comparison } from "./report.js";

const final = ["succeeded", "partial", "failed", "cancelled", "timed_out"];
const pageSize = 60, lookEvery = 1000;
const compareBelow = 5000; // executions: a larger job is compared when somebody asks for it

function figures(job) {
  const c = job.executions, to = job.ended_at ?? Date.now() / 1000;
  const list = [["Answers", `${c.succeeded} of ${c.planned}`], ["Failed", String(c.failed)], ["In flight", job.in_flight ?? "–"],
    ["Elapsed", job.started_at ? duration(to - job.started_at) : "–"], ["ETA", final.includes(job.state) ? "ended" : duration(job.eta_s)],
    ["POSTs per answer", job.posts_per_answer === null ? "–" : job.posts_per_answer.toFixed(2)], ["POSTs, GETs", `${job.posts}, ${job.hops}`],
    ["Cost", job.cost === null ? "–" : `$${job.cost.toFixed(4)}`], ["Most in flight", job.max_in_flight], ["Revision", job.revision]];
  return list.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, String(value))));
}

function questionList(job) {
  const list = el("ol", { class: "questions" }), pages = el("div");
  let from = 0, refused = new Map(); // by question: what the comparison found
  const update = async () => {
    const page = await get(`jobs/${seg(job)}/questions?limit=${pageSize}&cursor=${from}`);
    list.replaceChildren(...page.questions.map((q) => el("li", {}, el("span", { class: "name", title: q.id }, q.id), barline({ ...q, refused: refused.get(q.id) }))));
    const to = from + page.questions.length;
    const step = (by) => () => { from = Math.max(0, from + by); update(); };
    pages.replaceChildren(...(page.total > pageSize ? [el("div", { class: "pages" },
      el("button", { disabled: from === 0, onclick: step(-pageSize) }, "Before"), el("span", { class: "soft small" }, `${from + 1}–${to} of ${page.total}`),
      el("button", { disabled: to >= page.total, onclick: step(pageSize) }, "Next"))] : []));
    return page.total;
  };
  return { node: el("div", {}, list, pages), update, refusals(found) { refused = found; update(); } };
}

export function jobPage(id) {
  const path = `jobs/${seg(id)}`;
  const title = el("h1", {}, id), badge = el("span"), why = el("span", { class: "soft" }), buttons = el("span", { class: "row" });
  const facts = el("dl", { class: "figures" }), whole = el("div"), error = el("p", { class: "error", role: "alert" });
  let job = null, shownButtons = "", timer = null, stale = false, closed = false;

  const act = (verb, body = {}) => api("POST", `${path}/${verb}`, body).then(refresh, (e) => toast(e.message));
  const reasoned = (verb, label, text) => ask(`${label} ${id}`, [{ name: "reason", label: "Why (for the records)", required: true },
    { name: "author", label: "Who asks" }], label, async (v) => {
    await api("POST", `${path}/${verb}`, { reason: v.reason, ...(v.author ? { author: v.author } : {}) });
    refresh();
  }, el("p", { class: "soft" }, text));
  const again = () => setTimeout(refresh, 300);
  const questions = questionList(id), regions = regionTable(id, { again, retry: (which) => act("retry", which) }), times = timeline(id), compared = comparison(id, (found) => questions.refusals(found));

  function showButtons() {
    const key = `${job.state} ${job.executions.failed > 0} ${job.owner_alive}`;
    if (key === shownButtons) return;
    shownButtons = key;
    const open = !final.includes(job.state), left = job.executions.cancelled + job.executions.skipped > 0;
    buttons.replaceChildren(...[
      open && job.state === "running" && job.owner_alive && el("button", { onclick: () => reasoned("pause", "Pause", "Nothing new is sent; what is in flight ends as it would.") }, "Pause"),
      (job.state === "paused" || job.owner_alive === false || (!open && left)) && el("button", { onclick: () => act("resume") }, "Resume"),
      !open && job.executions.failed > 0 && el("button", { onclick: () => act("retry") }, "Retry failed"),
      open && el("button", { class: "danger", onclick: () => reasoned("cancel", "Cancel", "Every connection is closed now; what was answered is kept.") }, "Cancel"),
    ].filter(Boolean));
  }

  function show(now) {
    job = { ...job, ...now };
    badge.replaceChildren(state(job.state));
    why.textContent = job.reason || "";
    facts.replaceChildren(...figures(job));
    whole.replaceChildren(bar(job.executions));
    showButtons();
  }

  async function details() {
    const [total, ends] = await Promise.all([questions.update(), get(`${path}/endpoints`)]);
    regions.update(ends.endpoints, total);
    await times.update();
  }

  async function refresh() {
    try {
      show(await get(path));
      await details();
      error.textContent = "";
      if (final.includes(job.state) && job.executions.planned <= compareBelow) compared.run();
    } catch (e) {
      error.textContent = e.message;
    }
  }

  // News may come four times a second; what has to be fetched for it is fetched once a second at most.
  function soon() {
    if (timer || closed) { stale = true; return; }
    timer = setTimeout(async () => {
      timer = null;
      stale = false;
      if (closed) return;
      await details().catch(() => {});
      if (stale) soon();
    }, lookEvery);
  }

  refresh();
  const clock = setInterval(() => job && !final.includes(job.state) && facts.replaceChildren(...figures(job)), 1000);
  return {
    title: id,
    node: el("div", {}, el("div", { class: "head" }, title, badge, why, el("span", { class: "room" }), buttons), error, facts, whole,
      el("h2", {}, "Questions"), questions.node, el("h2", {}, "Regions"), regions.node, el("h2", {}, "Timeline"), times.node,
      el("h2", {}, "Do the answers differ by region?"), compared.node),
    told(type, data) {
      if (type === "job" && data.job_id === id) {
        const ended = job && !final.includes(job.state) && final.includes(data.state);
        show(data);
        soon();
        if (ended) setTimeout(refresh, 500);
      } else if (type === "reset" || type === "regions") {
        refresh();
      } else if (type === "endpoint") {
        soon();
      }
    },
    close() {
      closed = true;
      clearInterval(clock);
    },
  };
}
