# ---
# jupyter:
#   jupytext: {custom_cell_magics: work}
#   kernelspec: {name: python3, display_name: Python 3 (ipykernel), language: python}
#   lab: {id: "05", minutes: 45, grades: [sc5], needs: [docker], live: [cluster],
#         inputs: [labs/helpers/kube, cluster, manifests], gives: []}
# ---

# %% [markdown] tags=["why"]
# # 05 · Plain Kubernetes
#
# One container answered on this machine. Kubernetes is asked for more: two of them, on machines of its choosing, again
# when one is gone, and nobody sent to one that is not ready. After this notebook you can
#
# - write a Deployment that a hardened namespace accepts, and read why one was refused;
# - show what people get during a roll-out without probes and with yours;
# - follow a request from the Service to the process that answers it, and say what `port-forward` does not show;
# - prove which configuration and which models a pod runs with, in three ways;
# - say what a GPU in a manifest means to the scheduler, and see a pod wait for one.
#
# **Needed:** lab 04's image in the registry, and the cluster. **Your time** (an estimate): 45 minutes. Let in 10, ready
# 12, the request's way 8, which configuration 6, an edit 3, devices and Yatai 6.
#
# The first cell finds the cluster well, or makes it so, and lays out the files that are given. Yours come to them. If
# you run the notebook again, the Deployment of the run before goes first, so that you see again what is described.

# %% tags=["do"]
# %load_ext grader.magic
import time

import httpx

from cluster.forward import forward
from labs.helpers.bento import bentos
from labs.helpers.kube import devices, edits, objects, path, pods, visitors, yatai
from labs.helpers.lesson import timing

clock = timing.Clock()
# !$LAB_KIT/lab cluster up 2>&1 | grep -v kind:
print(*objects.lay_out(), "in deploy/; namespace", objects.NAMESPACE)
print(objects.begin_anew())

# %% [markdown] tags=["why"]
# ## 1 · Let in (10 minutes)
#
# `deployment.yaml` is the form of most texts: two replicas of an image. `namespace.yaml` has one label more than usual:
# it *enforces* the **restricted** profile of Pod Security. `kustomization.yaml` holds them together, and has your
# image by its digest.

# %% tags=["do"]
objects.kustomize()
# !sed -n '/^spec/,$p' deploy/deployment.yaml
# !grep enforce: deploy/namespace.yaml

# %% [markdown] tags=["predict"]
# The Deployment says nothing about users or capabilities. You apply it. How many pods will there be a moment later?

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

# %% tags=["do"]
# !kubectl apply -k deploy 2>&1 | cut -c 1-150
time.sleep(3)
print(len(objects.pods()), "pods.")
print(objects.warnings("ReplicaSet", most=1))

# %% [markdown] tags=["explain"]
# "created", says `apply`, and no pod is there. A Deployment makes a ReplicaSet, and that one asks for pods and is
# refused; the reason stands in *its* events. The message lists what is missing, word for word.
#
# Why be so strict? A runner runs whatever a pickle tells it to (lab 01). Code that gets into the container should find
# no root, no capability and no way to become another user.

# %% tags=["do"] language="work" magic_args="deploy/security.yaml"
# apiVersion: apps/v1
# kind: Deployment
# metadata: {name: demo-text-intelligence}
# spec:
#   template:
#     spec:
#       automountServiceAccountToken: false # the service does not talk to Kubernetes
#       enableServiceLinks: false # or a Service `bentoml` would set BENTOML_PORT here
#       # TODO securityContext: what the message asks of the pod; the user is 1034
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
#             - {name: BENTOML_HOME, value: /var/lib/bentoml} # it has to be writable
#             - {name: BENTOML_DO_NOT_TRACK, value: "True"} # or each start reports
#             - {name: OMP_WAIT_POLICY, value: PASSIVE} # threads that wait do not spin
#           securityContext:
#             readOnlyRootFilesystem: true
#             # TODO drop what a process may do beyond its user: two lines
#             # solution
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
# A **patch**: the parts of a Deployment that it names are laid over those that are there. `readOnlyRootFilesystem` is
# not asked for by the profile. With it, nothing that gets in can leave anything behind, and the two small volumes are
# all that BentoML needs to write.

