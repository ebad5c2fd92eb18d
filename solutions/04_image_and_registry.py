# ---
# jupyter:
#   jupytext: {custom_cell_magics: work}
#   kernelspec: {name: python3, display_name: Python 3 (ipykernel), language: python}
#   lab: {id: "04", minutes: 39, grades: [sc4], needs: [docker, docker-buildx],
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
# - write the template that puts weights and sources into layers of their own;
# - use a password during a build and show that no layer has it;
# - push an image, name it so that the name cannot come to mean another, and run it from the registry alone.
#
# **Needed:** lab 03's Bento, and Docker. **Your time** (an estimate): 39 minutes. A default image 9, the cost of an
# edit 6, yours 10, a secret 5, push and run 9. The machine needs about six minutes of it, most of them for packages.
#
# The cell below makes a registry on this machine, and the three nodes that lab 05 will use. A second run of it only
# looks whether they are well.

# %% tags=["do"]
# %load_ext grader.magic
import json
from pathlib import Path

import httpx

from labs.helpers.bento import bentos
from labs.helpers.image import images, layers, pulls
from labs.helpers.lesson import timing

clock = timing.Clock()
# !$LAB_KIT/lab cluster up 2>&1 | grep -v kind:

# %% [markdown] tags=["explain"]
# The registry is a container that listens on this machine's loopback address. The nodes are containers, too, and for
# them 127.0.0.1 would be themselves: a file in each tells its container runtime to ask the registry in its place.

# %% [markdown] tags=["why"]
# ## 1 · The image that BentoML makes (9 minutes)
#
# `bentoml containerize` copies the Bento into an empty folder, adds the models that it names, and builds the Dockerfile
# in it. That happens on a **bench** here: a copy of your folder and a store of its own, so that what is only tried does
# not become your newest Bento. The step that installs a hundred packages takes a minute or two.

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
"1400: most of it is torch and the other packages."
# end

# %% tags=["see"]
layers.draw_steps(plain, "What does each step of the default Dockerfile add?")

# %% [markdown] tags=["explain"]
# A bar is a layer: the files that one step of the Dockerfile added or changed. The packages are the largest, and the
# CPU build of torch is most of them. (With the CUDA build it would be several GB: part 3 of lab 03 had the sizes.)
# Then comes the system, and a compiler, `build-essential`, which nothing in this Bento needs. The last of the large
# ones is called `COPY . ./`.

# %% [markdown] tags=["why"]
# ## 2 · What an edit costs (6 minutes)
#
# Layers are the unit of travel: a registry and a node take those that they do not have yet. So it matters which files
# share one. The common text says: weights and sources lie in separate layers. Change one word, and look.

# %% [markdown] tags=["predict"]
# One comment in `preprocess.py` changes, and the image is made again. How many bytes are in layers that nobody has?

# %% tags=["predict"]
# %%answer 04b
# TODO megabytes, and which of the steps runs again
...
# solution
"92: COPY . ./ takes sources and weights together."
# end

# %% tags=["do"]
bench.edit("preprocess.py")
bench.make(f"{plain}-edited")
count, fresh = layers.fresh_bytes(plain, f"{plain}-edited")
for step in fresh:
    print(f"{step.bytes:>12,} bytes  {step.says}")
print(f"{count:>12,} bytes to send, for one comment")

# %% [markdown] tags=["explain"]
# The packages were there already, since nothing that their step reads had changed. Then `COPY . ./` copied everything:
# some kilobytes of sources, and 92 MB of weights that are the same as before. A layer is known by the hash of all its
# files, so one comment makes it another layer. **The separate layers of the text do not exist.** You can make them.

# %% [markdown] tags=["why"]
# ## 3 · Yours (10 minutes)
#
# BentoML takes a template that replaces parts of its Dockerfile. Two decisions are in it. What is needed to *make* the
# image stays in a stage of its own (`packages`), of which only the result is copied. And what changes seldom comes
# before what changes often, because a step that runs again makes all steps after it run again.

