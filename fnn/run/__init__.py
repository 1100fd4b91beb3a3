"""A run, watched: fit, its host loop, and where it went bad."""

__all__: list[str] = []
