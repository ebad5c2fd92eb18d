"""The way of a request: from the Service to the processes, and through `kubectl port-forward`."""

from __future__ import annotations

import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from cluster.forward import forward
from cluster.names import IMAGE
from labs.helpers.kube.objects import NAMES, NAMESPACE, pods, read
from labs.helpers.kube.pods import processes


def follow() -> str:
    """The way of a request as the cluster knows it: Service, EndpointSlice, pods, and the processes in one."""
    service = read("service", IMAGE)
    slices = read("endpointslices", "-l", f"kubernetes.io/service-name={IMAGE}")["items"]
    lines = [f"Service        {service['spec']['clusterIP']}:80 -> port {service['spec']['ports'][0]['targetPort']!r}"]
    for end in [e for s in slices for e in s["endpoints"] or []]:
        ready = "ready" if end["conditions"]["ready"] else "NOT ready"
        lines.append(
            f"EndpointSlice  {end['addresses'][0]}:3000  {ready:<9} {end['targetRef']['name']} on {end['nodeName']}"
        )
    if found := pods():
        lines += [
            f"in {found[0]['metadata']['name'][-5:]}       {line}" for line in processes(found[0]["metadata"]["name"])
        ]
    return "\n".join(lines)


def taken_port() -> str:
    """What becomes of a port-forward whose local port is somebody else's: what kubectl says, who answers on 127.0.0.1,
    and what `cluster.forward` makes of it."""

    class Stranger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"I am another program")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Stranger)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port, words = server.server_port, ["kubectl", "-n", NAMESPACE, "port-forward", f"service/{IMAGE}"]
    try:
        with subprocess.Popen(
            [*words, f"{port}:80"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as plain:
            time.sleep(2)
            heard = httpx.get(f"http://127.0.0.1:{port}/livez", timeout=5).text
            plain.terminate()
            said = (plain.stdout.read() if plain.stdout else "").strip().replace("\n", " | ")[:200]
        with forward(NAMES, NAMESPACE, f"service/{IMAGE}", 80, local=port) as checked:
            found = checked.problem
    finally:
        server.shutdown()
        server.server_close()
    return f"kubectl says:           {said}\n127.0.0.1 answers:      {heard!r}\na forward that checks:  {found}"
