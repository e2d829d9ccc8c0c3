"""Triton's clients, over HTTP and gRPC, against a server of one's own.

What both can do is asked of both; what one alone can do stands with it.
"""

import asyncio
import base64
import io
import json
import os
import queue
import time
import unittest

import grpc
import ml_dtypes
import numpy as np
import tritonclient.grpc as tgrpc
import tritonclient.grpc.aio as tgrpc_aio
import tritonclient.http as thttp
import tritonclient.http.aio as thttp_aio
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from server import GOLDEN, Server, hash_of, photo

PHOTOS = ["banana.jpg", "orange.jpg", "pizza.jpg"]


def setUpModule():
    global server, want
    server = Server("--grpc-addr", "127.0.0.1:0", settings={
        "models": [
            {"id": "starter", "path": "starter"},
            {"id": "org/vit", "path": "starter"},
            {"id": "dino", "path": str(GOLDEN / "hf_dino")},
            {"id": "big", "path": os.environ["CLIENTS_BIG"], "lazy": True},
        ],
    })
    want = {name: classified(name) for name in PHOTOS}


def tearDownModule():
    server.close()


def classified(name):
    """What /v1 says of a photo: scores and logits by class, and labels, best first."""
    status, _, body = server.post("/v1/classify?top_k=0&logits=true", photo(name))
    assert status == 200, body
    r = json.loads(body)["results"][0]
    scores = np.zeros(len(r["logits"]), np.float32)
    for p in r["predictions"]:
        scores[p["index"]] = p["score"]
    return {"scores": scores, "logits": np.array(r["logits"], np.float32), "labels": [p["label"] for p in r["predictions"]],
            "indices": [p["index"] for p in r["predictions"]]}


def pixels(*names):
    """Photos as the model's input, normalised as the metadata say."""
    all = []
    for name in names:
        status, _, body = server.post("/v1/preprocess?format=npy", photo(name))
        assert status == 200, body
        x = np.load(io.BytesIO(body))
        all.append(x.reshape(x.shape[-3:]))
    return np.stack(all)


def texts(*items, shape=None):
    a = np.empty(len(items), dtype=np.object_)
    a[:] = items
    return a.reshape(shape or a.shape)


