"""Richer scenes: one to five objects in four corners, with texture, season, weather, depth and instructions."""