# %% [markdown] tags=["why"]
# ## 2 · Ready (12 minutes)
#
# To see what people get, somebody has to ask from *inside*, through the Service, while pods come and go. The next cell
# starts a pod that can do that. It is refused by the same profile, so it has the same settings, and a label that the
# NetworkPolicy lets in.

# %% tags=["do"]
visitors.start()
# !kubectl -n {objects.NAMESPACE} get pod client -o wide | cut -c 1-90

# %% [markdown] tags=["predict"]
# Now your patch goes in, and pods will start. There is no probe yet. `rollout status` will say when it is done, and
# somebody asks from the first second on. What do they get?

# %% tags=["predict"]
# %%answer 05b
# No probe is set. `rollout status` says that it is done, and at once somebody asks.
# What do they get?
# a  refused connections, for as long as the models load
# b  answers that come late: the Service waits for the pod
# c  status 503 from the new pods
# TODO the letter of one of these, and why
...
# solution
"a: a pod that runs counts as ready."
# end

# %% tags=["do"]
objects.kustomize("security.yaml")
with visitors.asking(pause=0.3, good=10) as blind:
    objects.kubectl("apply", "-k", "deploy")
    print(objects.wait_for())
print(blind.told())

# %% [markdown] tags=["explain"]
# The roll-out was "done" in a moment, and then people were sent to a process that had not even opened its port: the
# models take their time. A pod without a readiness probe is ready when its process runs.
#
# What should a probe ask? BentoML offers `/readyz` and `/livez`. Stop the embedder's process in one pod for a moment (a
# signal, as a debugger sends it) and see which of the two notices.

# %% tags=["do"]
one = objects.pods()[0]["metadata"]["name"]
print(pods.freeze(one))

# %% [markdown] tags=["explain"]
# `/readyz` asks the runners, too. It gives them one second, and then says no: this pod should get nobody. `/livez` says
# only that the API server is there, and whoever asked for a label waits. A second is also the default of a probe's
# `timeoutSeconds`, and a busy server took 2.6 s to say *yes* (measured, 80 clients): so give it more than the default.

# %% tags=["do"] language="work" magic_args="deploy/probes.yaml"
# apiVersion: apps/v1
# kind: Deployment
# metadata: {name: demo-text-intelligence}
# spec:
#   progressDeadlineSeconds: 300
#   strategy:
#     rollingUpdate: {maxUnavailable: 0, maxSurge: 1} # nobody goes before one is ready
#   template:
#     spec:
#       terminationGracePeriodSeconds: 30
#       containers:
#         - name: server
#           # TODO startupProbe, readinessProbe, livenessProbe: httpGet on port http
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
#           lifecycle: # BentoML drops all at SIGTERM: give the Service time to look away
#             preStop: {sleep: {seconds: 15}}

# %% [markdown] tags=["why"]
# How much does a pod need? Too little memory kills it; too much, and it fits on fewer nodes. Ask one that runs.

# %% tags=["see"]
one = objects.pods()[0]["metadata"]["name"]
print(*pods.processes(one), sep="\n")

# %% [markdown] tags=["explain"]
# Most of it is the embedder's, and there are as many API servers as the node has cores: each has a copy of the code.
# Add them up, and leave room for requests: the largest ones that `limits.py` lets in take half as much again.

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
#             # TODO requests and limits (memory: half as much again as you saw)
#             # solution
#             requests: {cpu: 500m, memory: 1Gi}
#             limits: {cpu: "1", memory: 1536Mi}
#             # end

# %% [markdown] tags=["explain"]
# The request decides where a pod fits, the limit when it is killed (memory) or slowed down (CPU). The CPU limit is a
# setting of BentoML, too: it starts as many API processes as the limit has cores, and gives each runner as many
# threads. Without a limit it takes all cores of the node, in every pod.

# %% [markdown] tags=["why"]
# A last patch before the roll-out: the configuration. In lab 03 the file lay in the Bento, and BentoML did not read it.
# Here it comes from a ConfigMap, and one variable decides whether it counts.

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
#             # solution
#             - {name: BENTOML_CONFIG, value: /etc/serving-lab/bentoml_configuration.yml}
#             # end
#             - name: HUB_TOKEN # from a Secret: it stands in no manifest and no image
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

# %% [markdown] tags=["why"]
# Keep what the pods say about their configuration now, for part 4. Then all three patches in one roll-out, with
# somebody asking all the time. This one takes longer: each new pod has to be ready before an old one may go.

