// Draws /openapi.json, and sends a picture to try it.
"use strict";

// el makes an element; text is never taken for markup.
function el(name, text, ...children) {
  const e = document.createElement(name);
  if (text) e.textContent = text;
  e.append(...children);
  return e;
}

function typeOf(spec, schema) {
  if (!schema) return "";
  if (schema.$ref) return typeOf(spec, resolve(spec, schema.$ref));
  let t = schema.type || "";
  if (schema.type === "array") t = typeOf(spec, schema.items) + "[]";
  if (schema.format && schema.format !== "double") t += " (" + schema.format + ")";
  if (schema.enum) t = schema.enum.join(" | ");
  if (schema.minimum !== undefined || schema.maximum !== undefined) t += ` ${schema.minimum ?? ""}…${schema.maximum ?? ""}`;
  if (schema.default !== undefined) t += `, default ${schema.default}`;
  return t;
}

function resolve(spec, ref) {
  return ref.slice(2).split("/").reduce((at, key) => at[key], spec);
}

function full(spec, x) {
  return x && x.$ref ? resolve(spec, x.$ref) : x;
}

function table(rows) {
  const t = el("table");
  for (const [name, type, text] of rows) {
    t.append(el("tr", "", el("td", "", el("code", name)), el("td", type), el("td", text)));
  }
  return t;
}

function properties(spec, schema) {
  schema = full(spec, schema);
  if (!schema || !schema.properties) return null;
  const rows = Object.entries(schema.properties).map(([name, p]) => {
    const target = full(spec, p.type === "array" ? p.items : p);
    return [name, typeOf(spec, p), p.description || (target && target.description) || ""];
  });
  return table(rows);
}

function operation(spec, path, verb, op) {
  const s = el("section", "", el("h3", "", el("span", verb.toUpperCase()), el("span", " " + path)), el("p", op.summary || ""));
  s.querySelector("h3 span").className = "verb";
  if (op.description) s.append(el("p", op.description));
  const parameters = (op.parameters || []).map((p) => full(spec, p));
  if (parameters.length) {
    s.append(el("h4", "Parameters"), table(parameters.map((p) => [p.name, typeOf(spec, p.schema), p.description || ""])));
  }
  if (op.requestBody) {
    s.append(el("h4", "Body"), el("p", Object.keys(op.requestBody.content).join(", ")));
  }
  s.append(el("h4", "Answers"));
  for (const [code, r] of Object.entries(op.responses)) {
    const answer = full(spec, r);
    const d = el("details", "", el("summary", code + " " + answer.description));
    for (const [media, body] of Object.entries(answer.content || {})) {
      d.append(el("p", media));
      const t = properties(spec, body.schema);
      if (t) d.append(t);
    }
    s.append(d);
  }
  return s;
}

async function draw() {
  const spec = await (await fetch("/openapi.json")).json();
  document.getElementById("about").prepend(el("span", spec.info.description + " "));
  const list = document.getElementById("operations");
  list.append(el("h2", "Operations"));
  for (const [path, item] of Object.entries(spec.paths)) {
    for (const [verb, op] of Object.entries(item)) list.append(operation(spec, path, verb, op));
  }
  list.append(el("h2", "Types"));
  for (const [name, schema] of Object.entries(spec.components.schemas)) {
    const t = properties(spec, schema);
    if (t) list.append(el("section", "", el("h3", name), el("p", schema.description || ""), t));
  }
}

document.getElementById("try").addEventListener("submit", async (event) => {
  event.preventDefault();
  const answer = document.getElementById("answer");
  const path = document.getElementById("what").value;
  const query = document.getElementById("query").value;
  const key = document.getElementById("key").value;
  answer.replaceChildren(el("p", "…"));
  try {
    const headers = { Accept: "*/*" };
    if (key) headers["X-API-Key"] = key;
    const r = await fetch(path + (query ? (path.includes("?") ? "&" : "?") + query : ""), {
      method: "POST", headers, body: document.getElementById("picture").files[0],
    });
    const media = r.headers.get("Content-Type");
    if (media.startsWith("image/")) {
      const img = el("img");
      img.alt = "the focus map of the picture";
      img.src = URL.createObjectURL(await r.blob());
      answer.replaceChildren(img);
      return;
    }
    if (media === "application/x-npy") {
      const link = el("a", "values.npy");
      link.download = "values.npy";
      link.href = URL.createObjectURL(await r.blob());
      answer.replaceChildren(link);
      return;
    }
    answer.replaceChildren(el("pre", JSON.stringify(await r.json(), null, 2)));
  } catch (err) {
    answer.replaceChildren(el("p", String(err)));
  }
});

draw();