# %% tags=["do"] language="work" magic_args="service/Dockerfile.template"
# {% extends bento_base_template %}
#
# {% block SETUP_BENTO_BASE_IMAGE %}
# # What installs stays behind in this stage; the image below begins anew.
# FROM python:3.11-slim AS packages
# RUN pip install --no-cache-dir uv && uv venv /app/.venv
# ENV VIRTUAL_ENV=/app/.venv UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy
# ARG UV_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
# ARG UV_INDEX_STRATEGY=unsafe-best-match
# COPY ./env/python /tmp/python/
# # A login for a private index is there while this step runs, if the build is given one.
# RUN --mount=type=secret,id=netrc,target=/root/.netrc \
#     --mount=type=cache,target=/root/.cache/uv \
#     wc -l /root/.netrc; bash -euo pipefail /tmp/python/install.sh
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
# COPY --from=packages /app/.venv /app/.venv
# ENV VIRTUAL_ENV=/app/.venv PATH="/app/.venv/bin:$PATH"
# # TODO a COPY each for models, env/docker, apis, src, bento.yaml: in which order?
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
# The blocks that are not named stay as BentoML has them; the user `bentoml` comes from one of those. (Without `--chown`
# the container dies with "Permission denied": a model store keeps its files from other users.) The build file gets one
# line more, and the index's address moves into the template: it is no longer set in every container that runs.

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
# Now the image that you will release, from your own store. The `netrc` is a login for a private index, made up for this
# run; part 4 asks what became of it. One trap on the way: for a Bento with a template, BentoML 1.4.39 keeps a copy of
# it in the system's folder for temporary files, and then refuses what lies outside of the folder that you are in. So
# the bench sets `TMPDIR`.

# %% tags=["do"]
token = bentos.made_up_token()
bench = images.Bench(store="store")
netrc = bench.folder.with_name("netrc")
netrc.write_text(f"machine index.example login build password {token}\n")
ours = images.RELEASE
print(ours)
seconds = bench.make(ours, "--opt", f"secret=id=netrc,src={netrc}")

# %% tags=["see"]
layers.draw_steps(ours, "What does each step of your Dockerfile add?")

# %% [markdown] tags=["why"]
# The compiler is gone, and the weights have a layer of their own. Now the same edit as before, on a bench that is
# thrown away, with the clock running from the edit to the finished image.

# %% tags=["do"]
trial = images.Bench()
trial.edit("preprocess.py")
seconds = trial.make(
    f"{images.REPOSITORY}:edited", "--opt", f"secret=id=netrc,src={netrc}"
)

# %% tags=["see"]
layers.draw_edit(
    {
        "BentoML's": (plain, f"{plain}-edited"),
        "yours": (ours, f"{images.REPOSITORY}:edited"),
    }
)

# %% [markdown] tags=["explain"]
# The same edit, and the line under the picture has the two costs. That is worth more than the smaller image: the
# packages travel once, an edit many times a day.
#
# *A place to stop: the images stay with Docker.*

# %% [markdown] tags=["why"]
# ## 4 · A password that was there and is not (5 minutes)
#
# Your build had a login, mounted for the step that installs and for that step alone. Three other ways are
# common. Make them, with a base image and one line each.

# %% [markdown] tags=["predict"]
# A build argument that a step uses; a file that is copied in and deleted by the next step; a secret mount. From which
# of the three images can somebody who pulls it read the token?

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

# %% tags=["do"]
ways = {
    "build argument": 'ARG TOKEN\nRUN test -n "$TOKEN"',
    "copied, deleted": "COPY netrc /root/.netrc\nRUN rm /root/.netrc",
    "secret mount": "RUN --mount=type=secret,id=netrc,target=/login test -s /login",
}
for way, lines in ways.items():
    image = images.make_small(lines, token, netrc)
    print(f"{way:<16}", images.find_text(image, token) or "nowhere")

# %% [markdown] tags=["explain"]
# An image is a pile of layers and a protocol of how they were made, and whoever pulls it has both. Deleting a file adds
# a layer that says "not here"; the layer below still has it. Only what was never written is not there.

