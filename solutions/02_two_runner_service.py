# ---
# jupyter:
#   kernelspec: {name: python3, display_name: Python 3 (ipykernel), language: python}
#   lab: {id: "02", minutes: 38, grades: [sc2], needs: [],
#         inputs: [labs/helpers/service],
#         gives: [service/limits.py, service/guard.py, service/frame.py, service/contract.py, service/runnable.py,
#                 service/bentoml_configuration.yml]}
# ---

# %% [markdown] tags=["why"]
# # 02 · The two-runner service
#
# Two models lie in a store, and nobody can ask a folder. Now they get a server: one process that listens, and for
# each model a worker process of its own, a **runner**. After this notebook you can
#
# - write such a service, and name each process behind it and what it holds;
# - say where one request spends its time, measured by the processes themselves;
# - show what batching gains, and what one long text costs its neighbours;
# - lock up the service as most texts write it, see that nobody is told, and say what keeps yours from it;
# - change the code and see the change, in seconds or in a tenth of one.
#
# **Needed:** lab 01's store, this kernel, nothing else. **Your time** (an estimate): 38 minutes. Writing it 8, one
# request's way 10, batching 6, the module's form 7, the edit-run loop 3, other inputs and the check 4.
# **The machine's time** is counted and told at the end.
#
# The first cell loads the tools, and lists what the kit has put beside your files.

# %% tags=["do"]
# %load_ext grader.magic
import sys
import time
from pathlib import Path

import httpx

from labs.helpers.lesson import timing
from labs.helpers.service import batches, servers, traces, workers

sys.path.insert(0, "service")
clock = timing.Clock()
for file in ("limits", "guard", "frame", "contract", "runnable"):
    first = Path(f"service/{file}.py").read_text().splitlines()[0].strip('"')
    print(f"service/{file}.py: {first}")

# %% [markdown] tags=["explain"]
# These five are given, and short enough to read: what a request may be (`limits`), who refuses it (`guard`), which
# models are opened (`frame`), what is promised to callers (`contract`), and the two classes that run inside the
# runners (`runnable`). The file that uses them is yours.

# %% [markdown] tags=["why"]
# ## 1 · Write it, and see who runs (8 minutes)
#
# The function that answers requests should be thin: prepare, ask a runner, ask the other, name the labels. Three
# places are yours. One thing to know before you write: a runner's method takes a **list of items** and returns a list
# of results. One request is one item here, however many texts it holds; why that matters you will see in part 4.

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

svc = DescribedService("demo_text_intelligence", runners=[embedder, classifier])
protect(svc, models)  # refuses what limits.py refuses, before it gets here


@svc.api(input=JSON(), output=JSON(), route="/classify")
async def classify(request):
    if not request["texts"]:
        return {"labels": [], "scores": []}
    # A runner's method takes a list of items: embedder.METHOD.async_run([one item]).
    # TODO await encode, then predict_proba; scores: one row for each text
    scores = ...
    # solution
    (vectors,) = await embedder.encode.async_run([prepare(request["texts"])])
    (scores,) = await classifier.predict_proba.async_run([vectors])
    # end
    # models.classes has the names of the columns.
    # TODO one label for each text: the class whose score is highest
    labels = ...
    # solution
    labels = [models.classes[best] for best in scores.argmax(axis=1)]
    # end
    count_labels(labels)
    return {"labels": labels, "scores": scores.max(axis=1).tolist()}


# %% [markdown] tags=["explain"]
# `svc` is what gets served. `open_models`, in `frame.py`, looks up the two tags and loads nothing: the weights are
# loaded later, by the runners. `await` lets the one API process take the next request while a runner computes. The
# names are in small letters because a configuration finds a runner by its name, and BentoML looks up some of its keys
# by the name as you wrote it and others by the name in small letters.

# %% [markdown] tags=["why"]
# Serve it. Both runners may batch up to 4 items here, which is small, and chosen for part 4. Every process also sends
# a note of what it did and when to this notebook, for part 2, and `--reload` is for part 5.

