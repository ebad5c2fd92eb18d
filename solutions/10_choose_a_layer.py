# ---
# jupyter:
#   jupytext: {custom_cell_magics: "work,shell"}
#   kernelspec: {name: python3, display_name: Python 3 (ipykernel), language: python}
#   lab: {id: "10", minutes: 36, grades: [sc9], needs: [], walk: false,
#         inputs: [labs/helpers/choice, grader/world/layers.toml, grader/world/layers.py, grader/world/mlserver.py],
#         gives: []}
# ---

# %% [markdown] tags=["why"]
# # 10 · Choose a layer
#
# Your service runs as a plain Deployment. Three others offer to take it from there: a server with a standard
# protocol, a controller that makes the Deployment for you, a platform with a web page. Each costs something that its
# front page does not list. Here you run the first beside your own service, with the same two models, look into kept
# runs of the second, read what the third wants, and decide for six teams. After this notebook you can
#
# - put a model behind MLServer, and ask it in the V2 protocol;
# - tell what a layer wants of a team: lines, objects, processes, memory, seconds, measured;
# - write the object from which KServe's controller runs your image, and say what it leaves to you;
# - write the bill of Yatai, and the questions that BentoCloud must answer;
# - choose a layer for a team, and say which condition rules out another.
#
# **Needed:** lab 01's models and lab 02's service. The first cell installs MLServer into an environment of its own; it
# takes half a minute, once. **Your time** (an estimate): 36 minutes. Another protocol 11, what each wants 6, a
# controller 6, the bill 5, six teams 8. Two incidents wait after it: `%incident 10`.

# %% tags=["do"]
# %load_ext grader.magic
from labs.helpers.choice import cards, kserve, measure
from labs.helpers.lesson import claims, recall, timing
from labs.helpers.teaching.answers import measured

clock = timing.Clock()
print(measure.prepare())

# %% [markdown] tags=["why"]
# ## 1 · The same models, another protocol (11 minutes)
#
# `/classify` is yours alone: each client of each service learns another route and another body. **V2**, also called
# the Open Inference Protocol, is one form for all. A model answers at `/v2/models/NAME/infer`, and what goes in and
# comes out are named tensors, each with a datatype and a shape. A text is a tensor of `BYTES`. KServe, Triton and
# Seldon speak it. MLServer is Seldon's server for Python models: you write a class with `load` and `predict`.

# %% tags=["do"]
# %%work choice/mlserver/triage.py
"""The two models of lab 01 behind V2: texts in, labels and scores out."""

import bentoml
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceResponse
from preprocess import prepare


class Triage(MLModel):
    async def load(self):
        # TODO self.encoder, self.classifier: bentoml.models.get(...).load_model() of
        # demo_embedder:latest and demo_classifier:latest, as lab 01 saved them
        ...
        # solution
        self.encoder = bentoml.models.get("demo_embedder:latest").load_model()
        self.classifier = bentoml.models.get("demo_classifier:latest").load_model()
        # end
        return True

    async def predict(self, payload):
        # TODO the list of texts: StringCodec.decode_input of the first payload.inputs
        texts = ...
        # solution
        texts = StringCodec.decode_input(payload.inputs[0])
        # end
        # TODO rows: prepare takes the whole list, encode what it gives; labels: a list;
        # scores: an array, each text's best probability
        ...
        # solution
        rows = self.encoder.encode(prepare(texts))
        labels = self.classifier.predict(rows).tolist()
        scores = self.classifier.predict_proba(rows).max(axis=1)
        # end
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                StringCodec.encode_output("labels", labels),
                NumpyCodec.encode_output("scores", scores),
            ],
        )


# %% [markdown] tags=["explain"]
# `prepare` comes from `service/preprocess.py`, the same module as in training: MLServer knows nothing of it, so
# Python's path must lead there. BentoML is in MLServer's environment only to read its model store.
#
# Two files of settings belong to a model folder. `model-settings.json` names the model and its class, and its inputs
# and outputs, each with `name`, `datatype` and `shape`: what every client reads before it asks. A length that is not
# fixed is -1, and MLServer's codecs send each answer as a column: `[-1, 1]`. Texts are `BYTES`, the scores `FP32`.
# `settings.json` is the server's. Without a `host` it listens on every address of the machine.

# %% tags=["do"]
# TODO model: name, implementation "triage.Triage", inputs, outputs (labels, scores)
model = ...
# solution
model = {"name": "triage", "implementation": "triage.Triage"}
model["inputs"] = [{"name": "texts", "datatype": "BYTES", "shape": [-1]}]
model["outputs"] = [
    {"name": "labels", "datatype": "BYTES", "shape": [-1, 1]},
    {"name": "scores", "datatype": "FP32", "shape": [-1, 1]},
]
# end
measure.write("model-settings.json", model)
measure.write("settings.json", {"host": "127.0.0.1", "metrics_endpoint": None})

