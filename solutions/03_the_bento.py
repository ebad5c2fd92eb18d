# ---
# jupyter:
#   jupytext: {custom_cell_magics: "work,shell"}
#   kernelspec: {name: python3, display_name: Python 3 (ipykernel), language: python}
#   lab: {id: "03", minutes: 36, grades: [sc3], needs: [],
#         inputs: [labs/helpers/bento, grader/world/bentos.py, grader/world/packages.py,
#                  grader/world/secrets.py], gives: []}
# ---

# %% [markdown] tags=["why"]
# # 03 · The Bento
#
# Your service runs here, from this folder. A colleague on another machine has neither the folder nor the packages. A
# **Bento** is what you hand over: a folder with the sources, the names of the models and the way to make an image of
# it all. After this notebook you can
#
# - build one, and say what each file in it is for;
# - show what gets in by itself (a password among it), and keep it out in a way that does not depend on your memory;
# - fix every package's version, and say what one missing `+cpu` costs in gigabytes;
# - compare two Bentos, and prove which model a Bento loads.
#
# **Needed:** labs 01 and 02, this kernel. One picture asks a package index; without one it says so. **Your time** (an
# estimate): 36 minutes. A first Bento 6, what gets in 8, yours 11, secrets 4, two Bentos and their models 5, three
# questions 2. **The machine's time** is counted and shown at the end. Two incidents wait after it: `%incident 03`.
#
# The first cell makes a desk: a copy of `service/` and a store of its own, where builds may go wrong. Its folder is
# `$LAB_DESK` in commands, its store `$LAB_DESK_STORE`.

# %% tags=["do"]
# %load_ext grader.magic
import os
from pathlib import Path

import yaml

from labs.helpers.bento import bentos, packages
from labs.helpers.lesson import claims, recall, timing
from labs.helpers.teaching.answers import measured

clock = timing.Clock()
desk = bentos.Desk()
print("on the desk:", *sorted(p.name for p in desk.service.iterdir()))

# %% [markdown] tags=["why"]
# ## 1 · The shortest build (6 minutes)
#
# The files above are what a build would find in your folder today, and none of them says how to build. Two lines are
# enough for that. The second keeps the build, for now, from asking a package index.

# %% tags=["do"] language="shell"
# cd "$LAB_DESK"
# cat > bentofile.yaml <<'END'
# # TODO service: the module and the variable, as in bentoml serve
# ...
# # solution
# service: "service:svc"
# # end
# python: {lock_packages: false}
# END
# export BENTOML_HOME=$LAB_DESK_STORE
# # TODO bentoml build -o tag
# ...
# # solution
# bentoml build -o tag
# # end

# %% tags=["see"] language="shell"
# export BENTOML_HOME=$LAB_DESK_STORE
# # TODO cd to what bentoml get demo_text_intelligence:latest -o path says; find its files
# ...
# # solution
# cd "$(bentoml get demo_text_intelligence:latest -o path)"
# find . -type f | sort
# # end
# grep -E '^(FROM|COPY|USER)|install.sh' env/docker/Dockerfile

# %% tags=["see"]
# One bar a file. What is hatched was copied, and nothing that serves will ever read it.
bentos.draw_tree(desk.bento)

# %% [markdown] tags=["explain"]
# (The warnings say that the classic API is deprecated: lab 11.) Three parts. `src/` is a copy of your folder. `env/`
# says how the image is made: a Dockerfile, and the packages that it installs. `bento.yaml` and `apis/` say what this
# is, to BentoML and to callers. How does the picture know what serving needs? It starts at `service.py` and follows
# the imports. Nothing there imports `save_models.py`, so the script that trains, its tickets and the loader of
# MiniLM's weights have no business in a pod.

# %% [markdown] tags=["why"]
# And where are the models? MiniLM alone has 90 MB, and the whole Bento is small. Look at what is there instead.

# %% tags=["see"]
print(bentos.yaml_part(desk.bento / "bento.yaml", "models", "runners"))
whole = sum(p.stat().st_size for p in desk.bento.rglob("*") if p.is_file())
models = sum(p.stat().st_size for p in Path("store/models").rglob("*.pkl"))
print(f"\nthe Bento: {whole / 1e3:.0f} kB; your pickled models: {models / 1e6:.0f} MB")

