# ---
# jupyter:
#   jupytext: {custom_cell_magics: "work,shell"}
#   kernelspec: {name: python3, display_name: Python 3 (ipykernel), language: python}
#   lab: {id: "12", minutes: 40, grades: [sc11], walk: false, needs: [docker, cluster], live: [cluster],
#         inputs: [labs/helpers/release, labs/helpers/kube, grader/world, cluster], gives: []}
# ---

# %% [markdown] tags=["why"]
# # 12 · From notebook to release
#
# Someone asks on a Friday evening: which model is in production, who put it there, and how do we get last week's
# back? After this notebook you can
#
# - take two models out of a store, by versions that are looked up once;
# - sign them, and refuse a copy in which a byte has changed;
# - share them through a registry, without a cloud;
# - write one record of a release, and hold it against what runs;
# - say what a pod tells of its model, and which of it is proof;
# - promote a release from staging to production, and go back, by that record alone.
#
# **Needed:** labs 04 and 05, the cluster, `git` and `ssh-keygen`. **Your time** (an estimate): 40 minutes. The store's
# edge 6, signed 7, shared 8, one record 5, which model 7, production and back 5, three questions 2. Two incidents wait
# after it: `%incident 12`.

# %% tags=["do"]
# %load_ext grader.magic
import shutil
from pathlib import Path

from labs.helpers.lesson import claims, recall, timing
from labs.helpers.release import places
from labs.helpers.teaching.answers import measured

clock = timing.Clock()
print(places.lay_out())

# %% [markdown] tags=["why"]
# ## 1 · The store's edge (6 minutes)
#
# Your store has each version of each model that you ever saved, and Bentos that name some of them. A release is about
# two versions. Which ones? `latest` is an answer for today. So ask once, at the start of the release, and write the
# answer down; nothing after this cell asks again.

# %% tags=["do"] language="shell"
# # TODO folder: what bentoml get demo_text_intelligence:latest -o path says
# folder=...
# # solution
# folder=$(bentoml get demo_text_intelligence:latest -o path)
# # end
# # TODO grep -oE the tags of demo_embedder and demo_classifier in its bento.yaml, where
# # each is named more than once: sort -u, into release/names
# ...
# # solution
# grep -oE 'demo_(embedder|classifier):\w+' "$folder/bento.yaml" | sort -u > release/names
# # end
# cat release/names

# %% [markdown] tags=["explain"]
# The tags are the Bento's, not the newest of the store: a model that was saved after the build is not in the image.
#
# And which sources? Lab 12 is the first that needs a commit, so the workspace becomes a repository: sources and
# manifests, no store, no key.

# %% tags=["do"] language="shell"
# test -d .git || git init -q -b main
# # TODO git add service and deploy; ':!*__pycache__*' as a third leaves byte code out
# ...
# # solution
# git add service deploy ':!*__pycache__*'
# # end
# me=(-c user.name=triage -c user.email=triage@example.com)
# git diff --cached --quiet || git "${me[@]}" commit -q -m "what is released"
# git log --oneline -1

# %% [markdown] tags=["why"]
# Now the models leave the store: `export` packs a version into one file, `import` puts it into another store. The
# other store here is `release/parts`. So far it has lab 05's configuration in it and no model. (`.tar`, since
# BentoML's own `.bentomodel` is packed with xz, which is slow for weights and makes them a tenth smaller.)

# %% tags=["do"] language="shell"
# for tag in $(cat release/names); do
#   file=$PWD/release/${tag/:/-}.tar
#   # TODO bentoml models export: the tag, into $file
#   ...
#   # solution
#   bentoml models export "$tag" "$file" > /dev/null
#   # end
#   # TODO import it, with BENTOML_HOME=$PWD/release/parts before the command
#   ...
#   # solution
#   BENTOML_HOME=$PWD/release/parts bentoml models import "$file" | tail -1
#   # end
# done
# ls -l release/*.tar

# %% [markdown] tags=["predict"]
# You export the classifier again, this time from the store into which it was imported. Nobody has touched it there.

# %% tags=["predict"]
# %%answer 12a
# A model is exported, imported into an empty store, and exported from there. What is
# the same in both archives?
# a  everything: they have the same hash
# b  the files in them, byte for byte; the archives differ
# c  only the tag: import makes new files of the model
# TODO the letter of one of these, and why
...
# solution
"b: an archive has times and owners in it as well."
# end

