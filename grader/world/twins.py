"""A twin of somebody's classifier, trained by the asker to compare with.

It is made anew from a description (class and parameters, as plain as JSON), of scikit-learn's own classes alone, so
that nothing of a submission is imported or unpickled here.
"""

from __future__ import annotations

import importlib
import re
from typing import Any

ALLOWED = re.compile(
    r"sklearn\.(linear_model|svm|ensemble|neighbors|naive_bayes|tree|neural_network|discriminant_analysis|calibration"
    r"|pipeline|preprocessing|decomposition|dummy|multiclass|gaussian_process|feature_selection|model_selection)\.[\w.]+"
)
SEEDS = (0, 1, 2)
LARGEST = 100_000  # of a whole number among the parameters but a seed: more is no training that ends


def train(made: Any, given: Any, labels: list[str], rows: Any) -> list[Any]:
    """The scores for `rows` of twins trained on `given`: one, or three where chance has a part in it."""
    import numpy as np
    from sklearn.base import clone

    twin = build(made)
    free = [name for name, value in twin.get_params().items() if name.endswith("random_state") and value is None]
    seeds = SEEDS if free else SEEDS[:1]
    trained = []
    for seed in seeds:
        one = clone(twin).set_params(**dict.fromkeys(free, seed))
        trained.append(one.fit(np.asarray(given, dtype=np.float32), labels).predict_proba(np.asarray(rows, np.float32)))
    return trained


def build(made: Any, name: str = "") -> Any:
    """An estimator from its description, or the parameter of that name; raises ValueError for what is not
    scikit-learn's own, or not plain."""
    if isinstance(made, list):
        return [build(part, name) for part in made]
    if not isinstance(made, dict):
        if isinstance(made, int) and abs(made) > LARGEST and not name.endswith("random_state"):
            raise ValueError(f"a parameter of {made}")
        return made
    if "dict" in made:
        return {build(k): build(v, str(k)) for k, v in made["dict"]}
    if "unknown" in made or not ALLOWED.fullmatch(str(made.get("class"))):
        what = made.get("unknown") or f"its class {made.get('class')}"
        raise ValueError(f"{what} is not scikit-learn's own")
    place, _, name = made["class"].rpartition(".")
    kind = getattr(importlib.import_module(place), name)
    given = {key: value for key, value in made["params"].items() if key not in ("memory", "n_jobs", "verbose")}
    params = {key: build(value, key) for key, value in given.items()}
    if "steps" in params:
        params["steps"] = [tuple(step) for step in params["steps"]]
    return kind(**params)
