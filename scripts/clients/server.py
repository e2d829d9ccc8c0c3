"""A vitserve of one's own for a test: Server() starts the program that VITSERVE names."""

import http.client
import json
import os
import pathlib
import re
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
PHOTOS = ROOT / "testdata" / "images"
GOLDEN = ROOT / "models" / "testdata" / "golden"


def photo(name="banana.jpg"):
    """The bytes of one of the project's photos."""
    return (PHOTOS / name).read_bytes()


class Server:
    """A running server: url, and grpc where --grpc-addr is among the arguments.

    Settings are those of a configuration file. It is ready when the constructor returns, unless told not to wait.
    """

    def __init__(self, *arguments, settings=None, ready=True, key=None):
        self.key = key  # that looks at the metrics
        self.folder = tempfile.TemporaryDirectory()
        self.log = pathlib.Path(self.folder.name) / "log"
        command = [os.environ["VITSERVE"], "serve", "--addr", "127.0.0.1:0", "--log-format", "json", *arguments]
        if settings:
            config = pathlib.Path(self.folder.name) / "config.yaml"
            config.write_text(json.dumps(settings))  # JSON is YAML
            command += ["--config", str(config)]
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(command, stderr=log)
        self.url = "http://" + self._logged("listening")["addr"]
        if "--grpc-addr" in arguments:
            self.grpc = self._logged("listening for gRPC")["addr"]
        self.port = urllib.parse.urlsplit(self.url).port
        while ready and self.get("/readyz")[0] != 200:
            self._alive()
            time.sleep(0.02)

    def _alive(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"the server ended: {self.log.read_text()}")

    def _logged(self, message):
        for _ in range(1500):
            for line in self.log.read_text().splitlines():
                if line.startswith("{") and line.endswith("}") and json.loads(line)["msg"] == message:
                    return json.loads(line)
            self._alive()
            time.sleep(0.02)
        raise RuntimeError(f"no line {message!r}: {self.log.read_text()}")

    def request(self, method, path, body=None, headers=None):
        """Status, headers and body of any answer, asked by nobody's client."""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            c.request(method, path, body, headers or {})
            r = c.getresponse()
            return r.status, r.headers, r.read()
        finally:
            c.close()

    def get(self, path, headers=None):
        return self.request("GET", path, None, headers)

    def post(self, path, body, headers=None):
        return self.request("POST", path, body, headers)

    def metric(self, pattern):
        """The sum of the metrics whose names, with labels, a pattern matches."""
        total = 0.0
        headers = {"X-API-Key": self.key} if self.key else {}
        for line in self.get("/metrics", headers)[2].decode().splitlines():
            name, _, value = line.rpartition(" ")
            if not line.startswith("#") and re.match(pattern, name):
                total += float(value)
        return total

    def requests(self, route):
        """How many requests a route has had."""
        return self.metric(r'vitserve_request_duration_seconds_count\{.*route="' + re.escape(route) + '"')

    def close(self):
        self.process.terminate()
        code = self.process.wait(60)
        text = self.log.read_text()
        self.folder.cleanup()
        if code != 0 or "panic" in text:
            raise RuntimeError(f"the server ended with {code}: {text[-3000:]}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def hash_of(key):
    """What a server's configuration holds of a key."""
    import hashlib

    return hashlib.sha256(key.encode()).hexdigest()
