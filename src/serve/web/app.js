// The frame: which page is shown, what is told to it, and what concerns every page.
import { health, listen, takeToken } from "./api.js";
import { jobsPage } from "./jobs.js";
import { jobPage } from "./job.js";
import { regionsPage } from "./regions.js";

const main = document.getElementById("main");
let page = null;

function route() {
  const path = location.hash.replace(/^#/, "") || "/jobs";
  const job = /^\/jobs\/(.+)$/.exec(path);
  const make = job ? () => jobPage(decodeURIComponent(job[1])) : path === "/regions" ? regionsPage : jobsPage;
  page?.close?.();
  for (const a of document.querySelectorAll("nav a")) {
    if (path.startsWith(a.getAttribute("href").slice(1))) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  }
  page = make();
  document.title = `${page.title} – canvass`;
  main.replaceChildren(page.node);
  window.scrollTo(0, 0);
}

// A region table that is wrong on disk concerns everybody, whatever they look at.
async function lookAtHealth() {
  const banner = document.getElementById("banner");
  try {
    const now = await health();
    const wrong = Object.entries(now.services).filter(([, s]) => s.status !== "ok");
    const words = { regions: "The region table's file is wrong, and the table of before is in force", store: "The database has failed" };
    banner.textContent = wrong.map(([name, s]) => `${words[name] || name}: ${s.detail}`).join("\n");
    if (now.status === "ending") banner.textContent += "The server is ending: nothing new is sent.";
    banner.hidden = !banner.textContent;
  } catch { /* the link says so */ }
}

takeToken();
window.addEventListener("hashchange", () => { takeToken(); route(); });
route();
lookAtHealth();
listen((type, data) => {
  if (type === "regions" || type === "reset") lookAtHealth();
  page?.told?.(type, data);
}, (up) => {
  document.getElementById("link").textContent = up ? "live" : "not connected, trying again";
  if (up) { lookAtHealth(); page?.told?.("reset", {}); }
});
