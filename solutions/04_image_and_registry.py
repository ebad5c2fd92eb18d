# ---
# jupyter:
#   jupytext: {custom_cell_magics: "work,shell"}
#   kernelspec: {name: python3, display_name: Python 3 (ipykernel), language: python}
#   lab: {id: "04", minutes: 38, grades: [sc4], needs: [docker, docker-buildx],
#         live: [cluster, registry],
#         inputs: [labs/helpers/image, grader/world/images.py, cluster], gives: []}
# ---

# %% [markdown] tags=["why"]
# # 04 · The image and the registry
#
# A Bento names what it needs: a Python, a hundred packages, two models. An **image** has them. It is what a node of a
# cluster pulls, and it comes in **layers**, each kept and sent on its own. After this notebook you can
#
# - say what each layer of your image holds, and which ones travel again after an edit;
# - decide what shares a layer, and check the decision with an edit;
# - use a password during a build and show that no layer has it;
# - say what one forgotten file costs every node, and where to look for it;
# - push an image, and show why its release is named by a digest.
#
# **Needed:** lab 03's Bento, and Docker. **Your time** (an estimate): 38 minutes. A default image 8, the cost of an
# edit 5, yours 10, a secret 4, push and two nodes 9, three questions 2. The machine needs about five minutes of it,
# most of them for packages. Two incidents wait after it: `%incident 04`.

# %% tags=["do"]
# %load_ext grader.magic
import os
from pathlib import Path

import httpx

from labs.helpers.bento import bentos
from labs.helpers.image import images, layers, pulls
from labs.helpers.lesson import claims, recall, timing
from labs.helpers.teaching.answers import measured

clock = timing.Clock()

# %% tags=["do"] language="shell"
# # TODO ./lab cluster up: a registry on this machine, and three nodes for lab 05
# ...
# # solution
# ./lab cluster up
# # end

# %% [markdown] tags=["explain"]
# A second run of this cell only checks that they are healthy. The registry is a container that listens on this
# machine's loopback address. The nodes are containers, too, and inside a node 127.0.0.1 is the node itself, so a file
# in each node redirects that address to the registry.

# %% [markdown] tags=["why"]
# ## 1 · The image that BentoML makes (8 minutes)
#
# `bentoml containerize` copies the Bento into an empty folder, adds the models that it names, and builds the
# Dockerfile in it. That happens on a **bench** here: a copy of your folder with a store of its own, so that an
# experiment never becomes your newest Bento. The step that installs a hundred packages takes a minute or two. While
# it runs: which files of the Bento will share a layer? The Dockerfile is in the Bento, in `env/docker/`; lab 03's
# `bentoml get demo_text_intelligence:latest -o path` says where that is.

# %% tags=["do"]
bench = images.Bench(template=False)
plain = f"{images.REPOSITORY}:default"
seconds = bench.make(plain)

# %% [markdown] tags=["predict"]
# The Bento had some fifty kilobytes, the models 92 MB. How large is the image, and what has the largest share?

# %% tags=["predict"]
# %%answer 04a
# TODO megabytes, and what most of them are
...
# solution
"2000: most of it is torch and the other packages."
# end

# %% tags=["see"]
measured("04a", sum(step.bytes for step in layers.steps(plain)) / 1e6)
layers.draw_steps(plain, "What does each step of the default Dockerfile add?")

# %% [markdown] tags=["explain"]
# A bar is a layer: the files that one step of the Dockerfile added or changed. There is a compiler,
# `build-essential`, which nothing in this Bento needs, and one step called `COPY . ./`.

# %% [markdown] tags=["why"]
# ## 2 · What an edit costs (5 minutes)
#
# Layers are the unit of travel: a registry and a node take those that they do not have yet. The course module says
# that weights and sources are in separate layers. Change one word, and look: `bench.edit(FILE)` adds a comment to a
# source, and `layers.fresh_bytes(BEFORE, AFTER)` counts the bytes in layers that only the second image has.

# %% [markdown] tags=["predict"]
# One comment in `preprocess.py` changes, and the image is made again. How many megabytes are in layers that the
# registry does not have yet?

# %% tags=["predict"]
# %%answer 04b
# TODO megabytes, and which of the steps runs again
...
# solution
"92: COPY . ./ takes sources and weights together."
# end

