"""KServe's Python clients: version 2 over REST and gRPC, version 1 over REST, against a server of one's own."""

import asyncio
import base64
import json
import logging
import unittest

import grpc
import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig
from kserve.protocol.infer_type import RequestedOutput

from server import GOLDEN, Server, hash_of, photo

logging.disable(logging.CRITICAL)  # the clients log every failure


def setUpModule():
    global server, want
    server = Server("--grpc-addr", "127.0.0.1:0", settings={
        "models": [{"id": "starter", "path": "starter"}, {"id": "dino", "path": str(GOLDEN / "hf_dino"), "lazy": True}],
    })
    body = server.post("/v1/classify?top_k=0", photo())[2]
    want = json.loads(body)["results"][0]["predictions"]


def tearDownModule():
    server.close()


def scores():
    s = np.zeros(len(want), np.float32)
    for p in want:
        s[p["index"]] = p["score"]
    return s


def image(binary=True):
    i = InferInput("IMAGE", [1], "BYTES")
    if binary:
        a = np.empty(1, dtype=np.object_)
        a[0] = photo()
    else:
        a = np.array([base64.b64encode(photo()).decode()], dtype=np.object_)
    i.set_data_from_numpy(a, binary_data=binary)
    return i


class REST(unittest.TestCase):
    def ask(self, protocol, call):
        async def run():
            async with InferenceRESTClient(RESTConfig(protocol=protocol)) as c:
                return await call(c)

        return asyncio.run(run())

    def fails(self, protocol, call, status, *words):
        with self.assertRaises(httpx.HTTPStatusError) as failed:
            self.ask(protocol, call)
        self.assertEqual(status, failed.exception.response.status_code)
        for w in words:
            self.assertIn(w, str(failed.exception))

    def test_v2_health(self):
        """The client reads the bodies of these as JSON."""
        self.assertIs(True, self.ask("v2", lambda c: c.is_server_live(server.url)))
        self.assertIs(True, self.ask("v2", lambda c: c.is_server_ready(server.url)))
        self.assertTrue(self.ask("v2", lambda c: c.is_model_ready(server.url, "starter")))
        self.assertFalse(self.ask("v2", lambda c: c.is_model_ready(server.url, "resnet")))
        self.assertFalse(self.ask("v2", lambda c: c.is_model_ready(server.url, "dino")), "nobody has asked for it yet")

    def test_v2_infer(self):
        for binary in [True, False]:
            for outputs in [None, [RequestedOutput("probs", parameters={"binary_data": True})], [RequestedOutput("probs", parameters={"binary_data": False})]]:
                request = InferRequest(model_name="starter", infer_inputs=[image(binary)], request_outputs=outputs)
                response = self.ask("v2", lambda c: c.infer(server.url, request, model_name="starter"))
                self.assertEqual("starter", response.model_name)
                self.assertRegex(response.id, "^[0-9a-f-]{36}$", "the client makes one up")
                np.testing.assert_array_equal(scores(), response.outputs[0].as_numpy()[0])

    def test_v2_parameters(self):
        request = InferRequest(model_name="starter.focus", infer_inputs=[image()], parameters={"method": "rollout", "priority": 1})
        response = self.ask("v2", lambda c: c.infer(server.url, request, model_name="starter.focus"))
        expected = json.loads(server.post("/v1/explain?method=rollout&format=json", photo())[2])["results"][0]["maps"][0]["values"]
        np.testing.assert_array_equal(np.array(expected, np.float32), response.outputs[0].as_numpy()[0])

    def test_v2_text_is_no_picture(self):
        """A JPEG that is no UTF-8 is refused by the client, other text by the server."""
        i = InferInput("IMAGE", [1], "BYTES", data=["what is it?"])
        self.fails("v2", lambda c: c.infer(server.url, InferRequest("starter", [i]), model_name="starter"), 400, "IMAGE")

    def test_v2_errors(self):
        self.fails("v2", lambda c: c.infer(server.url, InferRequest("resnet", [image()]), model_name="resnet"), 404, "resnet", "starter")

    def test_v1(self):
        """As the client is: /v1 beside the server's own, and all of it under a base URL."""
        instance = {"image": {"b64": base64.b64encode(photo()).decode()}}
        for base in [server.url, server.url + "/kserve"]:
            self.assertTrue(self.ask("v1", lambda c: c.is_server_live(base)), base)
            answer = self.ask("v1", lambda c: c.infer(base, {"instances": [instance, instance], "parameters": {"top_k": 3}}, model_name="starter"))
            self.assertEqual(2, len(answer["predictions"]))
            self.assertEqual([p["label"] for p in want[:3]], [p["label"] for p in answer["predictions"][1]])
            answer = self.ask("v1", lambda c: c.explain(base, "starter", {"instances": [instance]}))
            expected = json.loads(server.post("/v1/explain?format=json", photo())[2])["results"][0]
            self.assertEqual(expected["maps"], answer["explanations"][0]["maps"])
            self.fails("v1", lambda c: c.infer(base, {"instances": [instance]}, model_name="resnet"), 404, "resnet")
            self.fails("v1", lambda c: c.infer(base, {"instances": [{"image": {"b64": "AAAA"}}]}, model_name="starter"), 400, "image")
            self.fails("v1", lambda c: c.infer(base, {"inputs": []}, model_name="starter"), 400, "inputs")

    def test_v1_ready(self):
        base = server.url + "/kserve"
        self.assertIs(True, self.ask("v1", lambda c: c.is_model_ready(base, "starter")))
        self.assertIs(False, self.ask("v1", lambda c: c.is_model_ready(base, "dino")))
        self.fails("v1", lambda c: c.is_model_ready(base, "resnet"), 404)


class GRPC(unittest.TestCase):
    def ask(self, call, url=None):
        async def run():
            async with InferenceGRPCClient(url or server.grpc) as c:
                return await call(c)

        return asyncio.run(run())

    def test_health(self):
        self.assertTrue(self.ask(lambda c: c.is_server_live()))
        self.assertTrue(self.ask(lambda c: c.is_server_ready()))
        self.assertTrue(self.ask(lambda c: c.is_model_ready("starter")))

    def test_infer(self):
        request = InferRequest(model_name="starter", infer_inputs=[image()])
        response = self.ask(lambda c: c.infer(request))
        np.testing.assert_array_equal(scores(), response.outputs[0].as_numpy()[0])

    def test_errors(self):
        with self.assertRaises(grpc.RpcError) as failed:
            self.ask(lambda c: c.infer(InferRequest(model_name="resnet", infer_inputs=[image()])))
        self.assertEqual(grpc.StatusCode.NOT_FOUND, failed.exception.code())

    def test_key(self):
        with Server("--grpc-addr", "127.0.0.1:0", settings={"keys": [{"name": "user", "sha256": hash_of("k3y")}]}) as s:
            request = InferRequest(model_name="starter", infer_inputs=[image()])
            response = self.ask(lambda c: c.infer(request, headers=(("authorization", "Bearer k3y"),)), s.grpc)
            np.testing.assert_array_equal(scores(), response.outputs[0].as_numpy()[0])
            with self.assertRaises(grpc.RpcError) as failed:
                self.ask(lambda c: c.infer(request), s.grpc)
            self.assertEqual(grpc.StatusCode.UNAUTHENTICATED, failed.exception.code())


if __name__ == "__main__":
    unittest.main()
