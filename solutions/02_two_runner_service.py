# ---
# jupyter:
#   jupytext: {custom_cell_magics: "work,shell"}
#   kernelspec: {name: python3, display_name: Python 3 (ipykernel), language: python}
#   lab: {id: "02", minutes: 40, grades: [sc2], needs: [],
#         inputs: [labs/helpers/service],
#         gives: [service/limits.py, service/guard.py, service/frame.py, service/contract.py,
#                 service/bentoml_configuration.yml]}
# ---

# %% [markdown] tags=["why"]
# # 02 · The two-runner service
#
# Two models are in a store, and nothing can ask a folder. Now they get a server: one process that listens, and for
# each model a worker process of its own, a **runner**. After this notebook you can
#
# - write such a service from an empty folder, serve it and ask it with `curl`;
# - say what a missing signature costs, and who reads signatures at all;
# - make a service hang with one good request, and write the class that cannot be made to;
# - say where a request spends its time and where many of them wait, from the service's own numbers;
# - decide which requests to refuse, and find that promise in its OpenAPI file.
#
# **Needed:** lab 01's store, this kernel. **Your time** (an estimate): 40 minutes. From an empty folder 9, what
# nobody tries in a demo 7, yours 10, one request's way 7, batching 4, the check and three questions 3. **The
# machine's time** is counted and shown at the end. Two incidents wait after it: `%incident 02`.

# %% tags=["do"]
# %load_ext grader.magic
import sys

import bentoml
import httpx

from labs.helpers.lesson import recall, timing
from labs.helpers.service import batches, servers, traces, workers
from labs.helpers.store import models
from labs.helpers.teaching.answers import measured

sys.path.insert(0, "service")
clock = timing.Clock()

# %% [markdown] tags=["why"]
# ## 1 · From an empty folder (9 minutes)
#
# A service is one Python file. It needs three things: runners, a `Service` that holds them, and a function for each
# address that callers may ask. `to_runner()` makes a runner from a model in the store, and the runner then has the
# model's methods. What goes in and comes out is described by **IO descriptors**: here JSON, twice.
#
# First bring back the first try of lab 01, the models that were saved by name and object alone. Lab 01 said that
# their signatures are missing. Here you see what that is worth.

# %% tags=["do"]
for name in ("embedder", "classifier"):
    models.save_plain(f"demo_{name}", f"first_{name}")
print(*sorted(model.tag.name for model in bentoml.models.list()))

# %% [markdown] tags=["why"]
# This is the form in which the course module writes its service: all texts of a request are one call. The two models
# and the three calls (`encode`; `predict` and `predict_proba` of its rows) are yours. `predict_proba` gives three
# scores a text; the highest is the label's.

# %% tags=["do"]
# %%work first/service.py
"""POST /classify {"texts": [...]}: two runners from the store."""

import bentoml
from bentoml.io import JSON

# TODO models.get first_embedder, first_classifier; .to_runner(name=...) of each
embedder = classifier = ...
# solution
embedder = bentoml.models.get("first_embedder").to_runner(name="embeddingrunner")
classifier = bentoml.models.get("first_classifier").to_runner(name="classifierrunner")
# end
# TODO a bentoml.legacy.Service called "first", with a list of both runners
svc = ...
# solution
svc = bentoml.legacy.Service("first", runners=[embedder, classifier])
# end


@svc.api(input=JSON(), output=JSON(), route="/classify")
async def classify(request):
    texts = request.get("texts", [])
    # TODO no list: answer an object with an error; no texts: two empty lists
    ...
    # solution
    if not isinstance(texts, list):
        return {"error": "texts must be a list"}
    if not texts:
        return {"labels": [], "scores": []}
    # end
    # TODO await embedder.encode.async_run(texts), two calls of its rows; highest scores
    ...
    # solution
    rows = await embedder.encode.async_run(texts)
    labels = await classifier.predict.async_run(rows)
    scores = await classifier.predict_proba.async_run(rows)
    return {"labels": labels.tolist(), "scores": scores.max(axis=1).round(4).tolist()}
    # end