# %% tags=["see"]
# TODO bench.edit "preprocess.py"; bench.make f"{plain}-edited"; layers.fresh_bytes
count, fresh = ...
# solution
bench.edit("preprocess.py")
bench.make(f"{plain}-edited")
count, fresh = layers.fresh_bytes(plain, f"{plain}-edited")
# end
for step in fresh:
    print(f"{step.bytes:>12,} bytes  {step.says}")
measured("04b", count / 1e6)

# %% [markdown] tags=["explain"]
# The packages were there already, since nothing that their step reads had changed. Then `COPY . ./` copied
# everything: some kilobytes of sources, and the weights, which are the same as before. A layer is known by the hash
# of all its files, so one comment makes it another layer. **The module's separate layers do not exist** (claims c29
# and c38). You can make them.

# %% [markdown] tags=["why"]
# ## 3 · Yours (10 minutes)
#
# BentoML takes a template that replaces parts of its Dockerfile. Two decisions are in it. What is needed to *make*
# the image stays in a stage of its own (`packages`), of which only the result is copied. And what changes seldom
# comes before what changes often, because a step that runs again makes all steps after it run again.
#
# In the folder are `models/` (the weights), `env/python/` (`install.sh`, which installs the packages with uv),
# `env/docker/` (the entry point), `apis/` (the OpenAPI document), `src/` (your sources), and `bento.yaml` and
# `README.md`, which differ after each build. uv keeps what it has fetched in `/root/.cache/uv`.

# %% tags=["do"] language="work" magic_args="service/Dockerfile.template"
# {% extends bento_base_template %}
#
# {% block SETUP_BENTO_BASE_IMAGE %}
# # What installs stays behind in this stage; the image below is another one.
# FROM python:3.11-slim AS packages
# RUN pip install --no-cache-dir uv && uv venv /app/.venv
# ENV VIRTUAL_ENV=/app/.venv UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy
# ARG UV_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
# ARG UV_INDEX_STRATEGY=unsafe-best-match
# COPY ./env/python /tmp/python/
# # A login for a private index is there while this step runs, if the build is given one.
# # TODO RUN with a mount of the secret netrc (/root/.netrc) and a cache: install.sh
# ...
# # solution
# RUN --mount=type=secret,id=netrc,target=/root/.netrc \
#     --mount=type=cache,target=/root/.cache/uv \
#     bash -euo pipefail /tmp/python/install.sh
# # end
#
# FROM python:3.11-slim AS base-container
# ENV LANG=C.UTF-8 PYTHONUNBUFFERED=1
# {% endblock %}
#
# {% block SETUP_BENTO_ENVARS %}
# ENV BENTO_PATH={{ bento__path }} BENTOML_HOME={{ bento__home }}
# ENV BENTOML_CONTAINERIZED=true
# WORKDIR {{ bento__path }}
# {% endblock %}
#
# {% block SETUP_BENTO_COMPONENTS %}
# # TODO take /app/.venv, and nothing else, from the stage packages
# ...
# # solution
# COPY --from=packages /app/.venv /app/.venv
# # end
# ENV VIRTUAL_ENV=/app/.venv PATH="/app/.venv/bin:$PATH"
# # TODO instead of this line a COPY for each part of the Bento: what changes seldom first
# COPY --chown=bentoml:bentoml . ./
# # solution
# COPY --chown=bentoml:bentoml ./models ./models/
# COPY --chown=bentoml:bentoml ./env/docker ./env/docker/
# COPY --chown=bentoml:bentoml ./apis ./apis/
# COPY --chown=bentoml:bentoml ./src ./src/
# COPY --chown=bentoml:bentoml ./bento.yaml ./README.md ./
# # end
# {% endblock %}

# %% [markdown] tags=["explain"]
# The blocks that are not named stay as BentoML has them; the user `bentoml` comes from one of those. (Without
# `--chown` the container dies with "Permission denied": a model store keeps its files from other users.) The build
# file, below, names the template in its last line. In lab 03 it set the address of PyTorch's index in `env`, for every
# container that runs; now the address is an argument of the stage `packages` alone.

