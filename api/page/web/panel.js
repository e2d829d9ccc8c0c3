// The server: its models, what waits, versions, links.
import { at, el } from "./dom.js";
import { ask, Refused, root } from "./server.js";

/**
 * @param {boolean} keyed links that want a key are none for a browser
 * @param {(models: import("./types.js").Model[]) => void} news
 */
export function listenForPanel(keyed, news) {
  const panel = at("panel", HTMLDetailsElement);
  let timer = 0;
  const look = async () => {
    clearTimeout(timer);
    if (!panel.open) return;
    const body = at("panel-body", HTMLElement);
    try {
      const [version, list, metrics] = await Promise.all([
        ask("version").then((r) => r.json()), ask("v1/models").then((r) => r.json()), ask("metrics").then((r) => r.text()),
      ]);
      news(list.models);
      body.replaceChildren(versionsTable(version), modelsTable(list.models, waiting(metrics)), links(keyed));
    } catch (err) {
      body.replaceChildren(el("p", { class: "error" }, err instanceof Refused ? err.message : String(err)));
      return; // opened again, it looks again
    }
    timer = setTimeout(look, 5000);
  };
  panel.addEventListener("toggle", look);
}

/**
 * waiting is what waits for each model, of the text of /metrics.
 * @param {string} metrics
 * @returns {Map<string, number>}
 */
function waiting(metrics) {
  const all = new Map();
  for (const [, labels, value] of metrics.matchAll(/^vitserve_queue_depth\{(.*)\} (\S+)$/gm)) {
    const model = /model="([^"]*)"/.exec(labels)?.[1] ?? "";
    all.set(model, (all.get(model) ?? 0) + Number(value));
  }
  return all;
}

/** @param {import("./types.js").Version} v */
function versionsTable(v) {
  const rows = [["Version", v.version || "unknown"], ["Commit", v.commit ?? ""], ["Computes", v.backend], ["Made with", v.go]];
  return el("table", { class: "facts", tabindex: 0, "aria-label": "Versions" }, el("tbody", {}, ...rows.filter(([, x]) => x).map(([k, x]) => el("tr", {}, el("th", { scope: "row" }, k), el("td", {}, x)))));
}

/**
 * @param {import("./types.js").Model[]} models
 * @param {Map<string, number>} queue
 */
function modelsTable(models, queue) {
  const head = ["Model", "State", "In its queues", "Memory", "What it is"].map((t) => el("th", { scope: "col" }, t));
  const rows = models.map((m) => {
    const memory = m.memory_bytes ? `${Math.round(m.memory_bytes / 1e6)} MB` : "";
    const cells = [m.state + (m.reason ? `: ${m.reason}` : ""), String(queue.get(m.id) ?? 0), memory, [m.architecture, m.note].filter(Boolean).join("; ")];
    return el("tr", {}, el("th", { scope: "row" }, m.id), ...cells.map((c) => el("td", {}, c)));
  });
  return el("table", { class: "facts", tabindex: 0, "aria-label": "Models" }, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows));
}

/** @param {boolean} keyed */
function links(keyed) {
  const all = [["docs", "API reference"], ["openapi.json", "OpenAPI"], ["readyz", "Readiness"], ...(keyed ? [] : [["metrics", "Metrics"]])];
  return el("p", { class: "row" }, ...all.map(([to, text]) => el("a", { href: root + to }, text)));
}
