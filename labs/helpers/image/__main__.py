"""`python -m labs.helpers.image`: builds the Bento, makes its image, pushes it, and writes deploy/release.json."""

import sys

from labs.helpers.image.images import release

sys.exit(release())
