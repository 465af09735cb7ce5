"""Operation of medjobs: configurations of the services beside it, and a check of all of them."""
