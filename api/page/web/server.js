// The server that the page comes from, asked by relative addresses.

/** Where the server is, whatever proxy it is behind. */
export const root = new URL(".", document.baseURI).href.replace(/[#?].*$/, "");

/** The API key, where the server wants one; it is kept nowhere else. */
let key = "";

/** @param {string} k */
export function useKey(k) {
  key = k;
}

/** Refused is an answer that is none, in words for people. */
export class Refused extends Error {
  /**
   * @param {string} words
   * @param {number} status 0: the server did not answer
   * @param {string} [request]
   */
  constructor(words, status, request) {
    super(words);
    this.status = status;
    this.request = request;
  }
}

/**
 * ask sends a request. A server that is busy, or loads a model, is asked again when it says that this is worth it.
 * @param {string} path
 * @param {{body?: Blob | FormData, query?: URLSearchParams, signal?: AbortSignal, waiting?: (words: string) => void}} [how]
 */
export async function ask(path, how = {}) {
  const query = how.query && how.query.size ? "?" + how.query : "";
  /** @type {Record<string, string>} */
  const headers = key ? { "X-API-Key": key } : {};
  for (let left = 6; ; left--) {
    /** @type {Response} */
    let r;
    try {
      r = await fetch(root + path + query, { method: how.body ? "POST" : "GET", headers, body: how.body, signal: how.signal });
    } catch (err) {
      if (how.signal?.aborted) throw err;
      throw new Refused("The server does not answer. It has ended, or the network between is gone. What you set stays here: ask again when it is back.", 0);
    }
    if (r.ok) return r;
    const words = await wordsOf(r);
    if ((r.status !== 429 && r.status !== 503) || left === 0) throw words;
    const seconds = Math.min(Number(r.headers.get("Retry-After") ?? 1) || 1, 10);
    how.waiting?.(`${words.message} Asking again in ${seconds} s.`);
    await pause(seconds, how.signal);
  }
}

/**
 * @param {number} seconds
 * @param {AbortSignal} [signal]
 */
function pause(seconds, signal) {
  return new Promise((wake, fail) => {
    const timer = setTimeout(wake, 1000 * seconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      fail(signal.reason);
    });
  });
}

/** @param {Response} r */
async function wordsOf(r) {
  let detail = "", request;
  try {
    const p = await r.json();
    detail = String(p.detail ?? "");
    request = p.request_id;
  } catch {
    // a proxy's page
  }
  return new Refused(sentence(lead(r.status), detail), r.status, request);
}

/** @param {number} status */
function lead(status) {
  if (status === 401) return "The server wants an API key";
  if (status === 403) return "The server refuses this";
  if (status === 413) return "This is too large for the server";
  if (status === 415) return "The server cannot read this file";
  if (status === 429) return "The server has much to do";
  if (status === 503) return "The server is not ready";
  if (status === 504) return "The server took too long";
  if (status >= 500) return `The server failed (${status})`;
  return "";
}

/**
 * @param {string} start
 * @param {string} detail
 */
export function sentence(start, detail) {
  const text = start && detail ? `${start}: ${detail}` : start || detail || "The server answers nothing that can be read";
  return text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}
