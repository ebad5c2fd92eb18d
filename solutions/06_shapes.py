# ---
# jupyter:
#   jupytext: {custom_cell_magics: "work,shell"}
#   kernelspec: {name: python3, display_name: Python 3 (ipykernel), language: python}
#   lab: {id: "06", minutes: 40, grades: [sc8], needs: [docker, cluster], live: [cluster],
#         inputs: [labs/helpers/shapes, labs/helpers/kube, grader/world, cluster, manifests], gives: []}
# ---

# %% [markdown] tags=["why"]
# # 06 · Shapes of deployment
#
# Lab 05's pod holds an API server, an embedder and a classifier. A third pod brings one of each, needed or not. Here
# each part gets a Deployment of its own, from the same image. After this notebook you can
#
# - run API server and runners apart, on plain Kubernetes, without an operator;
# - say what a runner's open port means, and close it;
# - find which part to scale, and see a new replica that gets no work;
# - tell what the API server reports when a runner is gone;
# - switch callers to a new release and back, give it a share of them, and let a program decide about it.
#
# **Needed:** labs 04 and 05, and the cluster. **Your time** (an estimate): 40 minutes. Apart 9, a port that runs
# code 6, which part to scale 7, who scales at night 4, a runner is gone 2, a release 9, drained 3. Two incidents wait
# after it: `%incident 06`.

# %% tags=["do"]
# %load_ext grader.magic
from labs.helpers.kube import ramp, release
from labs.helpers.lesson import claims, recall, timing
from labs.helpers.shapes import split
from labs.helpers.teaching.answers import measured

clock = timing.Clock()
print(split.lay_out())

# %% [markdown] tags=["why"]
# ## 1 · Apart (9 minutes)
#
# `bentoml serve` starts three kinds of processes. The image can also start each by itself: `start-http-server`, and
# `start-runner-server --runner-name=NAME`. Neither is in `bentoml --help`; the image's entry point knows them, and
# both take `--host` and `--port` as `serve` does. The API server learns where each runner is from
# `--depends=NAME=tcp://HOST:PORT`. (`--remote-runner`, the form of older versions, is today an option of the gRPC
# server only.) Each runner gets a Service of its own name, on port 3000. Write the API server's patch: its command,
# and where both runners are.

# %% tags=["do"] language="work" magic_args="split/api.yaml"
# apiVersion: apps/v1
# kind: Deployment
# metadata: {name: demo-text-intelligence}
# spec:
#   replicas: 1
#   template:
#     spec:
#       containers:
#         - name: server
#           args:
#             # TODO start-http-server on 0.0.0.0:3000, and --depends for both runners
#             - serve
#             # solution
#             - start-http-server
#             - --host=0.0.0.0
#             - --port=3000
#             - --depends=embeddingrunner=tcp://embeddingrunner:3000
#             - --depends=classifierrunner=tcp://classifierrunner:3000
#             # end
#           resources:
#             requests: {cpu: 100m, memory: 160Mi}
#             limits: {cpu: 500m, memory: 512Mi}

# %% [markdown] tags=["explain"]
# `tcp://` is the only form that works: with `http://` the server starts, and then `/readyz` and each request answer
# 500. The classifier's file is given. Read it; the embedder's is yours.

# %% tags=["see"] language="shell"
# sed -n '/^spec/,$p' split/classifier.yaml

# %% [markdown] tags=["explain"]
# A Deployment and a Service, each with the runner's name. Both runners have the Kubernetes label
# `serving-lab/part: runner`.

# %% tags=["do"] language="work" magic_args="split/embedder.yaml"
# apiVersion: apps/v1
# kind: Deployment
# metadata:
#   name: embeddingrunner
#   labels: {app.kubernetes.io/name: embeddingrunner, serving-lab/part: runner}
# spec:
#   replicas: 1
#   selector:
#     matchLabels: {app.kubernetes.io/name: embeddingrunner}
#   template:
#     metadata:
#       labels: {app.kubernetes.io/name: embeddingrunner, serving-lab/part: runner}
#     spec:
#       containers:
#         - name: runner
#           image: demo-text-intelligence # kustomization.yaml puts registry and digest
#           # TODO args: the runner's command, on 0.0.0.0:3000
#           ...
#           # solution
#           args: [start-runner-server, --runner-name=embeddingrunner,
#                  --host=0.0.0.0, --port=3000]
#           # end
#           ports:
#             - {name: runner, containerPort: 3000}
#           resources:
#             requests: {cpu: 100m, memory: 640Mi} # torch and MiniLM
#             limits: {cpu: 500m, memory: 1200Mi}
# ---
# apiVersion: v1
# kind: Service
# metadata:
#   name: embeddingrunner
#   labels: {app.kubernetes.io/name: embeddingrunner}
# spec:
#   # TODO the Service's selector: the embedder's pods
#   ...
#   # solution
#   selector: {app.kubernetes.io/name: embeddingrunner}
#   # end
#   ports:
#     - {name: runner, port: 3000, targetPort: runner}

