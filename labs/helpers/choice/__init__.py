"""Layers beside one another: MLServer and BentoML measured, KServe's controller in the cluster, cards, a bill."""
