"""How things are refused: what a number, an array, a tree and a function must be, and the words for it."""

__all__: list[str] = []
