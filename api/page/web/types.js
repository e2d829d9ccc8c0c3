// The answers of /v1 as far as the page reads them: api/v1/openapi.yaml has all of it.

/** @typedef {{index: number, label: string, score: number}} Prediction */
/** @typedef {{x: number, y: number, w: number, h: number, share?: number}} Box */
/** @typedef {{photo: number[], orientation: number, input: number[], seen: Box, coverage: number}} Geometry */
/** @typedef {{deletion: number, insertion: number, positive: number, negative: number, deletion_curve: number[], insertion_curve: number[]}} Evidence */
/** @typedef {{method: string, fusion?: string, discard?: number, deletion?: number, insertion?: number, error?: string}} Trial */
/** @typedef {{type: string, title: string, status: number, detail: string, request_id?: string}} Problem */
/** @typedef {{type: string, width: number, height: number, b64: string}} Picture */
/** @typedef {{method: string, paper: string, class?: Prediction, versus?: Prediction, query?: number[], layer: number, head: number, fusion?: string, rows: number, cols: number, values: number[][], min: number, max: number, entropy: number, on_prefix: number, peak: Box, evidence?: Evidence, trials?: Trial[], picture?: Picture}} FocusMap */
/** @typedef {Record<"decode" | "preprocess" | "queue" | "infer" | "explain" | "encode", number>} Timings */
/** @typedef {{image?: string, maps?: FocusMap[], failed?: {method: string, error: Problem}[], predictions?: Prediction[], layers?: {layer: number, predictions: Prediction[]}[], outliers?: unknown[], geometry: Geometry, timings_ms: Timings, batch: number, error?: Problem}} Result */
/** @typedef {{model: string, revision: string, note?: string, results: Result[]}} Answer */
/** @typedef {{method: string, class: boolean, versus: boolean, options: string[]}} Focus */
/** @typedef {{id: string, state: string, default: boolean, reason?: string, architecture?: string, note?: string, classes?: number, scores?: string, layers?: number, heads?: number, grid?: number[], transform?: {resize: number[], size: number[]}, operations?: string[], methods?: string[], default_method?: string, memory_bytes?: number, labels?: string[], focus?: Focus[], corruptions?: string[]}} Model */
/** @typedef {{version: string, commit?: string, go: string, backend: string, keys?: boolean}} Version */

export {};
