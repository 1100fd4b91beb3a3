"""Where network, cost and optimizer meet: step, epoch, train, evaluate, backprop; all of it pure."""

__all__: list[str] = []
