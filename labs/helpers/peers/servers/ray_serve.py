"""Ray Serve: a replica a core, each of which batches."""

import argparse
import asyncio
import time

import ray
from ray import serve
from starlette.requests import Request
from triage import Triage


@serve.deployment(max_ongoing_requests=128, ray_actor_options={"num_cpus": 1})
class Service:
    def __init__(self):
        self.triage = Triage()

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.005)
    async def answer(self, texts):
        return await asyncio.to_thread(self.triage, texts)

    async def __call__(self, request: Request):
        (text,) = (await request.json())["texts"]
        label, score = await self.answer(text)
        return {"labels": [label], "scores": [score]}


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--port", type=int)
    options.add_argument("--workers", type=int)
    given = options.parse_args()
    ray.init(num_cpus=given.workers, include_dashboard=False, object_store_memory=128 << 20)
    serve.start(http_options={"host": "127.0.0.1", "port": given.port})
    serve.run(Service.options(num_replicas=given.workers).bind(), route_prefix="/classify")
    while True:
        time.sleep(3600)
