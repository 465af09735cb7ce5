"""The training kind: a data set and a recipe in, a model version out. Every kind's trainer runs in its loop."""
