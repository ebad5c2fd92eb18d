"""Is a BentoDeployment valid? Yatai's resource definition is asked; nothing of Yatai runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from cluster.fetch import NotFetched, fetch
from cluster.names import KIT

# bentoml/yatai-deployment's last commit. The hash is that of the file in the repository.
COMMIT = "755faf260b8c010ff4d0b049405ea283e55dc4c0"
SHA256 = "8b53baad7118229c32863f2cc3af6c296e997b2235913b351ee5b458e89821e4"
HOST, FILE = "https://raw.githubusercontent.com", "config/crd/bases/serving.yatai.ai_bentodeployments.yaml"
URL = f"{HOST}/bentoml/yatai-deployment/{COMMIT}/{FILE}"
CRD = Path("~/.cache/serving-lab/manifests/yatai-deployment-755faf26.yaml").expanduser()
MODULE = KIT / "manifests" / "overlays" / "yatai" / "module-form.yaml"


def complaints(manifest: str | Path) -> list[str]:
    """What does not fit, each as "place: why"; "module" is the form of the text. ["nothing: it fits"] if all does."""
    import jsonschema
    import yaml

    if not CRD.is_file():
        try:
            fetch(URL, SHA256, CRD)
        except NotFetched as why:
            return [f"not run: {why}"]
    definition = next(part for part in yaml.safe_load_all(CRD.read_text()) if part)
    (version,) = [v for v in definition["spec"]["versions"] if v["name"] == "v2alpha1"]
    thing = yaml.safe_load(Path(MODULE if manifest == "module" else manifest).read_text())
    validator = jsonschema.Draft202012Validator(closed(version["schema"]["openAPIV3Schema"]))
    found = [f"{'.'.join(map(str, e.path))}: {told(e)}" for e in validator.iter_errors(thing)]
    # The definition takes any string for a name; the Bento's runners are called in lowercase.
    found += [f"{r['name']}: no runner of the Bento" for r in thing["spec"]["runners"] if re.search("[A-Z]", r["name"])]
    return sorted(found) or ["nothing: it fits"]


def told(error: Any) -> str:
    """What is wrong, and for a field that the definition does not have, the fields that it has."""
    known = list(error.schema.get("properties", {})) if error.validator == "additionalProperties" else []
    return f"{error.message[:110]}{'; it has ' + ', '.join(known) if known else ''}"


def closed(schema: Any) -> Any:
    """The schema with unknown fields refused, as `kubectl apply` does; by itself a CRD's schema lets them pass."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    new = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        new.setdefault("additionalProperties", False)
    return new
