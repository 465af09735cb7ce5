"""Readers of data sets: files to arrays, with the published split kept."""
