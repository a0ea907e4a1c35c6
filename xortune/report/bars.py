"""An interval of a rate as a bar of text, for where there are no pictures."""

from __future__ import annotations

import math

__all__ = ["interval_bar", "shows_blocks"]

EIGHTHS = " ▏▎▍▌▋▊▉█"
SHADE = "░"
ASCII = ("#", "-")


def interval_bar(low: float, high: float, *, width: int = 10, blocks: bool = True) -> str:
    """A bar from 0 to 100 %: full up to the lower end of an interval, shaded up to the upper.

    The full part is never longer than the lower end, by less than an eighth of a sign shorter, and
    the shade never shorter than the upper end. With `blocks` false it is of `#` and `-`, in whole
    signs.

    Args:
        low: the lower end, in [0, 1].
        high: the upper end, in [0, 1].
        width: signs.
        blocks: whether Unicode's block elements can be shown; see `shows_blocks`.
    """
    # What rounding adds to 0.3 * 10 is no sign of its own.
    shaded = math.ceil(round(high * width, 9))
    if not blocks:
        full = math.floor(round(low * width, 9))
        return (ASCII[0] * full).ljust(shaded, ASCII[1]).ljust(width)
    full, part = divmod(math.floor(round(low * width * 8, 9)), 8)
    bar = EIGHTHS[8] * full + (EIGHTHS[part] if part else "")
    return bar.ljust(shaded, SHADE).ljust(width)


def shows_blocks(encoding: str) -> bool:
    """Whether text in this encoding can have the signs of such a bar."""
    try:
        (EIGHTHS + SHADE).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
