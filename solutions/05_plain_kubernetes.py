# ---
# jupyter:
#   jupytext: {custom_cell_magics: "work,shell"}
#   kernelspec: {name: python3, display_name: Python 3 (ipykernel), language: python}
#   lab: {id: "05", minutes: 40, grades: [sc5], needs: [docker], live: [cluster],
#         inputs: [labs/helpers/kube, cluster, manifests], gives: []}
# ---

# %% [markdown] tags=["why"]
# # 05 · Plain Kubernetes
#
# One container answered on this machine. Kubernetes promises more: two of them, on machines of its choosing, replaced
# when one dies, with no traffic to one that is not ready. After this notebook you can
#
# - get a Deployment into a hardened namespace, and read why one was refused;
# - say what a release costs the people who ask meanwhile, and what each part of your answer to that is worth;
# - follow a request to the process that answers it, with the commands in the order in which one debugs;
# - prove which configuration and which Secret a pod has;
# - ask for a whole GPU, a slice of one or a turn on one, and read the scheduler's answer.
#
# **Needed:** lab 04's image in the registry, and the cluster. **Your time** (an estimate): 40 minutes. Admission 8, a
# release under load 13, the request's way 8, which configuration 4, devices and an operator 6, three questions 1. Two
# incidents wait after it: `%incident 05`.
#
# A word on words: the **kubelet** is the agent on each node that starts containers and asks their **probes**. A
# *Kubernetes label* is a name on an object by which others find it; it has nothing to do with a ticket's label.

# %% tags=["do"]
# %load_ext grader.magic
import time

import httpx

from labs.helpers.kube import devices, edits, objects, path, pods, visitors, yatai
from labs.helpers.lesson import claims, recall, timing
from labs.helpers.teaching.answers import measured

clock = timing.Clock()
deployment = "deployment/demo-text-intelligence"

# %% tags=["do"] language="shell"
# # TODO ./lab cluster up: it starts what is missing, or checks that all is healthy
# ...
# # solution
# ./lab cluster up
# # end

# %% [markdown] tags=["why"]
# ## 1 · Admission (8 minutes)
#
# The next cell copies the provided files into `deploy/`; you will add yours. (Running the notebook again deletes the
# Deployment of the run before.) `deployment.yaml` has two replicas of an image and little else. `namespace.yaml` has
# one line more than usual: it *enforces* the **restricted** profile of Pod Security. `poddisruptionbudget.yaml` keeps
# one of the two pods while a node is emptied for an upgrade.

# %% tags=["do"]
print(*objects.lay_out(), "in deploy/; namespace", objects.NAMESPACE)
print(objects.begin_anew())
objects.kustomize()

# %% tags=["see"] language="shell"
# sed -n '/^spec/,$p' deploy/deployment.yaml
# grep enforce: deploy/namespace.yaml

# %% [markdown] tags=["predict"]
# `kustomization.yaml` holds the files together and has your image by its digest. You apply it. How many pods will
# there be a moment later?

# %% tags=["predict"]
# %%answer 05a
# The namespace enforces the restricted profile, and the Deployment says nothing about
# users or capabilities. How many pods will there be?
# a  two, with a warning
# b  two that the kubelet refuses to start
# c  none: the Deployment is accepted, its pods are refused
# d  none: `kubectl apply` is refused
# TODO the letter of one of these, and why
...
# solution
"c: the ReplicaSet's events say that its pods violate the profile."
# end

# %% tags=["do"] language="shell"
# # TODO apply the folder deploy with kubectl (-k: it has a kustomization); then get pods
# ...
# # solution
# kubectl apply -k deploy
# kubectl get pods
# # end

# %% tags=["see"]
time.sleep(3)
measured("05a", "c" if not objects.pods() else "b")

# %% tags=["see"] language="shell"
# # TODO kubectl describe replicaset, its last five lines
# ...
# # solution
# kubectl describe replicaset | tail -5
# # end

