"""What the notebooks import to draw and to measure. Importing it also spares the reader two lines of noise."""

import os
import warnings

# tqdm asks for a widget that nobody needs, and reports on files that load in a tenth of a second.
warnings.filterwarnings("ignore", message="IProgress not found")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