# %% tags=["do"] language="work" magic_args="service/bentofile.yaml"
# service: "service:svc"
# labels:
#   project: serving-lab
#   task: triage
# include:
#   - service.py
#   - frame.py
#   - guard.py
#   - limits.py
#   - contract.py
#   - runnable.py
#   - preprocess.py
#   - bentoml_configuration.yml
# python:
#   requirements_txt: requirements.txt
#   lock_packages: false # requirements.txt is the lock
# docker:
#   dockerfile_template: ./Dockerfile.template

# %% [markdown] tags=["why"]
# Now the image that you will release, from your own store. `$IMAGE` is its name. The `netrc` is a login for a private
# index, made up for this run; part 4 asks what became of it. One trap on the way: BentoML 1.4.39 copies a template into
# the system's folder for temporary files, and then refuses it because it is outside of the folder that you are in. So
# `TMPDIR` is that folder.

# %% tags=["do"]
token = bentos.made_up_token()
bench = images.Bench(store="store")
netrc = bench.folder.with_name("netrc")
netrc.write_text(f"machine index.example login build password {token}\n")
os.environ |= {"LAB_COPY": str(bench.folder), "LAB_NETRC": str(netrc)}
os.environ["LAB_INDEX"] = " ".join(images.index_option())  # a mirror, if there is one
ours = images.RELEASE

# %% tags=["do"] language="shell"
# export BUILDKIT_PROGRESS=plain TMPDIR=$LAB_COPY
# cd "$LAB_COPY" && bentoml build -o tag
# more=(--opt secret=id=netrc,src="$LAB_NETRC" $LAB_INDEX)
# trap 'tail -n 5 ../build.log' ERR # the end of the log, if the next command fails
# # TODO bentoml containerize ...:latest -t ... "${more[@]}" &> ../build.log
# ...
# # solution
# bento=demo_text_intelligence:latest
# bentoml containerize $bento -t "$IMAGE" "${more[@]}" &> ../build.log
# # end
# # TODO grep the steps that COPY in ../build.log: is the order as you want it?
# ...
# # solution
# grep -E '^#[0-9]+ \[.*COPY' ../build.log
# # end

# %% tags=["see"]
layers.draw_steps(ours, "What does each step of your Dockerfile add?")

# %% [markdown] tags=["why"]
# Is the compiler gone, and do the weights have a layer of their own? Now the same edit as before, on a bench that is
# thrown away, with the clock running from the edit to the finished image.

# %% tags=["do"]
# TODO trial: a new images.Bench(), and the same edit on it
trial = ...
# solution
trial = images.Bench()
trial.edit("preprocess.py")
# end
seconds = trial.make(
    f"{images.REPOSITORY}:edited", "--opt", f"secret=id=netrc,src={netrc}"
)

# %% tags=["see"]
edited = f"{images.REPOSITORY}:edited"
# TODO count the fresh bytes, from your image to the edited one
count, fresh = ...
# solution
count, fresh = layers.fresh_bytes(ours, edited)
# end
print("new layers:", *(step.says[:60] for step in fresh), sep="\n  ")
again = layers.made_again(ours)
print(f"an edit: {again:,} bytes are made again, {count:,} bytes travel")
claims.holds(again < 1e6, "What changes seldom comes first: your order is right.")
layers.draw_edit({"BentoML's": (plain, f"{plain}-edited"), "yours": (ours, edited)})

# %% [markdown] tags=["explain"]
# The same edit, and the line under the picture has both costs. The order is worth more than the smaller image: packages
# travel once, an edit many times a day.
#
# *A place to stop: the images stay with Docker.*

# %% [markdown] tags=["why"]
# ## 4 · A password that was there and is not (4 minutes)
#
# Your build had a login, mounted for the step that installs and for that step alone. Two other ways are common: a build
# argument, and a file that is copied in and deleted again. Make all three, each from a base image and a line or two.
# The file `netrc` is beside the Dockerfile, and it is also the secret with the id `netrc`.

# %% [markdown] tags=["predict"]
# Someone has pulled all three images, and has nothing else. From which of them can they read the token?

# %% tags=["predict"]
# %%answer 04c
# A token reaches a build by an argument, by a file that is copied and deleted, or by
# a secret mount. In which of the three images can it be found?
# a  the build argument alone
# b  the build argument, and the file that was copied and deleted
# c  the file that was copied and deleted, alone
# d  all three
# TODO the letter of one of these, and why
...
# solution
"b: the argument is in the history, the file in the layer that copied it."
# end

