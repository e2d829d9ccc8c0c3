"""huggingface_hub's InferenceClient, sync and async, against a server of one's own.

Every call that it has for pictures, every way it sends one, what it makes of errors, and that nothing is asked twice.
"""

import asyncio
import base64
import functools
import http.server
import inspect
import io
import json
import os
import socket
import threading
import unittest

import numpy as np
from huggingface_hub import AsyncInferenceClient, InferenceClient, InferenceTimeoutError
from huggingface_hub.errors import BadRequestError, HfHubHTTPError
from PIL import Image

from server import GOLDEN, PHOTOS, Server, hash_of, photo

KEY = "hf_of_a_user"


class Sync:
    """The client, and how its calls are waited for."""

    def __init__(self, *arguments, **named):
        self.client = InferenceClient(*arguments, **named)

    def __getattr__(self, name):
        return getattr(self.client, name)


class Async:
    """The client that is awaited, as if it were the other."""

    def __init__(self, *arguments, **named):
        self.client = AsyncInferenceClient(*arguments, **named)

    def __getattr__(self, name):
        f = getattr(self.client, name)
        if not inspect.iscoroutinefunction(f):
            return f

        @functools.wraps(f)
        def wait(*arguments, **named):
            async def call():
                async with AsyncInferenceClient(**self.named()) as c:
                    return await getattr(c, name)(*arguments, **named)

            return asyncio.run(call())

        return wait

    def named(self):
        c = self.client
        return {"model": c.model, "token": c.token, "headers": dict(c.headers) or None, "timeout": c.timeout}


def setUpModule():
    global server
    server = Server(
        settings={
            "models": [
                {"id": "starter", "path": "starter"},
                {"id": "org/vit", "path": "starter"},
                {"id": "dino", "path": str(GOLDEN / "hf_dino")},
            ],
            "max_body": 1_000_000,
        }
    )


def tearDownModule():
    server.close()


