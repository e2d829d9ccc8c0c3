// A photo: its file, and its pixels as the browser decodes them, upright.

/** Photo is one that was given. */
export class Photo {
  /** @param {File} file */
  constructor(file) {
    this.file = file;
    this.name = file.name || "photo";
    /** What is sent. @type {Blob} */
    this.body = file;
    /** Of body, upright; null: the browser cannot draw it. @type {ImageData | null} */
    this.pixels = null;
    this.converted = false;
    /** @type {import("./types.js").Result | null} */
    this.result = null;
    /** Why there is none. */
    this.error = "";
    /** @type {Map<string, Photo>} */
    this.disturbed = new Map();
  }

  /** decode has the browser decode the photo; who cannot draw it asks the server to. */
  async decode() {
    if (!this.pixels) this.pixels = await decoded(this.body);
  }

  /**
   * convert makes a file that the server can read of one that only the browser can: upright, because the new one has
   * no orientation. It reports whether there is one now.
   */
  async convert() {
    if (this.converted || !this.pixels) return false;
    this.body = await encoded(this.pixels);
    this.converted = true;
    return true;
  }

  /**
   * small is the photo as corruptions are measured: its shorter side as long as a model's input, or 256 pixels.
   * @param {number} side
   */
  async small(side) {
    if (!this.pixels) return this.body;
    const { width, height } = this.pixels;
    const scale = Math.min(1, Math.max(256, side) / Math.min(width, height), 2048 / Math.max(width, height));
    const from = drawn(this.pixels);
    const to = new OffscreenCanvas(Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale)));
    const pen = context(to);
    pen.imageSmoothingQuality = "high";
    pen.drawImage(from, 0, 0, to.width, to.height);
    return to.convertToBlob({ type: "image/png" });
  }
}

/**
 * decoded are the pixels of a picture's file, upright and in the file's own colours; null: it is none that the browser draws.
 * @param {Blob} file
 */
export async function decoded(file) {
  try {
    const picture = await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" });
    const pen = context(new OffscreenCanvas(picture.width, picture.height));
    pen.drawImage(picture, 0, 0);
    picture.close();
    return pen.getImageData(0, 0, pen.canvas.width, pen.canvas.height);
  } catch {
    return null;
  }
}

/** @param {ImageData} pixels */
function drawn(pixels) {
  const canvas = new OffscreenCanvas(pixels.width, pixels.height);
  context(canvas).putImageData(pixels, 0, 0);
  return canvas;
}

/** @param {ImageData} pixels */
function encoded(pixels) {
  const small = pixels.width * pixels.height <= 4 << 20;
  return drawn(pixels).convertToBlob(small ? { type: "image/png" } : { type: "image/jpeg", quality: 0.95 });
}

/** @param {OffscreenCanvas} canvas */
function context(canvas) {
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  if (!pen) throw new Error("this browser draws no canvas");
  return pen;
}
