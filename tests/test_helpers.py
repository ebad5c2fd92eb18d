"""What the notebooks import: findings in words are judged here; the pictures were looked at."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from labs.helpers.charts import canvas, tickets
from labs.helpers.image import images, pulls
from labs.helpers.image.layers import Step, after_sources, words
from labs.helpers.lesson import claims, timing
from labs.helpers.service import batches, servers
from labs.helpers.store import models

# Four tickets on a circle: 1 and 2 lie 10 degrees apart, 3 lies 30 from 2, 4 lies alone.
ANGLES = np.radians([0, 10, 40, 120])
ROWS = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
LABELS = ["billing", "billing", "account", "shipping"]


def test_nearest_is_never_oneself() -> None:
    assert tickets.nearest(ROWS) == [1, 0, 1, 2]


def test_the_finding_names_the_closest_pair_and_the_strays() -> None:
    said = tickets.alike_finding(LABELS, ROWS)
    assert "The closest pair is 1 and 2, at 0.98. For 2 of 4 tickets" in said
    assert "3 (account) is nearest to 2 (billing), 4 (shipping) is nearest to 3 (account) (dashed)" in said


def test_without_strays_no_dashed_frame_is_mentioned() -> None:
    assert "dashed" not in tickets.alike_finding(["billing"] * 4, ROWS)


SHARED = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6]])
DRIFTED = np.array([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5]])


def test_drift_counts_changed_labels_and_the_largest_loss() -> None:
    said = tickets.drift_finding(SHARED, DRIFTED, "With an old copy")
    assert said.startswith("With an old copy: 1 of 3 tickets get another label, and the hardest hit label loses 0.30")


def test_flips_show_the_text_and_both_scores() -> None:
    said = tickets.flips(["a", "b", "c"], ["x", "y", "z"], SHARED, DRIFTED)
    assert said == ["y 0.60 -> x 0.50\n    b"]
    assert tickets.flips(["a"], ["x", "y", "z"], SHARED[:1], SHARED[:1]) == ["no label changed"]


def test_a_picture_has_its_finding_as_alternative_text_and_in_sight() -> None:
    picture = tickets.draw_drift(SHARED, DRIFTED, 'With "old" <copy>')
    html = picture._repr_html_()
    assert html.count("With &quot;old&quot; &lt;copy&gt;: 1 of 3") == 2
    assert 'alt="With' in html and "<figcaption" in html
    assert repr(picture).startswith('With "old" <copy>: 1 of 3')


def test_the_pictures_are_drawn() -> None:
    for picture in (tickets.draw_alike(["a b c"] * 4, LABELS, ROWS), tickets.draw_drift(SHARED, DRIFTED, "Now")):
        assert canvas.png(picture.figure).startswith(b"\x89PNG")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with two versions of one model; the second is the latest."""
    for version, count in (("v1", 10), ("v2", 5_000)):
        folder = tmp_path / "models" / "demo" / version
        folder.mkdir(parents=True)
        (folder / "saved_model.pkl").write_bytes(b"x" * count)
        (folder / "model.yaml").write_text("name: demo\nsignatures:\n  encode:\n    batchable: true\napi_version: v1\n")
    (tmp_path / "models" / "demo" / "latest").write_text("v2")
    return tmp_path


def test_tree_shows_every_version_with_sizes(store: Path) -> None:
    lines = [line.split() for line in models.tree(store).splitlines()]
    assert lines[:2] == [["models/"], ["demo/"]]
    assert ["saved_model.pkl", "10", "B"] in lines and ["saved_model.pkl", "5.0", "kB"] in lines
    assert lines.count(["v1/"]) == lines.count(["v2/"]) == 1


def test_sizes_are_those_of_the_latest_versions(store: Path) -> None:
    said = models.draw_sizes(store).finding
    assert "demo / saved_model.pkl is 5.0 kB" in said and "1 of 3 files are pickles" in said


@pytest.mark.parametrize(("count", "text"), [(16, "16 B"), (5_555, "5.6 kB"), (91_779_937, "91.8 MB")])
def test_size(count: int, text: str) -> None:
    assert models.size(count) == text


def test_signatures_are_the_store_s_own_lines(store: Path) -> None:
    model = SimpleNamespace(tag="demo:v2", path_of=lambda name: store / "models" / "demo" / "v2" / name)
    assert models.signatures(model).splitlines() == ["demo:v2", "signatures:", "  encode:", "    batchable: true"]


def test_side_by_side_marks_what_differs() -> None:
    lines = models.side_by_side("same\none", "same\ntwo\nthree", width=6).splitlines()
    assert lines == ["same    same", "one   | two", "      | three"]


