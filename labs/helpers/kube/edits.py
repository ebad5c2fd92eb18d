"""Sources of yours in a pod, without a new image."""

from __future__ import annotations

import json
from pathlib import Path

from labs.helpers.kube.objects import kubectl, released
from labs.helpers.kube.pods import run_in
from labs.helpers.kube.visitors import CLIENT
from labs.helpers.service.servers import replaced

TRIAL = """
    - name: server
      image: IMAGE
      args: [serve, --host, 0.0.0.0, --port, "3000", --api-workers, "1"]
      env: [{name: BENTOML_HOME, value: /tmp}, {name: BENTOML_DO_NOT_TRACK, value: "True"}]
      readinessProbe: {httpGet: {path: /readyz, port: 3000}, periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 60}
      securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
      resources: {requests: {cpu: 250m, memory: 1Gi}, limits: {memory: 1536Mi}}
      volumeMounts:
        - {name: sources, mountPath: /home/bentoml/bento/src, readOnly: true}
        - {name: tmp, mountPath: /tmp}
  volumes:
    - {name: sources, configMap: {name: trial}}
    - {name: tmp, emptyDir: {sizeLimit: 64Mi}}
"""


ASK_ONCE = """
import urllib.request as u
kind = {"content-type": "application/json"}
asked = u.Request("http://127.0.0.1:3000/classify", b'{"texts": ["I was charged twice"]}', kind)
print(u.urlopen(asked, timeout=20).read().decode())
"""


def try_edit(file: str, find: str, put: str) -> str:
    """Runs the sources beside that file in a pod `trial` of the released image, without a new image, with `put` where
    the file has `find`. Says what it answers; leaves nothing, and the file as it is."""
    sources = {p.name: p.read_text() for p in Path(file).parent.glob("*.py")} | {
        Path(file).name: replaced(file, find, put)
    }
    head = CLIENT.partition("  containers:")[0].replace("name: client", "name: trial")
    image = released()
    kubectl("delete", "pod/trial", "--ignore-not-found", "--wait=true", "--timeout=60s")  # an earlier run's
    try:
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "trial"}, "data": sources}
        kubectl("apply", "-f", "-", given=json.dumps(config))
        kubectl("apply", "-f", "-", given=f"{head}  containers:{TRIAL.replace('IMAGE', image)}")
        kubectl("wait", "--for=condition=Ready", "pod/trial", "--timeout=120s")
        return run_in("trial", ASK_ONCE)
    finally:
        kubectl("delete", "pod/trial", "configmap/trial", "--ignore-not-found", "--grace-period=1", "--wait=false")