# %% tags=["do"]
collector = traces.Collector()
settings = servers.batching(4, tracing=collector.config())
server = servers.start("service", "service:svc", settings, ["--reload"])
client = httpx.Client(base_url=server.url, timeout=10)

# %% tags=["see"]
two = {"texts": ["I was charged twice", "Where is my parcel?"]}
answer = client.post("/classify", json=two)
print(answer.status_code, answer.text)
for name, value in answer.headers.items():
    if name.startswith("x-"):
        print(f"{name}: {value}")

# %% [markdown] tags=["explain"]
# Two texts, two labels, two scores: that is all that the module asks for. `sc2` asks for more, at the end. The headers
# name the versions that answered. A `curl` would have shown the same if another server, forgotten in some terminal, had
# held the port; the kit looks whose process listens before it believes an answer.

# %% [markdown] tags=["why"]
# You wrote one file and started one command. Ask the operating system what runs now.

# %% tags=["see"]
workers.draw_processes(server)

# %% [markdown] tags=["explain"]
# The `api` process runs your function and holds no model. Each runner opened its model from the store, once, and
# answers the API process through a Unix socket, not a port. So the two can be given different machines and numbers of
# workers later. It does not mean that one survives the other: in a pod, a runner that dies takes the server with it
# (docs/faults.md has the measurement). A runner unpickles what it reads from its socket, so nobody but the API process
# may reach that socket.
#
# *A place to stop: your service.py is kept. To go on later, run the cells above again.*

# %% [markdown] tags=["why"]
# ## 2 · One request's way (10 minutes)
#
# The caller sees one number, the time until the answer. Inside, a request visits three processes: the API server, the
# embedding runner, the classifier. Before you see where its time goes, put down where you think that it goes.

# %% tags=["predict"]
# %%answer 02a
# TODO which share of a request's time does the embedding runner take, in %?
...
# solution
"60: MiniLM computes most, and there are ways between processes."
# end

# %% tags=["see"]
ways = [collector.way(lambda: client.post("/classify", json=two)) for _ in range(5)]
ways.sort(key=lambda way: way[0].ms)
took = [f"{way[0].ms:.0f}" for way in ways]
print("five requests took", *took, "ms; drawn is the one in the middle")
traces.draw_waterfall(ways[2])

# %% [markdown] tags=["explain"]
# How it was measured: each process notes when it began and ended a step, by the machine's one clock, and sends the
# notes on (**OpenTelemetry**; a request's notes together are its **trace**). The caller's row is timed in this kernel.
# Noting costs something itself, part of a millisecond a step, and one request is no average: hence the middle one of
# five.
#
# Compare with your share. The filled bars are the models. What is left of the hatched bars is packing texts and
# numbers, two trips through a socket, and the dispatcher. For a small model such as the classifier the trip costs
# more than the work: a runner of its own pays when the work is heavy or needs other hardware, not as a rule.

# %% [markdown] tags=["predict"]
# That was one caller. In a spike many come at once, and each part of the service has its own place to wait. Suppose
# that the embedding runner slows down in a spike. You may scale one thing: API server, embedding runner or
# classifier. Which first, and what would you read before?

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
from grader.answers import measured

inside = servers.spike(server, two["texts"], callers=16)
print("16 callers, each asks again as soon as it has an answer.")
print("Where their requests are, on average over two seconds:")
for who, requests in inside.items():
    print(f"  {who:<18}{requests:5.1f} requests  {'#' * round(2 * requests)}")
measured("P1", dict(zip(inside, "abc", strict=True))[max(inside, key=inside.get)])

# %% [markdown] tags=["explain"]
# The gauges are BentoML's own, from `/metrics`. Read as they come they mislead: every request is inside the API server,
# also while a runner computes it, so that gauge is always the largest. The bars are made disjoint: what is in a runner
# is taken off the API server's count. There is no gauge for a queue's length. A request in a runner is computed or
# waits there; one in the API server alone is on its way, or waits for one of the 16 connections that it opens.

