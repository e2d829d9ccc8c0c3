// One view: a photo with a map over it, its colour bar, and the patch that a click or a key picks.
import { el } from "./dom.js";
import { paint, scale, tableOf } from "./overlay.js";

/** @typedef {import("./types.js").Result} Result */
/** @typedef {import("./types.js").FocusMap} FocusMap */
/** @typedef {{name: string, pixels: ImageData | null}} Shown */

export class View {
  /**
   * @param {HTMLElement} figure
   * @param {(cell: [number, number] | null) => void} pick called with the patch that is clicked; null: none any more
   * @param {(words: string) => void} say
   */
  constructor(figure, pick, say) {
    this.figure = figure;
    this.pick = pick;
    this.say = say;
    this.canvas = /** @type {HTMLCanvasElement} */ (figure.querySelector(".stage canvas"));
    this.mark = /** @type {HTMLElement} */ (figure.querySelector(".mark"));
    this.caption = /** @type {HTMLElement} */ (figure.querySelector("figcaption"));
    this.bar = /** @type {HTMLElement} */ (figure.querySelector(".bar"));
    /** @type {{photo: Shown, result: Result, map: FocusMap | undefined} | null} */
    this.on = null;
    this.model = "";
    /** The patch that the keyboard is at. @type {[number, number] | null} */
    this.cursor = null;
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "application");
    this.canvas.setAttribute("aria-roledescription", "photo with map");
    this.canvas.addEventListener("click", (e) => this.clicked(e));
    this.canvas.addEventListener("keydown", (e) => this.typed(e));
  }

  /**
   * show paints a result over its photo.
   * @param {Shown} photo
   * @param {Result} result
   * @param {import("./overlay.js").Look & {map: boolean}} look
   * @param {string} [model] that is named, where there are two
   */
  async show(photo, result, look, model = "") {
    const map = result.maps?.[0];
    this.on = { photo, result, map };
    this.figure.hidden = false;
    const [w, h] = result.geometry.photo;
    this.canvas.style.width = `min(100%, calc(68vh * ${w} / ${h}))`;
    this.canvas.style.imageRendering = Math.max(w, h) < 100 ? "pixelated" : "auto";
    if (photo.pixels) {
      const painted = map && look.map ? paint(photo.pixels, result.geometry, map, look) : photo.pixels;
      put(this.canvas, painted);
    } else if (map?.picture) {
      await putServers(this.canvas, map.picture);
    }
    this.model = model;
    this.describe(map, w, h);
    this.showBar(map, look);
    this.cursor = map?.query ? [map.query[0], map.query[1]] : null;
    this.showMark();
  }

  /**
   * @param {FocusMap | undefined} map
   * @param {number} w
   * @param {number} h
   */
  describe(map, w, h) {
    if (!this.on) return;
    const { photo, result } = this.on;
    const saw = `The model saw ${Math.round(100 * result.geometry.coverage)} % of the photo.`;
    const words = map ? `${aboutMap(map)} Strongest ${placeOf(map, result.geometry)}.` : "There is no map.";
    const model = this.model ? this.model + ": " : "";
    this.caption.textContent = `${model}${words} ${saw}`;
    this.canvas.setAttribute("aria-label", `${photo.name}, ${w}×${h} pixels. ${model}${words} ${saw}`);
  }

  /**
   * @param {FocusMap | undefined} map
   * @param {import("./overlay.js").Look & {map: boolean}} look
   */
  showBar(map, look) {
    this.bar.hidden = !map || !look.map;
    if (!map) return;
    const { table } = tableOf(map, look.colors);
    const strip = new ImageData(256, 1);
    for (let i = 0; i < 256; i++) strip.data.set([table[3 * i], table[3 * i + 1], table[3 * i + 2], 255], 4 * i);
    put(/** @type {HTMLCanvasElement} */ (this.bar.querySelector("canvas")), strip);
    const [low, high] = scale(map);
    /** @type {HTMLElement} */ (this.bar.querySelector(".low")).textContent = low.toPrecision(2);
    /** @type {HTMLElement} */ (this.bar.querySelector(".high")).textContent = high.toPrecision(2);
  }

  /**
   * cellAt is the patch under a point of the screen; null: the model did not see that.
   * @param {number} x
   * @param {number} y
   * @returns {[number, number] | null}
   */
  cellAt(x, y) {
    if (!this.on?.map) return null;
    const at = this.canvas.getBoundingClientRect();
    const { photo, seen } = this.on.result.geometry;
    const { rows, cols } = this.on.map;
    const row = Math.floor(((((y - at.top) / at.height) * photo[1] - seen.y) / seen.h) * rows);
    const col = Math.floor(((((x - at.left) / at.width) * photo[0] - seen.x) / seen.w) * cols);
    return row >= 0 && row < rows && col >= 0 && col < cols ? [row, col] : null;
  }

  /** @param {MouseEvent} e */
  clicked(e) {
    const cell = this.cellAt(e.clientX, e.clientY);
    if (cell) this.pick(cell);
    else if (this.on?.map) this.say("The model did not see this part of the photo.");
  }

  /** @param {KeyboardEvent} e */
  typed(e) {
    const step = /** @type {Record<string, [number, number]>} */ ({ ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] })[e.key];
    const map = this.on?.map;
    if (!map) return;
    if (step) {
      const [row, col] = this.cursor ?? [Math.floor(map.rows / 2), Math.floor(map.cols / 2)];
      this.cursor = [Math.min(Math.max(row + step[0], 0), map.rows - 1), Math.min(Math.max(col + step[1], 0), map.cols - 1)];
      this.say(`Patch in row ${this.cursor[0] + 1}, column ${this.cursor[1] + 1}: ${map.values[this.cursor[0]][this.cursor[1]].toPrecision(2)}`);
      this.showMark();
    } else if (e.key === "Enter" && this.cursor) {
      this.pick(this.cursor);
    } else if (e.key === "Escape") {
      this.cursor = null;
      this.showMark();
      this.pick(null);
    } else return;
    e.preventDefault();
  }

  /** showMark frames the patch that asks, or that the keyboard is at. */
  showMark() {
    this.mark.hidden = !this.cursor || !this.on?.map;
    if (!this.cursor || !this.on?.map) return;
    const { photo, seen } = this.on.result.geometry;
    const { rows, cols } = this.on.map;
    const of = (/** @type {number} */ v, /** @type {number} */ whole) => `${(100 * v) / whole}%`;
    const share = (/** @type {string} */ v) => `calc(${v} * ${this.canvas.clientWidth / (this.canvas.parentElement?.clientWidth || 1)})`;
    this.mark.style.left = share(of(seen.x + (this.cursor[1] * seen.w) / cols, photo[0]));
    this.mark.style.width = share(of(seen.w / cols, photo[0]));
    this.mark.style.top = of(seen.y + (this.cursor[0] * seen.h) / rows, photo[1]);
    this.mark.style.height = of(seen.h / rows, photo[1]);
  }
}

