"""A service on BentoML's modern API: its processes, both forms measured side by side, its Bento beside the other's."""
