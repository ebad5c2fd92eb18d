"""`python -m labs.helpers.release trial | show`: production as release/trial says; the record beside what is served."""

import sys

from labs.helpers.release.places import show, trial

sys.exit({"trial": trial, "show": show}[sys.argv[1]]())
