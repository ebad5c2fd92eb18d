"""`./lab bench peers`: the same question to this kit's service and to other servers, each in its own environment.

    peers           peers.toml: who they are, what a team writes for each, how each is started and asked
    environments    .lab/peers/NAME: a peer's packages, pinned by hash; or why they cannot be had here
    serving         starts one on a free port, waits for its first answer, says what its processes hold
    answers         texts that no model learnt from, asked many at a time: are labels and scores the reference's?
    page            docs/peers.md and its picture, made of the run file
    cli             the command

servers/ has what a team would write for each peer. It runs in that peer's environment, and nothing here imports it.
"""