# %% [markdown] tags=["why"]
# ## 5 · Push it, name it, run it (9 minutes)
#
# A push sends the layers that the registry lacks, and answers with a **digest**: the hash of the list of layers. A tag
# is a pointer that anybody may move; a digest can only ever mean this image. BentoML's image goes along, for a
# comparison at the end. Most of the time goes into packing layers.

# %% tags=["do"]
print(timing.told(lambda: images.docker("push", ours).splitlines()[-1]))
print(timing.told(lambda: images.docker("push", plain).splitlines()[-1]))

# %% [markdown] tags=["predict"]
# In the registry the tag `bento-v1` names your image today. Lab 05 gives the cluster a name to pull. If it is the tag,
# and somebody pushes another image under it tomorrow, what runs in a cluster of three nodes the day after?

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

# %% [markdown] tags=["explain"]
# So the release is a small file with the name that cannot change, and with the Bento that it was made of. The next
# cell writes it for lab 05; which name goes into it is yours to say.

# %% tags=["do"]
digest = json.loads(images.docker("image", "inspect", ours))[0]["RepoDigests"]
# TODO the image by its digest: repository@sha256:..., one of the names in `digest`
name = ...
# solution
name = next(d for d in digest if d.startswith(f"{images.REPOSITORY}@"))
# end
Path("deploy").mkdir(exist_ok=True)
Path("deploy/release.json").write_text(
    json.dumps({"image": name, "bento": bentos.latest().name}, indent=1)
)
print(Path("deploy/release.json").read_text())

# %% [markdown] tags=["why"]
# It runs here. But does it run from what the registry has, or from what happens to lie on this machine? Take all local
# names of it away, pull it back by its digest, and ask two texts.

# %% tags=["do"]
images.forget()
print(images.docker("pull", name).splitlines()[-1])
with images.running(name) as url:
    answer = httpx.post(
        f"{url}/classify",
        json={"texts": ["I was charged twice", "Where is my parcel?"]},
        timeout=20,
    )
    print(answer.status_code, answer.json())

# %% [markdown] tags=["explain"]
# The container ran as the user `bentoml`, without a single capability of root, and needed none.

# %% [markdown] tags=["why"]
# The registry can be read like a file. This picture asks each layer what is in it; every byte is hashed on the way, so
# what it shows is what a node will get.

# %% tags=["see"]
pushed = images.read_pushed()
told = [secret for layer in pushed.layers for secret in layer.secrets]
print("secrets in its layers:", told or "none", "| your login:", token in str(pushed))
layers.draw_contents(pushed)

# %% [markdown] tags=["why"]
# A last number: what a node pays for an image that it has never seen. One that has none of this service pulls
# BentoML's, forgets it, and pulls yours.

# %% tags=["see"]
first = {
    "BentoML's": pulls.first_pull(plain),
    "yours": pulls.first_pull(name, keep=True),
}
pulls.draw_pulls(first)

# %% [markdown] tags=["explain"]
# That is the time that a new pod waits on a node without the image, just when you add pods because people are waiting.
# The registry is on the same machine here; over a network the bytes count for more. The hatched bar is the size of an
# image of which the course module tells, with a 2.8 GB sample of data left in it, at the rate of the slower one: nobody
# pulled that here.

# %% tags=["check"]
# %grade sc4

# %% [markdown] tags=["explain"]
# `sc4` did not ask your engine. It read the image from the registry, compared its sources and weights with your newest
# Bento, searched every layer for secrets, and ran it.

# %% tags=["see"]
print(f"The machine has worked {clock.seconds:.0f} s for this lab.")

# %% [markdown] tags=["explain"]
# ## What is open
# An image lies in a registry, and a container of it answered on this machine. If that container dies at night, nobody
# starts it again. If two are needed, somebody has to share out the requests. If a new one starts, somebody has to know
# when it is ready. Lab 05 hands all of that to Kubernetes, and then asks what Kubernetes makes of it.