# %% [markdown] tags=["explain"]
# A Bento in the store names its models by their full tags, and the weights stay where they are. They are copied in
# when an image is made of it (lab 04). The build took the tags from the runners: in `service.py` you said which
# models a runner has, and the build asked. Note that `latest` is nowhere: it was looked up, once, at the build.
# `bentoml models delete` refuses a model that a Bento names.

# %% [markdown] tags=["why"]
# ## 2 · What gets in by itself (8 minutes)
#
# The desk is too tidy to be true. A folder in which people have worked for a month has more in it. The next cell puts
# that there: things that everyone has, and a token that opens nothing, made for this run.

# %% tags=["do"]
token = bentos.made_up_token()
desk.write(".env", f"HUB_TOKEN={token}\nDB_PASSWORD=wet-parcels-come-torn\n")
desk.write("explore.ipynb", '{"cells": [], "metadata": {}, "nbformat": 4}')
desk.write("data/tickets.csv", "I was charged twice,anna@mail.example\n" * 5000)
desk.write("tests/test_service.py", "def test_it():\n    assert True\n")
desk.write("__pycache__/service.cpython-311.pyc", "compiled")
desk.write("handover.txt", f"Anna is away until Monday. To pull the weights: {token}\n")
os.environ["LAB_MADE_UP"] = token  # $LAB_MADE_UP in commands

# %% [markdown] tags=["predict"]
# Six files more. The build file has not changed, and says nothing about which files to take.

# %% tags=["predict"]
# %%answer 03a
# Six stray files (.env, a notebook, data, a test, a compiled file, a note) are beside
# the service, and the build file says nothing about files. Which get into the Bento?
# a  none: only what service.py imports
# b  all but .env and the compiled file
# c  all but the compiled file
# d  all six
# TODO the letter of one of these, and why
...
# solution
"c: a dot in front of a name hides nothing from a star."
# end

# %% tags=["do"] language="shell"
# export BENTOML_HOME=$LAB_DESK_STORE
# cd "$LAB_DESK" && bentoml build -o tag
# # TODO your audit: cd to the Bento; find the files in src; grep -rl for $LAB_MADE_UP
# ...
# # solution
# cd "$(bentoml get demo_text_intelligence:latest -o path)"
# find src -type f
# grep -rl "$LAB_MADE_UP" .
# # end

# %% tags=["see"]
inside = {p.name for p in desk.bento.rglob("*")}
letter = "c" if {".env", "explore.ipynb", "handover.txt"} <= inside else "b"
measured("03a", "d" if "service.cpython-311.pyc" in inside else letter)
print(bentos.report(desk.bento))

# %% [markdown] tags=["explain"]
# The report is the kit's audit: it asks of each file what needs it, and opens it to look for what no person would
# type. (So are checksums: what it says of `weights.py` is a false alarm. A search like this tells where to look, and
# finding nothing proves little.)
#
# The usual remedy is a list of what to leave out: `exclude` in the build file, or a file `.bentoignore`, in the same
# language as `.gitignore`. Write what comes to mind when you think of these files.

# %% tags=["do"] language="shell"
# cd "$LAB_DESK"
# cat > .bentoignore <<'END'
# save_models.py
# # TODO a pattern a line for hidden files, notebooks, data and tests
# ...
# # solution
# .*
# *.ipynb
# data/
# tests/
# # end
# END
# BENTOML_HOME=$LAB_DESK_STORE bentoml build -o tag

# %% tags=["see"]
print(bentos.report(desk.bento))

# %% [markdown] tags=["explain"]
# Nearly. The note is called `handover.txt`, a name that is on nobody's list, and it has the same token in it. **A
# list of what to leave out must foresee every name. An include list lets in only what you wrote down** (claim c26).
# Where the two disagree, `.bentoignore` wins, and a build that leaves out a file that serving needs ends well all the
# same: the first pod finds out. So an audit looks for both, what is too much and what is missing.
#
# *A place to stop. What comes now is kept.*

