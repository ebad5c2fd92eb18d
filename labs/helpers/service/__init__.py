"""A service on this machine: its servers, its processes, one request's way, what a batch costs."""
