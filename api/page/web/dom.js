// Elements of the page: found by id, made from texts.

/**
 * at returns the element of an id, which is of a kind.
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} kind
 * @returns {T}
 */
export function at(id, kind) {
  const e = document.getElementById(id);
  if (!(e instanceof kind)) throw new Error(`#${id}: found ${e}, want ${kind.name}`);
  return e;
}

/**
 * el makes an element; texts are never taken for markup.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} name
 * @param {Record<string, string | number | boolean | ((e: Event) => void)>} set attributes, and listeners by their event
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function el(name, set = {}, ...children) {
  const e = document.createElement(name);
  for (const [key, v] of Object.entries(set)) {
    if (typeof v === "function") e.addEventListener(key, v);
    else if (v === true) e.setAttribute(key, "");
    else if (v !== false) e.setAttribute(key, String(v));
  }
  e.append(...children);
  return e;
}

/**
 * svg makes an element of a drawing.
 * @param {string} name
 * @param {Record<string, string | number>} set
 * @param {(Node | string)[]} children
 * @returns {SVGElement}
 */
export function svg(name, set, ...children) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, v] of Object.entries(set)) e.setAttribute(key, String(v));
  e.append(...children);
  return e;
}

/**
 * options fills a list to choose from, and keeps what is chosen if it is still there.
 * @param {HTMLSelectElement} list
 * @param {[string, string][]} rows values with their texts
 * @param {string} chosen
 */
export function options(list, rows, chosen) {
  const same = list.options.length === rows.length && rows.every(([v, text], i) => list.options[i].value === v && list.options[i].text === text);
  if (!same) list.replaceChildren(...rows.map(([value, text]) => el("option", { value }, text)));
  list.value = rows.some(([v]) => v === chosen) ? chosen : rows.length ? rows[0][0] : "";
}

/**
 * percent writes a score.
 * @param {number} score
 */
export function percent(score) {
  return `${(100 * score).toFixed(score < 0.0995 ? 2 : 1)} %`;
}
