"""The embedded stack: Redis, API, workers, keeper and Flower as children of one foreground process."""
