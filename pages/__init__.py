"""What a walk showed, as pages that need no Docker: each executed notebook, an index, the report (results/site/)."""