# %% tags=["see"] language="shell"
# tag=$(grep classifier release/names); name=${tag/:/-}
# export BENTOML_HOME=$PWD/release/parts
# bentoml models export "$tag" "$PWD/release/again.tar" > /dev/null
# sha256sum "release/$name.tar" release/again.tar
# # TODO sha256sum of all files in the version's folder, in store/ and in release/parts/
# # (models/demo_classifier/...)
# ...
# # solution
# sha256sum {store,release/parts}/models/${tag/:/\/}/*
# # end

# %% tags=["see"]
folder = f"models/{places.classifier().replace(':', '/')}"
one, other = (
    {p.name: p.read_bytes() for p in Path(store, folder).iterdir()}
    for store in ("store", "release/parts")
)
first = Path("release", f"{places.classifier().replace(':', '-')}.tar").read_bytes()
same = first == Path("release/again.tar").read_bytes()
measured("12a", "a" if same else "b" if one == other else "c")
for archive in Path("release").glob("*.tar"):
    archive.unlink()

# %% [markdown] tags=["explain"]
# So a release names hashes of *files*. An archive's hash tells which archive came, and not what was in it.

# %% [markdown] tags=["why"]
# ## 2 · It is code, so it is signed (7 minutes)
#
# Loading a pickle runs it (lab 01), and all who can write to a shared store can run code in your pods. A list of
# hashes finds a byte that changed by accident. It does not stop a person who changes the list as well: for that it is
# **signed**, with a key that the store does not have. `ssh-keygen` is on every machine that has ssh.

# %% tags=["do"] language="shell"
# cd release
# # TODO unless there is a file key: ssh-keygen, -t ed25519, without a passphrase, -f key
# ...
# # solution
# test -f key || ssh-keygen -q -t ed25519 -N '' -C 'the triage team' -f key
# # end
# # who may sign what: a name, for which purpose, the public key
# public=$(cut -d ' ' -f 1,2 key.pub)
# echo "release@triage namespaces=\"model-store\" $public" > allowed_signers
# cat allowed_signers

# %% [markdown] tags=["explain"]
# `key` stays with the person who signs; `allowed_signers` goes to all who check. (In earnest the key has a passphrase,
# or is in a hardware token.) Two small programs: one signs, one checks.

# %% tags=["do"] language="work" magic_args="release/sign.sh"
# # sign.sh: SHA256SUMS of what is released, and the signature of that list.
# set -eu
# cd "$(dirname "$0")/parts"
# # TODO find models bentoml_configuration.yml: -type f, without `latest`, which is a
# # pointer and moves; sort; sha256sum of all into SHA256SUMS
# ...
# # solution
# find models bentoml_configuration.yml -type f ! -name latest |
#   sort | xargs sha256sum > SHA256SUMS
# # end
# # TODO ssh-keygen -Y sign -f ../key, for -n model-store: SHA256SUMS as standard input,
# # SHA256SUMS.sig out of it (given a file's name it would ask before it overwrites)
# ...
# # solution
# ssh-keygen -Y sign -f ../key -n model-store < SHA256SUMS > SHA256SUMS.sig
# # end

# %% tags=["do"] language="work" magic_args="release/verify.sh"
# # verify.sh FOLDER: ends with 0 where the folder's files are those that were signed.
# set -eu
# signers=$(cd "$(dirname "$0")" && pwd)/allowed_signers
# cd "$1"
# # TODO ssh-keygen -Y verify: -f, -I release@triage, -n, -s; SHA256SUMS on standard input
# ...
# # solution
# ssh-keygen -Y verify -f "$signers" -I release@triage -n model-store \
#   -s SHA256SUMS.sig < SHA256SUMS
# # end
# # TODO sha256sum -c: each file as SHA256SUMS says
# ...
# # solution
# sha256sum --quiet --strict -c SHA256SUMS
# # end

# %% tags=["do"] language="shell"
# # TODO sign, then verify release/parts
# ...
# # solution
# sh release/sign.sh
# sh release/verify.sh release/parts
# # end
# cut -c 1-16,65- release/parts/SHA256SUMS

# %% [markdown] tags=["predict"]
# A copy of `release/parts` is on a shared disk. An intruder there changes the classifier, and puts the new hash into
# `SHA256SUMS`.

