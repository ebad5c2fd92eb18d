# ---
# jupyter:
#   jupytext: {custom_cell_magics: "work,shell"}
#   kernelspec: {name: python3, display_name: Python 3 (ipykernel), language: python}
#   lab: {id: "11", minutes: 36, grades: [sc10], needs: [], walk: false,
#         inputs: [labs/helpers/modern, labs/helpers/service, grader/world/asker.py], gives: []}
# ---

# %% [markdown] tags=["why"]
# # 11 · The modern API
#
# Your service says at each start that it is deprecated. It is written in BentoML's **classic** form, with runners;
# since version 1.2 there is another one, in which everything is a class with decorators. After this notebook you can
#
# - move a service to it, and say which of your files did not notice;
# - say what became of runners, batching, metrics and configuration, by name;
# - measure both forms side by side, lost answers counted;
# - find and repair a defect that one caller never meets;
# - list what a migration changes in the Bento, in the image and in the manifests.
#
# **Needed:** labs 01 to 03, this kernel. **Your time** (an estimate): 36 minutes. Three classes 10, the same contract
# 6, side by side 5, what is lost 6, Bento, image and manifests 7, the check and three questions 2. **The machine's
# time** is counted and shown at the end. Two incidents wait after it: `%incident 11`.

# %% tags=["do"]
# %load_ext grader.magic
import os

from labs.helpers.bento import bentos
from labs.helpers.lesson import claims, recall, timing
from labs.helpers.modern import apart, built, sides
from labs.helpers.service import servers
from labs.helpers.teaching.answers import measured

clock = timing.Clock()

# %% [markdown] tags=["why"]
# ## 1 · Three classes (10 minutes)
#
# The service of lab 02 stays where it is. The new one gets a folder of its own, `modern/`, and takes along what never
# knew of runners: how texts are prepared, what a request may be, the layer in front, the frame around it.

# %% tags=["do"] language="shell"
# # TODO make the folder modern; copy preprocess, limits, guard and frame from service/
# ...
# # solution
# mkdir -p modern
# cp service/preprocess.py service/limits.py service/guard.py service/frame.py modern/
# # end
# grep -c runner modern/*.py || true

# %% [markdown] tags=["explain"]
# The word is in one of them, in a sentence for callers; no code of the four knows a runner. Three stay behind:
# `runnable.py`, `contract.py` and `service.py`.
#
# A runner becomes a class with `@bentoml.service`. BentoML makes one object of it in each of its processes, so
# `__init__` opens the model, as it did in the Runnable. Its methods become endpoints by `@bentoml.api`. With
# `batchable=True` a method gets the rows of several callers joined into one list or array, and its result is cut
# again: so `encode` takes plain texts now, and `each_item` is gone.

# %% tags=["do"]
# %%work modern/parts.py
"""The two services that compute: texts to vectors, vectors to probabilities."""

import os

import bentoml
import numpy as np
from bentoml.models import BentoModel
from frame import open_models

# A thread that waits must not spin. OpenMP reads this when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

models = open_models()


@bentoml.service
class Embedder:
    model = BentoModel(models.embedder.tag)

    # TODO __init__: self.encoder, from self.model.load_model(); then a method
    # encode(self, texts: list[str]), batchable, with max_batch_size=64
    ...

    # solution
    def __init__(self):
        self.encoder = self.model.load_model()

    @bentoml.api(batchable=True, max_batch_size=64)
    def encode(self, texts: list[str]) -> np.ndarray:
        return self.encoder.encode(texts)

    # end


@bentoml.service
class Classifier:
    model = BentoModel(models.classifier.tag)

    # TODO the same: self.classifier, and predict_proba(self, rows: np.ndarray)
    ...

    # solution
    def __init__(self):
        self.classifier = self.model.load_model()

    @bentoml.api(batchable=True, max_batch_size=64)
    def predict_proba(self, rows: np.ndarray) -> np.ndarray:
        return self.classifier.predict_proba(rows)

    # end


