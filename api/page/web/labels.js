// Labels as bars, best first.
import { el, percent } from "./dom.js";

/**
 * showLabels fills a list with predictions; a click on one asks for its map.
 * @param {HTMLElement} list
 * @param {import("./types.js").Prediction[] | undefined} predictions
 * @param {boolean} raw scores are the outputs themselves
 * @param {((label: string) => void) | null} choose
 */
export function showLabels(list, predictions, raw, choose) {
  if (!predictions?.length) {
    list.replaceChildren(el("li", {}, "This model knows no classes: it has no head."));
    return;
  }
  list.replaceChildren(...predictions.map((p) => labelRow(p.label, p.score, raw, choose && (() => choose(p.label)))));
}

/**
 * labelRow is a label with its bar.
 * @param {string} label
 * @param {number} score
 * @param {boolean} raw
 * @param {(() => void) | null} choose
 */
export function labelRow(label, score, raw, choose) {
  const fill = el("span", { class: "fill" });
  fill.style.width = raw ? "0" : `${100 * Math.min(1, Math.max(0, score))}%`;
  const name = el("span", { class: "name" });
  name.append(choose ? el("button", { type: "button", title: `the map for ${label}`, click: choose }, label) : label);
  return el("li", {}, fill, name, el("span", { class: "score" }, raw ? score.toPrecision(4) : percent(score)));
}
