"""Images of a Bento: layers, what an edit costs, what a node pulls. Knows nothing of Kubernetes objects."""
