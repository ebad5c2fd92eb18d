# ruff: noqa
# Cells for lab 06, sections "a release" and "drained": split06 merges them. Imports that they need:
#   from labs.helpers.kube import release
# Front matter: inputs: labs/helpers/kube, grader/world (gate, canary, callers, planted, drain), manifests/gateway;
# the front matter's custom_cell_magics has work and shell. Entries for grader/questions.toml are at the end.
# Machine's part, measured on slot 6 beside four others' work: prepare 16 s, selector 20 s, share 25 s, errors 45 s,
# good 50 s, one drained run 70 s: 3 min 45 s in all.

# %% [markdown] tags=["why"]
# ## A release (12 minutes)
#
# A new version works on your machine. Who finds out that it does not work in the cluster: all callers, a few of them,
# or a program that looks before they do? Two copies of your Deployment run side by side from here on, `stable` and
# `new`, in a namespace of their own, each behind a Service of its name. A third Service leads to one of the two.

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
# # TODO kubectl patch service demo-text-intelligence in $NAMESPACE-release: its selector serving-lab/release becomes new
# ...
# # solution
# kubectl -n $NAMESPACE-release patch service demo-text-intelligence \
#   -p '{"spec": {"selector": {"serving-lab/release": "new"}}}'
# # end

# %% tags=["see"]
with release.counting() as kept_open:
    print("kept connections:", kept.stop(after=5))
with release.counting() as opened:
    print("new connections: ", release.ask_service().stop(after=5))
print("answered by: kept", kept_open, "| new", opened)
measured("06r", "c" if kept_open["stable"] > 10 * kept_open["new"] else "a")

# %% tags=["do"] language="shell"
# # TODO the same patch, and the Service leads to stable again
# ...
# # solution
# kubectl -n $NAMESPACE-release patch service demo-text-intelligence \
#   -p '{"spec": {"selector": {"serving-lab/release": "stable"}}}'
# # end

# %% [markdown] tags=["explain"]
# Switching back takes the same second as switching. The price is room for two versions, and all callers meet the new
# one at once. The old pods must go on running until their last connection is closed.
#
# A **canary** gets a share instead. A Service cannot do that: it knows pods, not percentages. A gateway can: it ends
# the callers' connections and sends each *request* on. Kubernetes' own words for it are the **Gateway API**: the
# platform's people run a Gateway, and you write an HTTPRoute in your namespace, with a weight for each Service.

# %% tags=["do"] language="work" magic_args="deploy/route.yaml"
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
# # TODO apply deploy/route.yaml in $NAMESPACE-release; sed puts $NAMESPACE-release.example for HOST
# ...
# # solution
# sed "s/HOST/$NAMESPACE-release.example/" deploy/route.yaml |
#   kubectl -n $NAMESPACE-release apply -f -
# # end

# %% tags=["see"]
time.sleep(2)  # until the gateway has taken it
release.share(seconds=12)

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
# however often it looks, which a p-value that is computed every second does not. You promise four numbers.

# %% tags=["do"] language="work" magic_args="deploy/gate.toml"
# # shares: 0.01 is one request in a hundred. [fair, bad]: how much above the stable one
# late = [0.02, 0.08]
# seconds = 150 # without a decision until then the release is rolled back
# # TODO errors = [fair, bad]; alpha: a fair release is refused; beta: a bad one is promoted
# ...
# # solution
# errors = [0.005, 0.04] # half a percent is forgiven, four are not
# alpha = 0.01
# beta = 0.002 # a bad release costs more than a second try
# # end

# %% tags=["predict"]
# %%answer 06s
# The new release fails one request in twenty. It gets half of 24 requests a second.
# TODO after how many of its answers does the gate roll it back?
...
# solution
150
# end

# %% tags=["do"]
failing = release.try_release("errors", rules="deploy/gate.toml")

# %% tags=["see"]
measured("06s", failing.new.answered)

# %% [markdown] tags=["explain"]
# The callers paid for the decision with the requests that failed until then. Half of the traffic decides in seconds; a
# tenth of it needs five times as long, and costs the same number of failures. No request is lost by the switch itself.
#
# Now a release without a fault. The gate needs as much evidence to promote as to refuse.

# %% tags=["do"]
fine = release.try_release("", rules="deploy/gate.toml")

# %% tags=["see"]
told = f"The gate said: {fine.what}, after {fine.new.answered} answers."
claims.holds(fine.what == "promote" and failing.what == "roll back", told)

# %% [markdown] tags=["explain"]
# Try the others when you have time: `release.try_release("crash")`, `"labels"` (each label is another one; the metrics
# look perfect), `"slow"` (one request in eight takes 300 ms more). What the gate does not see: a release that is worse
# for a kind of text that nobody sends meanwhile, and one that gets slow after an hour.

# %% [markdown] tags=["why"]
# ## Drained (4 minutes)
#
# Nodes are upgraded, and pods move, without a release. The next command makes a copy of your Deployment with two
# replicas, keeps asking it while its pods are replaced, and counts.

# %% tags=["do"] language="shell"
# # TODO ./lab bench drain, one run
# ...
# # solution
# ./lab bench drain --runs 1
# # end

# %% tags=["explain"] language="shell"
# cat bench/drain.csv

# %% [markdown] tags=["explain"]
# Four things in a row make the zero: the pod becomes unready and leaves the Service, `preStop` gives 15 s in which
# what is under way ends, then the API server stops, then the runners. Take `preStop` away and you get lab 05's losses.

# %% tags=["do"]
print(release.rest())

# ---- grader/questions.toml
# [06r]
# kind = "choice"
# asks = "Eight callers have open connections to the Service. Its selector now names the new version. Where do their next requests go?"
# option.a = { is = "to the new version: the Service sends each request to the pods that it selects", shows = "a Service is thought to route requests; it chooses a pod when a connection is opened" }
# option.b = { is = "half to each, until the old pods are gone", shows = "a selector is thought to be taken over gradually" }
# option.c = { is = "to the old version: an open connection stays with its pod" }
# [06s]
# kind = "number"; unit = "answers"; near = { factor = 2 }
# explanation: With one failure in twenty, the bet against "at most half a percent more" wins about 0.04 a request, and it has to
#   win log(1 / alpha) = 4.6, so some 120 to 250 answers. Twice the failures need a third of them.