# %% [markdown] tags=["why"]
# ## 3 · Why batching helps (6 minutes)
#
# Sixteen callers asked, and the runner need not answer them one by one: it may put what waits into one call. What that
# gains depends on the model alone, so ask the model, without any server. `torch` gets one thread, as in the runner.

# %% tags=["do"]
import torch
from preprocess import prepare
from tickets import held_out

torch.set_num_threads(1)
encoder = servers.load_model("demo_embedder:latest")
tickets = prepare([text for text, _ in held_out(32)])
sizes = [len(ticket) for ticket in tickets]
print(f"{len(tickets)} tickets of {min(sizes)} to {max(sizes)} characters")

# %% tags=["predict"]
# %%answer 02b
# TODO a text alone costs 100 %. What does a text cost among 32, in %?
...
# solution
"50: the fixed part of a call is shared."
# end

# %% tags=["see"]
runs = batches.time_calls(encoder.encode, tickets, (1, 8, 32), budget=2.5)
batches.draw_cost(runs)

# %% [markdown] tags=["explain"]
# Hold your two numbers beside the picture. Each call pays for things that do not grow with the texts: the way through
# Python, memory, starting the arithmetic. Shared by 8 that hardly counts, and after that there is less and less to
# share. Look at the last number in the line below the picture, too: it is how long *each* of the 32 waits, even the
# first.

# %% [markdown] tags=["why"]
# Batches have strangers in them. Texts of one call are padded to the longest, so what does one long ticket do to
# seven short ones?


# %% tags=["see"]
def time_call(texts):
    return batches.median_ms(lambda: encoder.encode(texts), 3)


short = ["where is my parcel"] * 8
long = (" ".join(tickets) * 2)[:2000]
among = time_call([*short[:7], long])
batches.draw_long(alone=time_call(short), among=among, long=time_call([long]))

# %% [markdown] tags=["explain"]
# Padding is computed like text: the seven short ones were made as long as the long one. So `limits.py` bounds the
# length of a text, and a service whose texts differ much in length sorts them before it makes batches.
#
# *A place to stop. Parts 4 to 6 need the server of part 1 again.*

# %% [markdown] tags=["why"]
# ## 4 · The module's own form (7 minutes)
#
# The module hands all texts of a request to a runner in one call, and uses the runners that the store makes. That is
# shorter than yours. Here is that part of it. Its own handler also checks that `texts` is a list, answers an empty list
# and rounds; what is left out here changes no status of the next cells.

# %% tags=["do"]
# %%work tryout/module_form.py
"""The service as the module writes it: all texts of a request are one runner call."""

import bentoml
from bentoml.io import JSON

get = bentoml.models.get
embedder = get("demo_embedder:latest").to_runner(name="embeddingrunner")
classifier = get("demo_classifier:latest").to_runner(name="classifierrunner")
svc = bentoml.legacy.Service("demo_module_form", runners=[embedder, classifier])


@svc.api(input=JSON(), output=JSON(), route="/classify")
async def classify(request):
    vectors = await embedder.encode.async_run(request["texts"])
    scores = await classifier.predict_proba.async_run(vectors)
    labels = await classifier.predict.async_run(vectors)
    return {"labels": labels.tolist(), "scores": scores.max(axis=1).tolist()}


# %% tags=["do"]
module = servers.start("tryout", "module_form:svc", servers.batching(4))
module_client = httpx.Client(base_url=module.url, timeout=1.5)
print(servers.tell(lambda: module_client.post("/classify", json=two)))

# %% [markdown] tags=["explain"]
# It answers. It does not prepare its texts, either: for these two that changes little, for others it is the drift of
# lab 01. But that mistake you know already; here it is asked what nobody tries in a demo.

