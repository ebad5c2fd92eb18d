"""The look of every figure, and the pictures with no room of their own. Knows nothing of BentoML or Docker."""