# %% tags=["do"] language="work" magic_args="first/small.yml"
# version: 1
# runners:
#   # TODO batching: enabled, max_batch_size 4, max_latency_ms 60000; resources: cpu 1
#   ...
#   # solution
#   batching:
#     enabled: true
#     max_batch_size: 4 # items that one call of the model may have
#     max_latency_ms: 60000 # a request that has waited so long is given up with a 503
#   resources:
#     cpu: 1 # one process a runner; BentoML's own choice for some models is one a core
#   # end

# %% [markdown] tags=["explain"]
# The second file is a configuration: BentoML reads the one that the variable `BENTOML_CONFIG` names. A batch of 4 is
# small, and chosen for part 2. `max_latency_ms` is often taken for a time to wait for other requests; lab 07 measures
# it.

# %% [markdown] tags=["predict"]
# Serve it: `bentoml serve MODULE:VARIABLE` in the file's folder, with `--port "$PORT"`, a free port that `%%shell`
# chooses. Before you do: the store says `__call__` for the embedder and `predict` for the classifier.

# %% tags=["predict"]
# %%answer 02d
# The service asks the embedder to encode, and the store's signatures do not name that
# method. What happens?
# a  the server does not start
# b  it starts and /readyz says 200; the first request gets a 500
# c  it answers: BentoML finds the method on the object
# TODO the letter of one of these, and why
...
# solution
"b: nothing calls the method before someone asks."
# end

# %% tags=["do"] language="shell" magic_args="--serve first"
# export BENTOML_CONFIG=$PWD/first/small.yml
# # TODO go to the folder first and serve service:svc on $PORT
# ...
# # solution
# cd first && bentoml serve service:svc --port "$PORT"
# # end

# %% tags=["do"] language="shell"
# # TODO curl -i /readyz; then POST '{"texts": ["Where is my parcel?"]}' to /classify
# ...
# # solution
# curl -s -w 'readyz: %{http_code}\n' "127.0.0.1:$PORT/readyz"
# curl -s -w '\nclassify: %{http_code}\n' -H 'content-type: application/json' \
#   -d '{"texts": ["Where is my parcel?"]}' "127.0.0.1:$PORT/classify"
# # end

# %% tags=["see", "shows-traceback"]
first = servers.typed("first")
parcel = {"texts": ["Where is my parcel?"]}
said = [
    httpx.get(f"{first.url}/readyz"),
    httpx.post(f"{first.url}/classify", json=parcel),
]
codes = tuple(answer.status_code for answer in said)
measured("02d", {(200, 500): "b", (200, 200): "c"}.get(codes, "a"))
# %log first 3

# %% [markdown] tags=["explain"]
# The `AttributeError` in the log is the reason; the caller only hears that something went wrong. This is where the
# signatures of lab 01 count: **`to_runner()` reads them, and nothing else does.** Have the service use the models
# that your script saved, by editing the file in place, and serve it again. (If its answer is wrong, edit the file:
# the cell above would refuse to overwrite it, and say how it can.)

# %% tags=["do"] language="shell"
# # TODO with sed -i: first_ becomes demo_ in first/service.py; then grep for models.get
# ...
# # solution
# sed -i 's/"first_/"demo_/' first/service.py
# grep models.get first/service.py
# # end

# %% tags=["do"] language="shell" magic_args="--serve first"
# export BENTOML_CONFIG=$PWD/first/small.yml
# # TODO as before
# ...
# # solution
# cd first && bentoml serve service:svc --port "$PORT"
# # end

# %% tags=["see"] language="shell"
# # TODO ask for two texts of your own with curl
# ...
# # solution
# curl -s -w '\n%{http_code}\n' -H 'content-type: application/json' \
#   -d '{"texts": ["I was charged twice", "Where is my parcel?"]}' \
#   "127.0.0.1:$PORT/classify"
# # end

# %% [markdown] tags=["explain"]
# Two texts, two labels, two scores: from an empty folder, with one file. The same `curl` shows the same when a server
# that you forgot in another terminal holds the port, so `%%shell --serve` checks which process owns the port before
# it says that the server is ready.
#
# *A place to stop. To go on later, run the cells above again.*

# %% [markdown] tags=["why"]
# ## 2 · What nobody tries in a demo (7 minutes)
#
# Now callers who make mistakes: six bad requests, and the answers that they get. Ask of each status what a program
# would do that looks at nothing else.

