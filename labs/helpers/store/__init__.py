"""What lies in a model store. Knows nothing of servers or Bentos."""