# %% tags=["do"]
before = pods.configured(one)
patches = ("security.yaml", "probes.yaml", "resources.yaml", "configuration.yaml")
objects.kustomize(*patches)
with visitors.asking(pause=0.3, after=2) as watched:
    objects.kubectl("apply", "-k", "deploy")
    print(objects.wait_for())

# %% tags=["see"]
visitors.draw({"no probes": blind, "your probes": watched})

# %% tags=["see"]
objects.draw_starts()

# %% [markdown] tags=["explain"]
# The same image, the same models; the difference is three questions that the kubelet asks, and an order: a new pod
# first (`maxSurge: 1`), ready, then an old one away (`maxUnavailable: 0`). A cross or two may be left in the second
# row. They are the last requests of the *old* pods, which had no `preStop` yet: BentoML stops at SIGTERM with all that
# is under way. The pods that run now wait 15 s first, in which the Service looks away.
#
# *A place to stop: the service runs, and goes on running.*

# %% [markdown] tags=["why"]
# ## 3 · The request's way (8 minutes)
#
# The text that this lab grew out of proves the deployment by `kubectl port-forward`. First the contract.

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

# %% tags=["do"]
texts = {"texts": ["I was charged twice", "Where is my parcel?"]}
with forward(
    objects.NAMES, objects.NAMESPACE, "service/demo-text-intelligence", 80
) as local:
    answer = httpx.post(f"{local.url}/classify", json=texts, timeout=20)
print(answer.status_code, answer.json())
print({k: v for k, v in answer.headers.items() if k.startswith("x-")})

# %% [markdown] tags=["explain"]
# The headers are `frame.py`'s: they tell which Bento and which models answered, whoever asks. Who that was behind the
# Service is what the next cell follows, object by object.

# %% tags=["see"]
print(path.follow())

# %% [markdown] tags=["explain"]
# The **Service** is an address that never changes and no process at all. Its **EndpointSlice** lists the pods that are
# ready now: the readiness probe writes that list. In each pod the API server asks the two runners over Unix sockets.
# If an answer is wrong or missing, this is the order to look in.

# %% [markdown] tags=["predict"]
# Forty requests, through one `port-forward` to the *Service*. How many does each of the two pods get?

# %% tags=["predict"]
# %%answer 05c
# TODO how many of the forty does the pod get that gets most?
...
# solution
"40: a forward is a tunnel to one pod."
# end

# %% tags=["do"]
counts = [pods.requests_by_pod()]
with forward(
    objects.NAMES, objects.NAMESPACE, "service/demo-text-intelligence", 80
) as local:
    for _ in range(40):
        httpx.post(f"{local.url}/classify", json=texts, timeout=20)
counts.append(pods.requests_by_pod())
with visitors.asking(pause=0.05, after=5) as within:
    pass
counts.append(pods.requests_by_pod())
print("through port-forward:", pods.difference(counts[0], counts[1]))
print("through the Service: ", pods.difference(counts[1], counts[2]), within.told())

# %% [markdown] tags=["explain"]
# One pod had them all. So `port-forward` proves that *a* pod answers; it goes past the Service's sharing, past the
# NetworkPolicy, and past the other pod, which could be broken. It also breaks under load: never measure through it.
#
# And one more trap. Somebody else holds the local port. Does `port-forward` refuse?

# %% tags=["see"]
print(path.taken_port())

# %% [markdown] tags=["explain"]
# It starts all the same, on `[::1]` alone, and says so in a line that scrolls by; 127.0.0.1 answers with whoever holds
# the port. A grader that trusts the port would pass somebody else's service.
#
# Who else may come in? Ask without the label.

# %% tags=["do"]
print("with the label:   ", visitors.knock(label=True))
print("without the label:", visitors.knock(label=False))

# %% [markdown] tags=["why"]
# ## 4 · Which configuration, which model? (6 minutes)
#
# A ConfigMap that is mounted and not read looks exactly like one that is. Ask a pod in three ways: which file was its
# process given, what does BentoML make of it, and what does the running server do. `before` was asked in part 2, when
# the file lay in the image and no variable named it.

# %% tags=["see"]
one = objects.pods()[0]["metadata"]["name"]
print(f"before\n{before}\n\nnow\n{pods.configured(one)}")
# !sha256sum deploy/bentoml_configuration.yml | cut -c 1-12