class Both:
    """What is asked of both clients."""

    def input(self, name, a, datatype=None, **named):
        i = self.module.InferInput(name, list(a.shape), datatype or np_to_triton_dtype(a.dtype))
        i.set_data_from_numpy(a, **named)
        return i

    def image(self, *names, shape=None):
        return [self.input("IMAGE", texts(*(photo(n) for n in names), shape=shape))]

    def outputs(self, *names, **named):
        return [self.module.InferRequestedOutput(n, **named) for n in names]

    def fails(self, call, *words):
        with self.assertRaises(InferenceServerException) as failed:
            call()
        for w in words:
            self.assertIn(w, str(failed.exception))
        return failed.exception

    # health and metadata

    def test_health(self):
        self.assertTrue(self.client.is_server_live())
        self.assertTrue(self.client.is_server_ready())
        for model in ["starter", "starter.pixels", "starter.embed", "starter.focus", "org--vit", "dino"]:
            self.assertTrue(self.client.is_model_ready(model), model)
            self.assertTrue(self.client.is_model_ready(model, "1"), model)

    def test_server_metadata(self):
        m = self.json(self.client.get_server_metadata(**self.as_json))
        self.assertEqual("vitserve", m["name"])
        self.assertTrue(m["version"])
        for e in ["classification", "model_repository", "schedule_policy", "model_configuration", "binary_tensor_data", "parameters", "statistics"]:
            self.assertIn(e, m["extensions"])
        for e in ["system_shared_memory", "cuda_shared_memory", "trace", "logging", "sequence"]:
            self.assertNotIn(e, m["extensions"])

    def test_metadata_and_config(self):
        """One input, one output; shapes are [-1] and the configuration's dimensions."""
        types = {"TYPE_STRING": "BYTES", "TYPE_FP32": "FP32"}
        for model in ["starter", "starter.pixels", "starter.embed", "starter.focus", "dino", "org--vit.focus"]:
            for version in ["", "1"]:
                m = self.json(self.client.get_model_metadata(model, version, **self.as_json))
                c = self.json(self.client.get_model_config(model, version, **self.as_json))
                c = c.get("config", c)
                self.assertEqual(model, m["name"])
                self.assertEqual(model, c["name"])
                self.assertEqual(["1"], m["versions"])
                self.assertTrue(m["platform"])
                self.assertGreater(int(c["max_batch_size"]), 0)
                for of, said in [("inputs", "input"), ("outputs", "output")]:
                    self.assertEqual(1, len(m[of]))
                    self.assertEqual(1, len(c[said]))
                    self.assertEqual(m[of][0]["name"], c[said][0]["name"])
                    self.assertEqual(m[of][0]["datatype"], types[c[said][0]["data_type"]])
                    self.assertEqual([int(n) for n in m[of][0]["shape"]], [-1] + [int(n) for n in c[said][0]["dims"]])
                if m["inputs"][0]["name"] == "IMAGE":
                    self.assertEqual(["-1", "1"], [str(n) for n in m["inputs"][0]["shape"]])
                else:
                    self.assertEqual("FORMAT_NCHW", c["input"][0]["format"])
                    self.assertEqual(3, len(c["input"][0]["dims"]))
                self.assertIn("dynamic_batching", c)

    def test_unknown_model(self):
        for call in [self.client.get_model_metadata, self.client.get_model_config, lambda m: self.client.infer(m, self.image("banana.jpg"))]:
            self.fails(lambda: call("resnet"), "resnet", "starter")
        self.fails(lambda: self.client.infer("starter", self.image("banana.jpg"), model_version="7"), "version")

    # repository

    def index(self):
        got = self.client.get_model_repository_index(**self.as_json)
        got = self.json(got)
        got = got.get("models", []) if isinstance(got, dict) else got
        return {m["name"]: m for m in got}

    def test_repository(self):
        all = self.index()
        for name in ["starter", "starter.pixels", "starter.embed", "starter.focus", "org--vit"]:
            self.assertEqual("READY", all[name]["state"])
            self.assertEqual("1", all[name]["version"])
        self.client.load_model("dino")
        self.client.unload_model("dino")
        try:
            self.assertFalse(self.ready("dino"))
            self.assertNotEqual("READY", self.index()["dino"]["state"])
        finally:
            self.client.load_model("dino")
        self.assertTrue(self.client.is_model_ready("dino"))
        self.client.unload_model("dino", unload_dependents=False)
        self.client.load_model("dino")
        self.fails(lambda: self.client.load_model("resnet"), "resnet")
        self.fails(lambda: self.client.unload_model("resnet"), "resnet")
        self.fails(lambda: self.client.load_model("dino", config=json.dumps({"max_batch_size": 3})), "config")
        self.fails(lambda: self.client.load_model("dino", config="{}", files={"file:1/model.onnx": b"x"}), "config")

    def ready(self, model):
        try:
            return self.client.is_model_ready(model)
        except InferenceServerException:
            return False

    # statistics

    def statistics(self, model=""):
        got = self.json(self.client.get_inference_statistics(model, **self.as_json))
        return {m["name"]: m for m in got["model_stats"]}

    def test_statistics(self):
        """They grow with the requests of this test, and with nobody's beside it."""
        before = self.statistics("starter")["starter"]["inference_stats"]
        for _ in range(3):
            self.client.infer("starter", self.image("banana.jpg", "orange.jpg"))
        s = self.statistics("starter")["starter"]
        self.assertEqual("1", s["version"])
        int(s["version"])
        after = s["inference_stats"]

        def grown(name, what):
            return int(after[name][what]) - int(before.get(name, {}).get(what, 0))

        for name in ["success", "queue", "compute_input", "compute_infer", "compute_output"]:
            self.assertEqual(3, grown(name, "count"), name)
        for name in ["success", "compute_input", "compute_infer"]:
            self.assertGreater(grown(name, "ns"), 0, name)
        parts = sum(grown(n, "ns") for n in ["queue", "compute_input", "compute_infer", "compute_output"])
        self.assertLessEqual(parts, grown("success", "ns"))
        self.assertGreater(int(s["inference_count"]), 0)
        self.assertGreater(int(s["execution_count"]), 0)
        self.assertLess(abs(int(s["last_inference"]) / 1000 - time.time()), 60)
        self.assertTrue(s["batch_stats"])
        self.assertIn("starter.focus", self.statistics(), "of all models")

        fails = int(after.get("fail", {}).get("count", 0))
        self.fails(lambda: self.client.infer("starter", [self.input("IMAGE", texts(b"GIF89a"))]))
        self.assertEqual(fails + 1, int(self.statistics("starter")["starter"]["inference_stats"]["fail"]["count"]))

    # what is not offered

    def test_shared_memory(self):
        """Refused by name; clients that begin by clearing it find nothing to clear."""
        for status in [self.client.get_system_shared_memory_status, self.client.get_cuda_shared_memory_status]:
            got = self.json(status(**self.as_json))
            self.assertFalse(got.get("regions") if isinstance(got, dict) else got)
        self.client.unregister_system_shared_memory()
        self.client.unregister_cuda_shared_memory()
        self.unsupported(lambda: self.client.register_system_shared_memory("a", "/a", 10), "shared memory")
        self.unsupported(lambda: self.client.register_cuda_shared_memory("a", base64.b64encode(b"handle"), 0, 10), "shared memory")
        i = self.module.InferInput("IMAGE", [1], "BYTES")
        i.set_shared_memory("a", 10)
        self.fails(lambda: self.client.infer("starter", [i]), "shared memory")
        o = self.module.InferRequestedOutput("probs")
        o.set_shared_memory("a", 80)
        self.fails(lambda: self.client.infer("starter", self.image("banana.jpg"), outputs=[o]), "shared memory")

    def test_trace_and_log(self):
        for call in [lambda: self.client.get_trace_settings(), lambda: self.client.update_trace_settings("starter", {"trace_level": ["TIMESTAMPS"]}),
                     lambda: self.client.get_log_settings(), lambda: self.client.update_log_settings({"log_verbose_level": 1})]:
            self.unsupported(call)

    # inference

    def test_image(self):
        for shape in [None, (1, 1)]:
            r = self.client.infer("starter", self.image("banana.jpg", shape=shape))
            probs = r.as_numpy("probs")
            self.assertEqual((1, 20), probs.shape)
            np.testing.assert_array_equal(want["banana.jpg"]["scores"], probs[0])
        for shape in [(3,), (3, 1), (1, 3)]:
            r = self.client.infer("starter", self.image(*PHOTOS, shape=shape))
            np.testing.assert_array_equal([want[n]["scores"] for n in PHOTOS], r.as_numpy("probs"), str(shape))

    def test_names(self):
        for model in ["starter", "org--vit"]:
            r = self.client.infer(model, self.image("banana.jpg"), model_version="1")
            np.testing.assert_array_equal(want["banana.jpg"]["scores"], r.as_numpy("probs")[0])

    def test_outputs(self):
        r = self.client.infer("starter", self.image("banana.jpg"), outputs=self.outputs("logits", "probs"))
        np.testing.assert_array_equal(want["banana.jpg"]["logits"], r.as_numpy("logits")[0])
        np.testing.assert_array_equal(want["banana.jpg"]["scores"], r.as_numpy("probs")[0])
        self.fails(lambda: self.client.infer("starter", self.image("banana.jpg"), outputs=self.outputs("boxes")), "boxes", "probs")

    def test_classification(self):
        r = self.client.infer("starter", self.image("banana.jpg", "orange.jpg"), outputs=self.outputs("probs", class_count=3))
        got = r.as_numpy("probs")
        self.assertEqual((2, 3), got.shape)
        for row, name in zip(got, PHOTOS):
            for k, element in enumerate(row):
                value, index, label = element.decode().split(":")
                self.assertEqual(want[name]["labels"][k], label)
                self.assertEqual(want[name]["indices"][k], int(index))
                self.assertEqual(f"{want[name]['scores'][int(index)]:f}", value)
        every = self.client.infer("starter", self.image("banana.jpg"), outputs=self.outputs("probs", class_count=1000)).as_numpy("probs")
        self.assertEqual((1, 20), every.shape)

    def test_request_id(self):
        r = self.client.infer("starter", self.image("banana.jpg"), request_id="seven")
        self.assertEqual("seven", self.answer(r)["id"])
        r = self.client.infer("starter", self.image("banana.jpg"))
        self.assertFalse(self.answer(r).get("id"))

    def test_parameters(self):
        named = dict(sequence_id=5, sequence_start=True, sequence_end=False, priority=2, timeout=20_000_000)
        r = self.client.infer("starter", self.image("banana.jpg"), **named)
        np.testing.assert_array_equal(want["banana.jpg"]["scores"], r.as_numpy("probs")[0])
        r = self.client.infer("starter", self.image("banana.jpg"), parameters={"exif": "off"})
        self.assertEqual((1, 20), r.as_numpy("probs").shape)
        self.fails(lambda: self.client.infer("starter", self.image("banana.jpg"), parameters={"x": 1.5}), '"x"')
        self.fails(lambda: self.client.infer("starter", self.image("banana.jpg"), parameters={"head": 1}), "head")

    def test_server_timeout(self):
        """The timeout of a request, in microseconds, ends it."""
        self.client.load_model("big")
        e = self.fails(lambda: self.client.infer("big", self.image(*["banana.jpg"] * 8), timeout=1000))
        self.assertRegex(str(e), "time|DEADLINE")

    def test_pixels(self):
        x = pixels(*PHOTOS)
        r = self.client.infer("starter.pixels", [self.input("pixel_values", x)])
        np.testing.assert_allclose([want[n]["logits"] for n in PHOTOS], r.as_numpy("logits"), atol=1e-5)
        half = self.client.infer("starter.pixels", [self.input("pixel_values", x.astype(np.float16))])
        np.testing.assert_allclose(r.as_numpy("logits"), half.as_numpy("logits"), atol=0.05)
        labels = self.client.infer("starter.pixels", [self.input("pixel_values", x)], outputs=self.outputs("logits", class_count=1)).as_numpy("logits")
        self.assertEqual([want[n]["labels"][0] for n in PHOTOS], [e.decode().split(":")[2] for e in labels[:, 0]])

    def test_pixels_beyond_a_photo(self):
        """Values outside of [0, 1] pass unclipped; what is no number is refused."""
        x = pixels("banana.jpg")
        beyond = self.client.infer("starter.pixels", [self.input("pixel_values", 3 * x)]).as_numpy("logits")
        clipped = self.client.infer("starter.pixels", [self.input("pixel_values", np.clip(3 * x, x.min(), x.max()))]).as_numpy("logits")
        self.assertGreater(np.abs(beyond - clipped).max(), 1e-3)
        for bad in [np.nan, np.inf, -np.inf]:
            y = x.copy()
            y[0, 1, 2, 3] = bad
            self.fails(lambda: self.client.infer("starter.pixels", [self.input("pixel_values", y)]), "NaN or Inf")

    def test_normalisation_is_said(self):
        m = self.json(self.client.get_model_config("starter.pixels", **self.as_json))
        text = json.dumps(m)
        for word in ["image_mean", "image_std"]:
            self.assertIn(word, text)

    def test_large_batch(self):
        """17 MB in one request, of pixels and of photos."""
        self.client.load_model("big")
        x = np.zeros((29, 3, 224, 224), np.float32)
        self.assertGreater(x.nbytes, 17_000_000)
        r = self.client.infer("big.pixels", [self.input("pixel_values", x)])
        self.assertEqual((29, 5), r.as_numpy("logits").shape)
        heavy = [photo(n) + bytes(6_000_000) for n in PHOTOS]
        r = self.client.infer("starter", [self.input("IMAGE", texts(*heavy))])
        np.testing.assert_array_equal([want[n]["scores"] for n in PHOTOS], r.as_numpy("probs"))

    def test_too_large(self):
        self.fails(lambda: self.client.infer("starter", [self.input("IMAGE", texts(photo() + bytes(40_000_000)))]))
        r = self.client.infer("starter", self.image("banana.jpg"))
        self.assertEqual((1, 20), r.as_numpy("probs").shape)

    def test_uint8(self):
        """np.fromfile(path, 'uint8'), as people try first, and DALI's padded rows."""
        a = np.frombuffer(photo(), np.uint8)
        for x in [a, a[None]]:
            r = self.client.infer("starter", [self.input("IMAGE", x)])
            np.testing.assert_array_equal(want["banana.jpg"]["scores"], r.as_numpy("probs")[0])
        b = np.frombuffer(photo("orange.jpg"), np.uint8)
        rows = np.zeros((2, max(len(a), len(b))), np.uint8)
        rows[0, :len(a)], rows[1, :len(b)] = a, b
        r = self.client.infer("starter", [self.input("IMAGE", rows)])
        np.testing.assert_array_equal([want[n]["scores"] for n in PHOTOS[:2]], r.as_numpy("probs"))

    def test_bad_inputs(self):
        i = self.image("banana.jpg")
        self.fails(lambda: self.client.infer("starter", i + i), "IMAGE")
        self.fails(lambda: self.client.infer("starter", []), "IMAGE")
        self.fails(lambda: self.client.infer("starter", [self.input("PHOTO", texts(photo()))]), "PHOTO", "IMAGE")
        self.fails(lambda: self.client.infer("starter", [self.input("IMAGE", np.zeros((1, 2), np.float32))]), "FP32", "BYTES")
        self.fails(lambda: self.client.infer("starter.pixels", [self.input("pixel_values", np.zeros((1, 3, 8, 8), np.float32))]), "8", "64")
        self.fails(lambda: self.client.infer("starter", [self.input("IMAGE", texts(b"GIF89a"))]), "GIF")

    def test_focus(self):
        """The map is that of /v1/explain, to the bit."""
        for parameters in [{}, {"method": "rollout"}, {"method": "raw", "layer": 2, "head": 1}, {"method": "relevance", "class": "banana"}]:
            query = "&".join(f"{k}={v}" for k, v in parameters.items())
            body = json.loads(server.post("/v1/explain?format=json&" + query, photo())[2])
            expected = np.array(body["results"][0]["maps"][0]["values"], np.float32)
            r = self.client.infer("starter.focus", self.image("banana.jpg"), parameters=parameters)
            np.testing.assert_array_equal(expected, r.as_numpy("map")[0], query)

    def test_attention(self):
        """Attention as a tensor: class rows by layer and head, and all of it."""
        body = server.post("/v1/explain?values=attention", photo())[2]
        kept = np.load(io.BytesIO(body))
        r = self.client.infer("starter", self.image("banana.jpg"), outputs=self.outputs("attention", "class_attention"))
        attention, rows = r.as_numpy("attention"), r.as_numpy("class_attention")
        self.assertEqual(1, attention.shape[0])
        np.testing.assert_array_equal(kept.reshape(attention.shape[1:]), attention[0])
        np.testing.assert_array_equal(attention[:, :, :, 0], rows)
        np.testing.assert_allclose(1, attention.sum(-1), atol=1e-5)

    def test_embed(self):
        body = json.loads(server.post("/v1/embed", photo())[2])
        r = self.client.infer("starter.embed", self.image("banana.jpg"))
        np.testing.assert_array_equal(np.array(body["results"][0]["embedding"], np.float32), r.as_numpy("embedding")[0])

    def test_key(self):
        with Server("--grpc-addr", "127.0.0.1:0", settings={"keys": [{"name": "user", "sha256": hash_of("k3y")}]}) as s:
            with self.make(s) as c:
                self.assertTrue(c.is_server_live())
                self.fails(lambda: c.infer("starter", self.image("banana.jpg")), "key")
                self.fails(lambda: c.infer("starter", self.image("banana.jpg"), headers={"authorization": "Bearer wrong"}), "key")
                r = c.infer("starter", self.image("banana.jpg"), headers={"authorization": "Bearer k3y"})
                self.assertEqual((1, 20), r.as_numpy("probs").shape)
                self.fails(lambda: c.load_model("starter", headers={"authorization": "Bearer k3y"}), "admin")


