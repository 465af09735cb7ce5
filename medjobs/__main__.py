"""`python -P -m medjobs`: the command, for an environment whose scripts are not on PATH."""

from medjobs.main import main

main(prog_name="medjobs")
