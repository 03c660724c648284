// The comparison of the regions: the verdict first, then what was found, then each cell by letter.
import { download, get, seg } from "./api.js";
import { el } from "./ui.js";

const meaning = { A: "answer", R: "refusal", E: "empty", F: "filtered", T: "truncated", M: "malformed", X: "failed" };

function verdict(r) {
  const word = r.verdict.differs === null ? "?" : r.verdict.differs ? "≠" : "=";
  return el("p", { class: "answer" }, el("strong", {}, `${word} `), r.verdict.text);
}

function findings(r) {
  if (!r.findings.length) return null;
  return el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, ["What", "Question", "Model", "p, corrected"].map((t) =>
    el("th", { scope: "col" }, t)))), el("tbody", {}, r.findings.map((f) => el("tr", {}, el("td", {}, f.text), el("td", {}, f.question_id ?? "all"),
    el("td", {}, f.model_id ?? "–"), el("td", { class: "num" }, f.p_adjusted === null ? "–" : f.p_adjusted.toPrecision(2)))))));
}

const letters = (c) => (c.outcomes || "").split(" ").filter(Boolean).map((one) => el("span", {
  class: one[0] === "R" || one[0] === "X" ? "no-text" : null, title: meaning[one[0]] || one[0] }, `${one} `));

function cells(r) {
  const regions = [...new Set(r.cells.map((c) => c.region))].sort();
  const rows = new Map();
  for (const c of r.cells) {
    const key = `${c.model_id}\n${c.question_id}`;
    if (!rows.has(key)) rows.set(key, { model: c.model_id, question: c.question_id, by: {} });
    rows.get(key).by[c.region] = c;
  }
  const shown = [...rows.values()].sort((a, b) => (a.model < b.model ? -1 : a.model > b.model ? 1 : 0)).slice(0, 500);
  return el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, ["Model", "Question", ...regions].map((t) => el("th", { scope: "col" }, t)))),
    el("tbody", {}, shown.map((row) => el("tr", {}, el("td", {}, row.model), el("td", {}, row.question), regions.map((g) =>
      el("td", { class: "mono" }, row.by[g] ? letters(row.by[g]) : "."))))),
    rows.size > shown.length ? el("caption", { class: "soft small" }, `The first ${shown.length} of ${rows.size} rows: canvass report has all.`) : null));
}

function refusals(r) {
  const found = new Map();
  for (const c of r.cells) if (c.refused) found.set(c.question_id, (found.get(c.question_id) || 0) + c.refused);
  return found;
}

export function comparison(job, told) {
  const node = el("div"), button = el("button", {}, "Compare");
  const run = async () => {
    if (button.disabled) return;
    button.disabled = true;
    node.replaceChildren(button, el("p", { class: "soft" }, "Comparing…"));
    try {
      const r = await get(`jobs/${seg(job)}/report`);
      told(refusals(r));
      const save = el("button", {}, "Save as a page");
      save.addEventListener("click", () => download(`jobs/${seg(job)}/report?format=html`, `${job}.html`).catch((e) =>
        node.append(el("p", { class: "error" }, e.message))));
      node.replaceChildren(verdict(r), el("p", {}, save), ...[findings(r)].filter(Boolean), el("details", {}, el("summary", {}, "Every cell"), cells(r),
        el("p", { class: "soft small" }, Object.entries(meaning).map(([l, m]) => `${l} ${m}`).join(" · "))),
      el("details", {}, el("summary", {}, "Method"), el("p", { class: "answer" }, typeof r.method === "string" ? r.method : JSON.stringify(r.method, null, 1))));
    } catch (e) {
      node.replaceChildren(button, el("p", { class: "error" }, e.message));
    }
    button.disabled = false;
  };
  button.addEventListener("click", run);
  node.append(button);
  return { node, run };
}