# %% [markdown] tags=["why"]
# First, callers who get it wrong. The same bad requests go to the module's service, which has BentoML's own JSON
# endpoint and nothing before it, and to yours, which has `guard.py`.

# %% tags=["see"]
stock, guarded = servers.send_bad(module), servers.send_bad(server)
for what in stock:
    print(f"{what}\n    module's  {stock[what]}\n    yours     {guarded[what]}")

# %% [markdown] tags=["explain"]
# A 500 says "my fault", wakes somebody at night, and invites the caller to try the same again; for bad input it is a
# lie. A 400 whose body is a bare string breaks every client that reads `body["error"]`, and it is not what the
# service's own OpenAPI document promises. Where the module's answers 200, nothing or a wrong content type was taken
# for a ticket. And "no answer" is an exception inside a runner: for a batched method it never reaches the caller,
# whom BentoML answers with 504 after a minute. So what could raise there is better refused before. Yours does, and
# names what is wrong, in one form, with a status from 400 to 499.

# %% [markdown] tags=["predict"]
# Now a good request, of ten texts. Both services have `max_batch_size: 4`. Neither configuration nor documentation
# says anything about requests that hold more texts than that.

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
ten, one = {"texts": [f"where is parcel {i}" for i in range(10)]}, {"texts": ["a"]}
asked = {
    "module's, ten texts": lambda: module_client.post("/classify", json=ten),
    "module's, one text, later": lambda: module_client.post("/classify", json=one),
    "module's, /readyz": lambda: module_client.get("/readyz"),
    "yours, the same ten texts": lambda: client.post("/classify", json=ten),
}
for what, ask in asked.items():
    print(f"{what + ':':<31}{servers.tell(ask)}")
print("module's, 1.5 s after a TERM:  still there:", servers.outlives(module, 1.5))
_ = servers.stop("module_form:svc")

# %% [markdown] tags=["explain"]
# An error, or 4, 4 and 2, would both have been sensible; what you see is neither. The client gave up after a second and
# a half; without a time-out of its own it would wait for a minute. From the first such request on, *every* call to that
# runner hangs, also with one text, and `/readyz` says that all is well, so nothing would restart it; asked to end, it
# stays, until it is killed. What happens inside: BentoML's dispatcher tries to divide a call that does not fit into
# what is left of a batch, dividing raises an exception in the wrong place, and a lock is never given back. Ten texts at
# a size of 4 do it at once. At the default of 100 it takes several callers at the same moment: it works in every demo.
#
# Yours cannot get there. In `runnable.py` a request is *one* item, which is never divided, at any batch size. The
# price: `max_batch_size` counts requests there, not texts, so `limits.py` has to bound the texts of a request.

# %% [markdown] tags=["why"]
# ## 5 · Edit, run, look (3 minutes)
#
# It is often said that `--reload` does nothing for a classic service. You started yours with it, so change the file and
# ask until the answer changes: the scores get two digits.

# %% tags=["see"]
change = ("scores.max(axis=1)", "scores.max(axis=1).astype(float).round(2)")
before = server.workers()


def ask():
    return client.post("/classify", json=two).text


with servers.edited("service/service.py", *change):
    waited = servers.until(ask, lambda text: len(text) < len(answer.text))
    after = server.workers()
    client.close()
    servers.stop("service:svc")
print(f"--reload: the change was seen after {waited:.1f} s")
for role, ids in before.items():
    print(f"  {role:<18}{'the same' if ids == after.get(role) else 'a new'} process")

# %% [markdown] tags=["explain"]
# On this version, `bentoml serve --reload` works; what ignores it is the start command inside a container. But look
# at what is new: every process, so a changed comment loads MiniLM again. A loop that leaves the models where they are
# calls your function in this kernel, with both runners in the kernel, too.

# %% tags=["see"]
for what, edit in {"as it is": (change[0], change[0]), "changed": change}.items():
    with servers.edited("service/service.py", *edit):
        began = time.perf_counter()
        classify = servers.load_function()
        scores = classify(two)["scores"]
        took = time.perf_counter() - began
        print(f"{what:<9}{scores}  {took:.2f} s from file to answer")

