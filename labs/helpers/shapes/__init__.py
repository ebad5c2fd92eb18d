"""Lab 06: the service with its parts apart, who reaches them, and which of them to scale."""
