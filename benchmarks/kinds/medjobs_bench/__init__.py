"""Three kinds for the benchmark, found through the entry points beside this folder: no work, a sleep, DenseNet-121."""
