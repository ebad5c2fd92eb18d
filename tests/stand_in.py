"""A release that stands in for the service where the gate is tried 40 times: answers /classify, counts at /metrics as
BentoML does, and has one fault: crash, labels, errors, slow; or none: good. python -I stand_in.py FAULT SEED

It prints its port."""

import asyncio
import json
import os
import random
import sys
import time

FAULT, CHANCE = sys.argv[1], random.Random(int(sys.argv[2]))
EDGES = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0)
KINDS = {"charged": "billing", "parcel": "shipping", "password": "account"}
WRONG = {"billing": "shipping", "shipping": "account", "account": "billing"}
ended: list[tuple[int, float]] = []


def label(text: str) -> str:
    right = next((kind for word, kind in KINDS.items() if word in text), "account")
    return WRONG[right] if FAULT == "labels" else right


async def classify(body: bytes) -> tuple[int, str]:
    if FAULT == "crash" and len(ended) >= 60:
        os._exit(1)
    began = time.monotonic()
    await asyncio.sleep(0.002 + CHANCE.expovariate(200) + (0.3 if FAULT == "slow" and CHANCE.random() < 0.1 else 0))
    status = 500 if FAULT == "errors" and CHANCE.random() < 0.05 else 200
    ended.append((status, time.monotonic() - began))
    return status, json.dumps({"labels": [label(text) for text in json.loads(body)["texts"]]})


def metrics() -> str:
    lines = []
    for code in (200, 500):
        waits = [seconds for status, seconds in ended if status == code]
        named = f'endpoint="/classify",http_response_code="{code}"'
        lines.append(f"bentoml_api_server_request_total{{{named}}} {len(waits)}")
        for edge in (*EDGES, float("inf")):
            le = str(edge).replace("inf", "+Inf")
            count = sum(seconds <= edge for seconds in waits)
            lines.append(f'bentoml_api_server_request_duration_seconds_bucket{{{named},le="{le}"}} {count}')
    return "\n".join(lines) + "\n"


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    size = int(head.partition("content-length: ")[2].split("\r\n")[0] or 0)
    body = await reader.readexactly(size)
    status, text = (200, metrics()) if head.startswith("get") else await classify(body)
    writer.write(f"HTTP/1.1 {status} .\r\nconnection: close\r\ncontent-length: {len(text)}\r\n\r\n{text}".encode())
    await writer.drain()
    writer.close()


async def main() -> None:
    async with await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1000) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


asyncio.run(main())