# %% tags=["predict"]
# %%answer 12b
# The classifier in a copy is changed, and its line in SHA256SUMS as well. Which of the
# two commands in verify.sh notices?
# a  sha256sum -c
# b  ssh-keygen -Y verify
# c  neither: list and files agree
# TODO the letter of one of these, and why
...
# solution
"b: the list agrees with the file, and the signature not with the list."
# end

# %% tags=["do"] language="shell"
# rm -rf release/copy && cp -r release/parts release/copy && cd release/copy
# file=$(find models/demo_classifier -name saved_model.pkl)
# printf x >> "$file"
# (sh ../verify.sh . || echo "refused") 2>&1 | tail -2
# # TODO SHA256SUMS again, with the changed file's hash: sed, or sha256sum as in sign.sh
# ...
# # solution
# find models bentoml_configuration.yml -type f ! -name latest |
#   sort | xargs sha256sum > SHA256SUMS
# # end
# sha256sum --quiet --strict -c SHA256SUMS && echo "sha256sum: all agree"

# %% tags=["see"]
import subprocess

tried = subprocess.run(
    ["sh", "release/verify.sh", "release/copy"], capture_output=True, text=True
)
print(tried.stderr.strip(), "\nverify.sh ended with", tried.returncode)
measured("12b", "b" if "signature" in tried.stderr.lower() else "c")
shutil.rmtree("release/copy")

# %% [markdown] tags=["explain"]
# The first change was found by the hash, the second by the signature. Two gaps stay open: a file that is in no list is
# checked by neither, and `-Y check-novalidate`, which looks so much like `verify`, accepts everyone's signature.

# %% [markdown] tags=["why"]
# ## 3 · A store that is shared (8 minutes)
#
# Your image carries its models: no pod loads this store. It is for those who train, compare or build elsewhere. They
# must get what was released, so the record will name both, and the promotion will compare.
#
# `bentoml models push` needs BentoCloud. But you have a server that keeps bytes under their hashes: the registry. To
# it an image is a **manifest**, a list of hashes, and nothing says that the bytes must be layers of a file system. A
# manifest whose entries are your files is an **artefact**. Four kinds of requests make one:
#
#     HEAD  /v2/NAME/blobs/sha256:...      has it these bytes?
#     POST  /v2/NAME/blobs/uploads/        where to put some: the answer's `location`, a whole URL
#     PUT   LOCATION&digest=sha256:...     the bytes
#     PUT   /v2/NAME/manifests/sha256:...  the list of all of them, under its own hash
#
# No tag is needed, so none can move. (A registry's clean-up may take what no tag names: in earnest each release has a
# tag of its own, beside the digest.)

# %% tags=["do"] language="work" magic_args="release/share.py"
# """`python share.py FOLDER` puts what SHA256SUMS names into the registry."""
# import hashlib
# import json
# import os
# import sys
# from pathlib import Path
#
# import httpx
#
# TITLE = "org.opencontainers.image.title"
# KIND = "application/vnd.oci.image.manifest.v1+json"
# NAME = os.environ["REPOSITORY"] + "-models"
# API = "http://" + NAME.replace("/", "/v2/", 1)
# web = httpx.Client(timeout=120, trust_env=False)
#
# def digest_of(data):
#     # TODO "sha256:" and the hexdigest of the data's hash
#     return ...
#     # solution
#     return "sha256:" + hashlib.sha256(data).hexdigest()
#     # end
#
# def put(data, kind="application/octet-stream"):
#     """Sends what the registry has not; the line of a manifest about it."""
#     digest = digest_of(data)
#     if web.head(f"{API}/blobs/{digest}").status_code != 200:
#         # TODO web.post for a place; web.put the data there, with &digest=... behind it
#         ...
#         # solution
#         place = web.post(f"{API}/blobs/uploads/").headers["location"]
#         web.put(f"{place}&digest={digest}", content=data).raise_for_status()
#         # end
#         print(f"sent {len(data)} bytes", file=sys.stderr)
#     return {"mediaType": kind, "digest": digest, "size": len(data)}
#
# folder = Path(sys.argv[1])
# signed = [line.split()[1] for line in open(folder / "SHA256SUMS")]
# layers = []
# for file in [*signed, "SHA256SUMS", "SHA256SUMS.sig"]:
#     # TODO put the file; append what that returns, with "annotations": {TITLE: file}
#     ...
#     # solution
#     line = put((folder / file).read_bytes())
#     layers.append({**line, "annotations": {TITLE: file}})
#     # end
# config = put(b"{}", "application/vnd.oci.empty.v1+json")
# manifest = {"schemaVersion": 2, "mediaType": KIND, "config": config, "layers": layers}
# text = json.dumps(manifest).encode()
# there, kind = f"{API}/manifests/{digest_of(text)}", {"content-type": KIND}
# web.put(there, content=text, headers=kind).raise_for_status()
# print(f"{NAME}@{digest_of(text)}")

