"""Published checkpoints in and out: a table of their kinds, key maps both ways, and pickles read unrun."""
