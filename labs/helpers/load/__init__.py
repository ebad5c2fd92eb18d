"""Load as lab 07 sees it: small experiments (trials), pictures, Little's law on tables (law), the learner's bench, and
the dispatcher's twin with its fit. Senders and experiments are in grader/world/load."""