# %% [markdown] tags=["explain"]
# Before, BentoML's own default of 100 counted, and nothing complained. The histogram of batch sizes has its edges from
# the same setting, so the third line is what the process *does*, whatever the first two say.
#
# The models are in the answer's headers, and those come from the models that the process has loaded. Nobody has to
# believe a tag.

# %% [markdown] tags=["why"]
# A Secret works in the same way: the manifest names it, the value is in the cluster. This one opens nothing.

# %% tags=["do"]
token = bentos.made_up_token()
objects.kubectl(
    "create",
    "secret",
    "generic",
    "demo-text-intelligence",
    f"--from-literal=HUB_TOKEN={token}",
)
told = objects.kubectl("describe", "secret", "demo-text-intelligence").splitlines()
print(told[-1], "| the value is shown:", token in "".join(told))
objects.kubectl("delete", "secret", "demo-text-intelligence")

# %% [markdown] tags=["explain"]
# `optional: true` lets pods start without it. Whoever may read Secrets of the namespace can read it, base64 is no
# lock; but it is in no image, no Bento and no file that is committed.

# %% [markdown] tags=["why"]
# ## 5 · Change it, see it (3 minutes)
#
# An edit by way of the image: some ten seconds to build, some to push (lab 04), and then a roll-out. For trying things
# out there is a shorter way: a pod of its own, with the sources laid over those of the image.

# %% tags=["do"]
change = ("scores.max(axis=1)", "scores.max(axis=1).astype(float).round(2)")
print(timing.told(lambda: edits.try_edit("service/service.py", *change)))

# %% [markdown] tags=["explain"]
# The score has two digits: it is your edit that answered. A dozen seconds, most of them for loading models, and no
# image in between. It is for trying only: what runs there has no digest, and nobody can say later what it was.

# %% [markdown] tags=["why"]
# ## 6 · Devices, and an operator (6 minutes)
#
# The embedder would like a GPU. This machine may have none, so a node *says* that it has one: the scheduler believes a
# node's status, and scheduling is real from there on. Nothing can be computed on it.

# %% [markdown] tags=["predict"]
# The overlay `gpu` asks for one `nvidia.com/gpu` a pod. One device, two replicas: what does the second pod's status
# say?

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

# %% tags=["do"]
print(devices.schedule("gpu"))
print(devices.schedule("gpu-dra"))

# %% [markdown] tags=["explain"]
# A device is counted, and one pod has it whole. The overlays `gpu-mig` (a slice) and `gpu-timeslicing` (turns) differ
# in one name; `gpu-dra` asks by a **claim**, an object that says what is wanted and is allocated before the pod is
# placed. `manifests/README.md` tells what of each was tried, and what was not run for want of a GPU.

# %% [markdown] tags=["why"]
# Some texts deploy with **Yatai**, BentoML's own operator, by a BentoDeployment. It has not been updated since 2024.
# Its resource definition is still the judge of whether a manifest fits. Below is the form of the text; mend what the
# judge complains of.

# %% tags=["do"] language="work" magic_args="deploy/bentodeployment.yaml"
# apiVersion: serving.yatai.ai/v2alpha1
# kind: BentoDeployment
# metadata: {name: demo-text-intelligence, namespace: ml-serving}
# spec:
#   bento: demo-text-intelligence
#   ingress: {enabled: false}
#   # TODO metrics is a list; a GPU is `gpu: "1"`; runners are called as in the Bento
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
print("the text's form:", *yatai.complaints("module"), sep="\n  ")
print("yours:", *yatai.complaints("deploy/bentodeployment.yaml"), sep="\n  ")

# %% [markdown] tags=["explain"]
# Valid is not the same as working: nobody here runs Yatai, and its last commits are from 2024. Lab 06 scales the
# runners apart without it.

# %% tags=["check"]
# %grade sc5

# %% [markdown] tags=["explain"]
# `sc5` read the objects, then asked *each* pod by itself, and compared hashes, effective values and behaviour of the
# configuration. It knocked at the door without the label. What it did not do is break anything: that is lab 09.

# %% tags=["see"]
print(f"The machine has worked {clock.seconds:.0f} s for this lab.")

# %% [markdown] tags=["explain"]
# ## What is open
# Two pods, and each holds everything: an API server, the embedder, the classifier. If the embedder is what is slow, a
# third pod brings another classifier and another API server along, which nobody needs. Could the runners scale by
# themselves? That is lab 06.
