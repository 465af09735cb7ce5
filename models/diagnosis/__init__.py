"""Diagnosis: a CNN reads an image and says which findings it shows, how sure it is, and where it looked."""
