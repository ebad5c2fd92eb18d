# ---
# jupyter:
#   jupytext: {custom_cell_magics: work}
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
# - say what each file of a Bento is for, and why it is there;
# - show what gets in by itself (a password among it), and keep it out in a way that does not depend on your memory;
# - fix every package's version, and say what one missing `+cpu` costs in gigabytes;
# - compare two Bentos, and prove which model a Bento loads.
#
# **Needed:** labs 01 and 02, this kernel. One picture asks a package index; without one it says so. **Your time** (an
# estimate): 36 minutes. A first Bento 7, what gets in 9, yours 11, secrets 4, two Bentos and their models 5. **The
# machine's time** is counted by the first cell and told by the last.
#
# The first cell lays out a desk: a copy of `service/` and a store of its own, where builds can go wrong in peace.

# %% tags=["do"]
# %load_ext grader.magic
from pathlib import Path

import yaml

from labs.helpers.bento import bentos, packages
from labs.helpers.lesson import timing

clock = timing.Clock()
desk = bentos.Desk()
print("on the desk:", *sorted(p.name for p in desk.service.iterdir()))

# %% [markdown] tags=["why"]
# ## 1 · The shortest build (7 minutes)
#
# The files above are what a build would find in your folder today, and none of them says how to build. Two lines are
# enough for that: the first names the service, the second keeps the build, for now, from asking a package index. Look
# at what two lines bring about.

# %% tags=["do"]
shortest = 'service: "service:svc"\npython: {lock_packages: false}\n'
desk.write("bentofile.yaml", shortest)
print(desk.build())
dockerfile = (desk.bento / "env/docker/Dockerfile").read_text().splitlines()
for line in dockerfile:
    if line.startswith(("FROM", "COPY", "USER")) or "install.sh" in line:
        print(line)

# %% tags=["see"]
# One bar a file. What is hatched was copied, and nothing that serves will ever read it.
bentos.draw_tree(desk.bento)

# %% [markdown] tags=["explain"]
# Three parts. `src/` is a copy of your folder. `env/` says how the image is made: a Dockerfile, and the packages that
# it installs. `bento.yaml` and `apis/` say what this is, to BentoML and to callers. How does the picture know what
# serving needs? It starts at `service.py` and follows the imports. Nothing there imports `save_models.py`, so the
# script that trains, its tickets and the loader of MiniLM's weights have no business in a pod.

# %% [markdown] tags=["why"]
# And where are the models? MiniLM alone has 90 MB, and the whole Bento is small. Look at what stands in their place.

# %% tags=["see"]
print(bentos.yaml_part(desk.bento / "bento.yaml", "models", "runners"))
whole = sum(p.stat().st_size for p in desk.bento.rglob("*") if p.is_file())
models = sum(p.stat().st_size for p in Path("store/models").rglob("*.pkl"))
print(f"\nthe Bento: {whole / 1e3:.0f} kB; your pickled models: {models / 1e6:.0f} MB")

# %% [markdown] tags=["explain"]
# A Bento in the store names its models by their full tags, and the weights stay where they are. They are copied in
# when an image is made of it (lab 04). The build took the tags from the runners: in `service.py` you said which
# models a runner has, and the build asked. Note that `latest` stands nowhere. It was looked up, once, at the build.
# And the store keeps its side: `bentoml models delete` refuses a model that a Bento names.
#
# *A place to stop: the desk is laid out anew by the first cell.*

# %% [markdown] tags=["why"]
# ## 2 · What gets in by itself (9 minutes)
#
# The desk is too tidy to be true. A folder that somebody has worked in for a month has more in it. The next cell puts
# that there: things that everyone has somewhere, and a token that opens nothing, made for this run.

# %% tags=["do"]
token = bentos.made_up_token()
desk.write(".env", f"HUB_TOKEN={token}\nDB_PASSWORD=wet-parcels-come-torn\n")
desk.write("explore.ipynb", '{"cells": [], "metadata": {}, "nbformat": 4}')
desk.write("data/tickets.csv", "I was charged twice,anna@mail.example\n" * 5000)
desk.write("tests/test_service.py", "def test_it():\n    assert True\n")
desk.write("__pycache__/service.cpython-311.pyc", "compiled")
desk.write("handover.txt", f"Anna is away until Monday. To pull the weights: {token}\n")

# %% [markdown] tags=["predict"]
# Six files more. The build file has not changed, and says nothing about which files to take. Which of the six will be
# in the Bento, and will the build warn you?

# %% tags=["predict"]
# %%answer 03a
# Six stray files (.env, a notebook, data, a test, a compiled file, a note) lie beside
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

# %% tags=["see"]
print(desk.build())
print(bentos.report(desk.bento))