# %% [markdown] tags=["explain"]
# The message lists what is missing, word for word. Why be so strict? A runner runs whatever a pickle tells it to (lab
# 01). Code that gets into the container should find no root, no capability and no way to become another user.
#
# Write what the message asks for, as a **patch**: parts of a Deployment that are laid over those that are there. The
# message does not mention two more things that an intruder would use. Take both away: the token of the pod's service
# account, which opens the Kubernetes API (`automountServiceAccountToken`; the service never asks it), and the right to
# write to the image's file system (`readOnlyRootFilesystem`). The two folders that BentoML writes to are mounted below.

# %% tags=["do"] language="work" magic_args="deploy/security.yaml"
# apiVersion: apps/v1
# kind: Deployment
# metadata: {name: demo-text-intelligence}
# spec:
#   template:
#     spec:
#       # TODO no token in the pod: one line
#       ...
#       # solution
#       automountServiceAccountToken: false
#       # end
#       enableServiceLinks: false # or a Service `bentoml` would set BENTOML_PORT here
#       # TODO securityContext: what the message asks of the pod; the user is 1034
#       ...
#       # solution
#       securityContext:
#         runAsNonRoot: true
#         runAsUser: 1034 # a number: a name does not tell that it is not root
#         runAsGroup: 1034
#         seccompProfile: {type: RuntimeDefault}
#       # end
#       containers:
#         - name: server
#           env:
#             - {name: BENTOML_HOME, value: /var/lib/bentoml} # it must be writable
#             - {name: BENTOML_DO_NOT_TRACK, value: "True"} # or each start reports
#             - {name: OMP_WAIT_POLICY, value: PASSIVE} # threads that wait do not spin
#           securityContext:
#             # TODO a root that is only read; no right beyond the user: three lines
#             ...
#             # solution
#             readOnlyRootFilesystem: true
#             allowPrivilegeEscalation: false
#             capabilities: {drop: [ALL]}
#             # end
#           volumeMounts:
#             - {name: bentoml-home, mountPath: /var/lib/bentoml}
#             - {name: tmp, mountPath: /tmp}
#       volumes:
#         - name: bentoml-home # metrics that the processes share, and empty folders
#           emptyDir: {sizeLimit: 64Mi}
#         - name: tmp # the sockets between API server and runners; without it no start
#           emptyDir: {sizeLimit: 64Mi}

# %% [markdown] tags=["explain"]
# With `readOnlyRootFilesystem` an intruder can change neither code nor packages. A file can still be left in the two
# small volumes, and is gone with the pod. One more patch before the pods come: without a CPU limit
# BentoML takes all cores of the node, in every pod. It starts as many API processes as the limit has cores. (Name a
# request, too: a limit alone counts as the request, and a node whose cores are all spoken for takes no third pod.)

# %% tags=["do"] language="work" magic_args="deploy/cpu.yaml"
# apiVersion: apps/v1
# kind: Deployment
# metadata: {name: demo-text-intelligence}
# spec:
#   template:
#     spec:
#       containers:
#         - name: server
#           # TODO resources: a request of 250m cpu, and a limit of one cpu
#           ...
#           # solution
#           resources:
#             requests: {cpu: 250m}
#             limits: {cpu: "1"}
#           # end

# %% tags=["do"]
objects.kustomize("security.yaml", "cpu.yaml")

# %% tags=["do"] language="shell"
# # TODO apply again, then wait: kubectl rollout status deployment/demo-text-intelligence
# ...
# # solution
# kubectl apply -k deploy
# kubectl rollout status deployment/demo-text-intelligence
# kubectl get pods -o wide
# # end

# %% [markdown] tags=["explain"]
# Two pods are running, on two nodes. Did you see how soon `rollout status` was content? Remember it.

# %% [markdown] tags=["why"]
# ## 2 · A release under load (13 minutes)
#
# A release replaces pods that work. What do people get meanwhile? To see it, a caller must ask from *inside*, through
# the Service, at a fixed rate: ten requests a second, whether the ones before were answered or not. A pod of its own
# does that. The same profile applies to it, so it has the same settings, and a Kubernetes label that the
# NetworkPolicy (who may connect to whom) lets in. First make sure that both pods answer.

