"""What looks at the world, for probes and labs alike: servers, Bentos, packages, secrets, containers, images.

One noun a module. Knows nothing of criteria, checks or verdicts, and nothing of notebooks or pictures.
"""