# %% [markdown] tags=["why"]
# ## 3 · Yours (11 minutes)
#
# First the packages. A pickle names the modules that it is made of, and the image needs those as well as what the
# code imports. The next cell reads both without running either.

# %% tags=["see"]
print(packages.who_asks("service", "store"))

# %% [markdown] tags=["explain"]
# Your service never says `sentence_transformers`, and no pod would start without it. That is the reason why packages
# cannot be guessed from the code, and why their versions should be those that wrote the pickles.

# %% [markdown] tags=["why"]
# Now suppose that you name these packages without versions, as most build files do. Locking is on by default: the
# build asks the index for what is newest, and writes it down. Here is the same question, asked with the same program
# (`uv pip compile`), with the sizes that the index gives. Nothing is downloaded.

# %% tags=["see"]
named = ["bentoml==1.4.39", "torch", "sentence-transformers", "scikit-learn"]
newest, problem = packages.resolve(named)
packages.draw_weight(newest, problem)

# %% [markdown] tags=["explain"]
# For Linux, the `torch` of the default index is the **CUDA** build: it brings the libraries of a GPU along, for a pod
# that has none. A lock does not help, it makes the mistake repeatable. PyTorch's own index has a build for the CPU,
# and calls it by another version: `2.13.0+cpu`. A line that says `torch==2.13.0+cpu` can only be met by that build,
# so out of reach: without the right index the installation fails instead of fetching gigabytes.

# %% [markdown] tags=["why"]
# A build with `lock_packages: true` needs that index, at the build, on every machine. The lab goes another way to the
# same end: a file with an exact version for each package *and for all that these need*, made from the lock file that
# this environment was installed from. Name the packages to start from.

# %% tags=["do"]
# Besides what you saw: opentelemetry-exporter-otlp-proto-http, which sends traces.
# TODO a list of the names of the packages to start from
roots = ...
# solution
roots = ["bentoml", "torch", "sentence-transformers", "scikit-learn"]
roots += ["opentelemetry-exporter-otlp-proto-http"]
# end
print(packages.write_pins("service/requirements.txt", roots))
pins = Path("service/requirements.txt").read_text().split()
print(*[pin for pin in pins if pin.startswith("t")], sep="   ")

# %% [markdown] tags=["explain"]
# You named a handful, and the file has a line for all that they need in turn (here are those with a t in front). Each
# line that is missing is a package that the image installs in the version of that day, so that two images of one
# Bento differ.

# %% [markdown] tags=["why"]
# The two files that decide what gets in are yours. First the list of what to leave out, one pattern a line. It is the
# second line of defence, for the day on which a pattern gets into the include list. Private keys are called
# `server.pem`, `client.key`, or `id_rsa` and the like by ssh. The cell after it tries your list.

# %% tags=["do"] language="work" magic_args="service/.bentoignore"
# # What never goes into a Bento, whatever `include` says. Written like a .gitignore.
# # TODO hidden files, keys of three kinds, notebooks, data, tests, compiled Python
# ...
# # solution
# .*
# *.pem
# *.key
# id_*
# *.ipynb
# *.csv
# data/
# tests/
# *.py[co]
# # end

# %% tags=["see"]
got_in = bentos.planted_and_built()
names = ", ".join(got_in) or "none"
claims.holds(not got_in, f"Of {len(bentos.PLANTED)} planted files got in: {names}.")

# %% [markdown] tags=["explain"]
# Now the list of what to take, in the build file: it names files, not patterns. No code imports
# `bentoml_configuration.yml`, and it belongs in; part 5 says why. The rest is given. Labels are for people who look
# for a Bento later; they end up in `bento.yaml` for everybody to read. The `env` of `docker` is set in the image
# before the packages are installed: it tells uv where `torch==...+cpu` is to be had. Without internet access, lab 04
# substitutes the address of a mirror. The Python of the image is not in the file: by default it is the one that
# builds, which is also the one that pickled.

