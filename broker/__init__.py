"""The way of a job's id to its worker: the Celery app, the messages and the events that Flower shows."""