# %% [markdown] tags=["explain"]
# `BentoModel` names a model without opening it; as an attribute of the class it tells a build what the service needs.
# The types are not comments: BentoML reads them, to know what comes over the wire.
#
# The class that callers ask says on which others it depends. `bentoml.depends(Embedder)` is an object of that class
# when all runs in one process, and otherwise a client with the same methods. The classes' methods are plain `def`,
# which a service runs in a thread, and it has one thread unless the decorator says `threads=`; `to_async` has the
# methods for an `async def` to `await`.
#
# The rest is in your `service/service.py` under the same names: `prepare` takes the list, `models.classes` has the
# labels in the order of the classifier's columns, `count_labels` counts them, `protect` takes the service and `models`.
# No texts are no work: they get an empty answer, without a call.

# %% tags=["do"]
# %%work modern/service.py
"""Ticket triage on BentoML's modern API: POST /classify, as before."""

import bentoml
from frame import count_labels, protect
from parts import Classifier, Embedder, models
from preprocess import prepare
from pydantic import BaseModel


class Answer(BaseModel):
    # TODO labels and scores, each a list of its type
    ...
    # solution
    labels: list[str]
    scores: list[float]
    # end


@bentoml.service(name="demo_text_modern")
class Triage:
    # TODO embedder and classifier: what this one depends on
    embedder = ...
    classifier = ...
    # solution
    embedder = bentoml.depends(Embedder)
    classifier = bentoml.depends(Classifier)
    # end

    # TODO the route /classify; async def classify(self, texts: list[str]) -> Answer
    ...

    # solution
    @bentoml.api(route="/classify")
    async def classify(self, texts: list[str]) -> Answer:
        if not texts:
            return Answer(labels=[], scores=[])
        vectors = await self.embedder.to_async.encode(prepare(texts))
        scores = await self.classifier.to_async.predict_proba(vectors)
        labels = [models.classes[best] for best in scores.argmax(axis=1)]
        count_labels(labels)
        return Answer(labels=labels, scores=scores.max(axis=1).tolist())

    # end


# TODO put guard.py around Triage, as in service/service.py
...
# solution
protect(Triage, models)
# end

# %% [markdown] tags=["predict"]
# The command is the one you know. There is no list of runners any more, and three classes.

# %% tags=["predict"]
# %%answer 11a
# `bentoml serve` is given the class that callers ask. Where do the two models run?
# a  in its process: a class is an object, and depends() makes one
# b  in a process each, beside the one that callers ask
# c  nowhere yet: each class must be served by a command of its own
# TODO the letter of one of these, and why
...
# solution
"b: what another service depends on is served beside it, as runners were."
# end

# %% tags=["do"] language="shell" magic_args="--serve modern"
# # TODO go to the folder modern and serve service:Triage on $PORT
# ...
# # solution
# cd modern && bentoml serve service:Triage --port "$PORT"
# # end

# %% tags=["do"] language="shell"
# # TODO ask /classify for two texts of your own with curl
# ...
# # solution
# curl -s -w '\n%{http_code}\n' -H 'content-type: application/json' \
#   -d '{"texts": ["I was charged twice", "Where is my parcel?"]}' \
#   "127.0.0.1:$PORT/classify"
# # end

# %% tags=["see"]
modern = servers.typed("modern")
print(apart.table(found := apart.processes(modern)))
measured("11a", apart.letter(found))

# %% [markdown] tags=["explain"]
# The same three kinds of processes, the same Unix sockets between them, and pickles on these as before. What was a
# runner is now a service that could be served alone: it has routes, `/readyz` and `/metrics` of its own.
#
# *A place to stop: the files are kept. To go on later, run the cells above again.*

