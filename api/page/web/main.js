// The page: photos come in, the server is asked, the answer is shown. Data flows one way, from settings and photos
// over a question to what is shown.
import { at, el } from "./dom.js";
import { change, onSettings, settings } from "./settings.js";
import { ask, Refused, sentence, useKey } from "./server.js";
import { Photo } from "./photo.js";
import { View } from "./view.js";
import { listen, look, showControls, showLooks, showModels } from "./controls.js";
import { question } from "./question.js";
import { listenForPhotos } from "./intake.js";
import { listenForCamera } from "./camera.js";
import { showGrid } from "./grid.js";
import { showLabels } from "./labels.js";
import { showTimings } from "./timings.js";
import { showLayers } from "./layers.js";
import { showEvidence } from "./evidence.js";
import { showHeads } from "./heads.js";
import { showCandidates } from "./candidates.js";
import { disturbed, listenForCorruption, showCorruption } from "./corruption.js";
import { showJSON, showRequest } from "./request.js";
import { listenForPanel } from "./panel.js";

/** @typedef {import("./types.js").Model} Model */
/** @typedef {import("./types.js").Result} Result */
/** @typedef {import("./types.js").Answer} Answer */

/** @type {Photo[]} */
const photos = [];
/** @type {Photo | null} */
let selected = null;
/** The photo that is shown: the selected one, or what disturbed it. @type {Photo | null} */
let showing = null;
/** @type {Result | null} */
let result = null;
/** @type {Map<string, Model>} */
const cards = new Map();
let keyed = false;
/** Of what is being asked; whoever asks anew ends it. */
let asking = new AbortController();

const say = (/** @type {string} */ words) => {
  at("status", HTMLElement).textContent = words;
};

/** @param {unknown} err */
function fail(err) {
  if (err instanceof DOMException && err.name === "AbortError") return;
  const words = err instanceof Refused ? err.message + (err.request ? ` (request ${err.request})` : "") : sentence("", err instanceof Error ? err.message : String(err));
  at("error-words", HTMLElement).textContent = words;
  at("error", HTMLElement).hidden = false;
  if (err instanceof Refused && err.status === 401) at("keyform", HTMLElement).hidden = false;
  say("");
}

function well() {
  at("error", HTMLElement).hidden = true;
}

const pick = (/** @type {[number, number] | null} */ cell) => change({ patch: cell ? cell.join(",") : "" });
const view = new View(at("view", HTMLElement), pick, say);
const view2 = new View(at("view2", HTMLElement), pick, say);

/** defaultModel is the id of the model that answers where none is named. */
let defaultModel = "";

/**
 * cardOf is what a model's card says; of one that has been loaded meanwhile it is read anew.
 * @param {string} id "": the default model's
 */
async function cardOf(id) {
  if (!defaultModel) await meet();
  const name = id || defaultModel;
  const known = cards.get(name);
  if (known?.methods) return known;
  /** @type {Model} */
  const card = await (await ask("v1/models/" + encodeURIComponent(name))).json();
  cards.set(name, card);
  return card;
}

/**
 * explain asks for the map of a photo. What the server cannot read and the browser can is converted, once.
 * @param {Photo} photo
 * @param {URLSearchParams} query
 * @param {AbortSignal} signal
 * @returns {Promise<Answer>}
 */
async function explain(photo, query, signal) {
  const painted = new URLSearchParams(query);
  if (!photo.pixels) { // the browser cannot draw it, so the server does
    const { alpha, colors, smooth, map } = look();
    painted.set("format", "json");
    painted.set("picture", "overlay");
    painted.set("alpha", String(map ? Math.max(alpha, 0.001) : 0.001));
    if (colors) painted.set("colors", colors);
    if (!smooth) painted.set("upsample", "nearest");
  }
  try {
    return await (await ask("v1/explain", { body: photo.body, query: painted, signal, waiting: say })).json();
  } catch (err) {
    if (err instanceof Refused && err.status === 415 && (await photo.convert())) return explain(photo, query, signal);
    throw err;
  }
}

/** refresh asks about the selected photo and shows the answer. */
async function refresh() {
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  const photo = selected;
  if (!photo) return;
  say(`Asking about ${photo.name} …`);
  const began = performance.now();
  try {
    await photo.decode();
    let card = await cardOf(settings.model);
    signal.throwIfAborted();
    const shown = await disturbed(photo, card, signal);
    const query = question(settings, card);
    const answer = await explain(shown, query, signal);
    signal.throwIfAborted();
    const whole = performance.now() - began;
    card = await cardOf(settings.model);
    well();
    showing = shown;
    result = answer.results[0];
    if (shown === photo) photo.result = result;
    photo.error = "";
    await showAnswer(shown, answer, card, query, whole);
    say(`${photo.name}: ${summary(result)}`);
    showGrid(photos, selected, look(), select);
    await showMore(shown, answer, card, signal);
  } catch (err) {
    if (signal.aborted) return;
    if (err instanceof Refused && err.status !== 0 && err.status !== 401) photo.error = err.message;
    showGrid(photos, selected, look(), select);
    fail(err);
  }
}