class HTTP(Both, unittest.TestCase):
    module = thttp
    as_json = {}

    def make(self, s):
        return thttp.InferenceServerClient(s.url.removeprefix("http://"), concurrency=8, network_timeout=120, connection_timeout=120)

    def setUp(self):
        self.client = self.make(server)

    def tearDown(self):
        self.client.close()

    def json(self, v):
        return v

    def answer(self, r):
        return r.get_response()

    def unsupported(self, call, *words):
        e = self.fails(call, *words)
        self.assertEqual("501", e.status())

    def test_not_ready(self):
        self.assertFalse(self.client.is_model_ready("resnet"))
        self.assertFalse(self.client.is_model_ready("starter", "2"))

    def test_statuses(self):
        e = self.fails(lambda: self.client.infer("resnet", self.image("banana.jpg")))
        self.assertEqual("404", e.status())
        e = self.fails(lambda: self.client.infer("starter", [self.input("IMAGE", texts(b"GIF89a"))]))
        self.assertEqual("400", e.status())

    def test_outputs_as_json(self):
        r = self.client.infer("starter", self.image("banana.jpg"), outputs=self.outputs("probs", binary_data=False))
        self.assertEqual(20, len(r.get_response()["outputs"][0]["data"]))
        np.testing.assert_array_equal(want["banana.jpg"]["scores"], r.as_numpy("probs")[0])
        mixed = [thttp.InferRequestedOutput("probs", binary_data=False), thttp.InferRequestedOutput("logits", binary_data=True)]
        r = self.client.infer("starter", self.image("banana.jpg"), outputs=mixed)
        np.testing.assert_array_equal(want["banana.jpg"]["scores"], r.as_numpy("probs")[0])
        np.testing.assert_array_equal(want["banana.jpg"]["logits"], r.as_numpy("logits")[0])
        r = self.client.infer("starter", self.image("banana.jpg"), outputs=[thttp.InferRequestedOutput("probs", binary_data=False, class_count=2)])
        self.assertTrue(r.get_response()["outputs"][0]["data"][0].endswith(":banana"))

    def test_inputs_as_json(self):
        b64 = texts(base64.b64encode(photo()).decode())
        r = self.client.infer("starter", [self.input("IMAGE", b64, binary_data=False)])
        np.testing.assert_array_equal(want["banana.jpg"]["scores"], r.as_numpy("probs")[0])
        with self.assertRaises(Exception):
            self.input("IMAGE", texts(photo()), binary_data=False)  # the client itself: it is no UTF-8
        self.fails(lambda: self.client.infer("starter", [self.input("IMAGE", texts("what is it?"), binary_data=False)]), "binary")
        x = pixels("banana.jpg")
        r = self.client.infer("starter.pixels", [self.input("pixel_values", x, binary_data=False)])
        np.testing.assert_allclose(want["banana.jpg"]["logits"], r.as_numpy("logits")[0], atol=1e-5)
        nested = {"inputs": [{"name": "pixel_values", "shape": list(x.shape), "datatype": "FP32", "data": x.tolist()}]}
        status, _, body = server.post("/v2/models/starter.pixels/infer", json.dumps(nested))
        self.assertEqual(200, status, body)
        np.testing.assert_allclose(want["banana.jpg"]["logits"], json.loads(body)["outputs"][0]["data"], atol=1e-5)
        half = {"inputs": [{"name": "pixel_values", "shape": list(x.shape), "datatype": "FP16", "data": x.ravel().tolist()}], "model_name": "starter", "extra": 1}
        status, _, body = server.post("/v2/models/starter.pixels/infer", json.dumps(half))
        self.assertEqual(200, status, body)

    def test_compression(self):
        for coding in ["gzip", "deflate"]:
            r = self.client.infer("starter", self.image(*PHOTOS), request_compression_algorithm=coding, response_compression_algorithm=coding)
            np.testing.assert_array_equal([want[n]["scores"] for n in PHOTOS], r.as_numpy("probs"))
            r = self.client.infer("starter", self.image("banana.jpg"), outputs=self.outputs("attention"), response_compression_algorithm=coding)
            self.assertEqual(1, r.as_numpy("attention").shape[0])
            status, header, _ = server.post("/v2/models/starter/infer", json.dumps({
                "inputs": [{"name": "IMAGE", "shape": [1], "datatype": "BYTES", "data": [base64.b64encode(photo()).decode()]}],
                "outputs": [{"name": "attention"}]}), {"Accept-Encoding": coding})
            self.assertEqual(200, status)
            self.assertEqual(coding, header["content-encoding"])

    def test_async(self):
        calls = [self.client.async_infer("starter", self.image(n)) for n in PHOTOS * 4]
        for call, name in zip(calls, PHOTOS * 4):
            np.testing.assert_array_equal(want[name]["scores"], call.get_result().as_numpy("probs")[0])

    def test_client_timeout(self):
        self.client.load_model("big")
        with thttp.InferenceServerClient(server.url.removeprefix("http://"), network_timeout=0.2) as c:
            with self.assertRaises(Exception):
                c.infer("big", self.image(*["banana.jpg"] * 32))

    def test_aio(self):
        async def ask():
            async with thttp_aio.InferenceServerClient(server.url.removeprefix("http://")) as c:
                assert await c.is_server_live() and await c.is_model_ready("starter")
                assert (await c.get_model_config("starter"))["max_batch_size"] > 0
                return await asyncio.gather(*(c.infer("starter", self.image(n), response_compression_algorithm="gzip") for n in PHOTOS * 2))

        for r, name in zip(asyncio.run(ask()), PHOTOS * 2):
            np.testing.assert_array_equal(want[name]["scores"], r.as_numpy("probs")[0])

    def test_by_hand(self):
        """Trailing slashes, JSON of the protocol's own examples, the filter of the index."""
        for path in ["/v2", "/v2/", "/v2/health/live/", "/v2/models/starter/"]:
            self.assertEqual(200, server.get(path)[0], path)
        self.assertEqual({"live": True}, json.loads(server.get("/v2/health/live")[2]))
        self.assertEqual({"ready": True}, json.loads(server.get("/v2/health/ready")[2]))
        self.assertEqual({"name": "starter", "ready": True}, json.loads(server.get("/v2/models/starter/ready")[2]))
        status, _, body = server.post("/v2/repository/index", b'{"ready":true}')
        self.assertEqual(200, status)
        self.assertTrue(all(m["state"] == "READY" for m in json.loads(body)))
        for method in ["DELETE", "TRACE"]:
            self.assertEqual(405, server.request(method, "/v2/models/starter")[0])
        # perf_analyzer asks with an empty id and for every output in binary.
        data = len(photo()).to_bytes(4, "little") + photo()
        head = json.dumps({"id": "", "inputs": [{"name": "IMAGE", "shape": [1, 1], "datatype": "BYTES", "parameters": {"binary_data_size": len(data)}}],
                           "outputs": [{"name": "probs", "parameters": {"binary_data": True}}]}).encode()
        header = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
        status, got, body = server.post("/v2/models/starter/infer", head + data, header)
        self.assertEqual(200, status, body)
        n = int(got["inference-header-content-length"])
        np.testing.assert_array_equal(want["banana.jpg"]["scores"], np.frombuffer(body[n:], "<f4"))
        # Without the prefix of a file the tool sends the JPEG bare.
        head = head.replace(str(len(data)).encode(), str(len(data) - 4).encode())
        header["Inference-Header-Content-Length"] = str(len(head))
        status, _, body = server.post("/v2/models/starter/infer", head + data[4:], header)
        self.assertEqual(400, status, body)
        self.assertIn("begin with a length of 4 bytes", json.loads(body)["error"])