# %% [markdown] tags=["explain"]
# Nothing but the second line counts, since the first also imports what the kernel did not have. This loop runs your
# lines and the real models; it knows no HTTP, no `guard.py`, no batching between callers. So: this one while you
# write, a real server before you believe it.

# %% [markdown] tags=["why"]
# ## 6 · Other inputs than JSON (2 minutes), and the check (2)
#
# What comes in is turned into a Python object by an **IO descriptor**, before your function runs. Two more of them, in
# a service without a model: an array of embeddings, and the photo of a damaged parcel. One place is yours.

# %% tags=["do"]
# %%work tryout/shapes.py
"""Two small endpoints by IO descriptor: an array, and an image."""

import bentoml
import numpy as np
from bentoml.io import JSON, Image, NumpyNdarray

# TODO shape and enforce_shape: any number of rows (-1) of 384 numbers, all else refused
rows = NumpyNdarray(dtype="float32", shape=..., enforce_shape=...)
# solution
rows = NumpyNdarray(dtype="float32", shape=(-1, 384), enforce_shape=True)
# end
svc = bentoml.legacy.Service("demo_shapes")


@svc.api(input=rows, output=JSON(), route="/lengths")
def lengths(array):
    return {"lengths": np.linalg.norm(array, axis=1).round(3).tolist()}


@svc.api(input=Image(), output=JSON(), route="/photo")
def photo(image):
    brightness = round(float(np.asarray(image).mean()))
    return {"width": image.width, "height": image.height, "brightness": brightness}


# %% tags=["do"]
shapes = servers.start("tryout", "shapes:svc")
image, png, json = servers.png_of(64, 48), "image/png", "application/json"
asked = [
    ("/lengths", json, servers.as_json([[0.05] * 384] * 2), "two rows of 384"),
    ("/lengths", json, servers.as_json([[0.05] * 3]), "a row of 3"),
    ("/lengths", json, b'[["a", "b"]]', "words"),
    ("/photo", png, image, "a PNG"),
    ("/photo", png, image[: len(image) // 2], "half of a PNG"),
    ("/photo", png, b"I am a picture", "words, called a PNG"),
    ("/photo", "text/plain", image, "a PNG, called text"),
]

# %% tags=["see"]
from functools import partial

with httpx.Client(base_url=shapes.url, timeout=5) as to_shapes:
    for route, kind, body, what in asked:
        head = {"content-type": kind}
        ask = partial(to_shapes.post, route, content=body, headers=head)
        print(f"{route:<9}{what:<22}{servers.tell(ask)}")
print(f"ended in {servers.stop('shapes:svc'):.1f} s")

# %% [markdown] tags=["explain"]
# Read the statuses with part 4 in mind. Where a descriptor checks, the caller gets a 4xx with a bare string; where it
# leaves the checking to a library, what that library raises comes out as a 500. A descriptor says what your
# function gets; it is not the place where a service decides what to refuse.

# %% [markdown] tags=["why"]
# Back to yours. `sc2` serves a copy of `service/` on a port of its own, with texts that nobody has seen, many callers
# and bad ones, and asks the saved models the same. It takes some twenty seconds.

# %% tags=["check"]
# %grade sc2

# %% tags=["do"]
servers.stop()
print(f"This notebook took {clock.seconds:.0f} s of this machine's time.")
print("No server of it is left.")

# %% [markdown] tags=["explain"]
# Read what each check looked at: most of them are mistakes with which two texts still give two labels and two scores.
#
# ## What is open
# It runs here, from this folder, with this store, in this environment. A colleague asks for it, for another machine.
# Look at `work/`: notebooks, `tryout/`, a store with every version that you saved, `service/`, and somewhere the
# packages. What exactly would you send, and how would you show that nothing else is needed, and nothing in it that
# should not be seen?