# %% [markdown] tags=["why"]
# ## 2 · The same contract? (6 minutes)
#
# Callers do not care how a service is written. Three promises: what is refused, what is counted, what the OpenAPI
# document says. First what is refused. The cell asks as lab 02 did, of your service and of a copy without `protect`.

# %% tags=["see"]
guarded = servers.send_bad(modern)
bare = built.without_guard()
for what, said in guarded.items():
    print(f"{what}\n    without the guard  {bare[what]}\n    yours              {said}")

# %% [markdown] tags=["explain"]
# Without the guard the types of `classify` do part of its work: pydantic refuses a number and an array by itself, with
# a 400 and an object. It lets pass what has the right type: an empty text, 65 texts, a body that is called
# text/plain. The guard is the same file as before; a modern service has `add_asgi_middleware` as well.

# %% tags=["predict"]
# %%answer 11b
# The guard refuses a request with 422. In the classic service none of BentoML's
# counters saw it. Which one does now?
# a  none, as before: the guard answers before BentoML hears of it
# b  bentoml_service_request_total, with http_response_code 422
# c  the same counter, with 200: something was answered
# TODO the letter of one of these, and why
...
# solution
"b: a layer of mine is inside of what BentoML counts now."
# end

# %% tags=["do"] language="shell"
# # TODO from /metrics: the lines of request_total for /classify, and all batch counts
# ...
# # solution
# curl -s "127.0.0.1:$PORT/metrics" > modern.metrics
# grep -E '^bentoml_service_request_total.*"/classify"' modern.metrics
# grep -E '^bentoml_service_adaptive_batch_size_(count|sum)' modern.metrics
# # end

# %% tags=["see"]
refused = built.refused_by_status(modern)
print("refused and counted:", refused)
measured("11b", "b" if refused.get("422") else "a")

# %% [markdown] tags=["explain"]
# The docstring of `guard.py` says that such a request is in none of BentoML's counters. That was true where it came
# from; here it is not, and you copied the sentence with the code.
#
# The prefix is `bentoml_service_` for all three; `runner_name` tells them apart. Each query of lab 08 must be written
# again, and the one for errors gets a new meaning: refusals count. `bentoml_api_server_*` and `bentoml_runner_*` are
# gone.

# %% tags=["see"]
print(built.promises(modern))

# %% [markdown] tags=["explain"]
# The document is made from the types, so it names the fields by itself, and each status that it names is BentoML's:
# it does not know of your guard's 413, 415 and 422. What `contract.py` added must be added again, in a subclass of
# the modern `Service` (`bentoml.service(service_class=...)`).

# %% [markdown] tags=["why"]
# ## 3 · Side by side (5 minutes)
#
# Both forms on this machine, under the same load: thirty people, each of whom asks again as soon as an answer is
# there. First serve the classic one, with the same largest batch. For runners that is a file; for services it was an
# argument of the decorator.

# %% tags=["do"]
servers.write_config("tryout/sides.yml", servers.batching(64))

# %% tags=["do"] language="shell" magic_args="--serve classic"
# export BENTOML_CONFIG=$PWD/tryout/sides.yml
# # TODO serve service:svc of the folder service on $PORT, with --api-workers 1
# ...
# # solution
# cd service && bentoml serve service:svc --port "$PORT" --api-workers 1
# # end

# %% [markdown] tags=["predict"]
# Each request of the modern service was answered so far.

# %% tags=["predict"]
# %%answer 11c
# TODO of a hundred requests of thirty people to the modern one, how many get no 200?
...
# solution
"20: the tests had one caller, and something always breaks under load."
# end

# %% tags=["see"]
modern, classic = servers.typed("modern"), servers.typed("classic")
first = sides.measure({"classic": classic, "modern": modern}, seconds=3)
measured("11c", 100 * first[1].lost)
sides.draw(first)

# %% [markdown] tags=["explain"]
# Both were asked in turn, twice, so that what else this machine does meets both. A load tool that counts answers
# without their status would count what was lost as work done.

