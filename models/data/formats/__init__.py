"""One reader per format: `read(files, options, notes) -> ImageSet | SequenceSet | MoleculeSet`."""