# %% tags=["do"]
visitors.start()
with visitors.asking(good=20) as warm:
    pass
print(
    "before anything changes:",
    warm.told().split(":")[0],
    "and the last 20 were answered",
)

# %% [markdown] tags=["predict"]
# Nothing changes but the pods: `kubectl rollout restart` replaces each by one that is the same. There is no probe
# yet.

# %% tags=["predict"]
# %%answer 05b
# Two pods work, no probe is set, and the Deployment is restarted. What do people get
# who ask meanwhile?
# a  some get no answer, others a late one: they are sent to pods that still load
# b  answers in time: the Service sends nobody to a pod that still loads
# c  status 503 from the new pods
# TODO the letter of one of these, and why
...
# solution
"a: a pod that runs counts as ready."
# end

# %% tags=["do"]
blind = visitors.begin(rate=10)

# %% tags=["do"] language="shell"
# # TODO kubectl rollout restart, and rollout status, of the Deployment
# ...
# # solution
# kubectl rollout restart deployment/demo-text-intelligence
# kubectl rollout status deployment/demo-text-intelligence
# # end

# %% tags=["see"]
visitors.finish(blind, after=3, good=20)
measured("05b", visitors.without_probes(blind))
visitors.draw({"no probes": blind})

# %% [markdown] tags=["explain"]
# Compare the picture with the seconds that the roll-out took: it was "done" long before callers had their answers
# again. A pod without a readiness probe is ready when its process runs, and loading models takes longer than that
# (claim c40). A caller who comes before the port is open is refused. Later the port takes connections, and nobody
# reads them until the models are there: those callers wait, and how many of them give up depends on their patience.
#
# What should a probe ask? BentoML offers `/readyz` and `/livez`. Stop the embedder's process in one pod for a moment
# (a signal, as a debugger sends it) and see which of the two notices.

# %% tags=["see"]
one = objects.pods()[0]["metadata"]["name"]
print(pods.freeze(one))

# %% [markdown] tags=["explain"]
# `/readyz` asks the runners, too. It gives them one second, and then says no: this pod should get no requests.
# `/livez` says only that the API server is there (claim c13). A probe is a request that the kubelet makes again and
# again, in this form:
#
#     livenessProbe:
#       httpGet: {path: /livez, port: http}
#       periodSeconds: 10       # how often
#       timeoutSeconds: 5       # how long it waits; the default of 1 s is less than a busy server takes
#       failureThreshold: 3     # after so many failures in a row the container is started again
#
# A **readinessProbe** that fails takes the pod out of the Service instead. A **startupProbe** comes before both:
# until it succeeds once, neither is asked, and after `periodSeconds` x `failureThreshold` the container is started
# again. Give the models three minutes, on a node with other work. All three are yours.

# %% tags=["do"] language="work" magic_args="deploy/probes.yaml"
# apiVersion: apps/v1
# kind: Deployment
# metadata: {name: demo-text-intelligence}
# spec:
#   progressDeadlineSeconds: 300
#   strategy:
#     rollingUpdate: {maxUnavailable: 0, maxSurge: 1} # no pod goes before one is ready
#   template:
#     spec:
#       terminationGracePeriodSeconds: 30
#       containers:
#         - name: server
#           # TODO startupProbe (180 s in all), readinessProbe, livenessProbe
#           ...
#           # solution
#           startupProbe: # up to 180 s to load the models, then it is started again
#             httpGet: {path: /readyz, port: http}
#             periodSeconds: 3
#             timeoutSeconds: 5
#             failureThreshold: 60
#           readinessProbe: # 503 with a runner down; a busy server needs more than 1 s
#             httpGet: {path: /readyz, port: http}
#             periodSeconds: 5
#             timeoutSeconds: 5
#             failureThreshold: 3
#           livenessProbe: # not /readyz: a busy runner needs no new start
#             httpGet: {path: /livez, port: http}
#             periodSeconds: 10
#             timeoutSeconds: 5
#             failureThreshold: 3
#           # end
#           lifecycle: # BentoML drops all at SIGTERM: leave the Service first
#             preStop: {sleep: {seconds: 15}}

