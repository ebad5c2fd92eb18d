"""The operators that make mutants which nobody wrote: each change is one change, and leaves Python that can be read."""

import ast
from pathlib import Path

from operators import mutate

PYTHON = '''"""Says something."""
LIMIT = 4


def pick(texts):
    """Doc."""
    if not texts or len(texts) > LIMIT:
        return []
    return sorted(texts)[0:2]
'''
YAML = "spec:\n  replicas: 2 # two\n  paused: false\n  image: python:3.11\n"


def test_each_change_of_python_is_one_change_and_parses() -> None:
    found = dict(mutate(Path("a.py"), PYTHON))
    assert len(found) >= 12 and PYTHON not in found.values()
    for text in found.values():
        ast.parse(text)
        assert '"""Says something."""' in text and '"""Doc."""' in text
    assert "LIMIT = 5" in found["a.py: 2: 4 + 1"]
    assert "len(texts) <= LIMIT" in found["a.py: 7: len(texts) > LIMIT turned"]
    assert "return texts[0:2]" in found["a.py: 9: sorted(texts) as its argument"]


def test_columns_count_bytes() -> None:
    found = dict(mutate(Path("a.py"), 'GRUSS = ("Grüße", 7)\n'))
    assert found["a.py: 1: 7 + 1"] == 'GRUSS = ("Grüße", 8)\n'


def test_lines_of_yaml_are_left_out_and_their_values_changed() -> None:
    found = dict(mutate(Path("a.yaml"), YAML))
    assert found["a.yaml: 2: replicas: 2 left out"] == YAML.replace("  replicas: 2 # two\n", "")
    assert "replicas: 20\n" in found["a.yaml: 2: 2 as 20"]
    assert "paused: true" in found["a.yaml: 3: false turned"]


def test_a_dockerfile_loses_a_line_or_has_two_in_the_other_order() -> None:
    text = "FROM python:3.11\nCOPY models /m\nCOPY src /s\n"
    found = dict(mutate(Path("Dockerfile.template"), text))
    assert found["Dockerfile.template: 2: COPY models /m after the next"].endswith("COPY src /s\nCOPY models /m\n")
    assert "Dockerfile.template: 3: COPY src /s left out" in found
