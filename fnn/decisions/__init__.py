"""The decisions: what people do with predictions: say yes, believe a probability, give bounds."""

__all__: list[str] = []