# %% [markdown] tags=["explain"]
# All but one. The default of `include` is `*`, and a name with a dot in front is a name like any other. BentoML leaves
# out five things by itself, whatever you write: `.git/`, `.venv/`, `venv/`, `__pycache__/` and `.DS_Store`; its only
# warning is for files over 10 MB. Whoever can pull your image has the token and the customers' addresses now.
#
# The usual remedy is a list of what to leave out: `exclude` in the build file, or a file `.bentoignore`, in the same
# language as `.gitignore`. Write what comes to mind when you think of such files.

# %% tags=["do"]
training = "save_models.py\ntickets.py\nweights.py\n"
desk.write(".bentoignore", ".*\n*.ipynb\ndata/\ntests/\n*.csv\n" + training)
print(desk.build())
print(bentos.report(desk.bento))

# %% [markdown] tags=["explain"]
# Nearly. The note is called `handover.txt`, a name that nobody puts on a list, and it has the same token in it. **A
# list of what to leave out has to foresee every name; a list of what to take forgets nothing that you did not
# write.** The audit found the token in another way, by reading: it opened each file and looked for what no person
# would type. (So do checksums: its three alarms about `weights.py`, further up, were false. A search like this one
# tells where to look, and nothing found proves little.)
#
# What if the two lists disagree? Here `include` names a file that `.bentoignore` leaves out, one that serving needs.

# %% tags=["see"]
(desk.service / "handover.txt").unlink()
desk.write("bentofile.yaml", shortest + 'include: ["*.py", preprocess.py]\n')
desk.write(".bentoignore", "pre*\n" + training)
print(desk.build())
print(bentos.report(desk.bento))

# %% [markdown] tags=["explain"]
# `exclude` and every `.bentoignore` win, whatever `include` says. And look at the first line: the build ended well. It
# imported your service from the folder, where `preprocess.py` lies; that the copy lacks it, the first pod will find
# out. (A test came in, too: `*.py` means every folder's.) So a build that ends well proves little, and an audit has to
# look for both: what is too much and what is missing.
#
# *A place to stop. What comes now is kept.*

# %% [markdown] tags=["why"]
# ## 3 · Yours (11 minutes)
#
# First the packages. Which ones does serving import? Not the code alone: a pickle names the modules that it is made
# of, and the image needs those as well. The next cell reads both without running either.

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
# and calls it by another version: `2.13.0+cpu`. A line that says `torch==2.13.0+cpu` can only be met by that build, so
# the wrong one is out of reach: without the right index the installation stops, in place of growing.

# %% [markdown] tags=["why"]
# A build with `lock_packages: true` needs that index, at the build, on every machine. The lab goes another way to the
# same end: a file with an exact version for each package *and for all that these need*, made from the lock file that
# this environment was installed from. Name the packages to start from.

# %% tags=["do"]
# Besides these, opentelemetry-exporter-otlp-proto-http: lab 08 sends traces with it.
# TODO the packages that serving imports (see the list above), and that one
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
# line that is missing is a package that the image installs in the version of that day, so that two images of one Bento
# differ.

# %% [markdown] tags=["why"]
# The two files that decide what gets in are yours. First the list of what to leave out, one pattern a line. It is the
# second line of defence, for the day on which somebody writes a pattern into the list of what to take.

# %% tags=["do"] language="work" magic_args="service/.bentoignore"
# # What never goes into a Bento, whatever `include` says. Written like a .gitignore.
# # TODO hidden files, keys (*.pem, *.key, id_*), notebooks, data, tests, compiled Python
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

# %% [markdown] tags=["explain"]
# Now the list of what to take, in the build file: it names files, not patterns. The rest is given. Labels are for
# people who look for a Bento later; they end up in `bento.yaml` for everybody to read. The `env` of `docker` is set in
# the image before the packages are installed: it tells uv where `torch==...+cpu` is to be had. Behind a class room's
# wall, lab 04 puts another address in its place when the image is made, and the Bento stays the same. The Python of the
# image is not in the file: by default it is the one that builds, which is also the one that pickled.

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
#   # end
#   - bentoml_configuration.yml
# python:
#   requirements_txt: requirements.txt
#   lock_packages: false # requirements.txt is the lock
# docker:
#   env:
#     UV_EXTRA_INDEX_URL: https://download.pytorch.org/whl/cpu
#     # each package from whichever of the two indexes has its exact version
#     UV_INDEX_STRATEGY: unsafe-best-match

# %% [markdown] tags=["why"]
# Build it, from a copy. In your folder `bentoml build` would do as well. The copy is there because BentoML 1.4.39 reads
# no build file below a folder with a dot in front of its name ("Accessing hidden files is not allowed"), and because
# what is built from a copy cannot depend on anything beside it.

