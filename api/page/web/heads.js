// The raw attention of every layer, a row each, and head, a column each; a click shows one large.
import { at, el } from "./dom.js";

// The server's contact sheet: its tiles lie behind a margin, with gaps.
const tile = 112, gap = 4, margin = 64;

/**
 * showHeads shows a sheet as a table of buttons.
 * @param {Blob} sheet
 * @param {number} layer that is shown large; 0: none
 * @param {number} head
 * @param {(layer: number, head: number) => void} choose
 */
export async function showHeads(sheet, layer, head, choose) {
  const picture = await createImageBitmap(sheet);
  const columns = Math.round((picture.width - margin) / (tile + gap));
  const rows = Math.round((picture.height - margin) / (tile + gap));
  const table = el("table", {});
  const top = el("tr", {}, el("th", { scope: "col" }, "Layer"));
  for (let h = 1; h <= columns; h++) top.append(el("th", { scope: "col" }, `head ${h}`));
  table.append(top);
  for (let l = 1; l <= rows; l++) {
    const row = el("tr", {}, el("th", { scope: "row" }, String(l)));
    for (let h = 1; h <= columns; h++) {
      const canvas = el("canvas", { width: tile, height: tile });
      canvas.getContext("2d")?.drawImage(picture, margin + (h - 1) * (tile + gap), margin + (l - 1) * (tile + gap), tile, tile, 0, 0, tile, tile);
      const chosen = l === layer && h === head;
      row.append(el("td", {}, el("button", { type: "button", "aria-label": `Layer ${l}, head ${h}`, "aria-pressed": String(chosen), click: () => choose(l, h) }, canvas)));
    }
    table.append(row);
  }
  at("heads", HTMLElement).replaceChildren(table);
}