# %% tags=["see"]
first = servers.typed("first")
stock = servers.send_bad(first)
for what, said in stock.items():
    print(f"{what:<24}{said}")
promised = httpx.get(f"{first.url}/docs.json").json()["paths"]["/classify"]["post"]
print("its OpenAPI file promises", *promised["responses"])

# %% [markdown] tags=["explain"]
# A 500 says "my fault": it pages the person on call, and invites the caller to send the same again. For bad input it
# is wrong. Where you see a 200, the service has classified an empty text, or a body sent as text/plain. A bare string
# breaks every client that reads `body["error"]`, and the OpenAPI file promises an object there. And "no answer" is an
# exception inside a runner: for a batched method it never reaches the caller, who gets a 504 after a minute. So
# reject anything that could raise an exception there before it reaches the runner. The remedy comes in part 3.

# %% [markdown] tags=["predict"]
# And a good request, of ten texts. The configuration says `max_batch_size: 4`. Neither it nor the documentation says
# anything about requests that hold more texts than that.

# %% tags=["predict"]
# %%answer 02c
# Ten texts in one request, at a max_batch_size of 4: what does the module's service
# answer, and what does /readyz say then?
# a  it cuts the ten into 4, 4 and 2 and answers; /readyz says 200
# b  it refuses them with a status from 400 to 599; /readyz says 200
# c  no answer, not even to the next request; /readyz says 200
# d  no answer, and /readyz says 503
# TODO the letter of one of these, and why
...
# solution
"c: a call of ten never fits into a batch of four."
# end

# %% tags=["see"]
ten = {"texts": [f"where is parcel {i}" for i in range(10)]}
ask = httpx.Client(base_url=first.url, timeout=1.5)
said = {
    "ten texts": servers.tell(lambda: ask.post("/classify", json=ten)),
    "one text, later": servers.tell(lambda: ask.post("/classify", json=parcel)),
    "/readyz": servers.tell(lambda: ask.get("/readyz")),
}
for what, answer in said.items():
    print(f"{what + ':':<18}{answer}")
measured("02c", servers.locked_letter(said))

# %% tags=["see"]
print("1.5 s after a SIGTERM, still there:", servers.outlives(first, 1.5))
# %stop first
for model in bentoml.models.list():
    if model.tag.name.startswith("first_"):
        bentoml.models.delete(model.tag)

# %% [markdown] tags=["explain"]
# Asked to end, it stayed, and had to be killed. Inside, BentoML's dispatcher tries to divide a call that does not fit
# into what is left of a batch; dividing raises an exception in the wrong place, and a lock is never given back
# (claims c11 and c12). Ten texts at a size of 4 do it at once. At the default of 100 it takes several callers at the
# same moment, so it works in every demo. Signatures do not help: they say that calls may be joined, and that is what
# fails.

# %% [markdown] tags=["why"]
# ## 3 · Yours (10 minutes)
#
# A call that is **one item** can never be divided. So the class that runs in the runner becomes yours: a
# `bentoml.legacy.Runnable`. BentoML makes one in each runner process (`__init__`: open the model, once, and move the
# encoder to the device with `.to(device())`) and calls its methods with a *list of items*. Here an item is all the
# texts of one request. The decorator `@bentoml.legacy.Runnable.method` says of a method whether it is `batchable`
# and along which `batch_dim`. It now says what the signature said, and the store's signatures are not read any more.

# %% tags=["do"]
# %%work service/runnable.py
"""The classes that run inside the runners. One request is one item."""

import os
from itertools import accumulate, pairwise

import bentoml

# A thread that waits must not spin. OpenMP reads this when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def device():
    import torch  # here, since the API server's process imports this file, too

    return "cuda" if torch.cuda.is_available() else "cpu"


def each_item(items, compute):
    """Compute all items in one call; cut the result into one array an item."""
    # TODO one list with the rows of all items, and compute(...) of it
    rows = ...
    # solution
    rows = compute([row for item in items for row in item])
    # end
    # TODO cut the rows again: as many for each item as it has (accumulate, pairwise)
    ...
    # solution
    cuts = accumulate(map(len, items), initial=0)
    return [rows[start:end] for start, end in pairwise(cuts)]
    # end


