"""Procedures over verbs: what is done with somebody else's trained system, and trains nothing."""