# %% tags=["do"] language="shell"
# # TODO share release/parts; its name, which the program prints, into release/artefact
# ...
# # solution
# python release/share.py release/parts > release/artefact
# # end
# cat release/artefact

# %% [markdown] tags=["explain"]
# Anyone who can reach the registry and has this one line gets the same bytes, or none. Pull it by hand: first the
# list, then the classifier by its hash in the list. Both times the name that you ask by is the hash of what comes.

# %% tags=["do"] language="shell"
# IFS=@ read -r name digest < release/artefact
# api=http://${name/\//\/v2\/}
# kind='accept: application/vnd.oci.image.manifest.v1+json'
# # TODO curl -s -H "$kind" the manifest by its digest; pipe it into sha256sum
# ...
# # solution
# curl -s -H "$kind" "$api/manifests/$digest" | sha256sum
# # end
# blob=sha256:$(grep 'classifier.*pkl' release/parts/SHA256SUMS | cut -c 1-64)
# # TODO the same with the classifier's blob
# ...
# # solution
# curl -s "$api/blobs/$blob" | sha256sum
# # end

# %% [markdown] tags=["predict"]
# Another classifier of about the same size, the same embedder. (Its bytes are changed here, without a training and
# without a new list.) You share the folder once more.

# %% tags=["predict"]
# %%answer 12c
# TODO kilobytes that are sent for another classifier beside the same embedder
...
# solution
"10: the classifier alone; the registry has the embedder under its hash."
# end

# %% tags=["see"]
shutil.copytree("release/parts", "release/copy", dirs_exist_ok=True)
with next(Path("release/copy").glob("models/demo_classifier/*/*.pkl")).open(
    "ab"
) as file:
    file.write(b"another training")
shared = subprocess.run(
    ["python", "release/share.py", "release/copy"], capture_output=True, text=True
)
shutil.rmtree("release/copy")
print(shared.stderr, shared.stdout)
sent = [int(line.split()[1]) for line in shared.stderr.splitlines() if "sent" in line]
measured("12c", sum(sent) / 1e3)

# %% [markdown] tags=["explain"]
# *A place to stop: the files are in the registry.*

# %% [markdown] tags=["why"]
# ## 4 · One record (5 minutes)
#
# Lab 04 wrote `deploy/release.json`: an image, a Bento. That answers "what do I deploy", and not "what is in it". The
# record names each part by what cannot move: a commit, a hash, a version, a digest. A program writes it, since a person
# would copy last week's.

# %% tags=["do"] language="work" magic_args="release/record.py"
# """Writes release/record.json: each part of the release, by a name that cannot move."""
# import hashlib
# import json
# import subprocess
# from pathlib import Path
#
# import yaml
#
# def sha256(path):
#     return hashlib.sha256(Path(path).read_bytes()).hexdigest()
#
# released = json.loads(Path("deploy/release.json").read_text())
# bento = Path("store/bentos/demo_text_intelligence", released["bento"])
# named = yaml.safe_load((bento / "bento.yaml").read_text())["models"]
# tags = [model["tag"] for model in named]
# head = subprocess.check_output(["git", "rev-parse", "HEAD"], text=True)
# record = {
#     "commit": head.strip(),
#     "bento": f"{bento.parent.name}:{bento.name}",
#     # TODO "lock": sha256 of the Bento's env/python/requirements.txt; "image": lab 04's
#     "lock": ..., "image": ...,
#     # solution
#     "lock": sha256(bento / "env/python/requirements.txt"),
#     "image": released["image"],
#     # end
#     # TODO "models": for each tag the sha256 of its saved_model.pkl in store/models
#     "models": ...,
#     # solution
#     "models": {
#         tag: sha256(Path("store/models", tag.replace(":", "/"), "saved_model.pkl"))
#         for tag in tags
#     },
#     # end
#     "artefact": Path("release/artefact").read_text().strip(),
#     # TODO "configuration": sha256 of the one in release/parts
#     "configuration": ...,
#     # solution
#     "configuration": sha256("release/parts/bentoml_configuration.yml"),
#     # end
# }
# Path("release/record.json").write_text(json.dumps(record, indent=1) + "\n")

