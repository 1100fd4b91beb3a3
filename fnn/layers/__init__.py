"""The layers: what the parts of a network compute."""

__all__: list[str] = []
