"""`python -m labs.helpers.bento`: builds a Bento from a clean copy of service/."""

import sys

from labs.helpers.bento.bentos import build

sys.exit(build(sys.argv[1:]))
