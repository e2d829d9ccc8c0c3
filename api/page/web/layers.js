// What each layer would have answered had the model ended there.
import { at } from "./dom.js";
import { labelRow } from "./labels.js";

/** @param {import("./types.js").Result} result */
export function showLayers(result) {
  const layers = result.layers ?? [];
  at("layers-card", HTMLElement).hidden = !layers.length;
  const last = result.predictions?.[0]?.label;
  at("layers", HTMLElement).replaceChildren(
    ...layers.map(({ layer, predictions }) => {
      const row = labelRow(predictions[0].label, predictions[0].score, false, null);
      const number = document.createElement("span");
      number.textContent = String(layer);
      number.title = `layer ${layer}`;
      row.insertBefore(number, row.children[1]);
      row.classList.toggle("final", predictions[0].label === last);
      return row;
    }),
  );
}