# %% [markdown] tags=["explain"]
# `maxUnavailable: 0` and `maxSurge: 1` are what Kubernetes makes of two replicas by itself; they are written down so
# that a third replica changes nothing. `preStop` is tried below, by a restart of its own.

# %% [markdown] tags=["why"]
# How much memory does a pod need? With too little it is killed; with too much it fits on fewer nodes. Ask the kernel
# what it counts for each container.

# %% tags=["see"]
held = [pods.memory(pod["metadata"]["name"]) for pod in objects.pods()]
print(
    "the pods hold",
    " and ".join(f"{mib:.0f}" for mib in held),
    "MiB at rest, with one API process each:",
)
print(*pods.processes(objects.pods()[0]["metadata"]["name"]), sep="\n")

# %% [markdown] tags=["explain"]
# The processes' own numbers add up to more, since pages that two of them share are counted twice. The request decides
# where a pod fits, so it is above what you see. The limit is where the kernel kills: the largest requests that
# `limits.py` lets in take half as much again, so twice the number at rest is a fair limit. `500m` is half a core. This
# patch takes the place of `cpu.yaml`.

# %% tags=["do"] language="work" magic_args="deploy/resources.yaml"
# apiVersion: apps/v1
# kind: Deployment
# metadata: {name: demo-text-intelligence}
# spec:
#   template:
#     spec:
#       topologySpreadConstraints: # one replica a node where that is possible
#         - maxSkew: 1
#           topologyKey: kubernetes.io/hostname
#           whenUnsatisfiable: ScheduleAnyway
#           labelSelector:
#             matchLabels: {app.kubernetes.io/name: demo-text-intelligence}
#           matchLabelKeys: [pod-template-hash] # count the pods of the same release only
#       containers:
#         - name: server
#           resources:
#             # TODO requests (500m cpu, some memory) and limits (one cpu, more memory)
#             ...
#             # solution
#             requests: {cpu: 500m, memory: 1Gi}
#             limits: {cpu: "1", memory: 1536Mi}
#             # end

# %% [markdown] tags=["why"]
# The configuration. In lab 03 the file was in the Bento, and BentoML did not read it. Here it comes from a
# **ConfigMap** (files as an object of the cluster; this one has `bentoml_configuration.yml`), and one variable decides
# whether it counts. A second variable
# comes from a **Secret**: the manifest names it, the value is in the cluster alone. The command for one is
# `kubectl create secret generic NAME --from-literal=KEY=VALUE`.

# %% tags=["do"] language="work" magic_args="deploy/configuration.yaml"
# apiVersion: apps/v1
# kind: Deployment
# metadata: {name: demo-text-intelligence}
# spec:
#   template:
#     spec:
#       containers:
#         - name: server
#           env:
#             # TODO the variable that names the file, see lab 03; it is mounted below
#             ...
#             # solution
#             - {name: BENTOML_CONFIG, value: /etc/serving-lab/bentoml_configuration.yml}
#             # end
#             - name: HUB_TOKEN # from a Secret: it is in no manifest and no image
#               valueFrom:
#                 secretKeyRef:
#                   {name: demo-text-intelligence, key: HUB_TOKEN, optional: true}
#             - name: POD_NAME
#               valueFrom: {fieldRef: {fieldPath: metadata.name}}
#             - name: NODE_NAME
#               valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
#           volumeMounts:
#             - {name: configuration, mountPath: /etc/serving-lab, readOnly: true}
#       volumes:
#         - name: configuration
#           configMap: {name: bentoml-configuration}

# %% tags=["do"] language="shell"
# # TODO create the Secret demo-text-intelligence, HUB_TOKEN=opens-nothing; describe it
# ...
# # solution
# kubectl create secret generic demo-text-intelligence \
#   --from-literal=HUB_TOKEN=opens-nothing
# kubectl describe secret demo-text-intelligence | tail -1
# # end