# %% [markdown] tags=["why"]
# ## 4 · What is lost (6 minutes)
#
# A 500 for a good request. The caller is told nothing more; the log has the reason.

# %% tags=["do"] language="shell"
# # TODO grep -oE '^aiohttp[A-Za-z_.]*' logs/modern.log, and count each: sort | uniq -c
# ...
# # solution
# grep -oE '^aiohttp[A-Za-z_.]*' logs/modern.log | sort | uniq -c
# # end

# %% [markdown] tags=["explain"]
# `aiohttp` is the client by which one service asks another. No process died and none was slow: a connection was gone
# while a call waited on it. Who closes it? BentoML's source is on your disk. Read these two functions.

# %% tags=["see"]
import inspect

from _bentoml_impl.client.proxy2 import SessionManager

print(inspect.getsource(SessionManager._should_refresh))
print(inspect.getsource(SessionManager.get_session))
print("max_requests:", inspect.signature(SessionManager).parameters["max_requests"])

# %% [markdown] tags=["explain"]
# After 100 calls, or 300 seconds, the client closes its session and opens a new one. `close()` does not wait for the
# calls that are under way: each of them ends with an error, and its caller gets a 500 (claim c48). With one caller at
# a time there are none (upstream issues 5540 and 5544). Both limits can be set, by `runner_connection`, an argument
# of `@bentoml.service`.

# %% tags=["predict"]
# %%answer 11d
# Triage asks Embedder and Classifier. Whose decorator gets runner_connection?
# a  that of Triage: its process opens the connections
# b  those of Embedder and Classifier: they say how they want to be asked
# c  either: BentoML uses the larger of the two
# TODO the letter of one of these, and why
...
# solution
"b: a client is made from what the class says on which it depends."
# end

# %% tags=["see"]
ends = built.lost_with("Triage")
print("with the limits at Triage, thirty people:", ends)
measured("11d", "b" if set(ends) != {"200"} else "a")

# %% [markdown] tags=["explain"]
# Write it where it counts. The number of seconds must be a float: with `86400` BentoML 1.4.39 does not start.

# %% tags=["do"]
# %%work modern/parts.py
"""The two services that compute: texts to vectors, vectors to probabilities."""

import os

import bentoml
import numpy as np
from bentoml.models import BentoModel
from frame import open_models

# A thread that waits must not spin. OpenMP reads this when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

models = open_models()

# How long those who ask a service keep their connections to it: max_requests, max_age
# TODO KEPT: a hundred million requests, a day of seconds (a float)
KEPT = ...
# solution
KEPT = {"max_requests": 100_000_000, "max_age": 86400.0}
# end


# TODO the decorator of Embedder with its runner_connection, and the class as before
...


# solution
@bentoml.service(runner_connection=KEPT)
class Embedder:
    model = BentoModel(models.embedder.tag)

    def __init__(self):
        self.encoder = self.model.load_model()

    @bentoml.api(batchable=True, max_batch_size=64)
    def encode(self, texts: list[str]) -> np.ndarray:
        return self.encoder.encode(texts)


# end
# TODO and of Classifier
...


# solution
@bentoml.service(runner_connection=KEPT)
class Classifier:
    model = BentoModel(models.classifier.tag)

    def __init__(self):
        self.classifier = self.model.load_model()

    @bentoml.api(batchable=True, max_batch_size=64)
    def predict_proba(self, rows: np.ndarray) -> np.ndarray:
        return self.classifier.predict_proba(rows)


# end

# %% tags=["do"] language="shell" magic_args="--serve modern"
# # TODO serve it again, as in part 1
# ...
# # solution
# cd modern && bentoml serve service:Triage --port "$PORT"
# # end

# %% tags=["see"]
modern = servers.typed("modern")
second = sides.measure({"classic": classic, "modern": modern}, seconds=3)
kept = second[1].lost == 0
claims.holds(kept, "Nothing is lost any more.")
sides.draw(second)

