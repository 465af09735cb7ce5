"""The commands of `medjobs`, a file per family; each is imported only when it is typed."""
