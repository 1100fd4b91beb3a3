"""Formulas with their numbers filled in: of a cost for one row, of an update rule for one parameter."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from fnn.losses.classification import binary_cross_entropy, softmax_cross_entropy
from fnn.losses.regression import huber, mae, mse, rmse
from fnn.optimizers.adaptive import adadelta_update, adagrad_update, adam_update, rmsprop_update
from fnn.optimizers.gradient_descent import gradient_descent_update, momentum_update, nesterov_update
from fnn.optimizers.rule import correction
from fnn.optimizers.transformations import clip_by_global_norm_update, weight_decay_update

__all__: list[str] = []


def six_digits(value: Any) -> str:
    """A number to six digits, as it stands everywhere in an explanation."""
    return f"{float(value) + 0.0:.6g}".replace("-", "−")  # + 0.0: a zero has no sign


def in_brackets(value: Any) -> str:
    """The same inside a formula: a negative number in brackets."""
    text = six_digits(value)
    return f"({text})" if text.startswith("−") else text


# Costs: what one row costs -------------------------------------------------------------------------


def _over(terms: list[str]) -> str:
    return terms[0] if len(terms) == 1 else f"({' + '.join(terms)}) / {len(terms)}"


def _squares(p: np.ndarray, t: np.ndarray) -> str:
    return _over(
        [f"({six_digits(a)} − {in_brackets(b)})²" for a, b in zip(p.ravel(), t.ravel(), strict=True)]
    )


def _distances(p: np.ndarray, t: np.ndarray) -> str:
    return _over([f"|{six_digits(a)} − {in_brackets(b)}|" for a, b in zip(p.ravel(), t.ravel(), strict=True)])


def _huber(p: np.ndarray, t: np.ndarray, delta: float = 1.0) -> str:
    terms = []
    for a, b in zip(p.ravel(), t.ravel(), strict=True):
        e = f"{six_digits(a)} − {in_brackets(b)}"
        far = f"{six_digits(delta)} · (|{e}| − ½ · {six_digits(delta)})"
        terms.append(f"½ · ({e})²" if abs(a - b) <= delta else far)
    return _over(terms)


def _yes_or_no(
    z: np.ndarray, y: np.ndarray, label_smoothing: float = 0.0, positive_weight: float = 1.0
) -> str:
    weight = f"{six_digits(positive_weight)} · " if positive_weight != 1 else ""
    terms = []
    for logit, target in zip(z.ravel(), y.ravel(), strict=True):
        yes = (1 - label_smoothing) * target + label_smoothing / 2
        if_yes, if_no = f"log(1 + e^{in_brackets(-logit)})", f"log(1 + e^{in_brackets(logit)})"
        terms.append(f"{weight}{six_digits(yes)} · {if_yes} + {six_digits(1 - yes)} · {if_no}")
    return _over(terms)


def _one_of(z: np.ndarray, y: np.ndarray, label_smoothing: float = 0.0, class_weight: Any = None) -> str:
    if z.ndim > 1:  # a row of several places, as of a sequence
        options = {"label_smoothing": label_smoothing, "class_weight": class_weight}
        places = zip(z.reshape(-1, z.shape[-1]), y.reshape(-1, *y.shape[z.ndim - 1 :]), strict=True)
        return _over([f"({_one_of(place, target, **options)})" for place, target in places])
    one_hot = np.eye(len(z))[int(y)] if y.ndim == 0 else y
    smooth = (1 - label_smoothing) * one_hot + label_smoothing / len(z)
    exponentials = " + ".join(f"e^{in_brackets(logit)}" for logit in z)
    chosen = [(target, logit) for target, logit in zip(smooth, z, strict=True) if target]
    if len(chosen) == 1 and chosen[0][0] == 1:
        return f"log({exponentials}) − {in_brackets(chosen[0][1])}"
    return f"log({exponentials}) − ({' + '.join(f'{six_digits(t)} · {in_brackets(v)}' for t, v in chosen)})"


ROWS: dict[Any, Callable[..., str]] = {
    mse: _squares,
    rmse: _squares,
    mae: _distances,
    huber: _huber,
    binary_cross_entropy: _yes_or_no,
    softmax_cross_entropy: _one_of,
}


# Rules: what happens to one parameter ---------------------------------------------------------------


class Entry(NamedTuple):
    """One parameter in one step: its gradient, its moments before and after, and its update."""

    theta: float
    g: float
    before: dict[str, float]
    after: dict[str, float]
    numbers: dict[str, float]
    t: int
    update: float
    norm: float  # of the whole gradient
    spared: str  # the name by which it is spared from decay, or none


def _gradient_descent(e: Entry) -> list[str]:
    return [
        f"Δ = −αg = −{six_digits(e.numbers['learning_rate'])} · {in_brackets(e.g)} = {six_digits(e.update)}"
    ]


def _velocity(e: Entry) -> str:
    mu, v = six_digits(e.numbers["momentum"]), e.before["velocity"]
    return f"v ← μv + g = {mu} · {in_brackets(v)} + {in_brackets(e.g)} = {six_digits(e.after['velocity'])}"


def _momentum(e: Entry) -> list[str]:
    rate, v = six_digits(e.numbers["learning_rate"]), e.after["velocity"]
    return [_velocity(e), f"Δ = −αv = −{rate} · {in_brackets(v)} = {six_digits(e.update)}"]


def _nesterov(e: Entry) -> list[str]:
    rate, mu = six_digits(e.numbers["learning_rate"]), six_digits(e.numbers["momentum"])
    ahead = f"{six_digits(e.g)} + {mu} · {in_brackets(e.after['velocity'])}"
    return [_velocity(e), f"Δ = −α(g + μv) = −{rate} · ({ahead}) = {six_digits(e.update)}"]


def _divided(e: Entry, symbol: str, square: float) -> str:
    rate, eps, inner = (six_digits(e.numbers[name]) for name in ("learning_rate", "eps", "eps_root"))
    filled = f"−{rate} · {in_brackets(e.g)} / (√({six_digits(square)} + {inner}) + {eps})"
    return f"Δ = −αg / (√({symbol} + ε_root) + ε) = {filled} = {six_digits(e.update)}"


def _adagrad(e: Entry) -> list[str]:
    total = e.after["total"]
    first = f"G ← G + g² = {six_digits(e.before['total'])} + {in_brackets(e.g)}² = {six_digits(total)}"
    return [first, _divided(e, "G", total)]


def _mean_square(e: Entry, decay: str, name: str, symbol: str) -> str:
    rho = e.numbers[decay]
    filled = f"{six_digits(rho)} · {six_digits(e.before[name])} + {six_digits(1 - rho)} · {in_brackets(e.g)}²"
    return f"{symbol} = {filled} = {six_digits(e.after[name])}"


def _rmsprop(e: Entry) -> list[str]:
    first = _mean_square(e, "decay", "mean_square", "s ← ρs + (1 − ρ)g²")
    return [first, _divided(e, "s", e.after["mean_square"])]


def _adadelta(e: Entry) -> list[str]:
    rate, rho, eps = (e.numbers[name] for name in ("learning_rate", "decay", "eps"))
    s, d = e.after["mean_square"], e.before["mean_square_update"]
    change = -math.sqrt(d + eps) / math.sqrt(s + eps) * e.g
    roots = f"−√({six_digits(d)} + {six_digits(eps)}) / √({six_digits(s)} + {six_digits(eps)})"
    filled = f"{six_digits(rho)} · {six_digits(d)} + {six_digits(1 - rho)} · {in_brackets(change)}²"
    return [
        _mean_square(e, "decay", "mean_square", "s ← ρs + (1 − ρ)g²"),
        f"Δ = −√(d + ε) / √(s + ε) · g = {roots} · {in_brackets(e.g)} = {six_digits(change)}",
        f"d ← ρd + (1 − ρ)Δ² = {filled} = {six_digits(e.after['mean_square_update'])}",
        f"αΔ = {six_digits(rate)} · {in_brackets(change)} = {six_digits(e.update)}",
    ]


def _adam(e: Entry) -> list[str]:
    b1, b2 = (e.numbers[name] for name in ("b1", "b2"))
    rate, eps, inner = (six_digits(e.numbers[name]) for name in ("learning_rate", "eps", "eps_root"))
    m, v, t = e.after["m"], e.after["v"], jnp.asarray(e.t)
    c1, c2 = (float(correction(jnp.asarray(b), t)) for b in (b1, b2))
    m_hat, v_hat = m / c1, v / c2
    mean = f"{six_digits(b1)} · {in_brackets(e.before['m'])} + {six_digits(1 - b1)} · {in_brackets(e.g)}"
    filled = f"−{rate} · {in_brackets(m_hat)} / (√({six_digits(v_hat)} + {inner}) + {eps})"
    return [
        f"m ← β₁m + (1 − β₁)g = {mean} = {six_digits(m)}",
        _mean_square(e, "b2", "v", "v ← β₂v + (1 − β₂)g²"),
        f"m̂ = m / (1 − β₁^t) = {six_digits(m)} / {six_digits(c1)} = {six_digits(m_hat)}",
        f"v̂ = v / (1 − β₂^t) = {six_digits(v)} / {six_digits(c2)} = {six_digits(v_hat)}",
        f"Δ = −αm̂ / (√(v̂ + ε_root) + ε) = {filled} = {six_digits(e.update)}",
    ]


def _clip(e: Entry) -> list[str]:
    limit, norm = e.numbers["max_norm"], six_digits(e.norm)
    if e.norm <= limit:
        return [f"g ← g = {six_digits(e.update)}, for ‖g‖ = {norm} ≤ {six_digits(limit)}"]
    return [f"g ← g · c / ‖g‖ = {in_brackets(e.g)} · {six_digits(limit)} / {norm} = {six_digits(e.update)}"]


def _decay(e: Entry) -> list[str]:
    if e.spared:
        return [f"g ← g = {six_digits(e.update)}, for what is named {e.spared} is spared"]
    pull = f"{six_digits(e.numbers['rate'])} · {in_brackets(e.theta)}"
    return [f"g ← g + λθ = {six_digits(e.g)} + {pull} = {six_digits(e.update)}"]


RULES: dict[Any, Callable[[Entry], list[str]]] = {
    gradient_descent_update: _gradient_descent,
    momentum_update: _momentum,
    nesterov_update: _nesterov,
    adagrad_update: _adagrad,
    rmsprop_update: _rmsprop,
    adadelta_update: _adadelta,
    adam_update: _adam,
    clip_by_global_norm_update: _clip,
    weight_decay_update: _decay,
}