# %% [markdown] tags=["explain"]
# `describe` shows its length and not its value. Now all patches in one release, with the same callers. This takes
# longer: each new pod must be ready before an old one may go.

# %% tags=["do"]
before = pods.configured(objects.pods()[0]["metadata"]["name"])
objects.kustomize(
    "security.yaml", "probes.yaml", "resources.yaml", "configuration.yaml"
)
watched = visitors.begin(rate=10)

# %% tags=["do"] language="shell"
# # TODO apply, and wait for the roll-out
# ...
# # solution
# kubectl apply -k deploy
# kubectl rollout status deployment/demo-text-intelligence
# # end

# %% [markdown] tags=["predict"]
# The pods that have just gone had no `preStop`. Those that run now have one. Restart them, and count.

# %% tags=["predict"]
# %%answer 05e
# TODO with probes and preStop, how many of some 400 requests are lost in a restart?
...
# solution
"0: an old pod goes when a new one is ready, and when it gets no more requests."
# end

# %% tags=["do"]
visitors.finish(watched, after=3)
stopped = visitors.begin(rate=10)

# %% tags=["do"] language="shell"
# # TODO restart, and wait
# ...
# # solution
# kubectl rollout restart deployment/demo-text-intelligence
# kubectl rollout status deployment/demo-text-intelligence
# # end

# %% tags=["see"]
visitors.finish(stopped, after=16)  # until the last old pod has waited its 15 s
measured("05e", stopped.lost)
visitors.draw({"no probes": blind, "with probes": watched, "and preStop": stopped})

# %% [markdown] tags=["explain"]
# All three rows begin with two pods that work and end with two others that do. The probes take away the long gap:
# no request is sent to a pod whose models load. What is lost in the second row is lost at the *end* of the old pods:
# BentoML does not finish what is in flight at SIGTERM: callers get a 500 or a closed connection (claim c21), and for
# a moment the Service still sends new ones there. With `preStop` a pod waits 15 s before the signal, while the
# Service stops sending it traffic.
#
# A release is a planned end. The next picture is an unplanned one: the embedder of one pod is *killed*, as the kernel
# does when memory runs out. It takes two minutes, so this run is kept; `live=True` makes it on your cluster.

# %% tags=["see"]
dead = visitors.killed_runner(live=False)
visitors.draw(
    {"a runner killed": dead}, "What do callers get when one runner of two is killed?"
)

# %% [markdown] tags=["explain"]
# Until the readiness probe has failed three times, half of the requests still go to that pod. They wait for the dead
# runner: these callers give up after 10 s, BentoML after the 15 s of `traffic.timeout`. Then the container ends and is
# started again. A probe does not make this free; it bounds it. (Freezing a process, as above, is the harmless case.)
#
# *A place to stop: the service runs, and goes on running.*

# %% [markdown] tags=["why"]
# ## 3 · The request's way (8 minutes)
#
# The course module proves the deployment by `kubectl port-forward`: a tunnel from a port of this machine. The Service
# has the Deployment's name. `$PORT` is a free port, in the next `%%shell` cell and in the one after it. What will come
# out of the tunnel?

# %% tags=["predict"]
# %%answer P2
# What will two texts return through the cluster, and in which shape?
# a  two labels and two scores, in the order of the texts
# b  a list of two objects, each with a label and a score
# c  one label: the best of the two
# TODO the letter of one of these, and why
...
# solution
"a: the contract of lab 02."
# end

# %% tags=["do"] language="shell" magic_args="--serve tunnel"
# # TODO kubectl port-forward --address 127.0.0.1 from $PORT to port 80 of the Service
# ...
# # solution
# kubectl port-forward --address 127.0.0.1 service/demo-text-intelligence "$PORT":80
# # end

# %% tags=["do"] language="shell"
# # TODO curl -i two texts through it
# ...
# # solution
# curl -s -i -H 'content-type: application/json' \
#   -d '{"texts": ["I was charged twice", "Where is my parcel?"]}' \
#   "127.0.0.1:$PORT/classify"
# # end

