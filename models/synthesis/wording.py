"""The sentence that stands on everything that a generator draws."""

MARK = "SYNTHETIC: drawn by a generative model, no patient was imaged. Research use only, not a medical device."
