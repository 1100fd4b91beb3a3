"""Formulas with their numbers filled in: of a cost for one row, of an update rule for one parameter."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from fnn.losses import binary_cross_entropy, huber, mae, mse, rmse, softmax_cross_entropy
from fnn.optimizers.adaptive import adadelta_update, adagrad_update, adam_update, rmsprop_update
from fnn.optimizers.gradient_descent import gradient_descent_update, momentum_update, nesterov_update
from fnn.optimizers.rule import correction
from fnn.optimizers.transformations import clip_by_global_norm_update, weight_decay_update

__all__: list[str] = []


def said(value: Any) -> str:
    """A number to six digits, as it stands everywhere in an explanation."""
    return f"{float(value) + 0.0:.6g}".replace("-", "−")  # + 0.0: a zero has no sign


def said_in(value: Any) -> str:
    """The same inside a formula: a negative number in brackets."""
    text = said(value)
    return f"({text})" if text.startswith("−") else text


# Costs: what one row costs -------------------------------------------------------------------------


def _over(terms: list[str]) -> str:
    return terms[0] if len(terms) == 1 else f"({' + '.join(terms)}) / {len(terms)}"


def _squares(p: np.ndarray, t: np.ndarray) -> str:
    return _over([f"({said(a)} − {said_in(b)})²" for a, b in zip(p.ravel(), t.ravel(), strict=True)])


def _distances(p: np.ndarray, t: np.ndarray) -> str:
    return _over([f"|{said(a)} − {said_in(b)}|" for a, b in zip(p.ravel(), t.ravel(), strict=True)])


def _huber(p: np.ndarray, t: np.ndarray, delta: float = 1.0) -> str:
    terms = []
    for a, b in zip(p.ravel(), t.ravel(), strict=True):
        e = f"{said(a)} − {said_in(b)}"
        far = f"{said(delta)} · (|{e}| − ½ · {said(delta)})"
        terms.append(f"½ · ({e})²" if abs(a - b) <= delta else far)
    return _over(terms)


def _yes_or_no(
    z: np.ndarray, y: np.ndarray, label_smoothing: float = 0.0, positive_weight: float = 1.0
) -> str:
    weight = f"{said(positive_weight)} · " if positive_weight != 1 else ""
    terms = []
    for logit, target in zip(z.ravel(), y.ravel(), strict=True):
        yes = (1 - label_smoothing) * target + label_smoothing / 2
        if_yes, if_no = f"log(1 + e^{said_in(-logit)})", f"log(1 + e^{said_in(logit)})"
        terms.append(f"{weight}{said(yes)} · {if_yes} + {said(1 - yes)} · {if_no}")
    return _over(terms)


def _one_of(z: np.ndarray, y: np.ndarray, label_smoothing: float = 0.0, class_weight: Any = None) -> str:
    if z.ndim > 1:  # a row of several places, as of a sequence
        options = {"label_smoothing": label_smoothing, "class_weight": class_weight}
        places = zip(z.reshape(-1, z.shape[-1]), y.reshape(-1, *y.shape[z.ndim - 1 :]), strict=True)
        return _over([f"({_one_of(place, target, **options)})" for place, target in places])
    one_hot = np.eye(len(z))[int(y)] if y.ndim == 0 else y
    smooth = (1 - label_smoothing) * one_hot + label_smoothing / len(z)
    exponentials = " + ".join(f"e^{said_in(logit)}" for logit in z)
    chosen = [(target, logit) for target, logit in zip(smooth, z, strict=True) if target]
    if len(chosen) == 1 and chosen[0][0] == 1:
        return f"log({exponentials}) − {said_in(chosen[0][1])}"
    return f"log({exponentials}) − ({' + '.join(f'{said(t)} · {said_in(v)}' for t, v in chosen)})"


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
    return [f"Δ = −αg = −{said(e.numbers['learning_rate'])} · {said_in(e.g)} = {said(e.update)}"]


def _velocity(e: Entry) -> str:
    mu, v = said(e.numbers["momentum"]), e.before["velocity"]
    return f"v ← μv + g = {mu} · {said_in(v)} + {said_in(e.g)} = {said(e.after['velocity'])}"


def _momentum(e: Entry) -> list[str]:
    rate, v = said(e.numbers["learning_rate"]), e.after["velocity"]
    return [_velocity(e), f"Δ = −αv = −{rate} · {said_in(v)} = {said(e.update)}"]


def _nesterov(e: Entry) -> list[str]:
    rate, mu = said(e.numbers["learning_rate"]), said(e.numbers["momentum"])
    ahead = f"{said(e.g)} + {mu} · {said_in(e.after['velocity'])}"
    return [_velocity(e), f"Δ = −α(g + μv) = −{rate} · ({ahead}) = {said(e.update)}"]


def _divided(e: Entry, symbol: str, square: float) -> str:
    rate, eps, inner = (said(e.numbers[name]) for name in ("learning_rate", "eps", "eps_root"))
    filled = f"−{rate} · {said_in(e.g)} / (√({said(square)} + {inner}) + {eps})"
    return f"Δ = −αg / (√({symbol} + ε_root) + ε) = {filled} = {said(e.update)}"


def _adagrad(e: Entry) -> list[str]:
    total = e.after["total"]
    first = f"G ← G + g² = {said(e.before['total'])} + {said_in(e.g)}² = {said(total)}"
    return [first, _divided(e, "G", total)]


def _mean_square(e: Entry, decay: str, name: str, symbol: str) -> str:
    rho = e.numbers[decay]
    filled = f"{said(rho)} · {said(e.before[name])} + {said(1 - rho)} · {said_in(e.g)}²"
    return f"{symbol} = {filled} = {said(e.after[name])}"


def _rmsprop(e: Entry) -> list[str]:
    first = _mean_square(e, "decay", "mean_square", "s ← ρs + (1 − ρ)g²")
    return [first, _divided(e, "s", e.after["mean_square"])]


def _adadelta(e: Entry) -> list[str]:
    rate, rho, eps = (e.numbers[name] for name in ("learning_rate", "decay", "eps"))
    s, d = e.after["mean_square"], e.before["mean_square_update"]
    change = -math.sqrt(d + eps) / math.sqrt(s + eps) * e.g
    roots = f"−√({said(d)} + {said(eps)}) / √({said(s)} + {said(eps)})"
    filled = f"{said(rho)} · {said(d)} + {said(1 - rho)} · {said_in(change)}²"
    return [
        _mean_square(e, "decay", "mean_square", "s ← ρs + (1 − ρ)g²"),
        f"Δ = −√(d + ε) / √(s + ε) · g = {roots} · {said_in(e.g)} = {said(change)}",
        f"d ← ρd + (1 − ρ)Δ² = {filled} = {said(e.after['mean_square_update'])}",
        f"αΔ = {said(rate)} · {said_in(change)} = {said(e.update)}",
    ]


def _adam(e: Entry) -> list[str]:
    b1, b2 = (e.numbers[name] for name in ("b1", "b2"))
    rate, eps, inner = (said(e.numbers[name]) for name in ("learning_rate", "eps", "eps_root"))
    m, v, t = e.after["m"], e.after["v"], jnp.asarray(e.t)
    c1, c2 = (float(correction(jnp.asarray(b), t)) for b in (b1, b2))
    m_hat, v_hat = m / c1, v / c2
    mean = f"{said(b1)} · {said_in(e.before['m'])} + {said(1 - b1)} · {said_in(e.g)}"
    filled = f"−{rate} · {said_in(m_hat)} / (√({said(v_hat)} + {inner}) + {eps})"
    return [
        f"m ← β₁m + (1 − β₁)g = {mean} = {said(m)}",
        _mean_square(e, "b2", "v", "v ← β₂v + (1 − β₂)g²"),
        f"m̂ = m / (1 − β₁^t) = {said(m)} / {said(c1)} = {said(m_hat)}",
        f"v̂ = v / (1 − β₂^t) = {said(v)} / {said(c2)} = {said(v_hat)}",
        f"Δ = −αm̂ / (√(v̂ + ε_root) + ε) = {filled} = {said(e.update)}",
    ]


def _clip(e: Entry) -> list[str]:
    limit, norm = e.numbers["max_norm"], said(e.norm)
    if e.norm <= limit:
        return [f"g ← g = {said(e.update)}, for ‖g‖ = {norm} ≤ {said(limit)}"]
    return [f"g ← g · c / ‖g‖ = {said_in(e.g)} · {said(limit)} / {norm} = {said(e.update)}"]


def _decay(e: Entry) -> list[str]:
    if e.spared:
        return [f"g ← g = {said(e.update)}, for what is named {e.spared} is spared"]
    return [f"g ← g + λθ = {said(e.g)} + {said(e.numbers['rate'])} · {said_in(e.theta)} = {said(e.update)}"]


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