/** @param {Result} r */
function summary(r) {
  const best = r.predictions?.[0];
  return best ? `${best.label}, ${(100 * best.score).toFixed(0)} %.` : "the map is there.";
}

/**
 * @param {Photo} photo
 * @param {Answer} answer
 * @param {Model} card
 * @param {URLSearchParams} query
 * @param {number} whole
 */
async function showAnswer(photo, answer, card, query, whole) {
  const r = answer.results[0];
  at("answer", HTMLElement).hidden = false;
  showControls(card);
  await view.show(photo, r, look(), settings.beside && answer.model);
  const raw = card.scores === "raw";
  showLabels(at("labels", HTMLElement), r.predictions, raw, (label) => change({ class: label, patch: "" }));
  const note = at("note", HTMLElement);
  note.hidden = !answer.note;
  note.textContent = answer.note ? sentence("", answer.note) : "";
  showTimings(r.timings_ms, whole);
  showLayers(r);
  at("evidence-card", HTMLElement).hidden = !card.classes;
  showEvidence(r, () => change({ evidence: "1" }));
  showCorruption(card, settings.severity && photo !== selected ? `Disturbed at ${r.geometry.photo.join("×")} pixels, where severities mean what the benchmark's do.` : "");
  showRequest(query, photo.name, keyed);
  showJSON(answer);
  heads.of = null;
  void showSheet();
}

/**
 * showMore shows what further requests are for: what auto has tried, and the second view.
 * @param {Photo} photo
 * @param {Answer} answer
 * @param {Model} card
 * @param {AbortSignal} signal
 */
async function showMore(photo, answer, card, signal) {
  const r = answer.results[0];
  await showBeside(photo, signal);
  await showCandidates(photo, r, look(), async (t) => {
    const q = new URLSearchParams({ method: t.method });
    if (settings.model) q.set("model", settings.model);
    if (t.fusion && t.fusion !== "mean") q.set("fusion", t.fusion);
    if (t.discard) q.set("discard", String(t.discard));
    if (settings.class && card.focus?.find((f) => f.method === t.method)?.class) q.set("class", settings.class);
    const one = await explain(photo, q, signal);
    return signal.aborted ? null : one.results[0];
  }, (t) => change({ method: t.method, fusion: t.fusion === "mean" ? "" : t.fusion ?? "", discard: t.discard ? String(t.discard) : "" }));
}

/**
 * showBeside shows what another model, or the same one of another class, makes of the photo.
 * @param {Photo} photo
 * @param {AbortSignal} signal
 */
async function showBeside(photo, signal) {
  view2.figure.hidden = !settings.beside;
  if (!settings.beside) return;
  const card = await cardOf(settings.beside);
  const other = { ...settings, model: settings.beside, class: settings.besideClass, versus: "", evidence: "" };
  if (!card.methods?.includes(other.method)) other.method = "";
  const [row, col] = settings.patch.split(",").map(Number);
  if (card.grid && !(row < card.grid[0] && col < card.grid[1])) other.patch = "";
  const answer = await explain(photo, question(other, card), signal);
  signal.throwIfAborted();
  await view2.show(photo, answer.results[0], look(), answer.model);
  const labels = /** @type {HTMLElement} */ (view2.figure.querySelector(".labels"));
  showLabels(labels, answer.results[0].predictions, card.scores === "raw", (label) => change({ besideClass: label }));
}

/** The sheet of heads that is shown, by the photo it is of. */
const heads = { of: /** @type {Photo | null} */ (null) };

/** showSheet asks for the sheet of all heads, when somebody looks. */
async function showSheet() {
  const card = at("heads-card", HTMLDetailsElement);
  const photo = showing;
  if (!card.open || !photo || heads.of === photo) return;
  heads.of = photo;
  try {
    const q = new URLSearchParams({ picture: "sheet", format: "png" });
    if (settings.model) q.set("model", settings.model);
    const r = await ask("v1/explain", { body: photo.body, query: q });
    const raw = settings.method === "raw";
    await showHeads(await r.blob(), raw ? Number(settings.layer) : 0, raw ? Number(settings.head) : 0,
      (layer, head) => change({ method: "raw", layer: String(layer), head: String(head), fusion: "", discard: "" }));
  } catch (err) {
    heads.of = null;
    fail(err);
  }
}

