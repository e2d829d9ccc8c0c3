// A photo: its file, and its pixels as the browser decodes them, upright.

/** Photo is one that was given. */
export class Photo {
  /** @param {File} file */
  constructor(file) {
    this.file = file;
    this.name = file.name || "photo";
    /** What is sent. @type {Blob} */
    this.body = file;
    /**
     * Of body, upright, as the server has them; null: the browser cannot draw it, or not as the server does, which
     * passes transparency over. @type {ImageData | null}
     */
    this.pixels = null;
    /** Pixels of a photo with transparency, on white. @type {ImageData | null} */
    this.onWhite = null;
    /** The pixels small, which are kept when the others are not. @type {ImageData | null} */
    this.small = null;
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
    if (this.pixels || this.onWhite) return;
    const pixels = await decoded(this.body);
    if (pixels && transparent(pixels)) this.onWhite = whitened(pixels);
    else this.pixels = pixels;
    this.small ??= pixels && scaled(pixels, 320 / Math.max(pixels.width, pixels.height));
  }

  /** release gives up the pixels of a photo that is not looked at: many large ones would take all memory. */
  release() {
    this.pixels = this.onWhite = null;
    this.disturbed.clear();
  }

  /**
   * convert makes a file that the server can read of one that only the browser can: upright, because the new one has
   * no orientation. It reports whether there is one now.
   */
  async convert() {
    await this.decode();
    const pixels = this.pixels ?? this.onWhite;
    if (this.converted || !pixels) return false;
    this.body = await encoded(pixels);
    this.converted = true;
    this.pixels = await decoded(this.body); // of a JPEG they are no longer the same
    this.onWhite = null;
    return true;
  }

  /**
   * scaled is the photo as corruptions are measured: its shorter side as long as a model's input, or 256 pixels.
   * @param {number} side
   */
  async scaled(side) {
    if (!this.pixels) return this.body;
    const { width, height } = this.pixels;
    return drawn(scaled(this.pixels, Math.min(Math.max(256, side) / Math.min(width, height), 2048 / Math.max(width, height)))).convertToBlob({ type: "image/png" });
  }
}

/**
 * decoded are the pixels of a picture's file, upright and in the file's own colours; null: it is none that the browser draws.
 * @param {Blob} file
 */
export async function decoded(file) {
  try {
    const picture = await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" });
    const pixels = pixelsOf(picture, picture.width, picture.height);
    picture.close();
    return pixels;
  } catch {
    return decodedByElement(file);
  }
}

/**
 * decodedByElement is decoded by an img, which draws a few formats more (SVG).
 * @param {Blob} file
 */
async function decodedByElement(file) {
  const img = new Image();
  img.src = URL.createObjectURL(file);
  try {
    await img.decode();
    return pixelsOf(img, img.naturalWidth, img.naturalHeight);
  } catch {
    return null;
  } finally {
    URL.revokeObjectURL(img.src);
  }
}

/**
 * @param {CanvasImageSource} picture
 * @param {number} width
 * @param {number} height
 */
function pixelsOf(picture, width, height) {
  const pen = context(new OffscreenCanvas(width, height));
  pen.drawImage(picture, 0, 0);
  return pen.getImageData(0, 0, width, height);
}

/**
 * scaled makes pixels fewer; a factor of 1 and more leaves them as they are.
 * @param {ImageData} pixels
 * @param {number} factor
 */
export function scaled(pixels, factor) {
  if (factor >= 1) return pixels;
  const width = Math.max(1, Math.round(pixels.width * factor)), height = Math.max(1, Math.round(pixels.height * factor));
  const pen = context(new OffscreenCanvas(width, height));
  pen.imageSmoothingQuality = "high";
  pen.drawImage(drawn(pixels), 0, 0, width, height);
  return pen.getImageData(0, 0, width, height);
}

/** @param {ImageData} pixels */
function transparent({ data }) {
  for (let i = 3; i < data.length; i += 4) if (data[i] < 255) return true;
  return false;
}

/** @param {ImageData} pixels */
function whitened(pixels) {
  const pen = context(new OffscreenCanvas(pixels.width, pixels.height));
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, pixels.width, pixels.height);
  pen.drawImage(drawn(pixels), 0, 0);
  return pen.getImageData(0, 0, pixels.width, pixels.height);
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
