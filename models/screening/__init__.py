"""Screening: molecules to a ranked table of probabilities, with how far each is from what the model has seen."""