# %% [markdown] tags=["why"]
# `runner.yaml` is the rest of both runners: lab 05's restrictions, the configuration, and probes. `kustomize` lays
# all of it over lab 05's `deploy/`, in a namespace of its own (`$SPLIT`): the service of lab 05 is not touched.

# %% tags=["do"]
split.kustomize("embedder.yaml", "classifier.yaml")

# %% tags=["do"] language="shell"
# # TODO apply the folder split, and wait for both runners:
# # kubectl -n $SPLIT rollout status
# ...
# # solution
# kubectl apply -k split
# kubectl -n $SPLIT rollout status deployment/embeddingrunner
# kubectl -n $SPLIT rollout status deployment/classifierrunner
# # end

# %% [markdown] tags=["predict"]
# Both runners are ready, and the API server's process runs. Its NetworkPolicy is the one of lab 05: clients in, DNS
# out.

# %% tags=["predict"]
# %%answer 06a
# Both runners are ready. What does the API server's /readyz say?
# a  200: its own process is up, and that is what readiness asks
# b  503: it cannot reach a runner, since its policy lets it ask DNS alone
# c  200, and each request for /classify gets 500
# TODO the letter of one of these, and why
...
# solution
"b: in one pod the runners were Unix sockets; now each call leaves the pod."
# end

# %% tags=["see"]
print(told := split.health())
measured("06a", "b" if "/readyz 503" in told else "c")

# %% [markdown] tags=["explain"]
# `/readyz` gives each runner one second and then says no. In one pod no call left the pod; now each request makes two
# that do. Let the API server's pods out to the runners' port. A rule for egress has the form of one for ingress, with
# `to:`.

# %% tags=["do"] language="work" magic_args="split/ask-runners.yaml"
# apiVersion: networking.k8s.io/v1
# kind: NetworkPolicy
# metadata: {name: ask-runners}
# spec:
#   podSelector:
#     matchLabels: {app.kubernetes.io/name: demo-text-intelligence}
#   policyTypes: [Egress]
#   # TODO egress: to pods with serving-lab/part: runner, TCP port 3000
#   egress: []
#   # solution
#   egress:
#     - to:
#         - podSelector:
#             matchLabels: {serving-lab/part: runner}
#       ports:
#         - {protocol: TCP, port: 3000}
#   # end

# %% tags=["do"]
split.kustomize("embedder.yaml", "classifier.yaml", "ask-runners.yaml")

# %% tags=["do"] language="shell"
# # TODO apply again, wait for the API server, and get pods -o wide
# ...
# # solution
# kubectl apply -k split
# kubectl -n $SPLIT rollout status deployment/demo-text-intelligence
# kubectl -n $SPLIT get pods -o wide
# # end

# %% tags=["see"]
split.start_client()
before = split.worked()
first = split.measure("as it is", people=4, seconds=2)
print("requests in the runners' pods:", before, "->", after := split.worked())
answered = first.goodput > 0 and first.lost == 0
claims.holds(answered, "The answers come by way of the runners' pods.")

# %% [markdown] tags=["explain"]
# One image, three Deployments, and the work is counted where it is done. This is what BentoML's operator Yatai made of
# a Bento; by hand it took a file for each part, one for what the runners share, and a policy.
#
# *A place to stop.*

# %% [markdown] tags=["why"]
# ## 2 · A port that runs code (6 minutes)
#
# A runner's port takes numbers and texts as **pickles**. Lab 01 showed what a pickle can do: loading it runs what it
# names. In one pod no one else could reach the sockets. Now a port is open. The next cell sends a harmless pickle,
# which makes an empty folder in the runner's `/tmp`, from two pods: a client, and a pod of another namespace.

