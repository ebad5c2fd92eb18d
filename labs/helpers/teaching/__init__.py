"""What a notebook offers a learner, whatever the kit teaches. Knows nothing of BentoML, Docker or Kubernetes, and of no
other helper. It asks the engine to grade; the engine calls it where grader/kit.toml says so, and imports nothing of it.

    kernel      the environment of a workspace, for whoever started the kernel; terminal.bash: for JupyterLab's terminal
    magic       `%load_ext grader.magic`: %%work, %grade, %hint, %incident, and all below that a cell calls
    answers     predictions: %%answer, %skip, measured("04b", it)
    stubs       which TODOs of a cell are still open; such a cell refuses before it runs
    shell       typed commands: %%shell, %log, %stop
    serve       the servers that a cell keeps running
    cells       a learner's notebook, whatever an editor made of it, beside the kit's
    guide       where am I, a hint, my notebook beside the solution, begin again
    update      what was written at the TODOs, carried into a newer notebook
    incidents   a mutant made in the learner's own work, until it is repaired
    cli         ./lab start, status, hint, diff, reset, update, incident
"""