class Calls:
    """What both clients do."""

    def client(self, path="/models/starter", **named):
        return self.make(model=server.url + path, **named)

    def best(self, answer):
        return [(e.label, round(e.score, 6)) for e in answer]

    def setUp(self):
        status, _, body = server.post("/", photo())
        self.assertEqual(status, 200)
        self.want = [(e["label"], round(e["score"], 6)) for e in json.loads(body)]
        self.assertEqual("banana", self.want[0][0])
        self.assertEqual(5, len(self.want))

    def test_bytes(self):
        for path in ["", "/", "/models/starter", "/models/starter/", "/models/org/vit", "/models/org%2Fvit",
                     "/models/org/vit/pipeline/image-classification", "/pipeline/image-classification/org/vit"]:
            self.assertEqual(self.want, self.best(self.client(path).image_classification(photo())), path)

    def test_base_url(self):
        c = self.make(base_url=server.url + "/models/starter")
        self.assertEqual(self.want, self.best(c.image_classification(photo())))
        with self.assertRaises(ValueError):
            self.make(model=server.url, base_url=server.url)

    def test_model_of_a_call(self):
        c = self.make()
        self.assertEqual(self.want, self.best(c.image_classification(photo(), model=server.url)))

    def test_path(self):
        path = PHOTOS / "banana.jpg"
        self.assertEqual(self.want, self.best(self.client().image_classification(path)))
        self.assertEqual(self.want, self.best(self.client().image_classification(str(path))))

    def test_url(self):
        """The client fetches it; the server sees bytes and the type that they were given."""

        class Quiet(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *_):
                pass

        handler = functools.partial(Quiet, directory=PHOTOS)
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as photos:
            threading.Thread(target=photos.serve_forever, daemon=True).start()
            url = f"http://127.0.0.1:{photos.server_port}/banana.jpg"
            self.assertEqual(self.want, self.best(self.client().image_classification(url)))
            photos.shutdown()

    def test_other_inputs(self):
        """The client refuses them itself."""
        for other in [io.BytesIO(photo()), Image.open(PHOTOS / "banana.jpg")]:
            with self.assertRaises(ValueError):
                self.client().image_classification(other)

    def test_parameters(self):
        c = self.client()
        got = c.image_classification(photo(), top_k=2)
        self.assertEqual(self.want[:2], self.best(got))
        got = c.image_classification(photo(), top_k=2, function_to_apply="sigmoid")
        self.assertEqual(self.want[0][0], got[0].label)
        self.assertTrue(0 < got[1].score <= got[0].score < 1)
        logits = c.image_classification(photo(), top_k=20, function_to_apply="none")
        self.assertEqual(20, len(logits))
        x = np.exp(np.array([e.score for e in logits]))
        soft = c.image_classification(photo(), top_k=20, function_to_apply="softmax")
        np.testing.assert_allclose(x / x.sum(), [e.score for e in soft], atol=1e-6)
        sig = c.image_classification(photo(), top_k=20, function_to_apply="sigmoid")
        np.testing.assert_allclose(x / (1 + x), [e.score for e in sig], atol=1e-6)

    def test_query(self):
        self.assertEqual(self.want[:3], self.best(self.client("/models/starter?top_k=3").image_classification(photo())))
        got = self.client("/models/starter?top_k=3").image_classification(photo(), top_k=1)
        self.assertEqual(self.want[:1], self.best(got), "the body goes before the query")

    def test_zero_shot(self):
        with self.assertRaisesRegex(BadRequestError, "(?s)model starter has no text tower.*Request ID|Request ID.*(?s:.*)text tower"):
            self.client("/models/starter/pipeline/zero-shot-image-classification").zero_shot_image_classification(
                photo(), ["cat", "dog"], hypothesis_template="a photo of {}")
        with self.assertRaisesRegex(BadRequestError, "candidate_labels"):
            self.client().zero_shot_image_classification(photo(), ["cat", "dog"])
        with self.assertRaises(ValueError):
            self.client().zero_shot_image_classification(photo(), ["cat"])

    def test_feature_extraction(self):
        b64 = base64.b64encode(photo()).decode()
        c = self.client("/pipeline/feature-extraction/dino")
        v = c.feature_extraction(b64)
        self.assertEqual(np.float32, v.dtype)
        self.assertEqual(1, v.shape[0])
        many = c.feature_extraction([b64, base64.b64encode(photo("orange.jpg")).decode()])
        self.assertEqual((2, v.shape[1]), many.shape)
        np.testing.assert_array_equal(v[0], many[0])
        unit = c.feature_extraction(b64, normalize=True, truncate=True)
        np.testing.assert_allclose(v / np.linalg.norm(v), unit, atol=1e-6)
        part = c.feature_extraction(b64, normalize=True, dimensions=8, encoding_format="float", truncation_direction="right")
        np.testing.assert_allclose(v[:, :8] / np.linalg.norm(v[:, :8]), part, atol=1e-6)
        with self.assertRaisesRegex(BadRequestError, "want float"):
            c.feature_extraction(b64, encoding_format="base64")
        with self.assertRaisesRegex(BadRequestError, "prompt_name"):
            c.feature_extraction(b64, prompt_name="query")
        with self.assertRaisesRegex(BadRequestError, "base64"):
            c.feature_extraction("What is in the picture?")
        with self.assertRaises(Exception) as refused:
            c.feature_extraction(photo())
        self.assertNotIsInstance(refused.exception, HfHubHTTPError, "the client sends no bytes")
        hidden = self.client("/models/dino").feature_extraction(b64)
        self.assertEqual(3, hidden.ndim, "(1, tokens, C) of image-feature-extraction")
        np.testing.assert_allclose(v[0], hidden[0, 0], atol=1e-6)

    def test_no_method_of_image_features(self):
        self.assertFalse(hasattr(self.client().client, "image_feature_extraction"))

    def test_headers(self):
        c = self.client(headers={"x-wait-for-model": "1"})
        self.assertEqual(self.want, self.best(c.image_classification(photo())))

    def fails(self, status, *words, path="/models/starter", picture=None, error=HfHubHTTPError, **named):
        c = self.client(path, **named)
        with self.assertRaises(error) as failed:
            c.image_classification(photo() if picture is None else picture)
        self.assertEqual(status, failed.exception.response.status_code)
        said = str(failed.exception)
        for word in words:
            self.assertIn(word, said)
        return failed.exception

    def test_errors(self):
        """Each shows the server's own words and the request's id."""
        e = self.fails(400, "Bad request", "truncated GIF", error=BadRequestError, picture=b"GIF89a\0\0\0\0\0\0")
        self.assertIn(e.response.json()["request_id"], str(e))
        self.assertIn(e.response.headers["x-request-id"], str(e))
        for member in ["error", "title", "detail", "status", "type"]:
            self.assertIn(member, e.response.json())
        self.fails(400, "topk", "top_k", error=BadRequestError, path="/models/starter?topk=3")
        self.fails(400, "object-detection", error=BadRequestError, path="/models/starter/pipeline/object-detection")
        self.fails(404, "want one of starter", path="/models/resnet")
        self.fails(413, "1000000", picture=b"\xff\xd8" + bytes(1_000_000))
        self.fails(400, "(Request ID: req-1)", error=BadRequestError, picture=b"GIF89a\0\0\0\0\0\0", headers={"x-request-id": "req-1"})

    def test_nothing_is_asked_twice(self):
        before = server.requests("/models/*")
        self.fails(400, error=BadRequestError, picture=b"GIF89a\0\0\0\0\0\0")
        self.fails(404, path="/models/resnet")
        self.assertEqual(before + 2, server.requests("/models/*"))

    def test_endpoint_calls(self):
        for name in ["get_endpoint_info", "health_check"]:
            if hasattr(self.client().client, name):
                with self.assertRaises(ValueError):
                    getattr(self.client(), name)()

    def test_key(self):
        keys = [{"name": "user", "sha256": hash_of(KEY), "rate": 0.001}, {"name": "watcher", "sha256": hash_of("watcher"), "rate": 100}]
        with Server(settings={"keys": keys, "rate_burst": 2}, key="watcher") as s:
            c = self.make(model=s.url, token=KEY)
            self.assertEqual(self.want, self.best(c.image_classification(photo())))
            for wrong in [None, "another"]:
                with self.assertRaises(HfHubHTTPError) as failed:
                    self.make(model=s.url, token=wrong).image_classification(photo())
                self.assertEqual(401, failed.exception.response.status_code)
                self.assertIn("no valid API key", str(failed.exception))
            c.image_classification(photo())
            with self.assertRaises(HfHubHTTPError) as failed:
                c.image_classification(photo())
            self.assertEqual(429, failed.exception.response.status_code)
            self.assertIn("too many requests", str(failed.exception))
            self.assertEqual(5, s.requests("/"), "nothing is retried")

    def test_client_timeout(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            c = self.make(model=f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.2)
            with self.assertRaises(InferenceTimeoutError):
                c.image_classification(photo())


class Loading(unittest.TestCase):
    """A model that is being loaded is waited for, and a server that ends says so."""

    def test_waits(self):
        with Server(settings={"models": [{"id": "big", "path": os.environ["CLIENTS_BIG"]}]}, ready=False) as s:
            self.assertEqual(503, s.get("/readyz")[0], "it loads")
            self.assertEqual(5, len(InferenceClient(model=s.url + "/models/big").image_classification(photo())))
            self.assertEqual(1, s.requests("/models/*"))

    def test_overload(self):
        settings = {"models": [{"id": "big", "path": os.environ["CLIENTS_BIG"]}], "max_queue": 1, "max_batch": 1}
        with Server(settings=settings) as s:

            async def ask():
                async with AsyncInferenceClient(model=s.url) as c:
                    return await asyncio.gather(*(c.image_classification(photo()) for _ in range(24)), return_exceptions=True)

            answers = asyncio.run(ask())
            refused = [a for a in answers if isinstance(a, Exception)]
            self.assertTrue(0 < len(refused) < len(answers), answers)
            for e in refused:
                self.assertEqual(429, e.response.status_code)
                self.assertIn("retry-after", e.response.headers)
            self.assertEqual(len(answers), s.requests("/"))


class SyncCalls(Calls, unittest.TestCase):
    make = Sync


class AsyncCalls(Calls, unittest.TestCase):
    make = Async

    def test_many_at_once(self):
        async def ask():
            async with AsyncInferenceClient(model=server.url) as c:
                return await asyncio.gather(*(c.image_classification(photo()) for _ in range(16)))

        for answer in asyncio.run(ask()):
            self.assertEqual(self.want, self.best(answer))


class ByHand(unittest.TestCase):
    """What people send with curl and requests, for want of a method."""

    def ask(self, path, body, headers=None, status=200):
        got, header, text = server.post(path, body, headers)
        self.assertEqual(status, got, text)
        self.assertTrue(header["content-type"].startswith("application/json"))
        return json.loads(text)

    def test_image_features(self):
        v = np.array(self.ask("/models/dino", photo()))
        self.assertEqual(3, v.ndim)
        self.assertEqual(1, v.shape[0])
        b64 = base64.b64encode(photo()).decode()
        self.assertEqual(v.tolist(), self.ask("/models/dino", json.dumps({"inputs": b64})))
        self.assertIn("no pooler", self.ask("/models/dino?pool=true", photo(), status=400)["error"])

    def test_lists(self):
        b64 = [base64.b64encode(photo(n)).decode() for n in ["banana.jpg", "orange.jpg"]]
        got = self.ask("/", json.dumps({"inputs": b64, "parameters": {"top_k": 1}}), {"Content-Type": "application/json"})
        self.assertEqual(["banana", "orange"], [e[0]["label"] for e in got])

    def test_addresses(self):
        e = self.ask("/", json.dumps({"inputs": "https://example.org/a.jpg"}), status=400)
        self.assertIn("fetches no pictures", e["error"])

    def test_options(self):
        b64 = base64.b64encode(photo()).decode()
        self.ask("/", json.dumps({"inputs": b64, "options": {"wait_for_model": True, "use_cache": False}}))
        e = self.ask("/", json.dumps({"inputs": b64, "parameters": {"candidate_labels": ["a"]}}), status=400)
        self.assertIn("candidate_labels", e["error"])

    def test_forms_of_curl(self):
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        self.assertEqual("banana", self.ask("/", photo(), form)[0]["label"])
        b64 = base64.b64encode(photo()).decode()
        self.assertEqual("banana", self.ask("/", json.dumps({"inputs": b64}), form)[0]["label"])

    def test_root(self):
        """A client of the API that looks at the root gets no page."""
        status, header, body = server.get("/", {"Accept": "application/json"})
        self.assertEqual(200, status)
        self.assertTrue(header["content-type"].startswith("application/json"))
        json.loads(body)


if __name__ == "__main__":
    unittest.main()
