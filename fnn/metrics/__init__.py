"""The metrics: what people read beside the cost, and what they decide by it: a threshold, bounds."""

__all__: list[str] = []