# %% tags=["do"] language="shell" magic_args="--if choice/installed --serve v2 --ready /v2/health/ready"
# export MLSERVER_HTTP_PORT=$PORT MLSERVER_GRPC_PORT=0
# # TODO with PYTHONPATH=service, start the folder choice/mlserver: $MLSERVER start ...
# ...
# # solution
# PYTHONPATH=service "$MLSERVER" start choice/mlserver
# # end

# %% tags=["see"] language="shell" magic_args="--if choice/installed"
# # TODO curl what every client can read: /v2/models/triage at 127.0.0.1:$PORT_V2
# ...
# # solution
# curl -s "127.0.0.1:$PORT_V2/v2/models/triage"
# # end

# %% [markdown] tags=["explain"]
# A client that has never heard of tickets knows now what to send: a tensor `texts` of `BYTES`. Ask for two texts of
# your own. The body is `{"inputs": [{"name": ..., "shape": [2], "datatype": "BYTES", "data": [...]}]}`.

# %% tags=["see"] language="shell" magic_args="--if choice/installed"
# # TODO POST two texts to /v2/models/triage/infer
# ...
# # solution
# curl -s -H 'content-type: application/json' \
#   "127.0.0.1:$PORT_V2/v2/models/triage/infer" \
#   -d '{"inputs": [{"name": "texts", "shape": [2], "datatype": "BYTES",
#        "data": ["I was charged twice", "Where is my parcel?"]}]}'
# # end

# %% [markdown] tags=["predict"]
# The protocol says that a tensor has as many values as its shape. The next cell sends two texts and calls them three.

# %% tags=["predict"]
# %%answer 10c
# Two texts are sent with the shape [3]. What does MLServer answer?
# a  400: the shape and the data do not fit
# b  200, with two labels: nobody compares shape and data
# c  500: the class gets a text that is not there
# TODO the letter of one of these, and why
...
# solution
"b: the class reads data, and data has two texts."
# end

# %% tags=["see"]
if said := measure.ask_with_shape("v2", ["I was charged twice", "Where is it?"], [3]):
    print(said)
    measured("10c", measure.letter(said))

# %% [markdown] tags=["explain"]
# A protocol fixes the form, and each server decides how much of it to check. What lab 02's service refuses by its
# guard (an empty text, 65 texts, a number among them), this class answers as well as it can. In a standard protocol
# that part is still yours.

# %% [markdown] tags=["why"]
# ## 2 · What each wants of you (6 minutes)
#
# Now both servers are started one after the other and asked the same 24 texts. Written down are: your files for each
# and their lines of code, the processes, the memory that these hold together, the seconds from the start to the first
# answer, and what one answer takes.

# %% tags=["predict"]
# %%answer 10a
# Both servers hold the same two models.
# TODO how much memory does MLServer take, in percent of BentoML's?
...
# solution
"85: one process fewer, and each of them imports a framework."
# end

# %% tags=["do"] language="shell"
# # TODO measure both: python -m labs.helpers.choice, with the names bentoml and mlserver
# ...
# # solution
# python -m labs.helpers.choice bentoml mlserver
# # end

# %% tags=["see"]
if measure.has("mlserver"):
    measure.tell()
    measured("10a", measure.compare("memory_mb"))

# %% [markdown] tags=["explain"]
# Each row comes from a run, `choice/runs/NAME.json`, and the grader computes it again. The lines are no contest:
# BentoML's hold two runners, batching and one item a request, and MLServer's class has none of that. The last row is
# one text at a time, once, beside all else that ran here; lab 07 shows how such a figure is compared. What a team
# spends its days with is in no row, since both have it in common: the models, `prepare`, and someone who knows why a
# label is wrong.

# %% [markdown] tags=["why"]
# ## 3 · A controller (6 minutes)
#
# MLServer is a process, as your service is: someone still writes the Deployment. **KServe** takes that over. Its
# controller watches for objects of a kind of its own, `InferenceService`, and makes the rest. It can run with Knative,
# or in `Standard` mode (older guides say `RawDeployment`), with nothing but Kubernetes' own objects. A model whose
# server it does not know is a **custom predictor**: your image, in a container. Write the object for lab 04's image.
# It listens on port 3000.

