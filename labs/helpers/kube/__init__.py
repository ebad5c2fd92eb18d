"""The service on the cluster: its objects, pods, visitors, devices, and a request's way there."""