# %% tags=["predict"]
# %%answer 06b
# A pod in another namespace sends a pickle of its own to the embedder's port 3000.
# a  nothing runs: the port takes requests of an API server alone
# b  nothing runs: another namespace is another network
# c  it runs in the embedder
# TODO the letter of one of these, and why
...
# solution
"c: no policy is about the runners yet, and the port asks no one who they are."
# end

# %% tags=["see"]
sent = split.send_pickle()
measured("06b", "c" if "it ran" in sent["a pod in another namespace"] else "b")

# %% [markdown] tags=["explain"]
# Each pod of the cluster could run code in your embedder (claim c42). (It is CVE-2025-32375; BentoML's answer is to
# keep the port to yourself.) Write two policies. The first selects *every* pod of the namespace and lets nothing in:
# **default deny**, for ingress alone, since a client must still send. The second lets in to the runners whom they
# need: the API server's pods. Policies only ever add; what the first denies, the second and lab 05's allow.

# %% tags=["do"] language="work" magic_args="split/networkpolicy.yaml"
# apiVersion: networking.k8s.io/v1
# kind: NetworkPolicy
# metadata: {name: nobody}
# spec:
#   podSelector: {} # every pod
#   # TODO policyTypes: no ingress for anyone
#   policyTypes: [Egress]
#   # solution
#   policyTypes: [Ingress]
#   # end
# ---
# apiVersion: networking.k8s.io/v1
# kind: NetworkPolicy
# metadata: {name: runners}
# spec:
#   podSelector:
#     matchLabels: {serving-lab/part: runner}
#   policyTypes: [Ingress, Egress] # a runner asks no one: no egress rule
#   # TODO ingress: from the API server's pods, TCP port 3000
#   ingress: []
#   # solution
#   ingress:
#     - from:
#         - podSelector:
#             matchLabels: {app.kubernetes.io/name: demo-text-intelligence}
#       ports:
#         - {protocol: TCP, port: 3000}
#   # end

# %% tags=["do"]
files = ["embedder.yaml", "classifier.yaml", "ask-runners.yaml", "networkpolicy.yaml"]
split.kustomize(*files)

# %% tags=["do"] language="shell"
# # TODO apply the folder again
# ...
# # solution
# kubectl apply -k split
# # end

# %% tags=["see"]
refused = split.send_pickle()
kept_out = "it ran" not in refused.values()
claims.holds(kept_out, "Neither pickle ran: the connection is dropped.")
print("and the API server:", split.health())

# %% [markdown] tags=["explain"]
# The senders wait in vain, and the API server is let in. A policy is a matter of the network: anyone who gets into the
# API server's pod is past it. So lab 05's restrictions hold for the runners as well.

# %% [markdown] tags=["why"]
# ## 3 · Which part to scale (7 minutes)
#
# Twenty people send long tickets. Each part has one replica and half a core. You may add one replica, to one part.

# %% tags=["predict"]
# %%answer 06c
# Twenty people, long tickets, one replica of each part. Which second replica gives the
# most answers a second?
# a  the API server's: all requests come in there
# b  the classifier's: it is the last step
# c  the embedder's: the work is there
# TODO the letter of one of these, and why
...
# solution
"c: a replica helps where work waits."
# end

# %% tags=["do"]
rows = [split.measure("one of each")]

# %% [markdown] tags=["explain"]
# Before that, another way: a larger pod instead of a second one. Kubernetes resizes a pod that *runs*, by its
# subresource `resize`; nothing starts again. Raise the limit, and leave the request.

# %% tags=["do"] language="shell"
# # the embedder's pod, by its label
# pod=$(kubectl -n $SPLIT get pods -l app.kubernetes.io/name=embeddingrunner -o name)
# # TODO kubectl -n $SPLIT patch $pod --subresource resize -p ...: a limit of one cpu
# ...
# # solution
# kubectl -n $SPLIT patch $pod --subresource resize \
#   -p '{"spec":{"containers":[{"name":"runner","resources":{"limits":{"cpu":"1"}}}]}}'
# # end

# %% tags=["see"]
rows.append(split.measure("embedder, one core"))
print(split.resized())
print(split.resize("500m"))