/** @param {Photo} photo */
function select(photo) {
  for (const p of photos) if (p !== photo) p.release();
  selected = photo;
  showGrid(photos, selected, look(), select);
  void refresh();
}

/** @param {File[]} files */
async function take(files) {
  if (!files.length) return;
  const fresh = files.map((f) => new Photo(f));
  photos.push(...fresh);
  selected = fresh[0];
  change({ patch: "" });
  if (fresh.length > 1) await askMany(fresh);
  select(fresh.find((p) => !p.error) ?? fresh[0]);
}

/**
 * askMany asks about several photos in few requests: a broken one is an error of its own.
 * @param {Photo[]} some
 */
async function askMany(some) {
  say(`Asking about ${some.length} photos …`);
  showGrid(photos, selected, look(), select);
  try {
    const card = await cardOf(settings.model);
    for (const part of parts(some)) {
      const form = new FormData();
      for (const p of part) {
        await p.decode();
        p.release();
        form.append("file", p.body, p.name);
      }
      const query = question({ ...settings, evidence: "", patch: "", class: "", versus: "" }, card);
      /** @type {Answer} */
      const answer = await (await ask("v1/explain", { body: form, query, waiting: say })).json();
      for (const [i, r] of answer.results.entries()) {
        part[i].result = r.error ? null : r;
        part[i].error = r.error ? sentence("", r.error.detail) : "";
        if (r.error?.status !== 415 || !(await part[i].convert())) continue;
        part[i].result = (await explain(part[i], query, new AbortController().signal)).results[0];
        part[i].error = "";
      }
      showGrid(photos, selected, look(), select);
    }
  } catch (err) {
    fail(err);
  }
}

/**
 * parts are photos by what one request should carry.
 * @param {Photo[]} all
 */
function parts(all) {
  /** @type {Photo[][]} */
  const found = [];
  let bytes = Infinity;
  for (const p of all) {
    if (bytes + p.body.size > 16e6 || found[found.length - 1].length >= 8) {
      found.push([]);
      bytes = 0;
    }
    found[found.length - 1].push(p);
    bytes += p.body.size;
  }
  return found;
}

async function repaint() {
  showLooks();
  if (!showing || !result) return;
  if (!showing.pixels) return refresh();
  await view.show(showing, result, look(), view.model);
  if (view2.on && settings.beside) await view2.show(view2.on.photo, view2.on.result, look(), view2.model);
}

/** start finds out what there is to ask. */
async function start() {
  try {
    /** @type {import("./types.js").Version} */
    const version = await (await ask("version")).json();
    keyed = Boolean(version.keys);
    at("keyform", HTMLElement).hidden = !keyed;
    listenForPanel(keyed, showModels);
    if (!keyed) showControls(await cardOf(settings.model));
  } catch (err) {
    fail(err);
  }
}

/** @type {Promise<void> | null} */
let meeting = null;

/** meet reads which models there are; whoever asks while it does waits. */
function meet() {
  meeting ??= (async () => {
    const { models } = await (await ask("v1/models")).json();
    defaultModel = models[0].id;
    showModels(models);
    well();
  })().finally(() => {
    meeting = null;
  });
  return meeting;
}

listen();
listenForCorruption();
listenForPhotos((files) => void take(files));
listenForCamera((files) => void take(files), (words) => fail(new Error(words)));
onSettings((painted) => void (painted ? repaint() : refresh()));
at("retry", HTMLButtonElement).onclick = async () => {
  try {
    showControls(await cardOf(settings.model));
    well();
    await refresh();
  } catch (err) {
    fail(err);
  }
};
at("heads-card", HTMLDetailsElement).addEventListener("toggle", () => void showSheet());
at("keyform", HTMLFormElement).addEventListener("submit", async (e) => {
  e.preventDefault();
  useKey(at("key", HTMLInputElement).value);
  try {
    showControls(await cardOf(settings.model));
    say("The server takes the key.");
    await refresh();
  } catch (err) {
    fail(err);
  }
});
at("save", HTMLButtonElement).onclick = () => view.canvas.toBlob((picture) => {
  if (!picture) return;
  const href = URL.createObjectURL(picture);
  el("a", { href, download: (showing?.name ?? "map").replace(/\.[^.]*$/, "") + "-map.png" }).click();
  setTimeout(() => URL.revokeObjectURL(href), 10000);
});
addEventListener("resize", () => {
  view.showMark();
  view2.showMark();
});
void start();
