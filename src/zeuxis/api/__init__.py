"""What a user does with systems: load, sample, train, measure, prove, compare."""