# %% [markdown] tags=["explain"]
# No restart, and a whole core for the one thread that computes. A second core would gain little: BentoML read the
# limit when it started, and the number of threads stays as it was then. The last line set the limit back to half a
# core. Now replicas; `measure` waits until they are ready.

# %% tags=["do"] language="shell"
# # TODO kubectl -n $SPLIT scale the API server's Deployment to 2
# ...
# # solution
# kubectl -n $SPLIT scale deployment/demo-text-intelligence --replicas=2
# # end

# %% tags=["do"]
rows.append(split.measure("API server x 2"))

# %% tags=["do"] language="shell"
# # TODO the API server back to 1, the classifier to 2
# ...
# # solution
# kubectl -n $SPLIT scale deployment/demo-text-intelligence --replicas=1
# kubectl -n $SPLIT scale deployment/classifierrunner --replicas=2
# # end

# %% tags=["see"]
rows.append(split.measure("classifier x 2"))

# %% [markdown] tags=["predict"]
# Now the embedder. The API server keeps its connections to a runner open for half an hour, and these twenty people made
# it open some twenty.

# %% tags=["predict"]
# %%answer 06d
# TODO how many of the connections lead to the embedder's second pod at first?
...
# solution
"0: connections that are open stay where they are."
# end

# %% tags=["do"] language="shell"
# # TODO the classifier back to 1, the embedder to 2
# ...
# # solution
# kubectl -n $SPLIT scale deployment/classifierrunner --replicas=1
# kubectl -n $SPLIT scale deployment/embeddingrunner --replicas=2
# # end

# %% tags=["see"]
split.settle()
print("connections to each pod:", opened := split.connections())
measured("06d", min(opened.values()))
rows.append(split.measure("embedder x 2"))

# %% [markdown] tags=["explain"]
# A Service chooses a pod when a *connection* is made (claim c44). Look at the shares in the row: either the new pod
# idles, or the API server has opened a connection or two since, and each of them carries one request at a time.
# Restart the API server, and all its connections are new.

# %% tags=["do"] language="shell"
# # TODO rollout restart of the API server, and rollout status
# ...
# # solution
# kubectl -n $SPLIT rollout restart deployment/demo-text-intelligence
# kubectl -n $SPLIT rollout status deployment/demo-text-intelligence
# # end

# %% tags=["see"]
rows.append(split.measure("embedder x 2, API new"))
measured("06c", split.helps(rows), rates=split.rates(rows))
split.draw(rows)

# %% [markdown] tags=["explain"]
# Compare the rows: each second replica costs a pod, and not each gives more answers. The embedder's gives the most
# (claim c43), once it gets its share. Write the second replica into the file, so that the next `apply` keeps it.

# %% tags=["do"] language="shell"
# # TODO with sed: replicas: 2 in split/embedder.yaml; then apply
# ...
# # solution
# sed -i 's/replicas: 1/replicas: 2/' split/embedder.yaml
# kubectl apply -k split
# # end

# %% [markdown] tags=["why"]
# And the GPU of lab 05? There the whole pod asked for one, classifier included. Now only the embedder asks. The patch
# needs no name: `split.place` lays it over the embedder's Deployment while a node has a (fake) GPU, and undoes it.

# %% tags=["do"] language="work" magic_args="split/gpu.yaml"
# spec:
#   template:
#     spec:
#       containers:
#         - name: runner
#           # TODO for this runner alone: a limit of 1 nvidia.com/gpu
#           ...
#           # solution
#           resources:
#             limits:
#               nvidia.com/gpu: 1
#           # end

# %% tags=["see"]
placed = split.place("split/gpu.yaml")
asks = [part for part, (_, what) in placed.items() if "nvidia" in what]
alone = asks == ["embedder"]
claims.holds(alone, "Of the three, only the embedder needs the node with the GPU.")

# %% [markdown] tags=["why"]
# ## 4 · Who scales at night (4 minutes)
#
# A **HorizontalPodAutoscaler** looks at the pods' CPU every 15 s and sets `replicas`. Its percentages are of what a
# pod *requests*, not of its limit, so a pod without a request is never scaled. Write one for whole pods, as lab 05 has
# them: one to four replicas of the Deployment `stable`, which section 6 makes.

