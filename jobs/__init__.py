"""The vocabulary of medjobs: kinds, states, errors, settings. Imports nothing of the project and only pydantic."""