# %% [markdown] tags=["explain"]
# Now the two rows compare forms and nothing else. (Which form is faster differs from run to run here; measure yours
# more than once before you tell anyone.) Look at the requests a batch as well: a classic API process opens 16
# connections to a runner, so no batch has more than 16 requests; the modern client has no such limit by default. What
# is left of the defect: once a day the session is closed, with the calls that are then under way. A caller that may
# ask again should.
#
# *A place to stop.*

# %% [markdown] tags=["why"]
# ## 5 · Bento, image and manifests (7 minutes)
#
# The build file first. Start from lab 03's. Two things in it have another place now: the models belong to the
# services, and the image's environment is `envs`, a list; `docker: env:` is dropped without a word.

# %% tags=["do"] language="work" magic_args="modern/bentofile.yaml"
# service: "service:Triage"
# include:
#   # TODO the six files that serving needs, a line each
#   - ...
#   # solution
#   - service.py
#   - parts.py
#   - frame.py
#   - guard.py
#   - limits.py
#   - preprocess.py
#   # end
# models: # for frame.py, which reads them in bento.yaml: see below
#   # TODO demo_embedder:latest and demo_classifier:latest
#   - ...
#   # solution
#   - "demo_embedder:latest"
#   - "demo_classifier:latest"
#   # end
# python:
#   requirements_txt: requirements.txt
#   lock_packages: false
# envs:
#   # TODO name and value, as in lab 03: UV_EXTRA_INDEX_URL is
#   # https://download.pytorch.org/whl/cpu, UV_INDEX_STRATEGY is unsafe-best-match
#   - ...
#   # solution
#   - {name: UV_EXTRA_INDEX_URL, value: "https://download.pytorch.org/whl/cpu"}
#   - {name: UV_INDEX_STRATEGY, value: unsafe-best-match}
#   # end

# %% tags=["do"]
os.environ["LAB_COPY"] = str(bentos.clean_copy("modern"))

# %% tags=["do"] language="shell"
# # TODO lab 03's service/requirements.txt into $LAB_COPY; build there: -o tag
# ...
# # solution
# cp service/requirements.txt "$LAB_COPY"
# cd "$LAB_COPY" && bentoml build -o tag
# # end

# %% tags=["see"]
print(f"{'bento.yaml':<13}{'classic':<56}modern\n")
print(built.compare())

# %% [markdown] tags=["explain"]
# A Bento of the second form (`spec: 2`). Runners became services, each with its models and its part of the
# configuration: `KEPT` is in the Bento. The list `models` at the top is there because you wrote it. Without it the
# models are under the services alone; `frame.py` finds none at the top, and opens whatever is `latest` where the
# Bento runs.

# %% tags=["do"] language="shell"
# old=$(bentoml get demo_text_intelligence:latest -o path)
# new=$(bentoml get demo_text_modern:latest -o path)
# # TODO diff of the two env/docker/Dockerfile, of lines with COPY, ENV, FROM, uv or pip;
# # it ends with 1 where they differ, so `|| true` behind it
# ...
# # solution
# pick() { grep -E 'COPY|^ENV|^FROM|uv |pip ' "$1/env/docker/Dockerfile"; }
# diff <(pick "$old") <(pick "$new") || true
# # end

# %% [markdown] tags=["explain"]
# Lines with `<` are gone, those with `>` are new. This one is BentoML's own: the packages go into an environment of
# their own, by `uv`, and the last line is `COPY . ./`, sources and weights in one layer, as lab 04 found them. What
# lab 04 did about it was a `dockerfile_template`. The modern form does not support one: a build that names it falls
# back to the older form of image, and says so.

# %% [markdown] tags=["predict"]
# And the manifests. Lab 05's Deployment starts `serve` and brings a file by a ConfigMap, `bentoml_configuration.yml`,
# which `BENTOML_CONFIG` names. It begins with `version: 1` and has a section `runners:`.