# %% tags=["do"] language="work" magic_args="choice/kserve.yaml"
# apiVersion: serving.kserve.io/v1beta1
# # TODO kind; metadata: name: triage, and the annotation serving.kserve.io/deploymentMode
# ...
# # solution
# kind: InferenceService
# metadata:
#   name: triage
#   annotations: {serving.kserve.io/deploymentMode: Standard}
# # end
# spec:
#   predictor:
#     minReplicas: 1
#     containers:
#       - name: kserve-container
#         image: demo-text-intelligence # the run puts the release's digest in
#         # TODO its port, and a readinessProbe that asks /readyz there
#         ...
#         # solution
#         ports: [{containerPort: 3000, protocol: TCP}]
#         readinessProbe: {httpGet: {path: /readyz, port: 3000}, periodSeconds: 2}
#         # end
#         resources:
#           requests: {cpu: 500m, memory: 900Mi}
#           limits: {cpu: "1", memory: 1536Mi}

# %% tags=["predict"]
# %%answer 10b
# You apply this one object, and KServe's controller runs.
# TODO how many objects does it make of it (pods and replica sets not counted)?
...
# solution
"3: a Deployment, a Service, and an autoscaler."
# end

# %% tags=["see"]
runs = kserve.run(live=False)
kserve.tell(runs)
measured("10b", len(runs[1]["made"]))

# %% [markdown] tags=["explain"]
# These two runs are kept, since they need a cluster and its image; `kserve.run(live=True)` makes them on yours, with
# your file. Left out is what this machine cannot have: cert-manager (the helper makes the controller's certificate),
# and the web proxy before its metrics. *Not run:* Knative, the parts for language models, a V2 runtime of KServe's
# own.
#
# Compare what you write. The plain folder has restrictions, a budget for disruptions, a NetworkPolicy and a
# configuration; the controller made none of these. It takes the work that is the same for each model. It pays where
# there are many models and someone who runs it. And it moves: splitting traffic between two versions took Knative
# until 0.20 of 2026-07; this is 0.16. So does what is around it: ingress-nginx, in many guides still, ended in 2026-03.
# V2 it gives to models whose kind it knows, with a server of its own; your image goes on speaking what you wrote.

# %% tags=["predict"]
# %%answer Q3
# One platform team wants V2 for every model of the company. What do you propose?
# a  BentoML for all, with a V2 route in each service
# b  KServe as the common layer, and BentoML images in it where a service is special
# c  MLServer for all, each team with a Deployment of its own
# TODO the letter of one of these
...
# solution
"b"
# end

# %% [markdown] tags=["why"]
# ## 4 · The bill (5 minutes)
#
# **Yatai** was BentoML's own control plane: a web page, a kind `BentoDeployment`, a builder that makes images in the
# cluster. The course module offers it as the way to Kubernetes. It is free to install, under the Elastic License. The
# bill is in what it wants beside itself, and its scripts say what that is. **BentoCloud** is the paid one; BentoML
# belongs to Modular now (2026-11), so ask what stays.

# %% tags=["do"]
cards.show_bill()
cards.show_conditions()

# %% tags=["do"] language="work" magic_args="choice/bill.toml"
# # needs: a letter of the list; lab: does the lab's machine run one already?
# [yatai]
# # TODO database, object-store, registry, certificates, builder = { needs, lab }
# ...
# # solution
# database = { needs = "a", lab = false }
# object-store = { needs = "b", lab = false }
# registry = { needs = "c", lab = true }
# certificates = { needs = "d", lab = false }
# builder = { needs = "e", lab = false }
# # end
#
# # decides: the condition, of those above, that the answer decides
# [bentocloud]
# # TODO region, connection, price, operation = { decides }
# ...
# # solution
# region = { decides = "data-at-home" }
# connection = { decides = "no-way-out" }
# price = { decides = "no-contract" }
# operation = { decides = "two-people" }
# # end
#
# # where you looked it up, and when: url, and as_of as "2026-11"
# [sources]
# # TODO yatai, bentocloud = { url, as_of }
# ...
# # solution
# yatai = { url = "https://github.com/bentoml/Yatai", as_of = "2026-11" }
# bentocloud = { url = "https://docs.bentoml.com", as_of = "2026-11" }
# # end

# %% tags=["see"]
print("Parts that you would run, back up and renew for Yatai:", cards.parts_to_run())

# %% [markdown] tags=["explain"]
# And no one repairs the thing that they are for: the last commit of Yatai's repository is of 2024-05 (its image
# builder had some until 2026-03). A source without a date is worth little here. Half of what you read about layers
# was true when it was written.

# %% [markdown] tags=["why"]
# ## 5 · Six teams (8 minutes)
#
# "Which layer is best?" has no answer. "Which one breaks none of this team's conditions?" has, and often more than
# one. Here are the layers, what each cannot do, and six teams.

# %% tags=["predict"]
# %%answer P4
# Five data scientists, one platform engineer, a text model with preprocessing of its
# own that changes weekly, no standard of the company. Which layer?
# a  KServe: it is the standard of the field
# b  Seldon Core 2: the preprocessing becomes a step of its graph
# c  BentoML, as a plain Deployment
# TODO the letter of one of these
...
# solution
"c"
# end

