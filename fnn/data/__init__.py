"""raw columns → arrays: split rows, standardize numbers, encode tables, give classes ids."""

__all__: list[str] = []
