// Several photos, each with its map and its best label.
import { at, el, percent } from "./dom.js";
import { paint } from "./overlay.js";
import { put, putServers } from "./view.js";

/** @typedef {import("./photo.js").Photo} Photo */

/**
 * @param {Photo[]} photos
 * @param {Photo | null} selected
 * @param {import("./overlay.js").Look} look
 * @param {(p: Photo) => void} select
 */
export function showGrid(photos, selected, look, select) {
  const list = at("grid", HTMLElement);
  list.hidden = photos.length < 2;
  if (list.hidden) return;
  list.replaceChildren(
    ...photos.map((p) => {
      const canvas = el("canvas", { "aria-hidden": "true", width: 4, height: 3 });
      thumbnail(canvas, p, p.result, look);
      const best = p.result?.predictions?.[0];
      const said = p.error ? el("span", { class: "bad" }, p.error) : el("span", {}, best ? `${best.label} ${percent(best.score)}` : p.result ? "no classes" : "…");
      return el("li", {}, el("button", { type: "button", "aria-pressed": String(p === selected), click: () => select(p) }, canvas, el("span", {}, p.name), said));
    }),
  );
}

/**
 * thumbnail paints a result small.
 * @param {HTMLCanvasElement} canvas
 * @param {Photo} photo
 * @param {import("./types.js").Result | null} result
 * @param {import("./overlay.js").Look} look
 */
export function thumbnail(canvas, photo, result, look) {
  const map = result?.maps?.[0];
  if (map?.picture) void putServers(canvas, map.picture);
  else if (photo.small) put(canvas, result && map ? paint(photo.small, result.geometry, map, look) : photo.small);
}
