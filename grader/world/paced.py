"""A subject that has more time on a machine that is slow at this moment."""

from __future__ import annotations

import threading
from typing import Any

from grader.subject import PATIENCE, Subject
from grader.world import pace


class PacedSubject(Subject):
    does = "answers"  # for the message when it does not start

    def ask(self, question: str, patience: float = PATIENCE, **given: Any) -> tuple[Any, str]:
        return super().ask(question, pace.patience(patience), **given)

    def get_ready(self, **given: Any) -> None:
        """Waits for its imports, and measures meanwhile how slow the machine is. That they end is the machine's
        business, since nothing of the submission was touched yet: so this raises."""
        (measuring := threading.Thread(target=pace.slowness)).start()
        _, problem = super().ask("ready", patience=90, **given)
        measuring.join()
        if problem:
            raise RuntimeError(f"the process that {self.does} did not start: {problem}")
