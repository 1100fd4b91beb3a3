"""The metrics: what people read beside the cost."""

__all__: list[str] = []
