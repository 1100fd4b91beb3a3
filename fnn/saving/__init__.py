"""a tree ↔ a file, and a run ↔ a folder of checkpoints."""

__all__: list[str] = []