# %% tags=["predict"]
# %%answer 11e
# The Deployment of lab 05 gets the modern image; its ConfigMap stays. What happens?
# a  it starts, and the batch sizes of the file hold
# b  it starts, and the file is ignored
# c  it does not start
# TODO the letter of one of these, and why
...
# solution
"c: the modern form reads another version of that file."
# end

# %% tags=["see"]
said = built.try_configs()
for what, came in said.items():
    print(f"{what:<28}{came}")
old = said["version: 1, as in lab 02"]
measured("11e", "c" if "does not start" in old else "b")

# %% [markdown] tags=["explain"]
# With a version of either number the process ends: one part of BentoML 1.4.39 wants a 1, another a 2. A file without
# a version is read, and its `services:` section too. Yet `batching` in it, which the schema allows, reaches nobody:
# the size of a batch is what the decorator says. So tuning, as in lab 07, is a new Bento and a new image now.
#
# Next the probes. One of the parts stands still.

# %% tags=["see"]
for path, came in apart.stand_still(modern, "Embedder").items():
    print(f"{path:<10}{came}")

# %% [markdown] tags=["explain"]
# The classic form says 503 after a second. Here `/readyz` waits for its part as long as a request may take, 60 s by
# default; only the kubelet's own `timeoutSeconds` ends that. In lab 05 it is 5. What the manifests need, then:
#
# | | classic | modern |
# |---|---|---|
# | command, port, `/livez`, `/readyz` | `serve`, 3000 | the same |
# | `timeoutSeconds` of readiness | more than 1 | what ends a `/readyz` that hangs |
# | ConfigMap with `version: 1` | batch sizes, timeouts | delete it: the pod would not start |
# | batch sizes, connections, timeouts | in the file | in the decorators: a new image |
# | rules and dashboards | `bentoml_api_server_*`, `bentoml_runner_*` | `bentoml_service_*`, by `runner_name` |
# | the inner ports | pickles: keep them closed | pickles: keep them closed |

# %% tags=["check"]
# %stop modern
# %stop classic
# %grade sc10

# %% [markdown] tags=["explain"]
# `sc10` asked `modern/` what `sc2` asks of lab 02's service, and then had 32 callers ask for some seconds.
#
# ## To keep
# - What knows nothing of the framework moves without a change; what extends it must be written again.
# - Measure a migration under load, with each status counted: one caller meets no defect that needs many.
# - A setting that is accepted may still be ignored: look for its effect in what the server says of itself.

# %% tags=["predict"]
# %%answer 11x
# A colleague writes classify as a plain def, and calls the two services without await.
# The answers are right. What changes under load?
# a  nothing: BentoML runs it in a thread
# b  requests wait for each other: a service has one thread unless it says otherwise
# c  calls to the services fail
# TODO the letter of one of these
...
# solution
"b"
# end

# %% tags=["predict"]
# %%answer 11y
# You want batches of 32 instead of 64 in production. What do you change?
# a  the file that BENTOML_CONFIG names, and restart
# b  the decorator, then build the Bento and the image again
# c  the signatures in the model store
# TODO the letter of one of these
...
# solution
"b"
# end

# %% tags=["predict"]
# %%answer 11z
# All tests of a service are green, each curl is answered, and at noon callers get 500s,
# several at the same moment. What do you look for first?
# a  a test that fails
# b  what happens every so many calls, with other calls under way
# c  a larger machine
# TODO the letter of one of these
...
# solution
"b"
# end

# %% tags=["see"]
recall.recall("11x", "11y", "11z")
print(f"The machine has worked {clock.seconds:.0f} s for this lab.")

# %% [markdown] tags=["explain"]
# ## What is open
# Two Bentos are in your store, and both could be deployed. Which one runs where, with which models and which
# configuration, and who could prove it tomorrow? Lab 12 writes that down.
