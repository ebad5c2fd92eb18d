"""Load seen by a learner: small experiments on a server that runs (trials), their pictures, Little's law on tables (law),
and the dispatcher's twin with its fit. The senders and the bench are grader/world/load."""
