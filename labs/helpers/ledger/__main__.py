"""python -m labs.helpers.ledger: `./lab claims`."""

from grader.entry import run_command
from labs.helpers.ledger.cli import main

run_command(main, name="./lab claims")
