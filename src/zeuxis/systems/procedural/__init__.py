"""Generators that learn nothing: pictures from noise and rules."""
