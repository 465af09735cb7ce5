"""The diagnosis kind: images in; findings, uncertainty and evidence out."""