# %% tags=["see"]
from itertools import pairwise

from labs.helpers.teaching.serve import find_server

texts = {"texts": ["I was charged twice", "Where is my parcel?"]}
address = f"{find_server('tunnel').url}/classify"
answer = httpx.post(address, json=texts, timeout=20).json()
both = isinstance(answer, dict) and len(answer["labels"]) == len(answer["scores"]) == 2
measured("P2", "a" if both else "c")

# %% [markdown] tags=["explain"]
# The headers are `frame.py`'s: they tell which Bento and which models answered. Who is behind the Service is the next
# question, and its commands are the order in which one debugs: which addresses does the Service have, are their pods
# ready, and what did they log?

# %% tags=["see"] language="shell"
# # TODO get endpointslices; get pods -o wide; three lines of the Deployment's logs
# ...
# # solution
# kubectl get endpointslices -l kubernetes.io/service-name=demo-text-intelligence
# kubectl get pods -o wide
# kubectl logs deployment/demo-text-intelligence --tail 3
# # end

# %% tags=["see"]
print(path.follow())

# %% [markdown] tags=["explain"]
# The **Service** is an address that never changes and no process at all. Its **EndpointSlice** lists the pods that
# are ready now: the readiness probe writes that list. In each pod the API server asks the two runners over Unix
# sockets.

# %% [markdown] tags=["predict"]
# Forty requests, through one `port-forward` to the *Service*. How many does each of the two pods get?

# %% tags=["predict"]
# %%answer 05c
# TODO how many of the forty go to the busier pod?
...
# solution
"40: a forward is a tunnel to one pod."
# end

# %% tags=["see"]
counts = [pods.requests_by_pod()]
for _ in range(40):
    httpx.post(address, json=texts, timeout=20)
counts.append(pods.requests_by_pod())
with visitors.asking(rate=10, after=4) as within:
    pass
counts.append(pods.requests_by_pod())
shares = [pods.difference(*pair) for pair in pairwise(counts)]
print("through port-forward:", shares[0], " through the Service:", shares[1])
measured("05c", max(shares[0].values()))
# %stop tunnel

# %% [markdown] tags=["explain"]
# It is a tool for debugging: never measure a Service through it (claim c41). And one more trap. Another program holds
# the local port; does `port-forward` refuse? And who else may come in, without the Kubernetes label?

# %% tags=["see"]
print(path.taken_port(), "\n")
print("with the Kubernetes label:   ", visitors.ask_once(label=True))
print("without the Kubernetes label:", visitors.ask_once(label=False))

# %% [markdown] tags=["explain"]
# It starts all the same, on `[::1]` alone, and says so in a line that scrolls by; 127.0.0.1 answers with the other
# program. A grader that trusts the port would pass another service. The NetworkPolicy drops what has no label: the
# caller waits until its own time-out.

# %% [markdown] tags=["why"]
# ## 4 · Which configuration? (4 minutes)
#
# A ConfigMap that is mounted and not read looks exactly like one that is. Ask a pod in three ways: which file was its
# process given, what does BentoML make of it, and what does the running server do. `before` was asked when no
# variable named the file.

# %% tags=["see"]
one = objects.pods()[0]["metadata"]["name"]
print(f"before\n{before}\n\nnow\n{pods.configured(one)}")
in_manifest = "opens-nothing" in objects.kubectl("get", deployment, "-o", "yaml")
print("\nthe Secret's value is in the Deployment:", in_manifest)

# %% tags=["see"] language="shell"
# # TODO kubectl exec in the Deployment: -- printenv HUB_TOKEN
# ...
# # solution
# kubectl exec deployment/demo-text-intelligence -- printenv HUB_TOKEN
# sha256sum deploy/bentoml_configuration.yml | cut -c 1-12
# # end

