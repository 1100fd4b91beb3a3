"""A run's progress on the terminal, by tqdm where it is installed."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

__all__: list[str] = []


@contextlib.contextmanager
def progress_bar(epochs: int, done: int = 0) -> Iterator[Callable[[Any], None]]:
    """A function of reports that moves a bar of `epochs` epochs and shows the measures."""
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError(
            "progress=True shows the run with tqdm, which is not installed: pip install tqdm, "
            "or pass on_epoch=, a function of each epoch's report."
        ) from error
    with tqdm(total=epochs, initial=done, unit="epoch") as bar:

        def show(report: Any) -> None:
            numbers = {k: v for k, v in report.measures.items() if isinstance(v, float)}
            bar.set_postfix(numbers, refresh=False)
            bar.update()

        yield show