# %% tags=["do"]
cards.show_layers()

# %% tags=["do"]
cards.show_cards()

# %% tags=["do"] language="work" magic_args="choice/cards.toml"
# # because: conditions of the card. rejected: a layer that is out, and the one it breaks
# [air-gap]
# # TODO layer, because = [...], words (your own), rejected, breaks
# ...
# # solution
# layer = "deployment"
# because = ["no-way-out", "maintained"]
# words = "Two images on the disk, and nothing in the cluster that asks for more."
# rejected = "bentocloud"
# breaks = "no-way-out"
# # end
# [residency]
# # TODO the same five for residency
# ...
# # solution
# layer = "kserve"
# because = ["data-at-home", "no-contract"]
# words = "Everything computes in our own racks, and nobody signs anything for it."
# rejected = "seldon"
# breaks = "no-contract"
# # end
# [two-engineers]
# # TODO the same five for two-engineers
# ...
# # solution
# layer = "bentocloud"
# because = ["two-people"]
# words = "Two people sleep at night if the control plane is someone else's."
# rejected = "yatai"
# breaks = "two-people"
# # end
# [v2-for-all]
# # TODO the same five for v2-for-all
# ...
# # solution
# layer = "kserve"
# because = ["v2", "one-kind"]
# words = "Nine teams write one kind of object, and clients learn one protocol."
# rejected = "mlserver"
# breaks = "one-kind"
# # end
# [graphs]
# # TODO the same five for graphs
# ...
# # solution
# layer = "seldon"
# because = ["graphs"]
# words = "Pipelines are objects there, and two steps may be in three of them."
# rejected = "deployment"
# breaks = "graphs"
# # end
# [tiny]
# # TODO the same five for tiny
# ...
# # solution
# layer = "deployment"
# because = ["nothing-beside", "no-contract"]
# words = "One pod answers two hundred requests a day and needs no one beside it."
# rejected = "kserve"
# breaks = "nothing-beside"
# # end

# %% tags=["see"]
cards.look()
claims.holds(cards.holds(), "No layer that you chose breaks a condition of its team.")

# %% tags=["predict"]
# %%answer Q7
# A small scikit-learn model, 200 requests a day. What does it get?
# a  KServe from the start, so that nothing is moved later
# b  a plain Deployment, and no control plane until one is missed
# c  MLServer's multi-model server, shared with models to come
# TODO the letter of one of these
...
# solution
"b"
# end

# %% tags=["see"]
recall.recall("P4", "Q3", "Q7")

# %% [markdown] tags=["explain"]
# All three begin with the same question: what is this team's dominant problem? Python that changes, a common
# interface for many, a graph, or none of these yet.

# %% tags=["do"]
# %stop v2

# %% tags=["check"]
# %grade sc9

# %% [markdown] tags=["explain"]
# `sc9` served your model folder itself and asked it in V2 for texts that no one had seen, a third of which need
# `prepare`. It computed the table from the runs again, and held each card against its conditions.
#
# ## To keep
# - A layer takes over what is the same for every model. What is special stays yours.
# - Count what a platform wants beside itself, and who repairs it at night.
# - Name the condition that rules a layer out, with a date. The one that is left is the choice.

# %% tags=["predict"]
# %%answer 10x
# A V2 client asks your MLServer model with an empty text. Who refuses it?
# a  the protocol: a tensor may not hold an empty text
# b  your class, if you wrote that
# c  MLServer, since it knows the datatype
# TODO the letter of one of these
...
# solution
"b"
# end

# %% tags=["predict"]
# %%answer 10y
# KServe runs your image in Standard mode. Who lets other pods in, or keeps them out?
# a  the controller makes a NetworkPolicy of the InferenceService
# b  a NetworkPolicy that you write, as in lab 05
# c  Knative's gateway
# TODO the letter of one of these
...
# solution
"b"
# end

# %% tags=["predict"]
# %%answer 10z
# A blog of 2023 says that canaries in KServe need Knative. What do you do with that?
# a  believe it: it was written by those who ran it
# b  drop KServe from the list
# c  look for the release that changed it, and write down when you looked
# TODO the letter of one of these
...
# solution
"c"
# end

# %% tags=["see"]
recall.recall("10x", "10y", "10z")
print(f"The machine has worked {clock.seconds:.0f} s for this lab.")

# %% [markdown] tags=["explain"]
# ## What is open
# Four of the six teams could keep the service that you wrote. Its interface, with runners and `bentoml.legacy`, is the
# older of BentoML's two. What does it take to move to the newer one, and what changes in the cluster? That is lab 11.
# (How fast the two models are behind MLServer and other servers, under one load: `docs/peers.md` in the kit's folder.)
