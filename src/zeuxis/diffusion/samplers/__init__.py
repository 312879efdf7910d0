"""The samplers, by kind; :mod:`zeuxis.diffusion.sampler` is where they are found by name."""
