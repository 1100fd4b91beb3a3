"""The costs: predictions, targets → one real number."""

__all__: list[str] = []
