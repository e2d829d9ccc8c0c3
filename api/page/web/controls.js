// The lists from which a model, a map and its colours are chosen: what the model's card has, and nothing else.
import { at, el, options } from "./dom.js";
import { colorNames } from "./colors.js";
import { change, settings } from "./settings.js";
import { methodOf } from "./question.js";

/** @typedef {import("./types.js").Model} Model */

const list = (/** @type {string} */ id) => at(id, HTMLSelectElement);
const input = (/** @type {string} */ id) => at(id, HTMLInputElement);

/** listen has the controls change the settings. */
export function listen() {
  const plain = { class: "" };
  list("model").onchange = () => change({ model: list("model").value, method: "", layer: "", head: "", fusion: "", discard: "", patch: "", versus: "", ...plain });
  list("method").onchange = () => change({ method: list("method").value, fusion: "", discard: "", patch: "" });
  list("layer").onchange = () => change({ layer: list("layer").value });
  list("head").onchange = () => change({ head: list("head").value });
  list("fusion").onchange = () => change({ fusion: list("fusion").value, discard: "" });
  list("colors").onchange = () => change({ colors: list("colors").value });
  list("beside").onchange = () => change({ beside: list("beside").value, besideClass: "" });
  input("class").onchange = () => change({ class: input("class").value.trim(), versus: input("class").value.trim() ? settings.versus : "" });
  input("versus").onchange = () => change({ versus: input("versus").value.trim() });
  input("beside-class").onchange = () => change({ besideClass: input("beside-class").value.trim() });
  input("alpha").oninput = () => change({ alpha: input("alpha").value });
  input("smooth").onchange = () => change({ smooth: input("smooth").checked ? "1" : "0" });
  input("map").onchange = () => change({ map: input("map").checked ? "1" : "0" });
  at("unpatch", HTMLButtonElement).onclick = () => change({ patch: "" });
  addEventListener("keydown", (e) => {
    const from = e.target instanceof Element ? e.target : null;
    if (e.key !== "m" || e.ctrlKey || e.metaKey || e.altKey || from?.closest("input:not([type=checkbox]):not([type=range]), select, dialog")) return;
    change({ map: settings.map === "1" ? "0" : "1" });
  });
}

/**
 * showModels fills the lists of models.
 * @param {Model[]} models the default first
 */
export function showModels(models) {
  /** @type {[string, string][]} */
  const rows = models.map((m) => [m.default ? "" : m.id, m.id + (m.state === "ready" ? "" : ` (${m.state})`)]);
  options(list("model"), rows, settings.model);
  /** @type {[string, string][]} */
  const others = models.map((m) => [m.id, m.id]);
  options(list("beside"), [["", "nothing"], ...others], settings.beside);
}

/**
 * showControls shows what there is to choose of a model.
 * @param {Model | null} card
 */
export function showControls(card) {
  const method = methodOf(settings, card);
  const understands = (/** @type {string} */ option) => Boolean(method?.options.includes(option));
  /** @type {[string, string][]} */
  const methods = (card?.methods ?? []).map((m) => [m === card?.default_method ? "" : m, m]);
  methods.sort((a, b) => Number(b[0] === "") - Number(a[0] === ""));
  options(list("method"), methods, settings.method);
  if (method && settings.patch) list("method").value = method.method === card?.default_method ? "" : method.method;
  numbers("layer", understands("layer"), card?.layers ?? 0, "the last");
  numbers("head", understands("head"), card?.heads ?? 0, "all");
  choice("fusion", understands("fusion") && !(settings.head && understands("head")), [["", "mean"], ["max", "max"], ["min", "min"]]);
  const classes = Boolean(method?.class || settings.evidence) && Boolean(card?.classes);
  at("class-label", HTMLElement).hidden = !classes;
  at("versus-label", HTMLElement).hidden = !classes || !method?.versus;
  at("beside-class-label", HTMLElement).hidden = !settings.beside || !classes;
  input("class").value = settings.class;
  input("versus").value = settings.versus;
  input("versus").disabled = !settings.class;
  input("beside-class").value = settings.besideClass;
  list("beside").value = settings.beside;
  const labels = card?.labels ?? [];
  const known = at("classes", HTMLDataListElement);
  if (known.dataset.of !== card?.id) {
    known.dataset.of = card?.id ?? "";
    known.replaceChildren(...labels.map((value) => el("option", { value })));
  }
  at("unpatch", HTMLElement).hidden = !settings.patch;
  at("patch-hint", HTMLElement).hidden = !card?.focus?.some((f) => f.options.includes("queries"));
  showLooks();
}

/** showLooks shows how maps are painted. */
export function showLooks() {
  /** @type {[string, string][]} */
  const colors = [["", "of their own"], ...colorNames.map((c) => /** @type {[string, string]} */ ([c, c]))];
  options(list("colors"), colors, settings.colors);
  input("alpha").value = settings.alpha;
  input("smooth").checked = settings.smooth === "1";
  input("map").checked = settings.map === "1";
}

/**
 * @param {"layer" | "head"} id
 * @param {boolean} there
 * @param {number} most
 * @param {string} none
 */
function numbers(id, there, most, none) {
  choice(id, there, [["", none], ...Array.from({ length: most }, (_, i) => /** @type {[string, string]} */ ([String(i + 1), String(i + 1)]))]);
}

/**
 * @param {"layer" | "head" | "fusion"} id
 * @param {boolean} there
 * @param {[string, string][]} rows
 */
function choice(id, there, rows) {
  at(id + "-label", HTMLElement).hidden = !there;
  options(list(id), rows, settings[id]);
}

/** look is how maps are painted. */
export function look() {
  return { colors: settings.colors, alpha: Number(settings.alpha) / 100, smooth: settings.smooth === "1", map: settings.map === "1" };
}
