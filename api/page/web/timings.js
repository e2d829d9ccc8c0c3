// Where the time of an answer went.
import { at, el } from "./dom.js";

const stages = /** @type {const} */ ([
  ["decode", "decode"],
  ["preprocess", "preprocess"],
  ["queue", "wait in the queue"],
  ["infer", "the model"],
  ["explain", "the map"],
  ["encode", "encode"],
]);

/**
 * @param {import("./types.js").Timings} timings milliseconds on the server
 * @param {number} whole milliseconds from asking to the answer
 */
export function showTimings(timings, whole) {
  const rows = stages.flatMap(([key, name]) => [el("dt", {}, name), el("dd", { "data-stage": key }, `${timings[key].toFixed(1)} ms`)]);
  rows.push(el("dt", {}, "all, with the way there and back"), el("dd", { "data-stage": "all" }, `${whole.toFixed(0)} ms`));
  at("timings", HTMLElement).replaceChildren(...rows);
}
