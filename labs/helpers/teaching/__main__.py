"""python -m labs.helpers.teaching: `./lab start`, `./lab hint`, ..."""

from grader.entry import run_command
from labs.helpers.teaching.cli import main

run_command(main)