# %% tags=["do"] language="work" magic_args="service/bentofile.yaml"
# service: "service:svc"
# labels:
#   project: serving-lab
#   task: triage
# include:
#   # TODO the files that serving needs, a line each: see the picture of part 1
#   - ...
#   # solution
#   - service.py
#   - frame.py
#   - guard.py
#   - limits.py
#   - contract.py
#   - runnable.py
#   - preprocess.py
#   - bentoml_configuration.yml
#   # end
# python:
#   # TODO requirements_txt: your file; lock_packages: false, since it is the lock
#   ...
#   # solution
#   requirements_txt: requirements.txt
#   lock_packages: false # requirements.txt is the lock
#   # end
# docker:
#   env:
#     UV_EXTRA_INDEX_URL: https://download.pytorch.org/whl/cpu
#     # each package from whichever of the two indexes has its exact version
#     UV_INDEX_STRATEGY: unsafe-best-match

# %% [markdown] tags=["why"]
# Build it, from a copy: BentoML 1.4.39 reads no build file below a folder with a dot in front of its name, and what
# is built from a copy cannot depend on anything beside it. The copy is `$LAB_COPY`; the store is your own.

# %% tags=["do"]
os.environ["LAB_COPY"] = str(bentos.clean_copy())

# %% tags=["do"] language="shell"
# # TODO build in $LAB_COPY; then find . -type f in the Bento, and bentoml list
# ...
# # solution
# cd "$LAB_COPY" && bentoml build -o tag
# cd "$(bentoml get demo_text_intelligence:latest -o path)" && find . -type f
# bentoml list
# # end

# %% tags=["see"]
mine = bentos.latest()
print(bentos.report(mine))
bentos.draw_tree(mine)

# %% [markdown] tags=["explain"]
# No bar is hatched. One file is there that no code imports: `bentoml_configuration.yml`. Part 5 looks at what it
# does.

# %% tags=["check"]
# %grade sc3

# %% [markdown] tags=["explain"]
# `sc3` read every file, as the picture did. Then it loaded the Bento in an empty folder and asked it for two texts,
# which is the only proof that nothing is missing.
#
# *A place to stop: the Bento is in your store.*

# %% [markdown] tags=["why"]
# ## 4 · A secret that was meant well (4 minutes)
#
# A token in a stray file is an accident. Here is one that is put there on purpose, again and again: the build needs a
# private index, or the service needs a key, and the build file has a place for both.

# %% [markdown] tags=["predict"]
# A colleague shows you a build file. `docker: env:` has a `HUB_LOGIN`, `extra_index_url` has
# `https://build:TOKEN@index.example/simple`. What is wrong, and where would you put them instead?

# %% tags=["predict"]
# %%answer Q6
# A colleague put a token into the build file, for the build and for the service. What
# is wrong, and where does it belong?
# a  nothing is wrong while the repository is private
# b  it belongs in docker.env or a build argument
# c  the build gets it by a secret mount, the pod by a Kubernetes Secret
# TODO the letter of one of these, and why
...
# solution
"c: the build file says what is needed, never the value."
# end

# %% tags=["do"]
index = f"https://build:{token}@index.example/simple"
python = f"python: {{lock_packages: false, extra_index_url: ['{index}']}}\n"
docker = f"docker: {{env: {{HUB_LOGIN: {token}}}}}\n"
desk.write("bentofile.yaml", f'service: "service:svc"\n{python}{docker}')
print(desk.build())

# %% tags=["see"] language="shell"
# export BENTOML_HOME=$LAB_DESK_STORE
# # TODO in the desk's newest Bento: grep -rn for $LAB_MADE_UP, cut after 110 characters
# ...
# # solution
# cd "$(bentoml get demo_text_intelligence:latest -o path)"
# grep -rn "$LAB_MADE_UP" . | cut -c 1-110
# # end

# %% tags=["see"]
places = bentos.where(desk.bento, token)
print(f"{len(places)} files have it:", *places)
measured("Q6", "c" if any("Dockerfile" in place for place in places) else "a")

# %% [markdown] tags=["explain"]
# Deleting the line later takes it out of none of these (claim c27): revoke the token.

