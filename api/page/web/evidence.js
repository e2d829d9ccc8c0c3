// How the class fares as the photo is taken away, or given, in the map's order.
import { at, el, svg } from "./dom.js";

const wide = 340, high = 180, left = 34, bottom = 26;

/**
 * line is a curve from 0 to 100 % of the patches, of probabilities.
 * @param {number[]} curve
 * @param {string} name
 */
function line(curve, name) {
  const points = curve.map((p, i) => `${left + (i / Math.max(1, curve.length - 1)) * (wide - left - 8)},${8 + (1 - p) * (high - bottom - 8)}`);
  return svg("polyline", { class: name, points: points.join(" ") });
}

/**
 * @param {import("./types.js").Result | null} result
 * @param {(on: boolean) => void} askFor
 */
export function showEvidence(result, askFor) {
  const box = at("evidence", HTMLElement);
  const e = result?.maps?.[0]?.evidence;
  if (!e) {
    box.replaceChildren(
      el("p", { class: "hint" }, "The model is asked again and again while the map's highest patches are taken away, or given first."),
      el("button", { type: "button", id: "evidence-ask", click: () => askFor(true) }, "Find out"),
    );
    return;
  }
  const words = `Deletion ${e.deletion.toFixed(3)} (lower is better), insertion ${e.insertion.toFixed(3)} (higher is better), difference ${(e.insertion - e.deletion).toFixed(3)}.`;
  const chart = svg(
    "svg", { class: "chart", viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": words },
    svg("line", { class: "axis", x1: left, y1: high - bottom, x2: wide - 8, y2: high - bottom }),
    svg("line", { class: "axis", x1: left, y1: 8, x2: left, y2: high - bottom }),
    svg("text", { x: 4, y: 16 }, "100 %"),
    svg("text", { x: 12, y: high - bottom }, "0 %"),
    svg("text", { x: left, y: high - 8 }, "share of the patches, highest first"),
    svg("text", { x: wide - 8, y: high - 8, "text-anchor": "end" }, "100 %"),
    line(e.deletion_curve, "deletion"),
    line(e.insertion_curve, "insertion"),
  );
  const pixels = `While the highest pixels go, the class stays the best in ${Math.round(100 * e.positive)} % of the steps; while the lowest go, in ${Math.round(100 * e.negative)} %.`;
  const outliers = result?.outliers?.length ? ` ${result.outliers.length} patches have tokens far longer than the others: what looks there says nothing of that place.` : "";
  box.replaceChildren(chart, el("p", {}, words), el("p", { class: "hint" }, "Solid: taken away. Dashed: given. " + pixels + outliers),
    el("button", { type: "button", id: "evidence-stop", click: () => askFor(false) }, "Ask without it again"));
}
