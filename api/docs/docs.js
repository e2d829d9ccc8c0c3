// Draws openapi.json.
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

// properties is a table of what an object has; objects in it are told where
// they stand. around are the types that it lies in.
function properties(spec, schema, around) {
  const name = schema && schema.$ref;
  schema = full(spec, schema);
  if (!schema || !schema.properties || around.includes(name)) return null;
  const t = el("table");
  for (const [key, p] of Object.entries(schema.properties)) {
    const item = p.type === "array" ? p.items : p;
    const target = full(spec, item);
    const said = el("td", p.description || (target && target.description) || "");
    const inner = properties(spec, item, [...around, name]);
    if (inner) said.append(el("details", "", el("summary", p.type === "array" ? "of each" : "has"), inner));
    t.append(el("tr", "", el("td", "", el("code", key)), el("td", inner && !p.type ? "object" : inner ? "list" : typeOf(spec, p)), said));
  }
  return t;
}

// byUse are operations in the order in which people come to them; what is not
// here comes after those of its tag.
const byUse = ["classify", "explain", "embed", "preprocess", "corrupt", "listModels", "getModel", "loadModel", "unloadModel", "ready", "health", "version", "metrics"];

// place of this page's server, whatever proxy it is behind.
const root = new URL(".", location.href).href;

// example is a command that asks for an operation.
function example(path, verb, op) {
  const at = root.replace(/\/$/, "") + path.replace("{id}", "starter");
  if (verb === "get") return `curl '${at}'`;
  if (!op.requestBody) return `curl -X POST '${at}'`;
  const wants = { explain: "?class=banana", embed: "?pool=mean&l2=true", classify: "?top_k=3" }[op.operationId] || "";
  const line = `curl --data-binary @photo.jpg '${at}${wants}'`;
  if (op.operationId !== "explain") return line;
  return line + `\ncurl --data-binary @photo.jpg -o map.png '${at}?picture=figure'`;
}

function operation(spec, path, verb, op) {
  const s = el("section", "", el("h3", "", el("span", verb.toUpperCase()), el("span", " " + path)), el("p", op.summary || ""));
  s.id = op.operationId;
  s.querySelector("h3 span").className = "verb";
  for (const text of (op.description || "").split("\n\n")) if (text) s.append(el("p", text));
  s.append(el("pre", example(path, verb, op)));
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
    d.open = code === "200";
    for (const [media, body] of Object.entries(answer.content || {})) {
      d.append(el("p", media));
      const t = properties(spec, body.schema, []);
      if (t) d.append(t);
      if (body.example) d.append(el("details", "", el("summary", "example"), el("pre", JSON.stringify(body.example, null, 1))));
    }
    s.append(d);
  }
  return s;
}

function operationsOf(spec) {
  const all = [];
  for (const [path, item] of Object.entries(spec.paths)) {
    for (const [verb, op] of Object.entries(item)) all.push({ path, verb, op });
  }
  const tags = spec.tags.map((t) => t.name);
  const place = ({ op }) => {
    const use = byUse.indexOf(op.operationId);
    return tags.indexOf(op.tags[0]) * 1000 + (use < 0 ? 999 : use);
  };
  return all.sort((a, b) => place(a) - place(b));
}

async function draw() {
  const spec = await (await fetch(root + "openapi.json")).json();
  const about = document.getElementById("about");
  for (const text of spec.info.description.split("\n\n")) about.before(el("p", text));
  const list = document.getElementById("operations");
  const contents = document.getElementById("contents");
  let tag = "";
  for (const { path, verb, op } of operationsOf(spec)) {
    if (op.tags[0] !== tag) {
      tag = op.tags[0];
      list.append(el("h2", spec.tags.find((t) => t.name === tag).description));
    }
    list.append(operation(spec, path, verb, op));
    const link = el("a", verb.toUpperCase() + " " + path);
    link.href = "#" + op.operationId;
    contents.append(link);
  }
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

draw();