# %% tags=["do"] language="work" magic_args="release/hpa.yaml"
# apiVersion: autoscaling/v2
# kind: HorizontalPodAutoscaler
# metadata: {name: stable}
# spec:
#   scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: stable}
#   # TODO minReplicas, maxReplicas; metrics: the Resource cpu, on average 70% used
#   ...
#   # solution
#   minReplicas: 1
#   maxReplicas: 4
#   metrics:
#     - type: Resource
#       resource: {name: cpu, target: {type: Utilization, averageUtilization: 70}}
#   # end
#   behavior:
#     scaleDown: {stabilizationWindowSeconds: 60}

# %% tags=["do"] language="shell"
# # TODO kubectl -n $SPLIT apply of it, --dry-run=server: checked, and nothing is kept
# ...
# # solution
# kubectl -n $SPLIT apply --dry-run=server -f release/hpa.yaml
# # end

# %% [markdown] tags=["predict"]
# Four requests a second, then 44, for pods of 0.4 cores. The first pod computes all the time then, and the autoscaler
# adds a second one, which takes half of the requests.

# %% tags=["predict"]
# %%answer 06e
# TODO what percent of its CPU does each of the two pods use then?
...
# solution
"95: half of the requests each, in smaller batches, which cost more."
# end

# %% tags=["see"]
seen = ramp.run(live=False)
measured("06e", ramp.used(seen, 2), measured_at=ramp.day_of(seen))
ramp.draw(seen)

# %% [markdown] tags=["explain"]
# This run was recorded, since it takes five minutes; `live=True` makes one with your file on your cluster. An
# autoscaler is for the next hour, not for the next minute: measuring, deciding and starting a model take their time.
# And CPU says that pods compute, not that people wait. With batching a busy pod works better the more wait for it, so
# another pod takes from its batches before it takes from its CPU (claims c07 and c45). Lab 08 scales by what waits.

# %% [markdown] tags=["why"]
# ## 5 · A runner is gone (2 minutes)
#
# Take the classifier away and ask the API server how it is.

# %% tags=["do"] language="shell"
# # TODO the classifier to 0, and wait until its pod is gone: kubectl wait --for=delete
# ...
# # solution
# kubectl -n $SPLIT scale deployment/classifierrunner --replicas=0
# kubectl -n $SPLIT wait --for=delete pod -l app.kubernetes.io/name=classifierrunner
# # end

# %% tags=["see"]
print(split.health())

# %% [markdown] tags=["explain"]
# `/livez` is 200: no restart. `/readyz` says no, in another way than before: where packets are *dropped* it is 503
# after a second, where the connection is *refused* (no pod behind the Service) it hangs until `traffic.timeout`, 15 s
# in your configuration and 60 s by default, and then says 500. Your probe waits 5 s at most, so the kubelet sees a
# failure either way.

# %% tags=["predict"]
# %%answer Q5
# One runner restarts again and again while the API server is up. What do you
# look at first?
# a  the number of the API server's replicas
# b  that runner's Deployment: its events, logs, memory and model
# c  the Service of the API server
# TODO the letter of one of these
...
# solution
"b"
# end

# %% tags=["do"] language="shell"
# # TODO the classifier back to 1, and rollout status
# ...
# # solution
# kubectl -n $SPLIT scale deployment/classifierrunner --replicas=1
# kubectl -n $SPLIT rollout status deployment/classifierrunner
# # end

# %% tags=["see"]
print(split.health())
print(split.rest())

# %% [markdown] tags=["explain"]
# The API server found its runner again by itself. The last line took these pods away: what follows needs the cores.

# %% [markdown] tags=["why"]
# ## 6 · A release (9 minutes)
#
# A new version works on your machine. Who finds out that it does not work in the cluster: all callers, a few of them,
# or a program that looks before they do? Two copies of your Deployment run side by side from here on, `stable` and
# `new`, in a namespace of their own (`$RELEASE`), each behind a Service of its name. A third Service leads to one of
# the two.

# %% tags=["do"]
print(release.prepare())

# %% [markdown] tags=["predict"]
# **Blue/green**: both versions run, and one word of the Service's selector says which one is asked. Eight callers keep
# their connections open, as clients with a connection pool do. You turn the selector from `stable` to `new`.

