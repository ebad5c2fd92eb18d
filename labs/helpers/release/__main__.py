"""`python -m labs.helpers.release another | show`: another classifier for a trial; the record beside what is served."""

import sys

from labs.helpers.release.places import another, show

sys.exit({"another": another, "show": show}[sys.argv[1]]())