def test_fastest_is_the_smallest_of_the_times() -> None:
    calls: list[int] = []
    assert 0 <= timing.fastest(lambda: calls.append(1), times=3) < 1
    assert len(calls) == 3


def test_outcome_is_the_result_or_the_error_in_one_line() -> None:
    assert timing.outcome(divmod, 7, 2) == "(3, 1)"
    assert timing.outcome(divmod, 7, 0).startswith("ZeroDivisionError: ")


def test_the_clock_counts_only_the_time_in_cells() -> None:
    clock = timing.Clock()
    clock._start()
    clock._stop()
    assert 0 <= clock.seconds < 1


def test_shorten_cuts_at_a_word() -> None:
    assert canvas.shorten("one two three", 10) == "one two …"


BUILD_LOG = """#5 [base 2/3] RUN pip install uv
#5 DONE 3.2s
#6 CACHED
#7 [base 3/3] RUN bash install.sh
#7 1.2 error: no torch here
#7 ERROR: executor failed
------
Traceback (most recent call last):
"""


def test_a_log_of_a_build_tells_where_the_time_went(capsys: pytest.CaptureFixture[str]) -> None:
    images.tell(BUILD_LOG.splitlines())
    assert capsys.readouterr().out == "    3 s  [base 2/3] RUN pip install uv\n  1 steps were there already\n"


def test_a_log_of_a_build_ends_with_the_step_that_failed() -> None:
    told = images.tell(BUILD_LOG.splitlines())
    assert told.endswith("#7 1.2 error: no torch here\n#7 ERROR: executor failed")
    assert images.reason(told) == "error: no torch here" and images.reason("#14 0.2 Using Python") == "Using Python"


def test_a_node_s_pull_is_drawn_beside_the_text_s() -> None:
    drawn = pulls.draw_pulls({"BentoML's": pulls.Pull(20, 700_000_000), "yours": pulls.Pull(10, 500_000_000)})
    assert drawn.finding.endswith("2.8 GB, reckoned: 2,800 MB in 80 s")
    assert canvas.png(drawn.figure).startswith(b"\x89PNG")


def test_a_sentence_is_said_only_of_data_that_bear_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("LAB_WORKSPACE", raising=False)
    claims.holds(True, "Two is two.")
    claims.holds(False, "Two is three.")
    assert capsys.readouterr().out == "Two is two.\nNot so here: Two is three. Is your code above as the text says?\n"
    monkeypatch.setenv("LAB_WORKSPACE", "walk")
    with pytest.raises(AssertionError, match="Two is three"):
        claims.holds(False, "Two is three.")


def test_padding_is_told_as_it_is_computed() -> None:
    assert "computed as if it were long" in batches.long_finding(alone=15, among=394, long=46)
    assert "8 x 46 = 368" in batches.long_finding(alone=15, among=394, long=46)
    assert "cost less" in batches.long_finding(alone=15, among=60, long=46)


def test_the_locked_service_is_told_from_others() -> None:
    hung = {"ten texts": "no answer", "one text, later": "no answer"}
    assert servers.locked_letter({**hung, "/readyz": "200"}) == "c"
    assert servers.locked_letter({**hung, "/readyz": "503"}) == "d"
    assert servers.locked_letter({**hung, "ten texts": "200 {}", "/readyz": "200"}) == "a"
    assert servers.locked_letter({**hung, "one text, later": "200 {}", "/readyz": "200"}) == "b"


def test_a_layers_key_shows_what_its_step_is_for() -> None:
    apt = "set -eux && apt-get update -y && apt-get install -q -y -o Dpkg::A=b --no-install-recommends"
    assert words(f"RUN /bin/sh -c {apt} bash build-essential # buildkit") == "RUN apt-get install bash build-essential"
    run = (
        "RUN |1 BENTO_USER=bentoml /bin/sh -c bash -euxo pipefail /home/bentoml/bento/env/python/install.sh # buildkit"
    )
    assert words(run) == "RUN bash env/python/install.sh"
    assert words("/bin/sh -c #(nop) COPY file:4dbf14c in /etc/certs.crt ") == "COPY /etc/certs.crt"


@pytest.mark.parametrize(
    ("order", "again"),
    [
        (("./models ./models/", "./src ./src/", "./bento.yaml ./"), 3),
        (("src ./src", "bento.yaml ./", "models ./models"), 93),
        ((". ./",), 92),
    ],
)
def test_an_edit_makes_all_steps_after_the_sources_again(order: tuple[str, ...], again: int) -> None:
    sizes = {"./models ./models/": 90, "models ./models": 90, "./src ./src/": 2, "src ./src": 2, ". ./": 92}
    assert after_sources([Step(f"COPY {what}", sizes.get(what, 1), "") for what in order]) == again
