"""Proves the graders: tries mutants and right submissions, keeps what was seen of live ones, takes turns by date.

`./lab mutants` runs it (tests/try_mutants.py). The engine knows nothing of it; it makes a mutant for an incident alone
(grader/mutants.py).
"""
