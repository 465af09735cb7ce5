"""The model registry: versions and aliases in the database, their files in the storage."""
