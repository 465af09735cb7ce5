"""Virtual images and patients: GANs in training, their figures and gate, and jobs that draw."""
