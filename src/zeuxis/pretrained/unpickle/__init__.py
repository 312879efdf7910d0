"""Reads the tensors out of a pickled checkpoint without running anything in it.

Three forms of file: a zip and a row of pickles, as torch.save writes them, and one plain pickle that holds its tensors
and numpy's arrays, as the network files of StyleGAN and its kin are. Those hold programs as well, which are neither run
nor kept.

This folder is run by itself, in a process of its own, with the standard library alone (see ``convert.py``). A pickle is
a program for a small stack machine; ``machine.py`` is that machine, able to build numbers, texts, lists, tuples, dicts,
storages and tensors, and nothing else. A name in the file is never imported: a function that is not in ``builders.py``
is not called, and what it would have made becomes an ``Opaque``, of which only the name and the parts are kept.

Usage: ``python -I -S FOLDER CHECKPOINT WEIGHTS.safetensors FACTS.json [watched]``; a ``watched`` one ends with whoever
holds the other end of its standard input. The modules name each other relatively, because an isolated interpreter
does not know the package that they are in.
"""
