"""The kind cluster, its registry, names, tools and devices. Knows nothing of BentoML, criteria or notebooks."""
