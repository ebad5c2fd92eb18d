"""A criterion's neighbours and nothing else: scN.py, scN.toml, scN.mutants.toml, scN.recorded.json.

Criteria import the engine and grader.world, never each other.
"""
