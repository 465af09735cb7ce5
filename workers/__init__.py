"""Runs the jobs: the inference worker, the long-job worker, their supervisor, and the keeper."""