# %% [markdown] tags=["explain"]
# Before, BentoML's own default of 100 counted, and nothing complained. The third line of each comes from the running
# server: its histogram of batch sizes ends at the largest batch that it makes. The Secret reached the container.
# Everyone who may read Secrets of the namespace can read it (base64 is no lock), but it is in no image, no Bento and
# no file that is committed.
#
# One more use of a ConfigMap: an edit without an image, for trying things out. The sources are laid over those of the
# image, in a pod of its own.

# %% tags=["see"]
change = ("scores.max(axis=1)", "scores.max(axis=1).astype(float).round(2)")
print(timing.told(lambda: edits.try_edit("service/service.py", *change)))

# %% [markdown] tags=["explain"]
# The score has two digits: your edit answered. It is for trying only: what runs there has no digest, so nobody can
# say later what it was.

# %% [markdown] tags=["why"]
# ## 5 · Devices, and an operator (6 minutes)
#
# The embedder would like a GPU. This machine may have none, so a node *says* that it has one: the scheduler believes
# a node's status, and scheduling is real from there on. Nothing can be computed on it.

# %% tags=["do"] language="work" magic_args="deploy/gpu.yaml"
# apiVersion: apps/v1
# kind: Deployment
# metadata: {name: demo-text-intelligence}
# spec:
#   template:
#     spec:
#       containers:
#         - name: server
#           # TODO resources, with a limit of 1 nvidia.com/gpu
#           ...
#           # solution
#           resources:
#             limits:
#               nvidia.com/gpu: 1
#           # end

# %% tags=["predict"]
# %%answer 05d
# One fake GPU, two pods that each ask for one. What does the second one's status say?
# a  Pending: no node has a device left
# b  Running: the two share the device
# c  Failed
# TODO the letter of one of these, and why
...
# solution
"a: no node has a device left."
# end

# %% tags=["see"]
placed = devices.schedule("deploy/gpu.yaml")
status = placed[1]["status"]["phase"]
measured("05d", {"Pending": "a", "Running": "b"}.get(status, "c"))

# %% [markdown] tags=["explain"]
# A slice of a GPU and a turn on one are other *names*: `nvidia.com/mig-1g.10gb` (**MIG**: a part with memory of its
# own) and `nvidia.com/gpu.shared` (**time-slicing**: turns, and no memory of one's own). Nothing else in the pod
# changes. Ask for both.

# %% tags=["do"] language="shell"
# # TODO with sed: deploy/gpu.yaml with the slice's name, into deploy/mig.yaml
# ...
# # solution
# sed 's#nvidia.com/gpu#nvidia.com/mig-1g.10gb#' deploy/gpu.yaml > deploy/mig.yaml
# grep nvidia deploy/mig.yaml
# # end
# # TODO the same with the turn's name, into deploy/turn.yaml
# ...
# # solution
# sed 's#nvidia.com/gpu#nvidia.com/gpu.shared#' deploy/gpu.yaml > deploy/turn.yaml
# # end

# %% [markdown] tags=["why"]
# The names come from the node's side: NVIDIA's **device plugin** tells the kubelet what the node has. This is its
# configuration. Share each GPU between two pods, under the new name (`renameByDefault`), so that a pod that asks for
# a whole GPU never gets a turn by accident.

# %% tags=["do"] language="work" magic_args="deploy/sharing.yaml"
# version: v1
# sharing:
#   timeSlicing:
#     # TODO renameByDefault; resources: nvidia.com/gpu with two replicas
#     ...
#     # solution
#     renameByDefault: true
#     resources:
#       - {name: nvidia.com/gpu, replicas: 2}
#     # end

# %% tags=["see"]
# There is no device plugin here: the kit advertises what it would make of your file.
sliced = devices.schedule("deploy/mig.yaml")
shared = devices.schedule("deploy/turn.yaml", sharing="deploy/sharing.yaml")
claims.holds(
    all(pod["spec"].get("nodeName") for pod in shared),
    "Both pods have a turn on the one GPU; none has a slice.",
)