# %% tags=["do"] language="shell"
# # TODO run it, and cat the record
# ...
# # solution
# python release/record.py
# cat release/record.json
# # end

# %% [markdown] tags=["explain"]
# No secret is in it, and none is in the shared store. There are three, each in a place of its own: the login of a build
# is mounted while it builds (lab 04), the token of a running pod is a Secret of its namespace (lab 05), the signing key
# is a file that leaves this machine by no command of yours.

# %% [markdown] tags=["why"]
# ## 5 · Which model has this pod loaded? (7 minutes)
#
# Two namespaces: `$STAGING` and `$PRODUCTION`. What they have in common are lab 05's manifests; the record decides the
# rest. `place.yaml` is laid over the Deployment in both: one replica will do on this machine. In it `promote.py` puts
# the record's image for IMAGE, and the classifier's version for VERSION, so that `kubectl describe pod` shows it.

# %% tags=["do"] language="work" magic_args="release/place.yaml"
# apiVersion: apps/v1
# kind: Deployment
# metadata: {name: demo-text-intelligence}
# spec:
#   # TODO one replica
#   ...
#   # solution
#   replicas: 1
#   # end
#   template:
#     metadata:
#       # TODO annotations: serving-lab/classifier is VERSION
#       ...
#       # solution
#       annotations: {serving-lab/classifier: VERSION}
#       # end
#     spec:
#       containers:
#         - name: server
#           image: IMAGE

# %% tags=["do"] language="work" magic_args="release/promote.py"
# """`promote.py RECORD NAMESPACE`: what the record names runs there, over deploy/."""
# import hashlib
# import json
# import subprocess
# import sys
# from pathlib import Path
#
# from labs.helpers.release import places
#
# record, namespace = json.loads(Path(sys.argv[1]).read_text()), sys.argv[2]
# with places.pulled(record["artefact"]) as parts: # a folder for as long as this lasts
#     # TODO subprocess.run sh release/verify.sh on parts; check=True, or it goes on
#     ...
#     # solution
#     subprocess.run(["sh", "release/verify.sh", parts], check=True)
#     # end
#     for tag, wanted in record["models"].items():
#         file = parts / "models" / tag.replace(":", "/") / "saved_model.pkl"
#         # TODO sys.exit with a sentence where the file's sha256 is not wanted
#         ...
#         # solution
#         if hashlib.sha256(file.read_bytes()).hexdigest() != wanted:
#             sys.exit(f"The shared {tag} is not the one of the record.")
#         # end
#     configuration = (parts / "bentoml_configuration.yml").read_bytes()
# # TODO sys.exit with a sentence where its sha256 is not record["configuration"]
# ...
# # solution
# if hashlib.sha256(configuration).hexdigest() != record["configuration"]:
#     sys.exit("The shared configuration is not the one of the record.")
# # end
# place = places.folder(namespace) # with a kustomization.yaml over deploy/
# (place / "bentoml_configuration.yml").write_bytes(configuration)
# version = next(tag for tag in record["models"] if "classifier" in tag).split(":")[1]
# # TODO image: the record's name of it
# image = ...
# # solution
# image = record["image"]
# # end
# patch = Path("release/place.yaml").read_text()
# patch = patch.replace("IMAGE", image).replace("VERSION", version)
# (place / "place.yaml").write_text(patch)
# subprocess.run(["kubectl", "apply", "-k", place], check=True)

# %% tags=["do"] language="shell"
# # TODO promote the record to $STAGING, which makes the namespace
# ...
# # solution
# python release/promote.py release/record.json $STAGING
# # end
# # TODO a Secret demo-text-intelligence of its own: HUB_TOKEN=opens-staging
# ...
# # solution
# kubectl -n $STAGING create secret generic demo-text-intelligence \
#   --from-literal=HUB_TOKEN=opens-staging
# # end
# # TODO a pod reads it when it starts: rollout restart of the Deployment, rollout status
# ...
# # solution
# kubectl -n $STAGING rollout restart deployment/demo-text-intelligence
# kubectl -n $STAGING rollout status deployment/demo-text-intelligence
# # end