# %% tags=["predict"]
# %%answer 06r
# Eight callers have open connections to the Service. Its selector now names the new
# version. Where do their next requests go?
# a  to the new version: the Service sends each request to the pods that it selects
# b  half to each, until the old pods are gone
# c  to the old version: an open connection stays with its pod
# TODO the letter of one of these, and why
...
# solution
"c: a Service chooses a pod for a connection, not for a request."
# end

# %% tags=["do"]
kept = release.ask_service(kept=True)

# %% tags=["do"] language="shell"
# # TODO kubectl -n $RELEASE patch service demo-text-intelligence -p ...: its selector
# # serving-lab/release becomes new
# ...
# # solution
# kubectl -n $RELEASE patch service demo-text-intelligence \
#   -p '{"spec": {"selector": {"serving-lab/release": "new"}}}'
# # end

# %% tags=["see"]
with release.counting() as kept_open:
    print("kept connections:", kept.stop(after=4))
with release.counting() as opened:
    print("new connections: ", release.ask_service().stop(after=4))
print("answered by: kept", kept_open, "| new", opened)
measured("06r", "c" if kept_open["stable"] > 10 * kept_open["new"] else "a")

# %% [markdown] tags=["explain"]
# Callers with a new connection are at the new version at once. Callers who kept theirs do not notice (claim c46), and
# the way back is the same patch.

# %% tags=["do"] language="shell"
# # TODO the same patch, and the Service leads to stable again
# ...
# # solution
# kubectl -n $RELEASE patch service demo-text-intelligence \
#   -p '{"spec": {"selector": {"serving-lab/release": "stable"}}}'
# # end

# %% [markdown] tags=["explain"]
# Switching back takes the same second as switching. The price is room for two versions, and all callers meet the new
# one at once. The old pods must go on running until their last connection is closed.
#
# A **canary** gets a share instead. A Service cannot do that: it knows pods, not percentages. A gateway can: it ends
# the callers' connections and sends each *request* on. Kubernetes has the **Gateway API** for it: the platform team
# runs a Gateway, and you write an HTTPRoute in your namespace, with a weight for each Service.

# %% tags=["do"] language="work" magic_args="release/route.yaml"
# apiVersion: gateway.networking.k8s.io/v1
# kind: HTTPRoute
# metadata: {name: demo-text-intelligence}
# spec:
#   parentRefs: [{name: lab, namespace: gateway}]
#   hostnames: [HOST] # one gateway serves many: the next command puts your namespace here
#   rules:
#     - backendRefs:
#         # TODO two Services, stable and new, port 80, with weights 90 and 10: two lines
#         ...
#         # solution
#         - {name: stable, port: 80, weight: 90}
#         - {name: new, port: 80, weight: 10}
#         # end

# %% tags=["do"] language="shell"
# # TODO apply release/route.yaml in $RELEASE; sed puts $RELEASE.example for HOST
# ...
# # solution
# sed "s/HOST/$RELEASE.example/" release/route.yaml |
#   kubectl -n $RELEASE apply -f -
# # end

# %% tags=["see"]
release.share(seconds=10)

# %% [markdown] tags=["explain"]
# The share that you see is not the weight, and should not be: of 300 requests that fall by chance, one in ten is 30,
# give or take 10. The bar is Wilson's interval: the true shares with which this count would be no surprise. The same
# arithmetic decides below whether a release is bad, or was unlucky.

# %% [markdown] tags=["why"]
# The **promotion gate** is the program that looks first. It reads `/metrics` of every pod of both releases once a
# second, takes the *differences* of the counters, and asks the new pods for the labels of three known tickets. It
# compares two shares, new against stable, in the same seconds: requests that failed, and requests that were late.
#
# After each look it may promote, roll back or look again. That is a **sequential test**: it keeps what you promise
# however often it looks, which a p-value that is computed every second does not. You promise four numbers: a share of
# failures half a percentage point above stable's is fair, four points above it is bad; for each of the two shares, at
# most one fair release in a hundred is refused (**alpha**); of bad releases, at most two in a thousand are promoted
# (**beta**).