class EmbeddingRunnable(bentoml.legacy.Runnable):
    SUPPORTED_RESOURCES = ("nvidia.com/gpu", "cpu")
    SUPPORTS_CPU_MULTI_THREADING = True

    # TODO __init__(self, tag): picklable_model.load_model; encode(self, items)
    ...

    # solution
    def __init__(self, tag):
        self.encoder = bentoml.picklable_model.load_model(tag).to(device())

    @bentoml.legacy.Runnable.method(batchable=True, batch_dim=0)
    def encode(self, items):
        return each_item(items, self.encoder.encode)

    # end


class ClassifierRunnable(bentoml.legacy.Runnable):
    SUPPORTED_RESOURCES = ("cpu",)
    SUPPORTS_CPU_MULTI_THREADING = True

    # TODO the same with sklearn.load_model and predict_proba
    ...

    # solution
    def __init__(self, tag):
        self.classifier = bentoml.sklearn.load_model(tag)

    @bentoml.legacy.Runnable.method(batchable=True, batch_dim=0)
    def predict_proba(self, items):
        return each_item(items, self.classifier.predict_proba)

    # end


# %% [markdown] tags=["why"]
# Against bad input four files are given: what a request may be (`limits.py`), the layer before your function that
# refuses the rest (`guard.py`), which models are opened (`frame.py`), and the OpenAPI file with every status that is
# really answered (`contract.py`). Look at the limits and at the words that callers get.

# %% tags=["see"] language="shell"
# grep -n '^MAX_' service/limits.py
# sed -n '/^STATUS/,/^}/p' service/limits.py

# %% [markdown] tags=["why"]
# The file that uses all of it is yours: prepare as in training, ask one runner, ask the other, name the labels.

# %% tags=["do"]
# %%work service/service.py
"""Ticket triage: POST /classify {"texts": [...]} -> {"labels": [...], "scores": [...]}.

One label and one score for each text.
"""

from bentoml.io import JSON
from bentoml.legacy import Runner
from contract import DescribedService
from frame import count_labels, open_models, protect
from preprocess import prepare
from runnable import ClassifierRunnable, EmbeddingRunnable

models = open_models()


def runner(runnable, name, model):
    """A worker process: the class that it runs, its name, the model that it opens."""
    tag = {"tag": str(model.tag)}
    return Runner(runnable, name=name, models=[model], runnable_init_params=tag)


# TODO the runners embeddingrunner and classifierrunner: the class, name, model of each
embedder = classifier = ...
# solution
embedder = runner(EmbeddingRunnable, "embeddingrunner", models.embedder)
classifier = runner(ClassifierRunnable, "classifierrunner", models.classifier)
# end

# TODO svc, a DescribedService called demo_text_intelligence; then protect(svc, models)
svc = ...
# solution
svc = DescribedService("demo_text_intelligence", runners=[embedder, classifier])
protect(svc, models)
# end


@svc.api(input=JSON(), output=JSON(), route="/classify")
async def classify(request):
    # TODO no texts: empty lists; else await encode of [one item], then predict_proba
    scores = labels = ...
    # solution
    if not request["texts"]:
        return {"labels": [], "scores": []}
    (vectors,) = await embedder.encode.async_run([prepare(request["texts"])])
    (scores,) = await classifier.predict_proba.async_run([vectors])
    labels = [models.classes[best] for best in scores.argmax(axis=1)]
    # end
    count_labels(labels)
    return {"labels": labels, "scores": scores.max(axis=1).tolist()}


# %% [markdown] tags=["explain"]
# `open_models` looks up the two tags and loads nothing: the runners load. `await` lets the one API process take the
# next request while a runner computes. `models.classes` has the names of the columns. The runners' names are in small
# letters because a configuration finds a runner by its name, and BentoML looks some keys up by the name as you wrote
# it and others by the name in small letters.

# %% [markdown] tags=["why"]
# Serve it with the same batch size. In addition every process notes what it does and when, for part 4. One API
# process is enough here; BentoML's own choice is one a core.

# %% tags=["do"]
collector = traces.Collector()
servers.write_config(
    "tryout/traced.yml", servers.batching(4, tracing=collector.config())
)