# %% tags=["see"]
# TODO the lines of a Dockerfile: COPY netrc and RUN rm; RUN with a secret mount
deleted = mounted = ...
# solution
deleted = "COPY netrc /root/.netrc\nRUN rm /root/.netrc"
mounted = "RUN --mount=type=secret,id=netrc,target=/login test -s /login"
# end
argument = 'ARG TOKEN\nRUN test -n "$TOKEN"'
found = images.find_token((argument, deleted, mounted), token, netrc)
hit = "".join(letter for letter, place in zip("adm", found, strict=True) if place)
measured("04c", {"a": "a", "ad": "b", "d": "c"}.get(hit, "d"))

# %% [markdown] tags=["explain"]
# Anyone who pulls an image has both: a stack of layers and a record of the commands that made them. Deleting a file
# adds a layer that says "not here"; the layer below still has it. Only what was never written is not there.

# %% [markdown] tags=["why"]
# ## 5 · Push it, name it, run it (9 minutes)
#
# A push sends the layers that the registry lacks, and answers with a **digest**: the hash of the list of layers.
# `$REPOSITORY` is `$IMAGE` without its tag.

# %% tags=["do"] language="shell"
# # TODO push $IMAGE; -q shows no bars. Then $REPOSITORY:moving: docker tag, and push
# ...
# # solution
# docker push -q "$IMAGE"
# docker tag "$IMAGE" "$REPOSITORY:moving"
# docker push -q "$REPOSITORY:moving"
# # end

# %% [markdown] tags=["predict"]
# Your image has two tags in the registry now. One of them will move: you push the edited image under `moving`, as
# people do with `latest` or `v1`. Before that, a pod on one node has pulled `moving`. After it, a pod on another node
# does.

# %% tags=["predict"]
# %%answer 04d
# One node has pulled the image by its tag. You push another image under the same tag,
# and a second node pulls it. What runs where?
# a  both nodes run the new image
# b  the node that had the tag runs the old image, the other one the new
# c  the pull is refused: a tag cannot be used twice
# TODO the letter of one of these, and why
...
# solution
"b: a node that has the tag does not ask again."
# end

# %% tags=["do"]
moving, (here, there) = f"{images.REPOSITORY}:moving", images.NAMES.nodes[1:3]
# TODO pulls.ask_version(node, image): which version a pod on `here` runs as `moving`
before = ...
# solution
before = pulls.ask_version(here, moving)
# end
print("on", here, before)

# %% tags=["do"] language="shell"
# # TODO tag $REPOSITORY:edited as $REPOSITORY:moving, and push it
# ...
# # solution
# docker tag "$REPOSITORY:edited" "$REPOSITORY:moving"
# docker push -q "$REPOSITORY:moving"
# # end

# %% tags=["see"]
after = {node: pulls.ask_version(node, moving) for node in (here, there)}
for node, version in after.items():
    print("on", node, version)
same = len(set(after.values())) == 1
measured("04d", "b" if after[here] == before and not same else "a")

# %% [markdown] tags=["explain"]
# So a release is a small file with the name that cannot move (claim c39), and with the version of the Bento that it
# was made of. Write it for lab 05.

# %% tags=["do"] language="shell"
# bento=$(cat store/bentos/demo_text_intelligence/latest)
# # TODO name=repository@sha256:...; docker image inspect has it in .RepoDigests
# name=...
# # solution
# name=$(docker image inspect --format '{{index .RepoDigests 0}}' "$IMAGE")
# # end
# # TODO mkdir -p deploy; write deploy/release.json, an object: image $name, bento $bento
# ...
# # solution
# mkdir -p deploy && cat > deploy/release.json <<END
# {
#  "image": "$name",
#  "bento": "$bento"
# }
# END
# # end
# cat deploy/release.json

# %% [markdown] tags=["why"]
# It runs here. But does it run from what the registry has, or from what happens to be on this machine? Remove every
# local name of it, pull it back by its digest, and ask it two texts. `images.running` starts it with `--cap-drop=ALL`.

# %% tags=["do"]
import json