# %% [markdown] tags=["why"]
# ## 5 · Two Bentos, and which model (5 minutes)
#
# A release goes wrong, the one before was fine: what is different? Change one word and let two Bentos tell. This time
# the build is a Python program, as a pipeline would have it. `bentoml.build` reads no build file: all options are its
# arguments.

# %% tags=["do"]
# %%work tryout/build.py
"""Builds a Bento from the folder that it is called in; its argument becomes a label."""

import sys

import bentoml

# TODO bentoml.build(...): "service:svc", include, labels, python lock_packages
made = ...
# solution
made = bentoml.build(
    "service:svc",
    include=["*.py"],
    labels={"note": sys.argv[1]},
    python={"lock_packages": False},
)
# end
print(made.tag)

# %% tags=["do"]
program = str(Path("tryout/build.py").resolve())
desk = bentos.Desk()  # a fresh one
print("before", desk.run("python", program, "before"))
one = desk.bento
old = (desk.service / "preprocess.py").read_text()
desk.write("preprocess.py", old.replace('" amount "', '" money "'))
print("after ", desk.run("python", program, "after"))

# %% tags=["see"]
print(bentos.compare(one, desk.bento))

# %% [markdown] tags=["explain"]
# A label and one word of the preprocessing. From lab 01 you know what a word can do to labels, and no signature, no
# test of shapes and no reviewer of the build file would have seen it. Bentos are folders of text: `diff -r` is a tool
# for releases.

# %% [markdown] tags=["why"]
# Now the models. The course module's discipline is: an experiment tracker knows how a model came to be, the store has
# what is served, and a release names a version. `bentoml models push` and `pull` move versions between stores,
# through a remote. See what they say without one; a file does the same (`export`, `import`, by absolute path).

# %% tags=["do"] language="shell"
# # TODO bentoml models push demo_classifier:latest; it fails here, so add: || true
# ...
# # solution
# timeout 30 bentoml models push demo_classifier:latest 2>&1 | tail -2 || true
# # end
# file=$LAB_DESK_STORE/../classifier.bentomodel
# bentoml models export demo_classifier:latest "$file" | tail -1 | cut -c 1-60
# BENTOML_HOME=$LAB_DESK_STORE/../second bentoml models import "$file" | tail -1

# %% [markdown] tags=["explain"]
# The same tag in another store: a version travels with its model. Nothing else does: who trained it on what is for
# the tracker to know. And a file like this is a program (lab 01's surprise).

# %% [markdown] tags=["predict"]
# Back on the desk. The Bento was built, and `bento.yaml` names the classifier of that moment. Then a newer one is
# saved into the same store. You start the Bento there. Which classifier answers?

# %% tags=["predict"]
# %%answer 03b
# A service asks for `latest`. After the build a newer model is saved into the same
# store, and the Bento is served there. Which model does it load?
# a  the one that bento.yaml names
# b  the newer one
# c  neither: a Bento cannot be loaded after its model has changed
# TODO the letter of one of these, and why
...
# solution
"b: the code asks for latest again when it is loaded."
# end

# %% tags=["do"]
# %%work tryout/newer.py
"""Saves the classifier again, as a newer version."""

import bentoml

old = bentoml.models.get("demo_classifier")
about = old.info.metadata
# TODO save old.load_model() as demo_classifier again, with that metadata
...
# solution
bentoml.sklearn.save_model("demo_classifier", old.load_model(), metadata=about)
# end

# %% tags=["do"]
# %%work tryout/ask.py
"""Which classifier does a Bento name, which does it load, how large is a batch?"""

import sys

import bentoml

svc = bentoml.load(sys.argv[1])
print("bento.yaml names", *[m.tag for m in svc.bento.info.models][1:])
print("it loads        ", *[m.tag for r in svc.runners for m in r.models][1:])
method = svc.runners[0].runner_methods[0]
print("its batches have at most", method.max_batch_size, "requests")

# %% tags=["do"]
frame = (desk.service / "frame.py").read_text()
desk.write("bentofile.yaml", 'service: "service:svc"\npython: {lock_packages: false}\n')
desk.write("frame.py", frame.replace("if bento.is_file():", "if False:"))
print(desk.build(), "(asks for latest, as most services do)")
plain = desk.bento.name
desk.write("frame.py", frame)
print(desk.build(), "(yours)")
_ = desk.run("python", str(Path("tryout/newer.py").resolve()))