# %% tags=["do"] language="work" magic_args="release/gate.toml"
# # shares: 0.01 is one request in a hundred. [fair, bad]: how much above the stable one
# late = [0.02, 0.08]
# seconds = 150 # without a decision until then the release is rolled back
# # TODO errors = [fair, bad]; alpha: a fair one is refused; beta: a bad one promoted
# ...
# # solution
# errors = [0.005, 0.04] # half a percent is forgiven, four are not
# alpha = 0.01
# beta = 0.002 # a bad release costs more than a second try
# # end

# %% tags=["predict"]
# %%answer 06s
# The new release fails one request in twenty. It gets half of 36 requests a second.
# (How many failures would convince you? Each takes some twenty answers.)
# TODO after how many of its answers does the gate roll it back?
...
# solution
"180: nine failures, where one would be forgiven."
# end

# %% tags=["do"]
failing = release.try_release("errors", rules="release/gate.toml")

# %% tags=["see"]
measured("06s", failing.new.answered)

# %% [markdown] tags=["explain"]
# The callers paid for the decision with the requests that failed until then. Half of the traffic decides in seconds; a
# tenth of it needs five times as long, and costs the same number of failures. No request is lost by the switch itself.
#
# Now a release without a fault. The gate needs as much evidence to promote as to refuse.

# %% tags=["do"]
fine = release.try_release("", rules="release/gate.toml")

# %% tags=["see"]
print("of the failing release the gate said:", failing.what)
print("of the good one:", fine.what, "after", fine.new.answered, "answers")

# %% [markdown] tags=["explain"]
# Try the others when you have time: `release.try_release("crash")`, `"labels"` (each label is a different one; the
# metrics look perfect), `"slow"` (one request in eight takes 300 ms more). What the gate does not see: a release that
# is worse for a kind of text that no one sends during the test, and one that gets slow after an hour.

# %% [markdown] tags=["why"]
# ## 7 · Drained (3 minutes)
#
# Nodes are upgraded, and pods move, without a release. `bench drain` makes a copy of your Deployment with two
# replicas, keeps asking it while its pods are replaced, and counts; it does so ten times, or as often as `--runs`
# says.

# %% tags=["do"] language="shell"
# # TODO lab bench drain, one run (the kit's `lab` is at $LAB_KIT/lab)
# ...
# # solution
# "$LAB_KIT/lab" bench drain --runs 1
# # end

# %% tags=["see"] language="shell"
# cat bench/drain.csv

# %% [markdown] tags=["explain"]
# Four steps, in this order, keep the losses at zero: the pod becomes unready and leaves the Service, `preStop` gives
# 15 s in which what is under way ends, then the API server stops, then the runners. Take `preStop` away and you get
# lab 05's losses.

# %% tags=["do"]
print(release.rest())

# %% tags=["check"]
# %grade sc8

# %% [markdown] tags=["explain"]
# `sc8` rolled out your folder in a namespace of its own, counted in each runner's pods what was done there, and sent
# pickles to both runners from six places.
#
# ## To keep
# - Scale the part where work waits, and look at the share that each replica gets.
# - A runner's port is a way to run code: default deny, and one allowance.
# - A connection chooses its pod once. What is kept open does not see new replicas.

# %% tags=["predict"]
# %%answer 06x
# The embedder has a third pod, and it is idle. What is the first thing to try?
# a  a fourth pod
# b  new connections: restart the API server
# c  a larger max_batch_size
# TODO the letter of one of these
...
# solution
"b"
# end

# %% tags=["predict"]
# %%answer 06y
# A policy for the runners has one rule, with a port and without `from`. Who gets in?
# a  no one: nobody is named
# b  pods of the same namespace
# c  everyone
# TODO the letter of one of these
...
# solution
"c"
# end

# %% tags=["predict"]
# %%answer 06z
# /readyz of the API server hangs and then says 500; all runners' pods are Ready. Where
# do you look?
# a  at the memory of the API server
# b  at the runners' Services: is a pod behind each of them?
# c  at the batching settings
# TODO the letter of one of these
...
# solution
"b"
# end

# %% tags=["see"]
recall.recall("Q5", "06x", "06y", "06z")
print(f"The machine has worked {clock.seconds:.0f} s for this lab.")

# %% [markdown] tags=["explain"]
# ## What is open
# The embedder has two replicas, and each takes what it is sent. How many texts should it compute at once, and how
# long may one wait for that? Lab 07 measures it.
