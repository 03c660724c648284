// The list of jobs, and the form that submits one.
import { api, get, seg } from "./api.js";
import { ask, barline, duration, el, pager, state, time, toast } from "./ui.js";

function row(job) {
  const from = job.started_at, to = job.ended_at ?? Date.now() / 1000;
  return [
    el("td", {}, el("a", { href: `#/jobs/${seg(job.job_id)}` }, job.job_id)),
    el("td", {}, state(job.owner_alive === false ? "paused" : job.state, job.reason),
      job.owner_alive === false ? el("span", { class: "soft small" }, " interrupted") : null),
    el("td", {}, barline(job.executions)),
    el("td", { class: "num wide" }, String(job.posts)),
    el("td", { class: "num wide" }, job.cost === null ? "–" : `$${job.cost.toFixed(4)}`),
    el("td", { class: "wide" }, time(from)),
    el("td", { class: "num" }, from ? duration(to - from) : "–"),
  ];
}

function parseSettings(text) {
  const settings = {};
  for (const line of text.split("\n").map((l) => l.trim()).filter(Boolean)) {
    const at = line.indexOf("=");
    if (at < 1) throw new Error(`"${line}" is not a setting: write KEY=VALUE, one a line`);
    settings[line.slice(0, at)] = line.slice(at + 1);
  }
  return settings;
}

async function submit() {
  const { scripts } = await get("scripts");
  if (!scripts.length) {
    toast("The server has no scripts: start it with --jobs FOLDER");
    return;
  }
  await ask("Submit a job", [
    { name: "script", label: "Script", options: scripts },
    { name: "policy", label: "Policy (empty: the script's own)", placeholder: "sequential, by_region, by_endpoint, free" },
    { name: "settings", label: "Settings, KEY=VALUE, one a line", rows: 3 },
    { name: "author", label: "Who asks (for the records)" },
  ], "Submit", async (v) => {
    const body = { script: v.script, settings: parseSettings(v.settings) };
    if (v.policy.trim()) body.policy = v.policy.trim();
    if (v.author.trim()) body.author = v.author.trim();
    const made = await api("POST", "jobs", body);
    location.hash = `#/jobs/${seg(made.job_id)}`;
  });
}

export function jobsPage() {
  const rows = new Map();
  const body = el("tbody"), pages = el("div"), empty = el("p", { class: "soft" });
  let cursor = null, total = 0;

  const put = (job, atEnd) => {
    const known = rows.get(job.job_id);
    if (known) {
      known.replaceChildren(...row(job));
      return;
    }
    const node = el("tr", {}, row(job));
    rows.set(job.job_id, node);
    if (atEnd) body.append(node);
    else body.prepend(node);
  };
  const load = async (more) => {
    const page = await get(`jobs?limit=50${more && cursor ? `&cursor=${seg(cursor)}` : ""}`);
    if (!more) { rows.clear(); body.replaceChildren(); }
    page.jobs.forEach((job) => put(job, true));
    ({ cursor, total } = page);
    pages.replaceChildren(...[pager(cursor, total, rows.size, () => load(true))].filter(Boolean));
    empty.textContent = total ? "" : "No jobs yet.";
  };
  load(false).catch((e) => { empty.textContent = e.message; });

  const head = ["Job", "State", "Answers"].map((t) => el("th", { scope: "col" }, t)).concat(
    el("th", { class: "num wide", scope: "col" }, "POSTs"), el("th", { class: "num wide", scope: "col" }, "Cost"),
    el("th", { class: "wide", scope: "col" }, "Started"), el("th", { class: "num", scope: "col" }, "Took"));
  return {
    title: "Jobs",
    node: el("div", {}, el("div", { class: "head" }, el("h1", {}, "Jobs"), el("span", { class: "room" }),
      el("button", { class: "main", onclick: () => submit().catch((e) => toast(e.message)) }, "Submit a job")),
    el("p"), el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, head)), body)), empty, pages),
    told(type, data) {
      if (type === "job") { put(data, false); empty.textContent = ""; }
      if (type === "reset") load(false).catch(() => {});
    },
  };
}
