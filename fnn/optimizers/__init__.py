"""The optimizers: grads, state, params → updates, state; each rule fixes a fault of the one before."""

__all__: list[str] = []
