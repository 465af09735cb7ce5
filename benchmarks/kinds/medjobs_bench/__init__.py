"""Two kinds for the benchmark, found through the entry points beside this folder: no work, and DenseNet-121."""