# %% tags=["see"]
ask = str(Path("tryout/ask.py").resolve())
told = {}
for what, version in {"asks for latest": plain, "yours": desk.bento.name}.items():
    told[what] = desk.run("python", ask, f"{bentos.NAME}:{version}", folder=desk.store)
    print(f"{what}:\n{told[what]}")
names, loads = (line.split()[-1] for line in told["asks for latest"].splitlines()[:2])
measured("03b", "a" if names == loads else "b")

# %% [markdown] tags=["explain"]
# BentoML puts the tags into `bento.yaml` for those who copy models into an image. When a Bento is served from a
# store, it does not look there (claim c23). It writes its models down; fixing them is up to the code. Yours has five
# lines in `frame.py` that read `bento.yaml` (look at `_tag`), and `sc3` tried them, with newer models in the store.
# Inside an image the two always agree; your laptop and the pod may not.

# %% [markdown] tags=["why"]
# Last, the file that nothing imports. `bentoml_configuration.yml` says how many requests a batch may have, and when a
# waiting request is given up with a 503 (`max_latency_ms`; it is no time to wait for others). The file is in the
# Bento. Is it applied? The same Bento, twice, and what its first runner has.

# %% tags=["see"]
inside = desk.bento / "src/bentoml_configuration.yml"
words = ("python", ask, f"{bentos.NAME}:{desk.bento.name}")
named = desk.run(*words, folder=desk.store, BENTOML_CONFIG=str(inside))
said = yaml.safe_load(inside.read_text())["runners"]["embeddingrunner"]["batching"]
print("as it is:               ", told["yours"].splitlines()[-1])
print("BENTOML_CONFIG names it:", named.splitlines()[-1])
print(
    "the file says:          ", {k: v for k, v in said.items() if k.startswith("max_")}
)

# %% [markdown] tags=["explain"]
# A configuration in the Bento is a file and no more (claim c14). It is not read until the environment of the process
# names it in `BENTOML_CONFIG`; the module's exercise packs it and names it nowhere, and so measures the defaults. In
# lab 05 a pod names it, and there the same question is asked of the pod.
#
# ## To keep
# - An include list lets in only what you wrote down; an audit looks for what is too much and for what is missing.
# - One exact version for each package, `+cpu` among them; a lock makes a mistake repeatable, too.
# - A secret in a build file is in the Bento, the Dockerfile and the image. It never belongs there.

# %% tags=["predict"]
# %%answer 03x
# `bentoml build` ends without an error. What is proved?
# a  the Bento has every file that serving needs
# b  the service could be imported from the folder in which it was built
# c  the packages can be installed
# TODO the letter of one of these
...
# solution
"b"
# end

# %% tags=["predict"]
# %%answer 03y
# requirements.txt says torch==2.13.0, without +cpu, and a lock is made from it. What
# does the image for a CPU node get?
# a  the CPU build, since there is no GPU
# b  the CUDA build and its libraries
# c  nothing: the lock refuses it
# TODO the letter of one of these
...
# solution
"b"
# end

# %% tags=["predict"]
# %%answer 03z
# You serve a Bento from your laptop's store, and a pod serves its image. Both come from
# the same Bento. When do they answer with different models?
# a  never: bento.yaml names the versions
# b  when the code asks for latest, and a newer model was saved after the build
# c  when the pod runs on another node
# TODO the letter of one of these
...
# solution
"b"
# end

# %% tags=["see"]
recall.recall("03x", "03y", "03z")
print(f"This notebook took {clock.seconds:.0f} s of this machine's time.")

# %% [markdown] tags=["explain"]
# Your store has the Bento that `sc3` read (and older ones, if you built more often); nothing from the desk is in it.
#
# ## What is open
# A handful of files, each known by name, and still nothing that runs. Lab 04 makes an image of it, and an image has
# what the Bento only names: a system, a Python, a hundred packages, two models. How many megabytes will that be, in
# which layers, and how many of them must travel again when you change one word in `preprocess.py`?