# %% tags=["do"]
# !cd {bentos.clean_copy()} && bentoml build -o tag 2>/dev/null
mine = bentos.latest()
print(bentos.report(mine))

# %% tags=["see"]
bentos.draw_tree(mine)

# %% [markdown] tags=["explain"]
# No bar is hatched. One file is there that no code imports: `bentoml_configuration.yml`. Part 5 looks at what it does.

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
# A colleague finds this in a build file: `docker: env: {HUB_LOGIN: "..."}`, and beside it
# `extra_index_url: https://build:TOKEN@index.example/simple`. What is wrong, and where would you put them instead?

# %% tags=["predict"]
# %%answer Q6
# A colleague put a token into the build file, for the build and for the service. What
# is wrong, and where does it belong?
# a  nothing is wrong while the repository is private
# b  it belongs into docker.env or a build argument
# c  the build gets it by a secret mount, the pod by a Kubernetes Secret
# TODO the letter of one of these, and why
...
# solution
"c: the build file says what is needed, never the value."
# end

# %% tags=["see"]
given = (desk.service / "bentofile.yaml").read_text()
given += f"docker: {{env: {{HUB_LOGIN: {token}}}}}\nlabels: {{built-by: {token}}}\n"
desk.write("bentofile.yaml", given)
print(desk.build())
for file in bentos.where(desk.bento, token):
    lines = (desk.bento / file).read_text().splitlines()
    line = next(line for line in lines if token in line)
    print(f"{file:<24}{line.strip().replace(token, token[:7] + '...')}")

# %% [markdown] tags=["explain"]
# Two values in a build file, and they are in each of these files: in the Bento, in whatever is pushed, and in the
# Dockerfile. Deleting the line later takes it out of none of them: revoke the token.

# %% [markdown] tags=["why"]
# One more thing lands in the image by name: `setup_script`, a script that runs once while the image is made, after the
# sources have been copied. Watch what BentoML asks of it.

# %% tags=["see"]
desk.write("bentofile.yaml", shortest + "docker: {setup_script: ./setup.sh}\n")
desk.write("setup.sh", "#!/bin/sh\necho 'runs while the image is made'\n")
print(desk.build())
(desk.service / "setup.sh").chmod(0o755)
print(desk.build())
dockerfile = (desk.bento / "env/docker/Dockerfile").read_text().splitlines()
for line in dockerfile:
    if "setup_script" in line or line.startswith("COPY"):
        print(line)

# %% [markdown] tags=["explain"]
# It has to be executable, and it comes after `COPY . ./`: with every edit of a source it runs again. It is the place
# for system settings, and a bad place for secrets and downloads.

# %% [markdown] tags=["predict"]
# A last question of this kind, from a colleague: "Our image is gigabytes larger than expected. Where do I look first?"

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

# %% [markdown] tags=["why"]
# ## 5 · Two Bentos, and which model (5 minutes)
#
# A release goes wrong, the one before was fine: what is different? Change one thing and let two Bentos tell. This time
# the build is a Python program, as a pipeline would have it. `bentoml.build` reads no build file: all options are its
# arguments.

# %% tags=["do"]
program = """import bentoml, sys
made = bentoml.build(
    "service:svc", include=["*.py"], exclude=["build.py"], labels={"note": sys.argv[1]},
    python={"packages": ["torch==2.13.0+cpu"], "lock_packages": False})
print(made.tag)"""
desk = bentos.Desk()  # a fresh one
desk.write("build.py", program)
print("before", desk.run("python", "build.py", "before"))
one = desk.bento
old = (desk.service / "preprocess.py").read_text()
desk.write("preprocess.py", old.replace('" amount "', '" money "'))
print("after ", desk.run("python", "build.py", "after"))

# %% tags=["see"]
print(bentos.compare(one, desk.bento))

# %% [markdown] tags=["explain"]
# A label and one word of the preprocessing. From `01b` you know what that word can do to labels, and no signature, no
# test of shapes and no reviewer of the build file would have seen it. Bentos are folders of text: `diff -r` is a tool
# for releases.

# %% [markdown] tags=["why"]
# Now the models. `bento.yaml` names them by version. A colleague gets your classifier in the way that needs no server:
# exported to a file, imported into another store. (The file is packed with xz. For the classifier that takes no time,
# for MiniLM about a minute. Give an absolute path: 1.4.39 takes `here.bentomodel` for `/here.bentomodel`.)

