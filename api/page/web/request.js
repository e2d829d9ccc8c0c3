// The request, to copy.
import { at, el } from "./dom.js";
import { root } from "./server.js";

/** @type {"curl" | "Python" | "JavaScript"} */
let shown = "curl";

/** @param {string} text */
const shell = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/**
 * @param {string} url
 * @param {string} name of the photo's file
 * @param {boolean} keyed
 */
function texts(url, name, keyed) {
  const header = JSON.stringify("X-API-Key");
  return {
    curl: `curl --data-binary ${shell("@" + name)}${keyed ? ` -H "X-API-Key: $KEY"` : ""} ${shell(url)}`,
    Python: `import json, ${keyed ? "os, " : ""}urllib.request

data = open(${JSON.stringify(name)}, "rb").read()
request = urllib.request.Request(${JSON.stringify(url)}, data=data${keyed ? `, headers={${header}: os.environ["KEY"]}` : ""})
answer = json.load(urllib.request.urlopen(request))
print(answer["results"][0])
`,
    JavaScript: `import { readFile } from "node:fs/promises";

const answer = await fetch(${JSON.stringify(url)}, {
  method: "POST",${keyed ? `\n  headers: { ${header}: process.env.KEY },` : ""}
  body: await readFile(${JSON.stringify(name)}),
});
if (!answer.ok) throw new Error((await answer.json()).detail);
console.log((await answer.json()).results[0]);
`,
  };
}

/**
 * @param {URLSearchParams} query
 * @param {string} name
 * @param {boolean} keyed
 */
export function showRequest(query, name, keyed) {
  const url = `${root}v1/explain${query.size ? "?" + query : ""}`;
  const all = texts(url, name, keyed);
  const code = el("pre", { tabindex: 0, role: "tabpanel", id: "request-text", "aria-label": "The request" });
  const tabs = Object.keys(all).map((key) => el("button", { type: "button", role: "tab", "aria-controls": "request-text" }, key));
  const copied = el("span", { class: "hint", role: "status" });
  const choose = () => {
    code.textContent = all[shown];
    for (const t of tabs) {
      const on = t.textContent === shown;
      t.setAttribute("aria-selected", String(on));
      t.tabIndex = on ? 0 : -1;
    }
  };
  tabs.forEach((t, i) => {
    const take = (/** @type {HTMLElement} */ to) => {
      shown = /** @type {typeof shown} */ (to.textContent);
      choose();
      to.focus();
    };
    t.addEventListener("click", () => take(t));
    t.addEventListener("keydown", (e) => {
      const step = e.key === "ArrowRight" ? 1 : e.key === "ArrowLeft" ? -1 : 0;
      if (step) take(tabs[(i + step + tabs.length) % tabs.length]);
    });
  });
  const copy = el("button", { type: "button", id: "copy", click: async () => {
    try {
      await navigator.clipboard.writeText(all[shown]);
      copied.textContent = "Copied.";
    } catch {
      getSelection()?.selectAllChildren(code); // a page without https may not
      copied.textContent = "Selected: copy it with the keyboard.";
    }
  } }, "Copy");
  choose();
  at("request", HTMLElement).replaceChildren(el("div", { class: "tabs", role: "tablist", "aria-label": "As" }, ...tabs), code, el("div", { class: "row" }, copy, copied));
}

/** @param {unknown} answer */
export function showJSON(answer) {
  at("json", HTMLElement).textContent = JSON.stringify(answer, (_, v) => (typeof v === "string" && v.length > 4000 ? v.slice(0, 40) + "…" : v), 1)
    .replace(/\[\s+(-?[\d.eE+-]+(?:,\s+-?[\d.eE+-]+)*)\s+\]/g, (_, numbers) => `[${numbers.replace(/\s+/g, " ")}]`);
}
