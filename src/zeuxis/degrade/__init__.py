"""Degradations: functions from a picture to a degraded one, for restoration pairs."""
