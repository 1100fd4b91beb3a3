"""Layers into networks: what a layer is, and the combinators that take layers and return one."""

__all__: list[str] = []
