// The page: photos come in, the server is asked, the answer is shown. Data flows one way, from settings and photos
// over a question to what is shown.
import { at, el } from "./dom.js";
import { change, onSettings, settings } from "./settings.js";
import { ask, Refused, sentence, useKey } from "./server.js";
import { Photo } from "./photo.js";
import { View } from "./view.js";
import { listen, look, showControls, showLooks, showModels } from "./controls.js";
import { question } from "./question.js";
import { cardOf } from "./cards.js";
import { explain } from "./explanation.js";
import { askMany } from "./several.js";
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
let keyed = false;
/** Whether the server has said who it is. */
let met = false;
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
    const answer = await explain(shown, query, signal, say);
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
  showEvidence(r, (on) => change({ evidence: on ? "1" : "" }));
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
    const one = await explain(photo, q, signal, say);
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
  const answer = await explain(photo, question(other, card), signal, say);
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
  if (fresh.length > 1) {
    try {
      await askMany(fresh, say, () => showGrid(photos, selected, look(), select));
    } catch (err) {
      fail(err);
    }
  }
  select(fresh.find((p) => !p.error) ?? fresh[0]);
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
    if (!met) listenForPanel(keyed, showModels);
    met = true;
    if (!keyed) showControls(await cardOf(settings.model));
  } catch (err) {
    fail(err);
  }
}

listen();
listenForCorruption();
listenForPhotos((files) => void take(files));
listenForCamera((files) => void take(files), (words) => fail(new Error(words)));
onSettings((painted) => void (painted ? repaint() : refresh()));
at("retry", HTMLButtonElement).onclick = async () => {
  if (!met) await start();
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
    well();
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
