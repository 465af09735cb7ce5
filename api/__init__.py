"""The HTTP API: a Flask application over the database, the storage and the broker. It never reaches torch."""

from api.app import create_app

__all__ = ["create_app"]