# %% tags=["do"]
tag = "demo_classifier:" + Path("store/models/demo_classifier/latest").read_text()
packed = desk.store.with_name("classifier.bentomodel")
second = desk.store.with_name("second")
exported = desk.run("bentoml", "models", "export", tag, str(packed))
print(exported.replace(f"{packed.parent}/", ""))
print(desk.run("bentoml", "models", "import", str(packed), BENTOML_HOME=str(second)))
there = [p for p in second.glob("models/*/*") if p.is_dir()]
print(f"{packed.stat().st_size} bytes on the way; the second store has", end=" ")
print(*[f"{p.parent.name}:{p.name}" for p in there])

# %% [markdown] tags=["explain"]
# The same tag in another store: a version travels with its model. Nothing else does; whoever can write such a file can
# also run code in your service (`01`, the surprise).

# %% [markdown] tags=["predict"]
# Back on the desk. The Bento was built, and `bento.yaml` names the classifier of that moment. Then somebody saves a
# newer one into the same store. You start the Bento there. Which classifier answers?

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
frame = (desk.service / "frame.py").read_text()
desk.write("bentofile.yaml", shortest)
desk.write("frame.py", frame.replace("if bento.is_file():", "if False:"))
print(desk.build(), "(asks for latest, as most services do)")
plain = desk.bento.name
desk.write("frame.py", frame)
print(desk.build(), "(yours)")
save = "import bentoml as b\nold = b.models.get('demo_classifier')\n"
save += "more = {'metadata': old.info.metadata}\n"
save += "b.sklearn.save_model('demo_classifier', old.load_model(), **more)\n"
desk.write("newer.py", save)
print(desk.run("python", "newer.py") or "a newer classifier is saved")

# %% tags=["see"]
ask = "import bentoml, sys; svc = bentoml.load(sys.argv[1])\n"
ask += "print('bento.yaml names', *[m.tag for m in svc.bento.info.models][1:])\n"
ask += "print('it loads        ', *[m.tag for r in svc.runners for m in r.models][1:])"
for what, version in {"asks for latest": plain, "yours": desk.bento.name}.items():
    named = f"{bentos.NAME}:{version}"
    print(f"{what}:\n{desk.run('python', '-c', ask, named, folder=desk.store)}")

# %% [markdown] tags=["explain"]
# It depends on who looks. BentoML puts the tags into `bento.yaml` for those who copy models into an image. When a Bento
# is served from a store, it does not look there: the code asks for `latest` and gets what is newest now. It is often
# said that a Bento fixes its models. It writes them down; fixing is up to the code. Yours has five lines in `frame.py`
# that read `bento.yaml` (look at `_tag`), and `sc3` tried them, with newer models in the store. An image holds only the
# named models, so there the two cannot differ: what you tried on the laptop and what the pod serves can.

# %% [markdown] tags=["why"]
# Last, the file that nothing imports. `bentoml_configuration.yml` says how many requests a batch may have, and when a
# waiting request is given up with a 503 (`max_latency_ms`; it is no time to wait for others). The file is in the Bento.
# Is it applied? The same Bento, twice, and what its first runner has.

# %% tags=["see"]
ask = "import bentoml, sys; svc = bentoml.load(sys.argv[1])\n"
ask += "m = svc.runners[0].runner_methods[0]\n"
ask += "print(m.name, m.max_batch_size, 'requests,', m.max_latency_ms, 'ms')"
inside = desk.bento / "src/bentoml_configuration.yml"
words = ("python", "-c", ask, f"{bentos.NAME}:{desk.bento.name}")
print("as it is:                ", desk.run(*words, folder=desk.store))
named = desk.run(*words, folder=desk.store, BENTOML_CONFIG=str(inside))
print("BENTOML_CONFIG names it: ", named)
said = yaml.safe_load(inside.read_text())["runners"]["embeddingrunner"]["batching"]
print(
    "the file says:           ", {k: v for k, v in said.items() if k.startswith("max_")}
)

# %% [markdown] tags=["explain"]
# A configuration in the Bento is a file that lies there. Nobody reads it until the environment of the process names it
# in `BENTOML_CONFIG`; the module packs it and leaves it at that, and then measures the defaults. In lab 05 a pod names
# it, and there the same question is asked of the pod.

# %% tags=["do"]
# !bentoml list 2>/dev/null
print(f"This notebook took {clock.seconds:.0f} s of this machine's time.")

# %% [markdown] tags=["explain"]
# Your store has the Bento that `sc3` read (and older ones, if you built more often); nothing from the desk is in it.
#
# ## What is open
# A handful of files, each known by name, and still nothing that runs. Lab 04 makes an image of it, and an image has
# what the Bento only names: a system, a Python, a hundred packages, two models. How many megabytes will that be, in
# which layers, and how many of them must travel again when you change one word in `preprocess.py`?
