// An explanation of a photo, from the server.
import { ask, Refused } from "./server.js";
import { look } from "./controls.js";

/** @typedef {import("./types.js").Answer} Answer */
/** @typedef {import("./photo.js").Photo} Photo */

/**
 * explain asks for the map of a photo. What the server cannot read and the browser can is converted, once.
 * @param {Photo} photo
 * @param {URLSearchParams} query
 * @param {AbortSignal} signal
 * @param {(words: string) => void} say what it waits for
 * @returns {Promise<Answer>}
 */
export async function explain(photo, query, signal, say) {
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
    if (err instanceof Refused && err.status === 415 && (await photo.convert())) return explain(photo, query, signal, say);
    throw err;
  }
}
