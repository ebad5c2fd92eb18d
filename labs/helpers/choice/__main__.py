"""`python -m labs.helpers.choice bentoml mlserver`: measures those layers; choice/layers.csv is made of the runs."""

import sys

from labs.helpers.choice.measure import measure_all

sys.exit(measure_all(sys.argv[1:]))
