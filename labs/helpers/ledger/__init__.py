"""The claims ledger: what is said about serving with BentoML, and experiments that can refute it (`./lab claims`).

    entries      docs/claims.toml: Claim, read_claims(root), write_result(...)
    experiment   Outcome, Said, Place, @experiment(decide): what an experiment is
    runs         run files: measure(claim, place) makes one, find_problems(claim, root) holds the ledger to it
    page         docs/claims.md, made of both
    cli          ./lab claims

The experiments, by theme; each is a function that measures facts and a pure one that decides what they say:
    dispatching  BentoML's dispatcher alone, in this process, before a stand-in for a model
    serving      `bentoml serve` of a small service without a model (tiny.py)
    building     `bentoml build` of it, and the Dockerfile that BentoML makes
    storing      the model store, and which model is loaded (tiny_recorded.py, tiny_signed.py)
    forms        the course module's forms against what is installed: arguments, manifests
    computing    the two models of lab 01
    walked       what labs measured in a workspace: each prediction's answer, kept in answers.json

A sentence of a cell about its own data is another thing: labs/helpers/lesson/claims.py.
"""