name = json.loads(Path("deploy/release.json").read_text())["image"]
images.forget()
# TODO images.docker("pull", ...) the release
...
# solution
images.docker("pull", name)
# end
texts = {"texts": ["I was charged twice", "Where is my parcel?"]}
with images.running(name) as url:
    # TODO post the texts to it, and print the status and the answer
    ...
    # solution
    answer = httpx.post(f"{url}/classify", json=texts, timeout=20)
    print(answer.status_code, answer.json())
    # end

# %% [markdown] tags=["explain"]
# It answered without a single capability of root. The user is the one that the image names, `bentoml`.

# %% [markdown] tags=["why"]
# The registry can be read like a file. This cell reads each layer and hashes every byte on the way, so the picture
# shows what a node will get.

# %% tags=["see"]
pushed = images.read_pushed()
told = [secret for layer in pushed.layers for secret in layer.secrets]
print("secrets in its layers:", *told or ["none"])
print("your build's login:   ", "in it" if token in str(pushed) else "not in it")
layers.draw_contents(pushed)

# %% [markdown] tags=["predict"]
# One file more. A colleague left 300 MB of sample data beside the sources, and a star in `include`. The module tells
# of a Bento with a 2.8 GB sample, whose pulls saturated a cluster's network. You are asked why the image has grown, and
# which file to blame.

# %% tags=["predict"]
# %%answer Q2
# The image is gigabytes larger than expected: where do you look first?
# a  at the Bento: its files, its packages, its models
# b  at the image's layers
# c  at the base image: a slimmer one
# TODO the letter of one of these, and why
...
# solution
"a: it can be read whole."
# end

# %% tags=["see"]
# pull=True also pushes that image, and has a node pull it and yours; it takes a minute.
from IPython.display import display

fat = pulls.with_samples(pull=False)
print("the largest file of its Bento:", fat["largest"])
print(f"what travels for one comment:  {fat['edit'] / 1e6:.0f} MB")
measured("Q2", "a" if "samples" in fat["largest"] else "b")
if "pulls" in fat:
    display(pulls.draw_pulls(fat["pulls"]))
layers.draw_steps(pulls.SAMPLES, "Which layer has grown?")

# %% [markdown] tags=["explain"]
# The picture shows which step has grown; the Bento says which file. Every edit of a source sends the sample again,
# since it shares their layer, and every node pulls it: a new pod waits for that, just when you add pods because
# people are waiting.

# %% tags=["check"]
# %grade sc4

# %% [markdown] tags=["explain"]
# `sc4` did not trust Docker's local copy. It read the image from the registry, compared its sources and weights with
# your newest Bento, searched every layer for secrets, and ran it.
#
# ## To keep
# - What shares a COPY shares a layer, and travels together.
# - A secret that was written is in the image, also if it was deleted. A mount never writes it.
# - A tag is a name that can move; two nodes may know it differently. A release names a digest.

# %% tags=["predict"]
# %%answer 04x
# You delete a 200 MB file in a RUN step after the COPY that brought it. The image is
# now
# a  200 MB smaller
# b  as large as before
# c  larger than before by 200 MB
# TODO the letter of one of these
...
# solution
"b"
# end

# %% tags=["predict"]
# %%answer 04y
# The weights are copied after the sources, each by a COPY of its own. You edit a
# source. What does BuildKit do with the step that copies the weights?
# a  it keeps it: its files have not changed
# b  it runs it again, since a step before it has changed
# c  it joins both steps
# TODO the letter of one of these
...
# solution
"b"
# end

# %% tags=["predict"]
# %%answer 04z
# A Deployment names repository@sha256:... . A new image is pushed under the old tag.
# What do new pods run?
# a  the new image
# b  the old image
# c  nothing: the digest is gone
# TODO the letter of one of these
...
# solution
"b"
# end

# %% tags=["see"]
recall.recall("04x", "04y", "04z")
print(f"The machine has worked {clock.seconds:.0f} s for this lab.")

# %% [markdown] tags=["explain"]
# ## What is open
# An image is in a registry, and a container of it answered on this machine. If that container dies at night, nothing
# starts it again. Two of them would need something that shares out the requests and knows when each is ready. Lab 05
# hands all of that to Kubernetes, and then asks what Kubernetes makes of it.
