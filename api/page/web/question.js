// What the settings ask of a model, as parameters of /v1/explain: only what its card lists.

/** @typedef {import("./settings.js").Settings} Settings */
/** @typedef {import("./types.js").Model} Model */

/**
 * methodOf is the method that answers, with what it understands. A patch that asks needs one that lets patches ask.
 * @param {Settings} s
 * @param {Model | null} card
 */
export function methodOf(s, card) {
  const rows = card?.focus ?? [];
  const find = (/** @type {string | undefined} */ name) => rows.find((f) => f.method === name);
  const chosen = find(s.method) ?? find(card?.default_method);
  if (s.patch && chosen && !chosen.options.includes("queries")) return find("raw") ?? chosen;
  return chosen;
}

/**
 * question is the query of an explanation.
 * @param {Settings} s
 * @param {Model | null} card of the model that is asked
 */
export function question(s, card) {
  const q = new URLSearchParams();
  if (s.model) q.set("model", s.model);
  const method = methodOf(s, card);
  if (!method) { // the card of a model that is not loaded does not tell
    if (s.method) q.set("method", s.method);
    return q;
  }
  const understands = (/** @type {string} */ option) => method.options.includes(option);
  if (s.method || s.patch) q.set("method", method.method);
  for (const name of /** @type {const} */ (["layer", "head", "fusion", "discard"])) {
    if (s[name] && understands(name) && !(name === "fusion" && s.head && understands("head"))) q.set(name, s[name]);
  }
  if (s.patch && understands("queries")) q.set("queries", s.patch);
  const evidence = Boolean(card?.classes) && s.evidence === "1";
  if (s.class && (method.class || evidence)) q.set("class", s.class);
  if (s.versus && s.class && method.versus) q.set("versus", s.versus);
  if (evidence) q.set("evidence", "true");
  if (card?.classes) q.set("layers", "true");
  return q;
}
