// Several photos at once, in few requests.
import { ask, Refused, sentence } from "./server.js";
import { settings } from "./settings.js";
import { question } from "./question.js";
import { cardOf } from "./cards.js";
import { explain } from "./explanation.js";

/** @typedef {import("./types.js").Answer} Answer */
/** @typedef {import("./photo.js").Photo} Photo */

/**
 * askMany asks about several photos in few requests: a broken one is an error of its own.
 * @param {Photo[]} some
 * @param {(words: string) => void} say
 * @param {() => void} show shows what has been answered
 */
export async function askMany(some, say, show) {
  say(`Asking about ${some.length} photos …`);
  show();
  const card = await cardOf(settings.model);
  for (const part of parts(some)) {
    await askPart(part, card, say);
    show();
  }
}

/**
 * askPart asks about photos in one request, or in more where the server takes fewer.
 * @param {Photo[]} part
 * @param {import("./types.js").Model} card
 * @param {(words: string) => void} say
 */
async function askPart(part, card, say) {
  const form = new FormData();
  for (const p of part) {
    await p.decode();
    p.release();
    form.append("file", p.body, p.name);
  }
  const query = question({ ...settings, evidence: "", patch: "", class: "", versus: "" }, card);
  /** @type {Answer} */
  let answer;
  try {
    answer = await (await ask("v1/explain", { body: form, query, waiting: say })).json();
  } catch (err) {
    if (part.length === 1 || !(err instanceof Refused) || err.status === 0 || err.status === 401) throw err;
    for (const p of part) await askPart([p], card, say).catch((e) => (p.error = e.message));
    return;
  }
  for (const [i, r] of answer.results.entries()) {
    part[i].result = r.error ? null : r;
    part[i].error = r.error ? sentence("", r.error.detail) : "";
    if (r.error?.status !== 415 || !(await part[i].convert())) continue;
    part[i].result = (await explain(part[i], query, new AbortController().signal, say)).results[0];
    part[i].error = "";
  }
}

/**
 * parts are photos by what one request should carry.
 * @param {Photo[]} all
 */
function parts(all) {
  /** @type {Photo[][]} */
  const found = [];
  let bytes = Infinity;
  for (const p of all) {
    if (bytes + p.body.size > 16e6 || found[found.length - 1].length >= 8) {
      found.push([]);
      bytes = 0;
    }
    found[found.length - 1].push(p);
    bytes += p.body.size;
  }
  return found;
}
