"""Probability distributions and invertible maps, in nats: small frozen objects that hold tensors.

Every distribution has ``log_prob``. That of a whole picture ``(B,)`` is given by :class:`~.normal.Normal`,
:class:`~.bernoulli.Bernoulli` and :class:`~.flow.Flow`; those of each of its places, not summed, by the categorical and
the discretised ones. ``sample`` draws from an ``Rng``; ``from_uniform`` uses uniform numbers drawn beforehand, where a
picture's are drawn at once and its values one by one. A flow is a list of invertible maps (``affine``,
``autoregressive``) and a base: see ``flow``.
"""
