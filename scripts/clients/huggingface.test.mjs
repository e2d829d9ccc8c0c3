// @huggingface/inference against a server of one's own: every call that it has for pictures, every way it sends one,
// and that it never asks again and again.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { createServer } from "node:http";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { golden, photo, sleep, start } from "./server.mjs";

const { InferenceClient } = createRequire(`${process.env.CLIENTS_NODE}/`)("@huggingface/inference");

let server, banana, want;

before(async () => {
  server = await (await start({
    models: [{ id: "starter", path: "starter" }, { id: "org/vit", path: "starter" }, { id: "dino", path: golden("hf_dino") }],
    max_body: 1_000_000,
  })).ready();
  banana = await photo();
  want = await (await fetch(`${server.url}/`, { method: "POST", body: banana })).json();
  assert.equal(want.length, 5);
  assert.equal(want[0].label, "banana");
});
after(() => server.close());

const client = (path = "/models/starter", token = "hf_token") => new InferenceClient(token, { endpointUrl: server.url + path });
const blob = (type) => new Blob([banana], type ? { type } : {});
const sha256 = (key) => createHash("sha256").update(key).digest("hex");

/** What a call fails with. */
async function failing(call) {
  try {
    await call;
  } catch (e) {
    return e;
  }
  throw new Error("it did not fail");
}

test("pictures in every form", async () => {
  for (const path of ["", "/", "/models/starter", "/models/starter/", "/models/org/vit", "/models/org%2Fvit",
    "/models/org/vit/pipeline/image-classification", "/pipeline/image-classification/org/vit"]) {
    assert.deepEqual(await client(path).imageClassification({ data: blob("image/jpeg") }), want, path);
  }
  for (const [name, args] of Object.entries({
    "a blob with a type": { data: blob("image/jpeg") },
    "a blob of a wrong type": { data: blob("image/png") },
    "a blob without a type": { data: blob() },
    "inputs": { inputs: blob("image/jpeg") },
    "an ArrayBuffer": { data: banana.buffer.slice(banana.byteOffset, banana.byteOffset + banana.byteLength) },
    "base64": { inputs: banana.toString("base64") },
    "a model beside the address": { data: blob(), model: "google/vit-base-patch16-224" },
  })) {
    assert.deepEqual(await client().imageClassification(args), want, name);
  }
  const c = new InferenceClient("hf_token").endpoint(`${server.url}/models/starter`);
  assert.deepEqual(await c.imageClassification({ data: blob() }), want);
});

test("a model that is an address is an error of the client", async () => {
  const e = await failing(new InferenceClient("hf_token").imageClassification({ data: blob(), model: server.url, provider: "hf-inference" }));
  assert.match(e.message, /endpointUrl/);
});

test("parameters: those of a call are dropped by the client, those of the address are not", async () => {
  assert.deepEqual(await client().imageClassification({ inputs: blob(), parameters: { top_k: 2 } }), want);
  assert.deepEqual(await client("/models/starter?top_k=3").imageClassification({ data: blob() }), want.slice(0, 3));
  const sigmoid = await client("/models/starter?top_k=20&function_to_apply=sigmoid").imageClassification({ data: blob() });
  assert.equal(sigmoid.length, 20);
  assert.equal(sigmoid[0].label, "banana");
});

test("zero shot says what the model lacks", async () => {
  for (const inputs of [{ image: blob() }, blob()]) {
    const e = await failing(client("/models/starter/pipeline/zero-shot-image-classification")
      .zeroShotImageClassification({ inputs, parameters: { candidate_labels: ["cat", "dog"], hypothesis_template: "a photo of {}" } }));
    assert.match(e.message, /model starter has no text tower/);
    assert.equal(e.httpResponse.status, 400);
  }
});

test("features", async () => {
  const inputs = banana.toString("base64");
  const v = await client("/pipeline/feature-extraction/dino").featureExtraction({ inputs });
  assert.equal(v.length, 1);
  const unit = await client("/pipeline/feature-extraction/dino").featureExtraction({ inputs, normalize: true });
  assert.ok(Math.abs(unit[0].reduce((s, x) => s + x * x, 0) - 1) < 1e-5);
  const hidden = await client("/models/dino").featureExtraction({ inputs });
  assert.ok(Math.abs(hidden[0][0][0] - v[0][0]) < 1e-6, "nested three deep");
  const list = await client("/models/dino").featureExtraction({ inputs: [inputs, inputs] });
  assert.deepEqual(list, [hidden, hidden], "nested four deep");
});

