// A map over a photo, in the photo's own pixels: what attention/focus/overlay.go paints, in the browser.
import { colorTable } from "./colors.js";

/** @typedef {{colors: string, alpha: number, smooth: boolean}} Look */
/** @typedef {{rows: number, cols: number, values: number[][]}} Cells */

const clip = 98; // percentile of the values that the strongest colour begins at
const faint = 0.45; // opacity of the lowest value, of that of the highest

/**
 * scale is the values that the first and the last colour stand for. Of a map with signs zero is in the middle.
 * @param {Cells} map
 * @returns {[number, number]}
 */
export function scale(map) {
  let v = map.values.flat();
  let low = Math.min(...v), high = Math.max(...v);
  if (low < 0) {
    v = v.map(Math.abs);
    high = Math.max(high, -low);
  }
  v.sort((a, b) => a - b);
  const top = v[v.length - 1 - Math.trunc(v.length * (1 - clip / 100) + 1e-9)];
  if (top > Math.max(low, 0) || (top > low && low >= 0)) high = top;
  return [low < 0 ? -high : low, high];
}

/**
 * tableOf is the colours of a map: of one with signs, where none are named, the diverging ones.
 * @param {Cells} map
 * @param {string} colors
 */
export function tableOf(map, colors) {
  const signed = map.values.some((row) => row.some((v) => v < 0));
  return { table: colorTable(colors || (signed ? "diverging" : "turbo")), signed, grey: signed && (!colors || colors === "diverging") };
}

/**
 * mixes are what each of 256 values does to a channel c of the photo: (keep·c + add) / 2^16.
 * @param {Cells} map
 * @param {Look} look
 */
function mixes(map, look) {
  const { table, signed, grey } = tableOf(map, look.colors);
  const keep = new Int32Array(256), add = new Int32Array(768);
  for (let i = 0; i < 256; i++) {
    const distance = Math.abs((2 * i) / 255 - 1);
    let a = look.alpha * (faint + ((1 - faint) * i) / 255);
    if (signed) a = grey ? Math.min(1, 1.3 * look.alpha * Math.sqrt(distance)) : look.alpha * distance;
    keep[i] = Math.trunc((1 - a) * 65536 + 0.5);
    for (let c = 0; c < 3; c++) add[3 * i + c] = Math.trunc(a * table[3 * i + c] * 65536) + 32768;
  }
  return { keep, add, grey };
}

/**
 * taps are the two cells of n whose weighted sum is the value at c, in cells: cell i covers i to i+1.
 * @param {number} c
 * @param {number} n
 * @param {boolean} smooth
 */
function taps(c, n, smooth) {
  const inside = (/** @type {number} */ i) => Math.min(Math.max(i, 0), n - 1);
  if (!smooth) return { a: inside(Math.floor(c)), b: 0, f: 0 };
  const low = Math.floor(c - 0.5);
  return { a: inside(low), b: inside(low + 1), f: c - 0.5 - low };
}

/**
 * within are the pixels of n whose centres lie in from to from+length.
 * @param {number} from
 * @param {number} length
 * @param {number} n
 */
function within(from, length, n) {
  const lo = Math.min(Math.max(Math.ceil(from - 0.5), 0), n);
  let hi = lo;
  while (hi < n && hi + 0.5 < from + length) hi++;
  return [lo, hi];
}

/**
 * paint lays a map over a photo. What the model did not see is grey, dark and hatched.
 * @param {ImageData} photo
 * @param {import("./types.js").Geometry} geometry of a photo of that shape, or of the same larger one
 * @param {Cells} map
 * @param {Look} look
 */
export function paint(photo, geometry, map, look) {
  const { width, height } = photo;
  const shrunk = width / geometry.photo[0];
  const seen = { x: geometry.seen.x * shrunk, y: geometry.seen.y * shrunk, w: geometry.seen.w * shrunk, h: geometry.seen.h * shrunk };
  const [x0, x1] = within(seen.x, seen.w, width);
  const [y0, y1] = within(seen.y, seen.h, height);
  const hatch = Math.max(8, Math.trunc(Math.min(width, height) / 48));
  const line = Math.max(1, Math.trunc(hatch / 8));
  const { keep, add, grey } = mixes(map, look);
  const [low, high] = scale(map);

  // The columns are stretched once, a row for each row of the map.
  const columns = map.values.map((row) => {
    const v = row.map((x) => 255 * Math.min(Math.max((x - low) / (high - low), 0), 1));
    const out = new Float32Array(x1 - x0);
    for (let x = x0; x < x1; x++) {
      const t = taps(((x + 0.5 - seen.x) / seen.w) * map.cols, map.cols, look.smooth);
      out[x - x0] = (1 - t.f) * v[t.a] + t.f * v[t.b];
    }
    return out;
  });

  const out = new ImageData(width, height);
  const src = photo.data, dst = out.data;
  const unseen = (/** @type {number} */ y, /** @type {number} */ from, /** @type {number} */ to) => {
    for (let x = from, i = 4 * (y * width + from); x < to; x++, i += 4) {
      let v = Math.trunc(((77 * src[i] + 150 * src[i + 1] + 29 * src[i + 2]) * 2) / 1280);
      if ((x + y) % hatch < line) v += 48;
      dst[i] = dst[i + 1] = dst[i + 2] = v;
      dst[i + 3] = 255;
    }
  };
  for (let y = 0; y < height; y++) {
    if (y < y0 || y >= y1) {
      unseen(y, 0, width);
      continue;
    }
    unseen(y, 0, x0);
    unseen(y, x1, width);
    const t = taps(((y + 0.5 - seen.y) / seen.h) * map.rows, map.rows, look.smooth);
    const a = columns[t.a], b = columns[t.b];
    for (let x = x0, i = 4 * (y * width + x0); x < x1; x++, i += 4) {
      const k = Math.trunc((1 - t.f) * a[x - x0] + t.f * b[x - x0] + 0.5);
      if (grey) {
        const luma = (77 * src[i] + 150 * src[i + 1] + 29 * src[i + 2]) >> 8;
        for (let c = 0; c < 3; c++) dst[i + c] = (keep[k] * luma + add[3 * k + c]) >> 16;
      } else {
        for (let c = 0; c < 3; c++) dst[i + c] = (keep[k] * src[i + c] + add[3 * k + c]) >> 16;
      }
      dst[i + 3] = 255;
    }
  }
  return out;
}
