"""The metrics: what people read beside the cost."""

from fnn.metrics.classification import accuracy, confusion_matrix
from fnn.metrics.regression import r2_score

__all__ = ["accuracy", "confusion_matrix", "r2_score"]
