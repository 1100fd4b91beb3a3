"""Warnings that point at the user's line, whatever lies between it and the place that warns."""

import sys
import warnings

__all__: list[str] = []


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the first caller outside fnn."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith("fnn."):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
