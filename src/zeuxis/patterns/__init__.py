"""Procedural patterns: noise, turtle graphics, plants, terrain, and textures quilted from an example."""
