"""LitServe: its queue, its batches, its workers. One text a request."""

import argparse

import litserve
from triage import Triage


class Api(litserve.LitAPI):
    def setup(self, device):
        self.triage = Triage()

    def decode_request(self, request):
        (text,) = request["texts"]
        return text

    def batch(self, inputs):
        return inputs

    def predict(self, texts):
        return self.triage(texts)

    def unbatch(self, output):
        return output

    def encode_response(self, output):
        label, score = output
        return {"labels": [label], "scores": [score]}


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--port", type=int)
    options.add_argument("--workers", type=int)
    given = options.parse_args()
    api = Api(max_batch_size=32, batch_timeout=0.005, api_path="/classify")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=given.workers)
    server.run(host="127.0.0.1", port=given.port, generate_client_file=False, log_level="warning")