/**
 * put makes a canvas show pixels, as many as there are.
 * @param {HTMLCanvasElement} canvas
 * @param {ImageData} pixels
 */
export function put(canvas, pixels) {
  if (canvas.width !== pixels.width || canvas.height !== pixels.height) {
    canvas.width = pixels.width;
    canvas.height = pixels.height;
  }
  canvas.getContext("2d")?.putImageData(pixels, 0, 0);
}

/**
 * putServers makes a canvas show a picture that the server painted, of a photo that the browser cannot draw.
 * @param {HTMLCanvasElement} canvas
 * @param {import("./types.js").Picture} picture
 */
export async function putServers(canvas, picture) {
  const img = el("img", { src: `data:${picture.type};base64,${picture.b64}`, alt: "" });
  await img.decode();
  canvas.width = picture.width;
  canvas.height = picture.height;
  canvas.getContext("2d")?.drawImage(img, 0, 0);
}

/**
 * aboutMap is a map in words.
 * @param {FocusMap} map
 */
function aboutMap(map) {
  let words = `Map of ${map.method}`;
  if (map.layer) words += `, layer ${map.layer}`;
  if (map.head) words += `, head ${map.head}`;
  if (map.class) words += `, for ${map.class.label}`;
  if (map.versus) words += ` against ${map.versus.label}`;
  if (map.query) words += `: what the patch in row ${map.query[0] + 1}, column ${map.query[1] + 1} attends to`;
  return words + ".";
}

/**
 * placeOf says where a map is strongest, in pixels and in words.
 * @param {FocusMap} map
 * @param {import("./types.js").Geometry} geometry
 */
function placeOf(map, geometry) {
  const { x, y, w, h } = map.peak;
  const third = (/** @type {number} */ v, /** @type {string[]} */ names) => names[Math.min(2, Math.max(0, Math.floor(3 * v)))];
  const across = third((x + w / 2) / geometry.photo[0], ["left", "middle", "right"]);
  const down = third((y + h / 2) / geometry.photo[1], ["top", "centre", "bottom"]);
  return `at the ${down} ${across}, ${Math.round(w)}×${Math.round(h)} pixels from (${Math.round(x)}, ${Math.round(y)})`;
}
