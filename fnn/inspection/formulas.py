"""A program read aloud: what JAX traces of a function, as a formula with its numbers filled in.

    v ← μv + g, Δ = −αv        becomes        velocity = 0.9 · 3 + 4 = 6.7,   Δ = (−0.1) · 6.7 = −0.67

Nothing is written here for any rule or cost, so a user's own and Optax's are read as well.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from fnn.inspection.text import six_digits

__all__: list[str] = []

MOST_TERMS = 8  # of a sum that is written out
LONG = 20  # characters of a part that is used twice: it gets a name and a line of its own


CALLS = {"jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "checkpoint"}


# The program, run once with its numbers -------------------------------------------------------------


@dataclasses.dataclass(eq=False)
class Value:
    """An array of the program, and the operation that made it; `is_known` where no data are in it."""

    array: np.ndarray
    is_known: bool = False
    operation: str = ""
    inputs: "tuple[Value, ...]" = ()
    equation: Any = None


def run(function: Callable[..., Any], known: Sequence[Any], data: Sequence[Any]) -> Any:
    """What function(known, data) returns, each array a Value that remembers how it was made."""
    traced, shape = jax.make_jaxpr(function, return_shape=True)(known, data)
    leaves = [Value(_as_numpy(v), part is known) for part in (known, data) for v in jax.tree.leaves(part)]
    constants = [Value(_as_numpy(const), is_known=True) for const in traced.consts]
    return jax.tree.unflatten(jax.tree.structure(shape), _follow(traced.jaxpr, constants, leaves))


def _as_numpy(leaf: Any) -> np.ndarray:
    is_key = jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key)
    return np.asarray(0.0 if is_key else leaf)


def _follow(jaxpr: Any, constants: Sequence[Value], arguments: Sequence[Value]) -> list[Value]:
    values: dict[Any, Value] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *arguments]))

    def look_up(atom: Any) -> Value:
        return Value(np.asarray(atom.val), is_known=True) if isinstance(atom, Literal) else values[atom]

    for equation in jaxpr.eqns:
        inputs = [look_up(atom) for atom in equation.invars]
        values.update(zip(equation.outvars, _outputs_of(equation, inputs)))
    return [look_up(atom) for atom in jaxpr.outvars]


def _outputs_of(equation: Any, inputs: list[Value]) -> list[Value]:
    if equation.params.get("name") == "softplus":  # one word that everybody knows, whatever is inside
        array = equation.primitive.bind(*(value.array for value in inputs), **equation.params)[0]
        return [Value(np.asarray(array), inputs[0].is_known, "softplus", tuple(inputs), equation)]
    if equation.primitive.name in CALLS:
        inner = equation.params.get("jaxpr") or equation.params["call_jaxpr"]
        constants = [Value(np.asarray(const), is_known=True) for const in getattr(inner, "consts", ())]
        return _follow(getattr(inner, "jaxpr", inner), constants, inputs)
    outputs = equation.primitive.bind(*(value.array for value in inputs), **equation.params)
    arrays = outputs if equation.primitive.multiple_results else [outputs]
    is_known, name = all(value.is_known for value in inputs), equation.primitive.name
    return [Value(_as_numpy(array), is_known, name, tuple(inputs), equation) for array in arrays]


# One number of it, as a formula -----------------------------------------------------------------------


@dataclasses.dataclass(eq=False)
class Term:
    """A number, and where it is no leaf the operation and the terms that it was made of."""

    number: float
    operation: str = ""
    terms: "tuple[Term, ...]" = ()
    exponent: int = 1
    is_known: bool = False

    def is_always(self, number: float) -> bool:
        """Whether it is this number whatever the data are."""
        return self.is_known and self.number == number


MOVES = {"broadcast_in_dim", "reshape", "squeeze", "transpose", "slice", "rev", "expand_dims", "gather"}
SAME = {"convert_element_type", "copy", "stop_gradient", "reduce_precision", "optimization_barrier"}
INFIX = {"add": (1, " + "), "add_any": (1, " + "), "sub": (1, " − "), "mul": (2, " · "), "div": (2, " / ")}
CALLED = {"log": "log", "log1p": "log1p", "expm1": "expm1", "max": "max", "min": "min", "sign": "sign",
          "tanh": "tanh", "logistic": "σ", "sin": "sin", "cos": "cos", "pow": "pow"}  # fmt: skip


@dataclasses.dataclass
class Reader:
    """Terms of values, each made once, so that a part that is used twice is found to be the same."""

    terms: dict[tuple[int, tuple[int, ...]], Term] = dataclasses.field(default_factory=dict)

    def read(self, value: Value, index: tuple[int, ...]) -> Term:
        """The entry of a value at this index as a term."""
        place = id(value), index
        if place not in self.terms:
            self.terms[place] = self._read(value, index)
        return self.terms[place]

    def _read(self, value: Value, index: tuple[int, ...]) -> Term:
        number, name = float(value.array[index]), value.operation
        if value.is_known or not value.operation:
            return Term(number, is_known=value.is_known)
        if name in SAME:
            return self.read(value.inputs[0], index)
        if name in MOVES:
            return self._move(value, index)
        if name == "select_n":
            case = int(value.inputs[0].array[index if value.inputs[0].array.ndim else ()])
            return self.read(value.inputs[1 + case], index)
        if name == "reduce_sum":
            return self._sum(value, index, number)
        if any(each.array.shape not in ((), value.array.shape) for each in value.inputs):
            return Term(number)  # not entry by entry: a maximum, a product of matrices
        terms = tuple(self.read(each, index if each.array.ndim else ()) for each in value.inputs)
        return _simplify(number, name, terms, value.equation.params)

    def _move(self, value: Value, index: tuple[int, ...]) -> Term:
        """Where the number was before it was moved: the same move, of places instead of numbers."""
        source, *others = value.inputs
        places = np.arange(source.array.size, dtype=np.int32).reshape(source.array.shape)
        moved = value.equation.primitive.bind(places, *(v.array for v in others), **value.equation.params)
        flat = int(np.asarray(moved)[index])
        return self.read(source, tuple(int(i) for i in np.unravel_index(flat, source.array.shape)))

    def _sum(self, value: Value, index: tuple[int, ...], number: float) -> Term:
        source, axes = value.inputs[0], value.equation.params["axes"]
        shape = tuple(source.array.shape[axis] for axis in axes)
        if math.prod(shape) > MOST_TERMS:
            return Term(number)
        terms = []
        for inner in np.ndindex(shape):
            place = list(index)
            for axis, i in zip(axes, inner):
                place.insert(axis, i)
            terms.append(self.read(source, tuple(place)))
        kept = [term for term in terms if not term.is_always(0)] or terms[:1]
        return kept[0] if len(kept) == 1 else Term(number, "add", tuple(kept))


def _simplify(number: float, name: str, terms: tuple[Term, ...], params: Any) -> Term:
    """The term without what changes nothing: + 0, · 1, / 1, and the 0 that remains of 0 · x."""
    idle = {"add": 0, "add_any": 0, "sub": 0, "mul": 1, "div": 1}.get(name)
    if idle is not None and terms[1].is_always(idle):
        return terms[0]
    if name in ("add", "add_any", "mul") and idle is not None and terms[0].is_always(idle):
        return terms[1]
    if name == "mul" and any(term.is_always(0) for term in terms):
        return Term(0.0, is_known=True)
    if name == "integer_pow" and params["y"] == 1:
        return terms[0]
    if name == "neg" and not terms[0].operation:
        return Term(number, is_known=terms[0].is_known)
    if name == "max" and terms[0].is_always(-math.inf):
        return terms[1]
    exponent = 2 if name == "square" else params.get("y", 1) if name == "integer_pow" else 1
    return Term(number, name, terms, exponent)


# The formula as a text -------------------------------------------------------------------------------

SHAPED: dict[str, str] = {
    "sqrt": "√{}", "rsqrt": "(1 / √{})", "exp": "e^{}", "exp2": "2^{}",
    "square": "{}²", "integer_pow": "{}^{}", "softplus": "log(1 + e^{})",
}  # fmt: skip


def spell(term: Term, named: dict[int, str], level: int = 0) -> str:
    """The term with its numbers: those in `named` by their number alone, negative ones in brackets."""
    if not term.operation or (named and id(term) in named):
        text = six_digits(term.number)
        return f"({text})" if level and text.startswith("−") else text
    return _spell_inside(term, named, level)


def _spell_inside(term: Term, named: dict[int, str], level: int = 0) -> str:
    name = term.operation
    if name in INFIX:
        own, sign = INFIX[name]
        first, *rest = term.terms
        inner = own + (name in ("sub", "div"))  # a − (b + c), a / (b · c)
        text = sign.join([spell(first, named, max(own, 1)), *(spell(each, named, inner) for each in rest)])
        return f"({text})" if level > own else text
    if name in ("neg", "abs"):
        text = f"−{spell(term.terms[0], named, 2)}" if name == "neg" else f"|{spell(term.terms[0], named)}|"
        return f"({text})" if name == "neg" and level else text
    if name in ("square", "integer_pow"):
        return spell(term.terms[0], named, 4) + {2: "²", 3: "³"}.get(term.exponent, f"^{term.exponent}")
    if name in SHAPED:
        text = SHAPED[name].format(spell(term.terms[0], named, 4))
        return f"({text})" if level > 3 else text  # (√16)²
    return f"{CALLED.get(name, name)}({', '.join(spell(each, named) for each in term.terms)})"


def read_aloud(results: dict[str, tuple[Value, tuple[int, ...]]]) -> Iterator[str]:
    """A line for each result, `name = formula = number`; what was said before is its number from then on."""
    reader, named, letters = Reader(), dict[int, str](), iter("abcdefghijklmnopq")
    terms = {name: reader.read(value, index) for name, (value, index) in results.items()}
    terms = dict(sorted(terms.items(), key=lambda entry: _size(entry[1])))  # a part comes before the whole
    for name, term in terms.items():
        for part in _long_and_shared(term, [*terms.values()], named):
            yield _line(next(letters), part, named)
        yield _line(name, term, named)


def _line(name: str, term: Term, named: dict[int, str]) -> str:
    number, text = six_digits(term.number), spell(term, named)
    if term.operation:
        named[id(term)] = name
    return f"{name} = {number}" if text == number else f"{name} = {text} = {number}"


def _long_and_shared(term: Term, every: list[Term], named: dict[int, str]) -> list[Term]:
    """The parts of a term that are long and used more than once, innermost first."""
    uses, found = dict[int, int](), list[Term]()
    for one in every:
        _count(one, uses)

    def visit(part: Term) -> None:
        if not part.operation or id(part) in named:
            return
        for inner in part.terms:
            visit(inner)
        is_new = part is not term and part not in found and part not in every
        if is_new and uses[id(part)] > 1 and len(spell(part, named)) > LONG:
            found.append(part)

    visit(term)
    return found


def _size(term: Term) -> int:
    return 1 + sum(map(_size, term.terms))


def _count(term: Term, uses: dict[int, int]) -> None:
    uses[id(term)] = uses.get(id(term), 0) + 1
    if uses[id(term)] == 1:
        for part in term.terms:
            _count(part, uses)
