// When each endpoint was asked, as bars over time. What a color says, a pattern and the title of the bar say too.
import { get, seg } from "./api.js";
import { duration, el, svg } from "./ui.js";

// What is in flight has no time of dispatch on record yet: it left when it came out of the line.
const leftAt = (a) => a.dispatched_at ?? (a.status === "running" ? a.queued_at : null);
const height = 18, left = 150, width = 1000;

function kind(a) {
  return a.status === "succeeded" ? "ok" : a.status === "failed" ? "bad" : a.ended_at ? "off" : "open";
}

function patterns() {
  const lines = (id, d) => svg("pattern", { id, width: 6, height: 6, patternUnits: "userSpaceOnUse" }, svg("path", { d, class: "mark" }));
  return svg("defs", {}, lines("cold", "M0 6 L6 0"), lines("hops", "M3 0 V6"));
}

function draw(attempts, until) {
  const names = [...new Set(attempts.map((a) => a.endpoint))];
  const start = Math.min(...attempts.map(leftAt));
  const end = Math.max(until, ...attempts.map((a) => a.ended_at || 0), start + 0.001);
  const x = (at) => left + (at - start) / (end - start) * (width - left - 10);
  const rows = names.length * height;
  const picture = svg("svg", { class: "timeline", viewBox: `0 0 ${width} ${rows + 26}`, role: "img", "aria-label": `When each of ${names.length} endpoints was asked` }, patterns());
  names.forEach((name, i) => {
    const label = svg("text", { x: 4, y: i * height + 13 });
    label.textContent = name.length > 24 ? `${name.slice(0, 23)}…` : name;
    picture.append(label, svg("line", { class: "grid", x1: left, x2: width, y1: (i + 1) * height, y2: (i + 1) * height }));
  });
  for (const a of attempts) {
    const y = names.indexOf(a.endpoint) * height + 3, w = Math.max(1.5, x(a.ended_at || end) - x(leftAt(a)));
    const place = { x: x(leftAt(a)), y, width: w, height: height - 6, rx: 2 };
    const title = svg("title");
    title.textContent = `${a.question_id}, attempt ${a.number}: ${a.status}${a.class ? ` (${a.class})` : ""}, ${duration((a.ended_at || end) - leftAt(a))}` +
      `${a.cold ? ", cold" : ""}${a.hops ? `, ${a.hops} GETs` : ""}`;
    picture.append(svg("rect", { ...place, class: kind(a) }, title));
    if (a.cold) picture.append(svg("rect", { ...place, fill: "url(#cold)", opacity: 0.7, "pointer-events": "none" }));
    else if (a.hops) picture.append(svg("rect", { ...place, fill: "url(#hops)", opacity: 0.7, "pointer-events": "none" }));
  }
  for (let i = 0; i <= 4; i++) {
    const label = svg("text", { x: left + i * (width - left - 50) / 4, y: rows + 18 });
    label.textContent = i ? `+${duration((end - start) * i / 4)}` : "start";
    picture.append(label);
  }
  return picture;
}

export function timeline(job) {
  const node = el("div", { class: "scroll" }), note = el("p", { class: "soft small" });
  return {
    node: el("div", {}, el("div", { class: "legend soft small" }, "green: answered · red: failed · blue: under way · grey: cancelled · diagonal lines: cold start · vertical lines: fetched from a result URL"), node, note),
    async update() {
      const page = await get(`jobs/${seg(job)}/attempts?limit=1000`);
      const begun = page.attempts.filter(leftAt);
      node.replaceChildren(begun.length ? draw(begun, begun.some((a) => !a.ended_at) ? Date.now() / 1000 : 0) : el("p", { class: "soft note" }, "Nothing was asked yet."));
      note.textContent = page.total > page.attempts.length ? `The first ${page.attempts.length} of ${page.total} attempts, in the order of the plan.` : "";
    },
  };
}
