// What the method auto has tried, side by side; a click takes one.
import { at, el } from "./dom.js";
import { thumbnail } from "./grid.js";

/** @typedef {import("./types.js").Trial} Trial */
/** @typedef {import("./types.js").Result} Result */

/**
 * @param {import("./photo.js").Photo} photo
 * @param {Result} result
 * @param {import("./overlay.js").Look} look
 * @param {(t: Trial) => Promise<Result | null>} mapOf asks for the map of one; null: no longer wanted
 * @param {(t: Trial) => void} choose
 */
export async function showCandidates(photo, result, look, mapOf, choose) {
  const map = result.maps?.[0];
  const trials = map?.trials ?? [];
  at("candidates-card", HTMLElement).hidden = !trials.length;
  const chosen = (/** @type {Trial} */ t) => t.method === map?.method && (t.fusion ?? "") === (map?.fusion ?? "") && (t.discard ?? 0) === 0;
  const canvases = trials.map(() => el("canvas", { "aria-hidden": "true", width: 4, height: 3 }));
  at("candidates", HTMLElement).replaceChildren(
    ...trials.map((t, i) => {
      const name = [t.method, t.fusion === "mean" ? "" : t.fusion, t.discard ? `discard ${t.discard}` : ""].filter(Boolean).join(", ");
      const score = t.error ? el("span", { class: "bad" }, t.error) : el("span", {}, `insertion − deletion ${((t.insertion ?? 0) - (t.deletion ?? 0)).toFixed(3)}`);
      const button = el("button", { type: "button", "aria-pressed": String(chosen(t)), click: () => choose(t) }, canvases[i], el("span", {}, name), score);
      button.disabled = Boolean(t.error);
      return el("li", {}, button);
    }),
  );
  for (const [i, t] of trials.entries()) {
    if (t.error) continue;
    const one = await mapOf(t);
    if (!one) return;
    thumbnail(canvases[i], photo, one, look);
  }
}
