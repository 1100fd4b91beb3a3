"""The metrics: what people read beside the cost, and the thresholds and bounds that they decide by."""

__all__: list[str] = []
