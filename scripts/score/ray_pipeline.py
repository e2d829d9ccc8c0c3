"""Labels photos with Ray Data into Parquet: each actor has a server of its own, which loads the model once.

pip install -r scripts/score/ray_requirements.txt
python3 scripts/score/ray_pipeline.py OUTPUT FOLDER ...

VITSERVE is the program, MODEL the model, ACTORS how many there are, fewer than Ray has cores. bash scripts/score/ray.sh tests it.
"""

import collections
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import ray
import requests


class Classify:
    def __init__(self, program, model):
        command = [program, "serve", "--addr", "127.0.0.1:0", "--log-format", "json", "--model", model]
        self.server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        said = []
        while '"msg":"ready"' not in (line := self.server.stderr.readline()):
            said.append(line)
            if not line:
                raise RuntimeError(f"{command} ended: {''.join(said)}")
        self.url = f"http://{json.loads(line)['addr']}/v1/classify?top_k=1"
        threading.Thread(target=collections.deque, args=(self.server.stderr, 0), daemon=True).start()  # its log

    def __del__(self):
        self.server.terminate()

    def row(self, photo):
        while (answer := requests.post(self.url, data=photo, timeout=60)).status_code == 429:  # its queue is full
            time.sleep(float(answer.headers["Retry-After"]))
        if answer.status_code in (400, 413, 415, 422):  # a photo that cannot be read is a row; all else ends the job
            return None, None, answer.json()["detail"]
        answer.raise_for_status()
        best = answer.json()["results"][0]["predictions"][0]
        return best["label"], best["score"], None

    def __call__(self, batch):
        with ThreadPoolExecutor(16) as pool:  # the server computes those that are there together
            batch["label"], batch["score"], batch["error"] = map(list, zip(*pool.map(self.row, batch.pop("bytes"))))
        return batch


if __name__ == "__main__":
    ray.init(include_dashboard=False)
    photos = ray.data.read_binary_files(sys.argv[2:], include_paths=True, file_extensions=["jpg", "jpeg", "png", "webp"])
    of = [os.environ.get("VITSERVE", "vitserve"), os.environ.get("MODEL", "starter")]
    actors = ray.data.ActorPoolStrategy(size=int(os.environ.get("ACTORS", "1")))
    photos.map_batches(Classify, fn_constructor_args=of, batch_size=64, compute=actors).write_parquet(sys.argv[1])
