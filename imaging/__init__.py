"""DICOM or PNG bytes -> checked pixels and geometry; and back out.

Everything that reads a stranger's bytes is here. It allocates nothing before the header was held against
`imaging.limits`, and it raises only the coded `jobs.errors.InputError`s, whose texts name tags and never values.
"""