# %% tags=["do"] language="shell" magic_args="--serve triage"
# export BENTOML_CONFIG=$PWD/tryout/traced.yml OTEL_BSP_SCHEDULE_DELAY=100
# # TODO serve service:svc of the folder service, with --api-workers 1
# ...
# # solution
# cd service && bentoml serve service:svc --port "$PORT" --api-workers 1
# # end

# %% tags=["do"] language="shell"
# # TODO curl -i with a text that is a number: {"texts": [7]}
# ...
# # solution
# curl -s -i -H 'content-type: application/json' -d '{"texts": [7]}' \
#   "127.0.0.1:$PORT/classify"
# # end

# %% tags=["see"]
server = servers.typed("triage")
client = httpx.Client(base_url=server.url, timeout=10)
guarded = servers.send_bad(server)
for what, said in stock.items():
    print(f"{what}\n    the first  {said}\n    yours      {guarded[what]}")
print(
    "ten texts\n    yours     ",
    servers.tell(lambda: client.post("/classify", json=ten)),
)
promised = client.get("/docs.json").json()["paths"]["/classify"]["post"]["responses"]
print("your OpenAPI file promises", *promised)

# %% [markdown] tags=["explain"]
# Each mistake is named, in one form, with a status from 400 to 499, and the OpenAPI file (`/docs.json`) promises no
# other. The ten texts are answered at the same batch size, since a request is one item. (No answer? Then `async_run`
# got the texts, and not a list with the texts as its one item.) The price: `max_batch_size` counts requests now, not
# texts, so `limits.py` must bound the texts of a request. The headers of your `curl -i` name the versions that
# answered.
#
# *A place to stop: both files are kept.*

# %% [markdown] tags=["why"]
# ## 4 · One request's way (7 minutes)
#
# You wrote two files and started one command. Ask the operating system what runs now.

# %% tags=["see"]
workers.draw_processes(server)

# %% [markdown] tags=["explain"]
# The `api` process runs your function and holds no model. Each runner opened its model once and answers the API
# process through a Unix socket (a file that two processes of one machine talk through). It unpickles what it reads
# there, so nobody else may reach that socket. Two processes (claim c18) do not mean that one survives the other: in a
# pod, a runner that dies takes the server with it (`docs/faults.md` has the measurement).

# %% tags=["predict"]
# %%answer 02a
# TODO which share of a request's time does the embedding runner take, in %?
...
# solution
"60: MiniLM computes most, and there are ways between processes."
# end

# %% tags=["see"]
two = {"texts": ["I was charged twice", "Where is my parcel?"]}
ways = [collector.way(lambda: client.post("/classify", json=two)) for _ in range(5)]
middle = sorted(ways, key=lambda way: way[0].ms)[2]
print(
    "five requests took",
    *(f"{way[0].ms:.0f}" for way in ways),
    "ms; drawn is the middle one",
)
share = traces.parts(middle)["embeddingrunner"] / sum(traces.parts(middle).values())
measured("02a", 100 * share)
traces.draw_waterfall(middle)

# %% [markdown] tags=["explain"]
# How it was measured: each process notes when it began and ended a step, by the machine's one clock, and sends the
# notes on (**OpenTelemetry**; a request's notes together are its **trace**). What is left of the hatched bars is
# packing texts and numbers, two trips through a socket, and the dispatcher (the part of a runner that makes batches).

# %% [markdown] tags=["predict"]
# That was one caller. Now sixteen at once. You may scale one thing; which one, and what would you read before?

# %% tags=["predict"]
# %%answer P1
# Sixteen callers, and answers get slow: what do you scale first, the API server, the
# embedding runner or the classifier?
# a  the API server
# b  the embedding runner
# c  the classifier
# TODO the letter of one of these, and why
...
# solution
"b, if the requests wait there: I read how many are in each process alone."
# end

# %% tags=["see"]
inside = servers.spike(server, two["texts"], callers=16)
print("16 callers, each asks again as soon as it has an answer.")
print("Where their requests are, on average over two seconds:")
for who, requests in inside.items():
    print(f"  {who:<18}{requests:5.1f} requests  {'#' * round(2 * requests)}")
measured("P1", dict(zip(inside, "abc", strict=True))[max(inside, key=inside.get)])

