"""Train the classifier on the eight tickets and save both models, with batchable signatures. Prints the two tags.

The same input gives the same weights at each run; only the version in the tag, drawn by BentoML, differs.
"""

from importlib.metadata import version

import bentoml
from preprocess import VERSION, prepare
from sklearn.linear_model import LogisticRegression
from tickets import TICKETS
from weights import REVISION, SHA256, load_encoder

BATCHABLE = {"batchable": True, "batch_dim": 0}  # rows of several callers may be joined along the first axis
PACKAGES = ("bentoml", "scikit-learn", "sentence-transformers", "torch")


def save_models() -> tuple[bentoml.Model, bentoml.Model]:
    """Save `demo_embedder` and `demo_classifier` in the model store of BENTOML_HOME; takes about 4 s."""
    encoder = load_encoder()
    texts, labels = zip(*TICKETS, strict=True)
    # C=10: with eight examples the default of 1 keeps every score near 1/3.
    classifier = LogisticRegression(C=10.0, max_iter=1000).fit(encoder.encode(prepare(texts)), labels)

    about = {"preprocess": VERSION, "weights": REVISION, "sha256": SHA256["model.safetensors"]}
    about |= {f"package {name}": version(name) for name in PACKAGES}
    embedder = bentoml.picklable_model.save_model(
        "demo_embedder", encoder, signatures={"encode": BATCHABLE}, labels={"task": "embedding"}, metadata=about
    )
    saved = bentoml.sklearn.save_model(
        "demo_classifier",
        classifier,
        signatures={"predict": BATCHABLE, "predict_proba": BATCHABLE},
        labels={"task": "triage"},
        metadata=about | {"embedder": str(embedder.tag), "classes": list(classifier.classes_)},
    )
    return embedder, saved


if __name__ == "__main__":
    for model in save_models():
        print(model.tag)
