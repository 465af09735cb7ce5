"""The kinds of job, a folder each, and the models they run."""