test("errors in the server's words, with its request id", async () => {
  for (const [path, args, status, says] of [
    ["/models/starter", { data: new Blob(["GIF89a\0\0"]) }, 400, /gif/],
    ["/models/starter?topk=3", { data: blob() }, 400, /unknown parameter "topk"/],
    ["/models/resnet", { data: blob() }, 404, /want one of starter/],
    ["/models/starter/pipeline/object-detection", { data: blob() }, 400, /object-detection/],
    ["/models/starter", { data: new Blob([new Uint8Array(1_000_001).fill(255)]) }, 413, /1000000/],
  ]) {
    const e = await failing(client(path).imageClassification(args));
    assert.match(e.message, says);
    assert.equal(e.httpResponse.status, status);
    assert.match(e.httpResponse.requestId, /^[A-Z0-9]{26}$/);
    assert.ok(e.httpResponse.body.error && e.httpResponse.body.detail && e.httpResponse.body.title);
  }
});

test("keys", async () => {
  const s = await (await start({ keys: [{ name: "user", sha256: sha256("hf_secret") }] })).ready();
  try {
    const c = (key) => new InferenceClient(key, { endpointUrl: s.url });
    assert.deepEqual(await c("hf_secret").imageClassification({ data: blob() }), want);
    for (const key of ["hf_other", undefined]) {
      const e = await failing(c(key).imageClassification({ data: blob() }));
      assert.match(e.message, /no valid API key/);
      assert.equal(e.httpResponse.status, 401);
    }
  } finally {
    await s.close();
  }
});

test("the client repeats a 503 without end, which is why none is sent", async () => {
  let asked = 0;
  const bad = createServer((_, res) => {
    asked++;
    res.writeHead(asked < 100 ? 503 : 400, { "content-type": "application/json", "retry-after": "60" }).end('{"error":"loading"}');
  }).listen(0, "127.0.0.1");
  try {
    await once(bad, "listening");
    await failing(new InferenceClient("t", { endpointUrl: `http://127.0.0.1:${bad.address().port}` }).imageClassification({ data: blob() }));
    assert.equal(asked, 100);
  } finally {
    bad.closeAllConnections();
    bad.close();
  }
});

test("while a model loads, one call makes one request", async () => {
  const s = await start({ models: [{ id: "big", path: process.env.CLIENTS_BIG }] });
  try {
    assert.equal((await fetch(`${s.url}/readyz`)).status, 503, "it loads");
    const answer = await new InferenceClient("t", { endpointUrl: `${s.url}/models/big` }).imageClassification({ data: blob() });
    assert.equal(answer.length, 5);
    assert.equal(await s.requests("/models/*"), 1);
  } finally {
    await s.close();
  }
});

test("a model that stays away too long is a 429, once", async () => {
  const s = await start({ models: [{ id: "big", path: process.env.CLIENTS_BIG, lazy: true }], request_timeout: "1ms" });
  try {
    const e = await failing(new InferenceClient("t", { endpointUrl: `${s.url}/models/big` }).imageClassification({ data: blob() }));
    assert.equal(e.httpResponse.status, 429);
    assert.match(e.message, /model is loading/);
    assert.equal(await s.requests("/models/*"), 1);
    while ((await (await fetch(`${s.url}/v1/models/big`)).json()).state === "loading") await sleep(20);
  } finally {
    await s.close();
  }
});

test("a full queue is a 429, once", async () => {
  const s = await (await start({ models: [{ id: "big", path: process.env.CLIENTS_BIG }], max_queue: 1, max_batch: 1 })).ready();
  try {
    const calls = 24;
    const c = new InferenceClient("t", { endpointUrl: `${s.url}/models/big` });
    const all = await Promise.allSettled(Array.from({ length: calls }, () => c.imageClassification({ data: blob() })));
    const refused = all.filter((r) => r.status === "rejected");
    for (const r of refused) assert.equal(r.reason.httpResponse?.status, 429, r.reason);
    assert.ok(refused.length > 0 && refused.length < calls, `${refused.length} of ${calls} refused`);
    assert.equal(await s.requests("/models/*"), calls);
  } finally {
    await s.close();
  }
});

test("a server that ends leaves no call that goes on for ever", async () => {
  const s = await (await start({})).ready();
  const c = new InferenceClient("t", { endpointUrl: s.url });
  const results = [];
  const worker = async () => {
    for (;;) {
      try {
        await c.imageClassification({ data: blob() });
        results.push("answered");
      } catch (e) {
        results.push(e);
        return;
      }
    }
  };
  const workers = [worker(), worker(), worker(), worker()];
  await sleep(300);
  const ended = s.close();
  await Promise.all(workers); // or the runner's time is over
  await ended;
  assert.ok(results.includes("answered"));
});

test("a page's preflight is answered", async () => {
  const s = await (await start({ cors_origins: ["https://page.example"] })).ready();
  try {
    const r = await fetch(`${s.url}/models/starter`, {
      method: "OPTIONS",
      headers: { origin: "https://page.example", "access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type,user-agent" },
    });
    assert.equal(r.status, 204);
    const allowed = r.headers.get("access-control-allow-headers").toLowerCase();
    for (const name of ["authorization", "content-type", "user-agent"]) assert.ok(allowed.includes(name), name);
  } finally {
    await s.close();
  }
});