# %% [markdown] tags=["explain"]
# The gauges are BentoML's own, from `/metrics`. Read as they come they mislead: every request is inside the API
# server, also while a runner computes it, so that gauge is always the largest. The bars are made disjoint: what is in
# a runner is taken off the API server's count. There is no gauge for a queue's length. A request in a runner is
# computed or waits there; one in the API server alone is on its way, or waits for one of the 16 connections that it
# opens (claim c17).

# %% [markdown] tags=["why"]
# ## 5 · Why batching helps (4 minutes)
#
# A runner may put what waits into one call. What a larger call gains depends on the model; whether a call gets larger
# depends on how many wait (claim c04). The first half needs no server, so ask the model. `torch` gets one thread, as
# in the runner.

# %% tags=["predict"]
# %%answer 02b
# TODO a text alone costs 100 %. What does a text cost among 32, in %?
...
# solution
"50: the fixed part of a call is shared."
# end

# %% tags=["see"]
import torch
from preprocess import prepare
from tickets import held_out

torch.set_num_threads(1)
encoder = servers.load_model("demo_embedder:latest")
tickets = prepare([text for text, _ in held_out(32)])
runs = batches.time_calls(encoder.encode, tickets, (1, 8, 32), budget=2.5)
measured("02b", batches.share_of_alone(runs))
batches.draw_cost(runs)

# %% [markdown] tags=["why"]
# Batches mix requests of people who do not know each other (a label stays what it is: claim c34). The texts of one
# call are padded to the longest. What does one long ticket do to seven short ones?

# %% tags=["see"]
short = ["where is my parcel"] * 8
long = (" ".join(tickets) * 2)[:2000]
calls = {"alone": short, "among": [*short[:7], long], "long": [long]}
took = {
    what: batches.median_ms(lambda texts=texts: encoder.encode(texts), 3)
    for what, texts in calls.items()
}
batches.draw_long(**took)

# %% [markdown] tags=["explain"]
# Padding is computed like text. So `limits.py` bounds the length of a text, and a service whose texts differ much in
# length sorts them before it makes batches.

# %% [markdown] tags=["why"]
# ## 6 · The check (2 minutes)
#
# `sc2` serves a copy of `service/` on a port of its own, with texts that nobody has seen, many callers and bad ones,
# and asks the saved models the same. It takes some twenty seconds. (While you edit `service.py`, `bentoml serve
# --reload` starts all processes again after each change of a file, as the course module says (claim c19; not in a
# folder with a space in its path: c20); the models are loaded again, too.)

# %% tags=["check"]
# %stop triage
# %grade sc2

# %% [markdown] tags=["explain"]
# Most of these checks are for mistakes with which two texts still get two labels and two scores.
#
# ## To keep
# - `to_runner()` reads the store's signatures; a Runnable's decorator says the same itself.
# - One request is one item: then no call is ever divided, and no request can lock a runner.
# - Read where requests wait before you scale anything, in counts that do not overlap.

# %% tags=["predict"]
# %%answer 02x
# In lab 01 you gave encode a signature. Your runnable.py is served. You now delete the
# signature from the store's model.yaml. What changes?
# a  encode is gone, as in part 1
# b  nothing: the decorator says what may be called and batched
# c  calls are no longer batched
# TODO the letter of one of these
...
# solution
"b"
# end

# %% tags=["predict"]
# %%answer 02y
# A service answers 200 on /readyz, and every request to /classify hangs. What do you
# look at first?
# a  whether a request had more items than max_batch_size
# b  the readiness probe: it must be wrong
# c  the number of API workers
# TODO the letter of one of these
...
# solution
"a"
# end

# %% tags=["predict"]
# %%answer 02z
# The gauges say 15 requests inside the API server and 13 inside the embedding runner.
# How many wait for the API server itself?
# a  15
# b  2
# c  28
# TODO the letter of one of these
...
# solution
"b"
# end

# %% tags=["see"]
recall.recall("02x", "02y", "02z")
print(f"This notebook took {clock.seconds:.0f} s of this machine's time.")

# %% [markdown] tags=["explain"]
# ## What is open
# It runs here, from this folder, with this store, in this environment. A colleague asks for it, for another machine.
# Look at `work/`: notebooks, `first/`, `tryout/`, a store with every version that you saved, `service/`, and
# somewhere the packages. What exactly would you send, and how would you show that nothing else is needed, and nothing
# in it that should not be seen?
