"""Looking at a network and at a step of its training; nothing here is needed to train."""

__all__: list[str] = []