# %% [markdown] tags=["explain"]
# Now ask the pod which classifier it has. There are many ways, and at first they all agree.

# %% tags=["do"]
before = places.ask(places.STAGING)
for where, says in before.items():
    print(f"{where:<32}{says}")

# %% [markdown] tags=["predict"]
# A colleague wants to try another classifier, quickly, and lays a volume over its folder in the running Deployment:
# `kubectl patch`, no new image, no build. Which of these answers change?

# %% tags=["predict"]
# %%answer 12d
# A volume with another classifier is mounted over the released one's folder in the pod.
# What tells?
# a  the image's digest, since the image has other files then
# b  the header and bento.yaml, which name the model
# c  the hash of the file in the pod, and what it answers
# TODO the letter of one of these, and why
...
# solution
"c: the others say what was meant; these are what is there."
# end

# %% tags=["do"]
print(places.lay_over(places.STAGING))

# %% tags=["see"]
told = places.beside(before, places.ask(places.STAGING))
measured("12d", places.tells(told))

# %% [markdown] tags=["explain"]
# Digest, annotation, `bento.yaml` and header are what was *written* about the pod; BentoML's own metric knows no
# version at all. The bytes are what the pod has, and its answer to a known ticket is what it does with them (claim
# c49). (In lab 03 a Bento loaded a newer model from a store: the header told that one.)
#
# Promote the record again. Does that repair it?

# %% tags=["predict"]
# %%answer 12e
# The record is promoted to the same namespace once more. Which classifier has the pod?
# a  the released one: apply makes the Deployment as its files say
# b  the other one: apply does not remove what another hand has added
# c  none: the volume and the image contradict each other
# TODO the letter of one of these, and why
...
# solution
"b: apply changes what the files name, and the volume is in no file of yours."
# end

# %% tags=["do"] language="shell"
# # TODO promote to $STAGING again, and rollout status
# ...
# # solution
# python release/promote.py release/record.json $STAGING
# kubectl -n $STAGING rollout status deployment/demo-text-intelligence
# # end

# %% tags=["see"]
now = places.ask(places.STAGING)
same = now["sha256 of the file"] == before["sha256 of the file"]
measured("12e", "a" if same else "b")

# %% [markdown] tags=["explain"]
# It said `configured`, and the volume is there: `apply` compares your files with what it applied last time, and takes
# a field away only where it had put it. The Deployment remembers its former template, though.

# %% tags=["do"] language="shell"
# # TODO kubectl -n $STAGING rollout undo of the Deployment; then rollout status
# ...
# # solution
# kubectl -n $STAGING rollout undo deployment/demo-text-intelligence
# kubectl -n $STAGING rollout status deployment/demo-text-intelligence
# # end

# %% tags=["see"]
back = places.beside(before, places.ask(places.STAGING))
claims.holds(not back, "Staging has the recorded models again.")

# %% [markdown] tags=["why"]
# ## 6 · Production, and back (5 minutes)
#
# Promotion is the same command with another namespace. No build, no tag, no edit on the way: what was tried is what is
# promoted. The Secret is not: each place has its own, and the record knows none of them.

# %% tags=["do"] language="shell"
# # TODO the record to $PRODUCTION; its own Secret demo-text-intelligence:
# # HUB_TOKEN=opens-production; rollout restart, rollout status
# ...
# # solution
# python release/promote.py release/record.json $PRODUCTION
# kubectl -n $PRODUCTION create secret generic demo-text-intelligence \
#   --from-literal=HUB_TOKEN=opens-production
# kubectl -n $PRODUCTION rollout restart deployment/demo-text-intelligence
# kubectl -n $PRODUCTION rollout status deployment/demo-text-intelligence
# # end

# %% tags=["see"]
differs = places.hold("release/record.json")
claims.holds(not differs, "Both places run what the record says.")

# %% [markdown] tags=["explain"]
# `hold` asked the pods, not the manifests. A record that nobody holds against what runs is a wish.
#
# The next release changes one number of the configuration: a batch of at most 4. That is a release as well: it is
# signed, shared, recorded. The old record is kept.

