"""Files by content hash, artifacts by job and fence, checkpoints: in a local folder or in any store fsspec knows."""