# %% [markdown] tags=["explain"]
# For the slice both wait: no node has that name. The turns are two, so both pods are placed, on one GPU, and each may
# take memory that the other needs. (`manifests/README.md` says what of each was tried, and what was not run for want
# of a GPU.) Here the whole pod asks, classifier included; lab 06 lets each runner ask for itself, and needs a class
# of its own for it (claim c25).
#
# What a GPU gives this embedder was measured on a real one, outside a cluster (claim c51): a batch is computed several
# times as fast as on sixteen cores, a text alone only a little faster. So a GPU pays as far as requests come in
# batches, which is lab 07's subject.

# %% [markdown] tags=["why"]
# The course module also has a form for **Yatai**, BentoML's own operator, which has not been updated since 2024. Its
# resource definition still says whether a manifest fits. This is the module's form; ask first, then fix it.

# %% tags=["do"]
print("the module's form:", *yatai.complaints("module"), sep="\n  ")

# %% tags=["do"] language="work" magic_args="deploy/bentodeployment.yaml"
# apiVersion: serving.yatai.ai/v2alpha1
# kind: BentoDeployment
# metadata: {name: demo-text-intelligence, namespace: ml-serving}
# spec:
#   bento: demo-text-intelligence
#   ingress: {enabled: false}
#   # TODO autoscaling (2 to 4, on cpu) and runners, so that nothing is complained of
#   autoscaling: {minReplicas: 2, maxReplicas: 4, metrics: {cpu: 70}}
#   runners:
#     - {name: EmbeddingRunner, resources: {limits: {"nvidia.com/gpu": "1"}}}
#     - {name: ClassifierRunner}
#   # solution
#   autoscaling:
#     minReplicas: 2
#     maxReplicas: 4
#     metrics:
#       - type: Resource
#         resource: {name: cpu, target: {type: Utilization, averageUtilization: 70}}
#   runners:
#     - {name: embeddingrunner, resources: {limits: {gpu: "1"}}}
#     - {name: classifierrunner}
#   # end

# %% tags=["see"]
print("yours:", *yatai.complaints("deploy/bentodeployment.yaml"), sep="\n  ")

# %% [markdown] tags=["explain"]
# Valid is not the same as working: Yatai does not run here (claims c32 and c52).

# %% tags=["check"]
# %grade sc5

# %% [markdown] tags=["explain"]
# `sc5` read the objects, then asked *each* pod by itself, and compared hashes, effective values and behaviour of the
# configuration. It also tried to connect without the Kubernetes label.
#
# ## To keep
# - Readiness decides who gets traffic: without it a release sends people to pods whose models still load.
# - A pod's end needs care as well: `preStop` first, then the signal.
# - Look in the order of the way: Service, EndpointSlice, pods, logs, `describe`.

# %% tags=["predict"]
# %%answer 05x
# `kubectl apply` says "created", and `kubectl get pods` shows none. Where
# is the reason?
# a  in the pods' logs
# b  in the events of the ReplicaSet
# c  in the Service's endpoints
# TODO the letter of one of these
...
# solution
"b"
# end

# %% tags=["predict"]
# %%answer 05y
# Why does the liveness probe ask /livez and not /readyz?
# a  /readyz is slower, so it would time out
# b  a runner that is busy or starting would have the whole container started again
# c  the kubelet may ask each path only once
# TODO the letter of one of these
...
# solution
"b"
# end

# %% tags=["predict"]
# %%answer 05z
# You change the ConfigMap in place with kubectl edit. When do the pods use it?
# a  at once: it is mounted
# b  within a minute, when the kubelet has updated the file
# c  after the pods have been started again
# TODO the letter of one of these
...
# solution
"c"
# end

# %% tags=["see"]
recall.recall("05x", "05y", "05z")
print(f"The machine has worked {clock.seconds:.0f} s for this lab.")

# %% [markdown] tags=["explain"]
# ## What is open
# Two pods, and each holds everything: an API server, the embedder, the classifier. If the embedder is what is slow, a
# third pod brings another classifier and another API server along, which nobody needs. Could the runners scale by
# themselves? That is lab 06.
