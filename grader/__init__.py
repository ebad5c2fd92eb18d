"""The engine: workspaces, probes, checks, verdicts, reports. Knows nothing of BentoML, Docker or Kubernetes."""
