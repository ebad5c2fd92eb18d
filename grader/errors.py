"""What can go wrong for the person at the keyboard. Each error says what is wrong, then what to do."""

from pathlib import Path


class LabError(Exception):
    """Something that the user can mend: `problem` says what is wrong, `remedy` what to do next."""

    exit_code = 2

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}\n  {self.remedy}" if self.remedy else self.problem

    def _render_traceback_(self) -> list[str]:
        """How IPython shows it: the two sentences, without a traceback."""
        return str(self).splitlines()


class Refused(LabError):
    """A cell that does nothing, since something comes first."""


class WrongCall(LabError):
    """The command line asks for something that does not exist: exit code 64 (BSD's EX_USAGE)."""

    exit_code = 64


class UnknownName(WrongCall):
    """`name` is none of `known`; `kind` says what was looked for."""

    def __init__(self, kind: str, name: str, known: list[str]) -> None:
        super().__init__(f"There is no {kind} {name!r}.", f"Known: {', '.join(known) or 'none'}.")
        self.kind, self.name, self.known = kind, name, known


class BadKit(LabError):
    """A criterion, mutant or notebook source is not well formed: `path` is the file to mend."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}", "This is a defect of the kit, not of your work.")
        self.path = path


class NotebookFailed(LabError):
    """A notebook did not run to its end: `cell` (id) and `reason` say where and why."""

    def __init__(self, notebook: Path, cell: str, reason: str) -> None:
        where = f", cell {cell}" if cell else ""
        super().__init__(f"{notebook.name}{where}: {reason}", f"The executed copy is {notebook}.")
        self.notebook, self.cell, self.reason = notebook, cell, reason