class GRPC(Both, unittest.TestCase):
    module = tgrpc
    as_json = {"as_json": True}

    def make(self, s):
        return tgrpc.InferenceServerClient(s.grpc)

    def setUp(self):
        self.client = self.make(server)

    def tearDown(self):
        self.client.close()

    def json(self, v):
        return v

    def answer(self, r):
        return r.get_response(as_json=True)

    def unsupported(self, call, *words):
        e = self.fails(call, *words)
        self.assertEqual("StatusCode.UNIMPLEMENTED", e.status())

    def test_statuses(self):
        e = self.fails(lambda: self.client.infer("resnet", self.image("banana.jpg")))
        self.assertEqual("StatusCode.NOT_FOUND", e.status())
        e = self.fails(lambda: self.client.infer("starter", [self.input("IMAGE", texts(b"GIF89a"))]))
        self.assertEqual("StatusCode.INVALID_ARGUMENT", e.status())

    def test_compression(self):
        for coding in ["gzip", "deflate"] if hasattr(grpc, "none") else ["gzip"]:
            r = self.client.infer("starter", self.image(*PHOTOS), compression_algorithm=coding)
            np.testing.assert_array_equal([want[n]["scores"] for n in PHOTOS], r.as_numpy("probs"))

    def test_bf16(self):
        i = tgrpc.InferInput("pixel_values", [1, 3, 64, 64], "BF16")
        i.set_data_from_numpy(pixels("banana.jpg").astype(ml_dtypes.bfloat16))
        r = self.client.infer("starter.pixels", [i])
        self.assertEqual(want["banana.jpg"]["labels"][0],
                         self.client.infer("starter.pixels", [i], outputs=self.outputs("logits", class_count=1)).as_numpy("logits")[0, 0].decode().split(":")[2])
        np.testing.assert_allclose(want["banana.jpg"]["logits"], r.as_numpy("logits")[0], atol=0.5)

    def test_async(self):
        answers = queue.Queue()
        for k, n in enumerate(PHOTOS * 4):
            self.client.async_infer("starter", self.image(n), lambda result, error, k=k: answers.put((k, result, error)))
        for _ in range(12):
            k, result, error = answers.get(timeout=60)
            self.assertIsNone(error)
            np.testing.assert_array_equal(want[(PHOTOS * 4)[k]]["scores"], result.as_numpy("probs")[0])

    def test_cancel(self):
        self.client.load_model("big")
        answers = queue.Queue()
        begin = time.time()
        calls = [self.client.async_infer("big", self.image(*["banana.jpg"] * 64), lambda result, error: answers.put(error)) for _ in range(3)]
        time.sleep(0.1)
        for call in calls:
            call.cancel()
        for _ in calls:
            self.assertIn("ancelled", str(answers.get(timeout=60)))
        self.assertLess(time.time() - begin, 30)
        for _ in range(3000):
            if server.metric(r"vitserve_queue_depth\{.*model=\"big\"") == 0:
                break
            time.sleep(0.02)
        self.assertEqual(0, server.metric(r"vitserve_queue_depth\{.*model=\"big\""), "nothing waits for a caller that has gone")

    def test_deadline(self):
        self.client.load_model("big")
        e = self.fails(lambda: self.client.infer("big", self.image(*["banana.jpg"] * 64), client_timeout=0.2))
        self.assertEqual("StatusCode.DEADLINE_EXCEEDED", e.status())
        r = self.client.infer("starter", self.image("banana.jpg"), client_timeout=30)
        self.assertEqual((1, 20), r.as_numpy("probs").shape)

    def stream(self, requests, **named):
        """The answers to requests on one stream, in order."""
        answers = queue.Queue()
        self.client.start_stream(lambda result, error: answers.put((result, error)))
        for model, inputs, more in requests:
            self.client.async_stream_infer(model, inputs, **named, **more)
        got = []
        while len(got) < len(requests):
            got.append(answers.get(timeout=60))
        self.client.stop_stream()
        return got

    def test_stream(self):
        names = PHOTOS * 5
        got = self.stream([("starter", self.image(n), {"request_id": str(k)}) for k, n in enumerate(names)])
        for k, (result, error) in enumerate(got):
            self.assertIsNone(error)
            self.assertEqual(str(k), self.answer(result)["id"], "in the order of the requests")
            np.testing.assert_array_equal(want[names[k]]["scores"], result.as_numpy("probs")[0])

    def test_stream_goes_on(self):
        got = self.stream([("starter", self.image("banana.jpg"), {}), ("resnet", self.image("banana.jpg"), {}),
                           ("starter", [self.input("IMAGE", texts(b"GIF89a"))], {}), ("starter", self.image("orange.jpg"), {})])
        self.assertIsNone(got[0][1])
        self.assertIn("resnet", str(got[1][1]))
        self.assertIn("GIF", str(got[2][1]))
        self.assertIsNone(got[3][1])
        np.testing.assert_array_equal(want["orange.jpg"]["scores"], got[3][0].as_numpy("probs")[0])

    def test_stream_final(self):
        got = self.stream([("starter", self.image("banana.jpg"), {})], enable_empty_final_response=True)
        self.assertIsNone(got[0][1])
        p = got[0][0].get_response().parameters["triton_final_response"]
        self.assertTrue(p.bool_param)

    def test_typed_contents(self):
        """Tensors in fields of their own, as clients by hand have them, and never beside raw ones."""
        stub = tgrpc.service_pb2_grpc.GRPCInferenceServiceStub(grpc.insecure_channel(server.grpc))
        r = service_pb2.ModelInferRequest(model_name="starter")
        i = r.inputs.add(name="IMAGE", datatype="BYTES", shape=[1])
        i.contents.bytes_contents.append(photo())
        answer = stub.ModelInfer(r)
        got = np.frombuffer(answer.raw_output_contents[0], "<f4") if answer.raw_output_contents else np.array(answer.outputs[0].contents.fp32_contents, np.float32)
        np.testing.assert_array_equal(want["banana.jpg"]["scores"], got)
        x = pixels("banana.jpg")
        p = service_pb2.ModelInferRequest(model_name="starter.pixels")
        p.inputs.add(name="pixel_values", datatype="FP32", shape=x.shape).contents.fp32_contents.extend(x.ravel().tolist())
        self.assertEqual("starter.pixels", stub.ModelInfer(p).model_name)
        r.raw_input_contents.append(b"x")
        with self.assertRaises(grpc.RpcError) as failed:
            stub.ModelInfer(r)
        self.assertEqual(grpc.StatusCode.INVALID_ARGUMENT, failed.exception.code())

    def test_health_service_and_reflection(self):
        """What Kubernetes' probe and grpcurl ask, in bytes."""
        with grpc.insecure_channel(server.grpc) as channel:
            check = channel.unary_unary("/grpc.health.v1.Health/Check", lambda b: b, lambda b: b)
            self.assertEqual(b"\x08\x01", check(b""), "SERVING")
            for version in ["v1", "v1alpha"]:
                info = channel.stream_stream(f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo", lambda b: b, lambda b: b)
                self.assertIn(b"inference.GRPCInferenceService", next(iter(info(iter([b"\x3a\x00"])))))

    def test_aio(self):
        async def ask():
            async with tgrpc_aio.InferenceServerClient(server.grpc) as c:
                assert await c.is_server_live() and await c.is_server_ready() and await c.is_model_ready("starter")
                answers = await asyncio.gather(*(c.infer("starter", self.image(n)) for n in PHOTOS * 2))

                async def requests():
                    for n in PHOTOS:
                        yield {"model_name": "starter", "inputs": self.image(n)}

                streamed = []
                async for result, error in c.stream_infer(requests()):
                    assert error is None, error
                    streamed.append(result)
                    if len(streamed) == len(PHOTOS):
                        break
                return answers + streamed

        got = asyncio.run(ask())
        for r, name in zip(got, PHOTOS * 3):
            np.testing.assert_array_equal(want[name]["scores"], r.as_numpy("probs")[0])


if __name__ == "__main__":
    unittest.main()
