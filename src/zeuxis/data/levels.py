"""Numbers of any type as the grey levels of pictures, where their type and range leave no doubt of what they are."""

from __future__ import annotations

import numpy as np

from zeuxis.data.source import Array
from zeuxis.errors import UsageError

WANTED = "give uint8 in [0, 255] or floats in [0, 1] (of values in [-1, 1]: (x + 1) / 2)"


def levels_of(values: Array, what: str) -> Array:
    """``values`` as uint8: booleans are black and white, real numbers lie in [0, 1], whole ones in [0, 255].

    Raises UsageError, which calls them ``what``, for anything else; for uint16 too, of which a dark picture may be of 8
    bits or of 16.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind == "f":  # what rounding took beyond [0, 1], a resize or a sum, is taken for the end
        found = np.round(values.astype(np.float64) * 255)
    elif values.dtype.kind in "iu" and values.dtype != np.uint16:
        found = values
    else:
        found = np.empty(0)
    if not found.size or not (found.min() >= 0 and found.max() <= 255):  # NaN is in no range
        raise UsageError(
            f"{what} of type {values.dtype} from {values.min():.4g} to {values.max():.4g}: {_mend(values)}"
        )
    return found.astype(np.uint8)


def _mend(values: Array) -> str:
    return f"{WANTED}; of 16 bits x / 65535" if values.dtype == np.uint16 else WANTED
