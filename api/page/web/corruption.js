// A corruption that disturbs the photo while the answer follows.
import { at, options } from "./dom.js";
import { Photo } from "./photo.js";
import { ask } from "./server.js";
import { change, settings } from "./settings.js";

/** listenForCorruption has the slider and the list change the settings. */
export function listenForCorruption() {
  const kind = at("corruption", HTMLSelectElement);
  const slider = at("severity", HTMLInputElement);
  const set = () => {
    at("severity-told", HTMLOutputElement).value = slider.value;
    change({ corruption: kind.value, severity: slider.value === "0" ? "" : slider.value });
  };
  kind.onchange = set;
  slider.oninput = set;
}

/**
 * showCorruption shows what the model's card lists.
 * @param {import("./types.js").Model | null} card
 * @param {string} told of the photo that is asked about
 */
export function showCorruption(card, told) {
  const kinds = card?.corruptions ?? [];
  at("corrupt", HTMLElement).hidden = !kinds.length;
  options(at("corruption", HTMLSelectElement), kinds.map((k) => [k, k.replaceAll("_", " ")]), settings.corruption);
  at("severity", HTMLInputElement).value = settings.severity || "0";
  at("severity-told", HTMLOutputElement).value = settings.severity || "0";
  at("corrupt-told", HTMLElement).textContent = told;
}

/**
 * disturbed is the photo as the settings disturb it, or itself.
 * @param {Photo} photo
 * @param {import("./types.js").Model | null} card
 * @param {AbortSignal} signal
 */
export async function disturbed(photo, card, signal) {
  const { corruption, severity } = settings;
  if (!severity || !card?.corruptions?.includes(corruption)) return photo;
  const side = Math.max(...(card.transform?.size ?? [0]));
  const from = `${side}`, name = `${corruption} ${severity} ${side}`;
  const known = photo.disturbed.get(name);
  if (known) return known;
  let small = photo.disturbed.get(from);
  if (!small) {
    small = new Photo(new File([await photo.scaled(side)], photo.name, { type: "image/png" }));
    photo.disturbed.set(from, small);
  }
  const r = await ask("v1/corrupt", { body: small.body, query: new URLSearchParams({ corruption, severity, format: "png" }), signal });
  const one = new Photo(new File([await r.blob()], photo.name, { type: "image/png" }));
  await one.decode();
  if (photo.disturbed.size > 24) photo.disturbed.clear();
  photo.disturbed.set(name, one);
  return one;
}
