"""Synthetic images: the small generator whose pictures the demo and the tests are fed with."""