# %% tags=["do"] language="shell"
# cp release/record.json release/before.json
# sed -i 's/max_batch_size: .*/max_batch_size: 4/' release/parts/bentoml_configuration.yml
# # TODO sign.sh; share.py into release/artefact; record.py
# ...
# # solution
# sh release/sign.sh
# python release/share.py release/parts > release/artefact
# python release/record.py
# # end
# # TODO to $PRODUCTION, past staging; rollout status; diff before.json with the record
# # (`|| true` behind it: it ends with 1 where they differ)
# ...
# # solution
# python release/promote.py release/record.json $PRODUCTION
# kubectl -n $PRODUCTION rollout status deployment/demo-text-intelligence
# diff release/before.json release/record.json || true
# # end

# %% tags=["see"]
differs = places.hold("release/record.json")
passed_by = differs == ["staging: configuration"]
claims.holds(
    passed_by, "Staging has another configuration: nobody tried this one there."
)

# %% [markdown] tags=["explain"]
# Two lines of the record differ, and they say what to look at. It is Friday evening; go back. You need the old record
# and no build: the registry has the old image and the old configuration under their old digests. (Had the manifests in
# `deploy/` changed as well, the record's commit would have the old ones.)

# %% tags=["do"] language="shell"
# # TODO the old record becomes the record; promote it to $PRODUCTION; rollout status
# ...
# # solution
# cp release/before.json release/record.json
# python release/promote.py release/record.json $PRODUCTION
# kubectl -n $PRODUCTION rollout status deployment/demo-text-intelligence
# # end
# # the old parts again: do they give the old record?
# cp deploy/bentoml_configuration.yml release/parts
# sh release/sign.sh && python release/share.py release/parts > release/artefact
# python release/record.py && cmp release/record.json release/before.json

# %% tags=["see"]
differs = places.hold("release/record.json")
claims.holds(not differs, "Both places run what the record says again.")

# %% [markdown] tags=["explain"]
# `cmp` is silent: the same commit, parts and key make the same record, byte for byte, today and next year. (An
# Ed25519 signature of the same list is the same.) What the record does not hold is `place.yaml` and `promote.py`; in
# earnest both are in a repository of their own, and the program that promotes checks the record's commit out first.

# %% tags=["check"]
# %grade sc11

# %% [markdown] tags=["explain"]
# The last cell takes the pods of both places away, so that other labs have the room. Their objects stay.

# %% tags=["do"]
print(places.rest())

# %% [markdown] tags=["explain"]
# `sc11` believed neither the record nor the pods' words. It pulled the shared store by its digest, checked the
# signature itself, gave `verify.sh` changed copies and `promote.py` wrong records, and compared bytes and scores of
# each pod with your store's models.
#
# ## To keep
# - Look `latest` up once, and write down what cannot move: versions, digests, hashes, a commit.
# - A hash finds an accident, a signature finds a person. A model store is code.
# - What is written about a pod says what was meant. Bytes and answers say what it has.

# %% tags=["predict"]
# %%answer 12x
# A store is shared as an artefact under the tag v1. What do you write into a record?
# a  the tag: it is shorter, and it was pushed only once
# b  the digest
# c  both models' tags, since the store is named by them
# TODO the letter of one of these
...
# solution
"b"
# end

# %% tags=["predict"]
# %%answer 12y
# The answer's header names the recorded model, and its labels are not those of last
# week. What do you compare first?
# a  the sha256 of the model's file in the pod with the record's
# b  the tag in bento.yaml with the record's
# c  the Deployment's image with the record's
# TODO the letter of one of these
...
# solution
"a"
# end

# %% tags=["predict"]
# %%answer 12z
# Production must go back to the release of last week. What do you need?
# a  last week's workspace, to build the Bento and the image again
# b  last week's record, and the registry
# c  the tag that last week's image had
# TODO the letter of one of these
...
# solution
"b"
# end

# %% tags=["see"]
recall.recall("12x", "12y", "12z")
print(f"The machine has worked {clock.seconds:.0f} s for this lab.")

# %% [markdown] tags=["explain"]
# ## What is open
# The record says what runs. It does not say whether the model is any good, on whose tickets it was trained, or who may
# promote it. The first two are for the tracker in which it was trained; the third is for the rights of your cluster.
