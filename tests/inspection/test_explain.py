"""One turn of the wheel as a text: read back, every number in it follows from the others.

A reader with paper and pencil is written out here. It knows a printed number to its six digits, an
interval, and follows the text by that: z = xW + b, the costs of the rows, the deltas, the gradients,
the formulas of the rule, the new parameters. What it finds must meet what is printed.
"""

import contextlib
import functools
import itertools
import math
import operator
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracles
import pytest
from networks import CENTRE, parameters, refused

import fnn

partial, dense = functools.partial, fnn.dense


# Numbers known to six digits --------------------------------------------------------------------------


class Near:
    """What is known of a number: it lies between two others."""

    def __init__(self, low, high):
        assert not (math.isnan(low) or math.isnan(high)), "not a number"
        self.low, self.high = low, high

    @classmethod
    def among(cls, values):
        values = list(values)
        return cls(min(values), max(values))

    @classmethod
    def exactly(cls, value):
        return value if isinstance(value, Near) else cls(float(value), float(value))

    def ends(self):
        return self.low, self.high

    def with_each(self, other, operation):
        if isinstance(other, np.ndarray):
            return NotImplemented  # its entries come one by one
        return Near.among(
            itertools.starmap(operation, itertools.product(self.ends(), Near.exactly(other).ends()))
        )

    def through(self, function):
        return Near.among(function(end) for end in self.ends())

    def folded(self, function):
        """Through a function that turns at zero and is zero there."""
        return Near.among([0.0] * (self.low < 0 < self.high) + [function(end) for end in self.ends()])

    def __add__(self, other):
        return self.with_each(other, operator.add)

    def __sub__(self, other):
        return self.with_each(other, operator.sub)

    def __mul__(self, other):
        return self.with_each(other, operator.mul)

    def __truediv__(self, other):
        return self.with_each(other, operator.truediv)

    def __pow__(self, other):
        squared = isinstance(other, int) and other == 2
        return self.folded(lambda end: end**2) if squared else self.with_each(other, operator.pow)

    def __abs__(self):
        return self.folded(abs)

    def __rsub__(self, other):
        return Near.exactly(other) - self

    def __neg__(self):
        return Near(-self.high, -self.low)

    __radd__, __rmul__ = __add__, __mul__

    def __repr__(self):
        return f"{self.low:.8g}…{self.high:.8g}"


def number(token):
    return float(token.replace("−", "-"))


def near(token, exact=()):
    """A printed number: six digits of it, or all where it is zero, a small integer or named exact."""
    value = number(token)
    if value == 0 or token in exact or re.fullmatch(r"−?\d{1,2}", token):
        return Near(value, value)
    half = 0.5 * 10.0 ** (math.floor(math.log10(abs(value))) - 5)
    return Near(value - half, value + half)


def root(value):
    return Near.among(math.sqrt(max(end, 0.0)) for end in value.ends())


def exponential(value):
    return value.through(math.exp)


ROUNDING = {"float32": 6e-7, "float64": 1e-14}  # what the library's own arithmetic may lose


def assert_meets(found, token, what):
    """What was computed from printed numbers meets what is printed, but for the rounding of the library."""
    printed, slack = near(token), ROUNDING[jnp.result_type(float).name] * abs(number(token))
    printed = Near(printed.low - slack, printed.high + slack)
    assert found.low <= printed.high and printed.low <= found.high, f"{what}: {found} and not {token}"


def assert_all_meet(found, tokens, what):
    found, tokens = np.asarray(found, object), np.asarray(tokens, object)
    assert found.shape == tokens.shape, f"{what}: shape {found.shape} and not {tokens.shape}"
    for value, token in zip(found.ravel(), tokens.ravel(), strict=True):
        assert_meets(value, token, what)
    width = max((value.high - value.low for value in found.ravel()), default=0)
    assert width <= 1e-3 * max((abs(number(t)) for t in tokens.ravel()), default=1) + 1e-6, f"{what} is vague"


# Formulas as a person reads them ----------------------------------------------------------------------

NUMBER = r"\d+(?:\.\d+)?(?:e[−+]?\d+)?"
SYMBOLS = ("ε_root", "β₁", "β₂", "m̂", "v̂", "‖g‖", *"ΔαμρλθεgmvsdGtc")
TOKEN = re.compile(
    "|".join([NUMBER, r"e\^", "log", *map(re.escape, SYMBOLS), r"[-−+·/()²^√|½]", r"\s+", "."])
)
PYTHON = {"−": "-", "·": "*", "²": "**2", "^": "**", "√": "root", "e^": "E**", "½": "half"}


def value_of(formula, symbols=None, exact=()):
    """The value of a formula, filled in or with the symbols' values; what stands side by side is multiplied."""
    code, names, after_operand, bars = "", {}, False, 0
    for token in TOKEN.findall(formula):
        if token.isspace():
            continue
        is_number, is_symbol = re.fullmatch(NUMBER, token), token in SYMBOLS
        if token == "|":
            bars += 1
            code, after_operand = code + ("magnitude(" if bars % 2 else ")"), bars % 2 == 0
            continue
        starts = is_number or is_symbol or token in ("(", "√", "½", "e^", "log")
        code += "*" if after_operand and starts else ""
        if is_number or is_symbol:
            name = f"n{len(names)}"
            names[name] = near(token, exact) if is_number else symbols[token]
            code += name
        else:
            assert token in PYTHON or token in ("+", "/", "(", ")", "log"), f"{token!r} in {formula!r}"
            code += PYTHON.get(token, token)
        after_operand = bool(is_number or is_symbol or token in (")", "²", "½"))
    each = lambda function: (
        lambda v: np.frompyfunc(function, 1, 1)(v) if isinstance(v, np.ndarray) else function(v)
    )
    logarithm = lambda v: v.through(math.log)
    power = Near(math.e, math.e)
    functions = {
        "root": each(root),
        "log": each(logarithm),
        "magnitude": abs,
        "half": Near(0.5, 0.5),
        "E": power,
    }
    return eval(code, {"__builtins__": {}}, {**names, **functions})


# The text, read ---------------------------------------------------------------------------------------


class Entry:
    """A line of the text, or an array under its name."""

    def __init__(self, indent, text, array=None, shortened=None):
        self.indent, self.text, self.array, self.shortened = indent, text, array, shortened

    @property
    def is_array(self):
        return self.array is not None or self.shortened is not None


class Block:
    """A layer in the text: its place, its formula, its arrays, the layers inside."""

    def __init__(self, text):
        self.place, _, self.formula = text.partition(":  ")
        self.where, _, self.name = self.place.partition(", ")
        self.arrays, self.inside = {}, []

    def array(self, name):
        return self.arrays[name]

    def tree(self, name):
        """An array, or the tree of arrays whose places stand behind the name."""
        if name in self.arrays:
            return self.arrays[name]
        tree = {key[len(name) :]: value for key, value in self.arrays.items() if key.startswith(name + "[")}
        assert tree, f"{self.place}: no {name}"
        return tree


def entries(lines):
    found, i = [], 0
    while i < len(lines):
        line = lines[i]
        i += 1
        if not line.strip():
            continue
        indent, text = len(line) - len(line.lstrip()), line.strip()
        header = re.fullmatch(r"(.+?)  \(([\d, ]*)\)", text)
        if not header:
            found.append(Entry(indent, text))
            continue
        shape = tuple(int(n) for n in header[2].split(",") if n.strip())
        rows = []
        if "too many to print" in lines[i]:
            found.append(Entry(indent, header[1], shortened=(shape, lines[i].strip())))
            i += 1
            continue
        for row in lines[i : i + (math.prod(shape[:-1]) if shape else 1)]:
            assert len(row) - len(row.lstrip()) > indent + 3, row
            rows.append(row.split())
        i += len(rows)
        found.append(Entry(indent, header[1], np.array(rows, object).reshape(shape)))
    return found


def blocks(found, indent=2):
    """Arrays before the first layer, and the layers with what is indented under them."""
    leading, layers = {}, []
    for entry in found:
        assert entry.indent >= indent, entry.text
        if entry.indent > indent:
            layers[-1].inside.append(entry)
        elif entry.is_array:
            (layers[-1].arrays if layers else leading)[entry.text] = entry.array
        else:
            layers.append(Block(entry.text))
    for layer in layers:
        layer.inside = blocks(layer.inside, indent + 2)[1]
    return leading, layers


STAGES = [
    "1. Forward propagation, from the first layer to the last",
    "2. The cost",
    "3. Backward propagation, from the last layer to the first",
    "4. Optimisation: ",
    "5. The new parameters",
]


def stages(text):
    """The title, and the lines under each stage's."""
    lines = text.split("\n")
    starts = [i for i, line in enumerate(lines) if re.match(r"\d\. ", line)]
    assert [lines[i][: len(stage)] for i, stage in zip(starts, STAGES, strict=True)] == STAGES
    parts = [lines[a + 1 : b] for a, b in itertools.pairwise([*starts, len(lines)])]
    return lines[0], lines[starts[3]].removeprefix(STAGES[3]), [entries(part) for part in parts]


def nears(tokens):
    return np.frompyfunc(near, 1, 1)(tokens)


def nears_of(tree):
    return {k: nears(v) for k, v in tree.items()} if isinstance(tree, dict) else nears(tree)


# The reader -------------------------------------------------------------------------------------------

APPLY = {  # the functions of the networks below, by name: y, and the delta by x
    "tanh": (lambda z: each(math.tanh, z), lambda d, z, a: d * (1 - a * a)),
    "relu": (
        lambda z: each(lambda v: max(v, 0.0), z),
        lambda d, z, a: d * np.frompyfunc(lambda v: int(v.low > 0), 1, 1)(z),
    ),
    "sigmoid": (lambda z: each(lambda v: 1 / (1 + math.exp(-v)), z), lambda d, z, a: d * (a * (1 - a))),
    "softmax": (
        lambda z: (
            np.frompyfunc(exponential, 1, 1)(z) / np.frompyfunc(exponential, 1, 1)(z).sum(-1, keepdims=True)
        ),
        lambda d, z, a: a * (d - (d * a).sum(-1, keepdims=True)),
    ),
    "together": (
        lambda pair: pair["[0]"] + pair["[1]"],
        lambda d, z, a: {"[0]": d, "[1]": d},
    ),
    "named": (lambda pair: pair["['a']"] + pair["['b']"], lambda d, z, a: {"['a']": d, "['b']": d}),
}


def each(function, values):
    return np.frompyfunc(lambda v: v.through(function), 1, 1)(values)


def key_of(block):
    """The place of a layer in the parameters: layer 2 is [2], branch 'a' is ['a'], the network itself nothing."""
    return "" if block.where == "network" else f"[{block.where.split(' ', 1)[1]}]"


def give(x, block):
    return x[key_of(block)] if isinstance(x, dict) and block.where.startswith("branch '") else x


class Reader:
    """Follows a text from its first number to its last."""

    def __init__(self, text, network, cost, optimizer_numbers):
        self.network, self.cost, self.numbers = network, cost, optimizer_numbers
        self.title, self.rule, self.parts = stages(text)
        self.seen, self.old, self.grads = {}, {}, {}

    def follow(self):
        self.forward()
        self.costs()
        self.backward()
        self.optimisation()
        self.new_parameters()
        return self

    # 1. Forward

    def forward(self):
        leading, layers = blocks(self.parts[0])
        self.x = nears_of(leading["x"]) if "x" in leading else {k[1:]: nears(v) for k, v in leading.items()}
        rows = len(next(iter(self.x.values())) if isinstance(self.x, dict) else self.x)
        assert self.title == f"One turn of the wheel, on {rows} row{'s' if rows > 1 else ''}"
        if self.network.parts:
            names = [f"layer {i}, {part.name}" for i, part in enumerate(self.network.parts)]
            assert [layer.place for layer in layers] == names
        self.outer = [layer.place for layer in layers]
        self.predictions = self.chain(layers, self.x, "")

    def chain(self, layers, x, path):
        for layer in layers:
            x = self.one(layer, x, path + key_of(layer))
        return x

    def one(self, layer, x, path):
        if "W" in layer.arrays:
            assert layer.formula == "z = xW + b"
            weight, bias = (nears(layer.array(name)) for name in "Wb")
            self.old |= {path + "['bias']": bias, path + "['weight']": weight}
            printed, y = layer.array("z, its pre-activations"), x @ weight + bias
        else:
            printed, y = layer.tree("a, its activations"), self.inside(layer, x, path)
        for key in y if isinstance(y, dict) else ():
            assert_all_meet(y[key], printed[key], f"{layer.place}{key}")
        if not isinstance(y, dict):
            assert_all_meet(y, printed, layer.place)
        self.seen[path] = layer, x, nears_of(printed)
        return nears_of(printed)

    def inside(self, layer, x, path):
        if layer.name == "residual":
            return x + self.chain(layer.inside, x, path)
        if layer.name == "serial":
            return self.chain(layer.inside, x, path)
        if layer.name.startswith("parallel"):
            return {key_of(b): self.one(b, give(x, b), path + key_of(b)) for b in layer.inside}
        if layer.name == "freeze":
            frozen = (nears(layer.array(f"params['frozen']['{name}']")) for name in ("weight", "bias"))
            weight, bias = frozen
            return x @ weight + bias
        if layer.name.startswith("flatten"):
            return x.reshape(len(x), -1)
        if layer.name.startswith("dropout"):
            return x
        assert layer.formula == f"a = {layer.name}(z)"
        return APPLY[layer.name][0](x)

    # 2. The cost

    def costs(self):
        leading, _ = blocks([entry for entry in self.parts[1] if entry.is_array])
        said = [entry.text for entry in self.parts[1] if not entry.is_array]
        tokens = leading["ŷ, the predictions"]
        assert_all_meet(self.predictions, tokens, "ŷ")
        self.y = np.vectorize(number, otypes=[float])(leading["y, the targets"])
        self.p = np.vectorize(number, otypes=[float])(tokens)
        inner, options = getattr(self.cost, "func", self.cost), getattr(self.cost, "keywords", {})
        self.oracle = partial(getattr(oracles, inner.__name__), **options)
        *rows, last = said
        if self.y.ndim < self.p.ndim:
            assert np.all(self.y == self.y.astype(int)), "an id is no whole number"
            self.y = self.y.astype(int)
        worth = [self.row(i, line, options, leading) for i, line in enumerate(rows)]
        name = inner.__name__ + (
            f"({', '.join(f'{k}={v!r}' for k, v in options.items())})" if options else ""
        )
        said, value = last.rsplit(" = ", 1)
        mean = functools.reduce(lambda a, b: a + b, worth) / len(worth)
        rooted = inner is fnn.rmse
        assert said == f"c = {name}(ŷ, y) = " + ("√(the mean over rows)" if rooted else "the mean over rows")
        assert len(worth) == len(self.p)
        assert_meets(root(mean) if rooted else mean, value, "the cost")
        self.value = value

    def row(self, i, line, options, leading):
        """One row's formula: filled with its own numbers, worth what is printed, by the oracle too."""
        head, _, rest = line.partition(":  ")
        formula, value = rest.rsplit(" = ", 1)
        assert head == f"row {i}"
        assert_meets(value_of(formula), value, line)
        allowed = self.allowed(leading["ŷ, the predictions"][i], self.y[i], options)
        used = set(re.findall(NUMBER, formula))
        assert used <= allowed, f"{used - allowed} in {line}"
        p, y = self.p[i : i + 1], self.y[i : i + 1]
        expected = self.oracle(p, y) ** (2 if getattr(self.cost, "func", self.cost) is fnn.rmse else 1)
        np.testing.assert_allclose(number(value), expected, rtol=1e-4, atol=1e-6, err_msg=line)
        return near(value)

    def allowed(self, tokens, y, options):
        smoothing = options.get("label_smoothing", 0.0)
        classes = tokens.size if y.ndim < tokens.ndim else 2
        targets = {0.0, 1.0} if y.ndim < tokens.ndim else set(y.ravel().tolist())
        smooth = {(1 - smoothing) * t + smoothing / classes for t in targets}
        numbers = {*targets, *smooth, *(1 - t for t in smooth), *options.values(), 1.0, tokens.size}
        said = {f"{n:.6g}".lstrip("-").replace("-", "−") for n in numbers}
        return {token.lstrip("−") for token in tokens.ravel()} | said

    # 3. Backward

    def backward(self):
        leading, layers = blocks(self.parts[2])
        (name, tokens), *rest = leading.items()
        assert name == "δ = ∂c/∂ŷ" and not rest
        slopes = oracles.central_differences(lambda p: self.oracle(p, self.y), self.p)
        np.testing.assert_allclose(np.vectorize(number)(tokens), slopes, rtol=2e-4, atol=2e-6)
        assert [layer.place for layer in layers] == self.outer[::-1]
        self.back(layers, nears(tokens), "")

    def back(self, layers, delta, path):
        for layer in layers:
            delta = self.one_back(layer, delta, path + key_of(layer))
        return delta

    def one_back(self, layer, delta, path):
        forward, x, y = self.seen[path]
        assert forward.place == layer.place
        if "W" in forward.arrays:
            assert layer.formula == "∂c/∂W = xᵀδ,  ∂c/∂b = Σδ,  δ ← δWᵀ"
            weight = nears(forward.array("W"))
            flat_x, flat = x.reshape(-1, weight.shape[0]), delta.reshape(-1, weight.shape[1])
            grads = {"∂c/∂W": flat_x.T @ flat, "∂c/∂b": flat.sum(0)}
            for name, key in (("∂c/∂W", "weight"), ("∂c/∂b", "bias")):
                assert_all_meet(grads[name], layer.array(name), f"{layer.place}, {name}")
                self.grads[f"{path}['{key}']"] = layer.array(name)
            delta_x = (flat @ weight.T).reshape(x.shape)
        else:
            delta_x = self.inside_back(layer, forward, delta, x, y, path)
        name = "δ, for the layer before"
        name += ", by jax.vjp" if layer.name in ("freeze", "together", "named") else ""  # no rule by hand
        printed = layer.tree(name)
        for key in delta_x if isinstance(delta_x, dict) else ():
            assert_all_meet(delta_x[key], printed[key], f"{layer.place}{key}, δ")
        if not isinstance(delta_x, dict):
            assert_all_meet(delta_x, printed, f"{layer.place}, δ")
        return nears_of(printed)

    def inside_back(self, layer, forward, delta, x, y, path):
        if layer.name == "residual":
            return delta + self.back(layer.inside, delta, path)
        if layer.name == "serial":
            return self.back(layer.inside, delta, path)
        if layer.name.startswith("parallel"):
            each = {key_of(b): self.one_back(b, delta[key_of(b)], path + key_of(b)) for b in layer.inside}
            return each if isinstance(x, dict) else functools.reduce(lambda a, b: a + b, each.values())
        if layer.name == "freeze":
            return delta @ nears(forward.array("params['frozen']['weight']")).T
        if layer.name.startswith(("flatten", "dropout")):
            return delta.reshape(x.shape)
        return APPLY[layer.name][1](delta, x, y)

    # 4. Optimisation

    def optimisation(self):
        first, *rest = self.parts[3]
        pattern = (
            r"worked out for params((?:\[[^]]*\])+?)\[([\d, ]*)\], where the gradient is largest: g = (\S+)"
        )
        place, index, token = re.fullmatch(pattern, first.text).groups()
        index = tuple(int(n) for n in index.split(",") if n.strip())
        assert self.grads[place][index] == token
        assert abs(number(token)) == max(abs(number(g)) for tree in self.grads.values() for g in tree.ravel())
        self.order = sorted(self.grads)
        before = [self.grads[key].size for key in self.order[: self.order.index(place)]]
        self.at = sum(before) + int(np.ravel_multi_index(index, self.grads[place].shape))
        starts = [i for i, e in enumerate(rest) if e.text in LINKS and not e.is_array] + [len(rest)]
        names = [rest[i].text for i in starts[:-1]]
        assert starts[0] == 0 and " → ".join(names) == self.rule and names == list(self.numbers)
        g = self.flat(self.grads)
        for a, b in itertools.pairwise(starts):
            g = self.link(rest[a].text, rest[a + 1 : b], g)
        self.updates = g

    def flat(self, tree):
        assert sorted(tree) == self.order
        return np.concatenate([np.ravel(tree[key]) for key in self.order])

    def link(self, name, lines, g):
        """One link: every symbol of its formulas known, each formula worth what is printed."""
        numbers, *formulas = itertools.takewhile(lambda e: not e.text.startswith("its state before"), lines)
        given = dict(pair.split(" = ") for pair in numbers.text.split(",  "))
        assert {k: number(v) for k, v in given.items()} == {
            k: float(f"{v:.6g}") for k, v in self.numbers[name][0].items()
        }
        before, after, updates = self.states(lines, self.numbers[name][1])
        exact = set(given.values())
        stored = jnp.result_type(float).type  # as the library holds them
        symbols = {GREEK[k]: Near.exactly(stored(number(v))) for k, v in given.items()}
        self.given = {GREEK[k]: v for k, v in given.items()}
        symbols |= {"g": nears(g), "θ": self.flat(self.old), "t": Near(1.0, 1.0)}
        symbols |= {LINKS[name][moment]: nears(tree) for moment, tree in before.items()}
        self.tokens = {
            "g": g[self.at],
            "θ": None,
            **{LINKS[name][m]: tree[self.at] for m, tree in before.items()},
        }
        self.tokens |= {"t": "1"}
        for entry in formulas:
            self.formula(name, entry.text, symbols, exact, g, after, updates)
        for moment, tree in after.items():
            assert_all_meet(symbols[LINKS[name][moment]], tree, f"{name}, its state after, {moment}")
        if name not in ("clip_by_global_norm", "weight_decay"):
            assert_all_meet(symbols["update"], updates, f"{name}, Δ")
        return updates

    def states(self, lines, start):
        texts = [entry.text for entry in lines]
        middle = texts.index("its state after: step 1")
        first = texts.index("its state before: step 0")
        before, after, updates = {}, {}, {}
        for i, entry in enumerate(lines):
            if entry.is_array and entry.text.startswith("Δ"):
                assert i > middle
                updates[entry.text[1:]] = entry.array
            elif entry.is_array:
                moment, key = re.fullmatch(r"\['(\w+)'\](.*)", entry.text).groups()
                (before if first < i < middle else after).setdefault(moment, {})[key] = entry.array
        assert list(before) == list(after)
        before, after = ({m: self.flat(tree) for m, tree in each.items()} for each in (before, after))
        assert all(number(token) == start for tree in before.values() for token in tree)
        return before, after, self.flat(updates)

    def formula(self, name, line, symbols, exact, g, after, updates):
        if name == "clip_by_global_norm":
            return self.clipped(line, symbols, exact, g, updates)
        if name == "weight_decay":
            return self.decayed(line, symbols, exact, g, updates)
        target, arrow, rest = line.partition(" ← ")
        pieces = (rest if arrow else line).split(" = ")
        if arrow or len(pieces) == 3:
            symbolic, filled, result = pieces
            target = target if arrow else "update"
        else:
            target, symbolic, filled, result = pieces
        assert_meets(value_of(filled, exact=exact), result, line)
        found = value_of(symbolic, symbols)
        assert_meets(found[self.at], result, f"{symbolic} in {line}")
        self.is_filled(symbolic, filled)
        symbols[target], self.tokens[target] = found, result
        if target == "update" or (target == "Δ" and name != "adadelta"):
            symbols["update"] = found
            assert result == updates[self.at]
        moment = {symbol: m for m, symbol in LINKS[name].items()}.get(target)
        if moment:
            assert result == after[moment][self.at]

    def is_filled(self, symbolic, filled):
        """The filled-in formula is the symbolic one with the printed numbers; 1 − ρ may be worked out."""
        known, pattern = {**self.tokens, **self.given}, ""
        for token in re.findall(r"\(1 − [^()]*\)|" + TOKEN.pattern, symbolic):
            if token.startswith("(1 − "):
                worth = value_of(token, {k: near(v, (v,)) for k, v in known.items() if v})
                literal = "".join(known.get(t) or t for t in TOKEN.findall(token))
                pattern += f"(?:{re.escape(bare(literal))}|(?P<folded>{NUMBER}))"
            else:
                pattern += re.escape(bare(known.get(token) or token))
        match = re.fullmatch(pattern, bare(filled))
        assert match, f"{filled} is not {symbolic} of {known}"
        if match.groupdict().get("folded"):
            assert abs(number(match["folded"]) / worth.low - 1) < 2e-5

    def clipped(self, line, symbols, exact, g, updates):
        norm = root(functools.reduce(lambda a, b: a + b, (v**2 for v in nears(g))))
        limit = self.given["c"]
        if match := re.fullmatch(r"g ← g = (\S+), for ‖g‖ = (\S+) ≤ (\S+)", line):
            assert match[3] == limit and number(match[2]) <= number(limit)
            assert_meets(norm, match[2], line)
            assert match[1] == g[self.at] and list(updates) == list(g)
            return
        symbolic, filled, result = line.removeprefix("g ← ").split(" = ")
        self.tokens["‖g‖"] = filled.rsplit(" / ", 1)[1]
        assert number(self.tokens["‖g‖"]) > number(limit)
        assert_meets(norm, self.tokens["‖g‖"], line)
        self.is_filled(symbolic, filled)
        assert_meets(value_of(filled, exact=exact), result, line)
        assert_all_meet(value_of(symbolic, {**symbols, "‖g‖": norm}), updates, line)
        assert result == updates[self.at]

    def decayed(self, line, symbols, exact, g, updates):
        decayed = np.concatenate(
            [np.full(self.old[key].size, key.endswith("['weight']")) for key in self.order]
        )
        pulled = symbols["g"] + symbols["λ"] * symbols["θ"]
        assert_all_meet(np.where(decayed, pulled, symbols["g"]), updates, line)
        if match := re.fullmatch(r"g ← g = (\S+), for what is named bias is spared", line):
            assert not decayed[self.at] and match[1] == g[self.at] == updates[self.at]
            return
        assert decayed[self.at]
        symbolic, filled, result = line.removeprefix("g ← ").split(" = ")
        self.tokens["θ"] = re.fullmatch(r".* · \(?(−?" + NUMBER + r")\)?", filled)[1]
        assert_meets(symbols["θ"][self.at], self.tokens["θ"], line)
        self.is_filled(symbolic, filled)
        assert_meets(value_of(filled, exact=exact), result, line)
        assert result == updates[self.at]

    # 5. The new parameters

    def new_parameters(self):
        *arrays, last = self.parts[4]
        new = {entry.text: entry.array for entry in arrays}
        assert_all_meet(self.flat(self.old) + nears(self.updates), self.flat(new), "the new parameters")
        was, self.now = re.fullmatch(r"the cost was (\S+), and is now (\S+)", last.text).groups()
        assert was == self.value
        self.new = new


def bare(formula):
    """Without brackets, dots and spaces: what is left is the numbers and what joins them."""
    return re.sub(r"[()·\s]", "", formula)


GREEK = {
    "learning_rate": "α", "momentum": "μ", "decay": "ρ", "b1": "β₁", "b2": "β₂", "eps": "ε", "eps_root": "ε_root",
    "rate": "λ", "max_norm": "c",
}  # fmt: skip
LINKS = {  # the letters of their moments
    "gradient_descent": {},
    "momentum": {"velocity": "v"},
    "nesterov": {"velocity": "v"},
    "adagrad": {"total": "G"},
    "rmsprop": {"mean_square": "s"},
    "adadelta": {"mean_square": "s", "mean_square_update": "d"},
    "adam": {"m": "m", "v": "v"},
    "clip_by_global_norm": {},
    "weight_decay": {},
}


# What is explained ------------------------------------------------------------------------------------

FORMS = {  # the links by name, with every number of theirs, and what their moments start at
    "gradient_descent": {"gradient_descent": {"learning_rate": 0.5}},
    "momentum": {"momentum": {"learning_rate": 0.3, "momentum": 0.7}},
    "nesterov": {"nesterov": {"learning_rate": 0.3, "momentum": 0.7}},
    "adagrad": {"adagrad": {"learning_rate": 0.2, "eps": 1e-3, "eps_root": 0.01, "initial": 0.1}},
    "rmsprop": {"rmsprop": {"learning_rate": 0.05, "decay": 0.8, "eps": 0.01, "eps_root": 0.002}},
    "adadelta": {"adadelta": {"learning_rate": 0.5, "decay": 0.9, "eps": 1e-5}},
    "adam": {"adam": {"learning_rate": 0.04, "b1": 0.8, "b2": 0.95, "eps": 1e-3, "eps_root": 1e-4}},
    "adam as it is": {"adam": {"learning_rate": 0.001, "b1": 0.9, "b2": 0.999, "eps": 1e-8, "eps_root": 0.0}},
    "clip and momentum": {
        "clip_by_global_norm": {"max_norm": 0.1},
        "momentum": {"learning_rate": 0.3, "momentum": 0.7},
    },
    "no need to clip, decay and descent": {
        "clip_by_global_norm": {"max_norm": 100.0},
        "weight_decay": {"rate": 0.05},
        "gradient_descent": {"learning_rate": 0.5},
    },
    "clip, decay and adam": {
        "clip_by_global_norm": {"max_norm": 0.2},
        "weight_decay": {"rate": 0.3},
        "adam": {"learning_rate": 0.04, "b1": 0.8, "b2": 0.95, "eps": 1e-3, "eps_root": 1e-4},
    },
}
QUANTITIES = [[0.3, -1.2], [0.9, 1.7], [-2.4, 0.6]]
YES_OR_NO = [[1.0, 0.0], [0.0, 1.0], [0.25, 1.0]]
COSTS = {
    "mse": (fnn.mse, QUANTITIES),
    "rmse": (fnn.rmse, QUANTITIES),
    "mae": (fnn.mae, QUANTITIES),
    "huber": (fnn.huber, QUANTITIES),
    "huber of another corner": (partial(fnn.huber, delta=0.4), QUANTITIES),
    "binary_cross_entropy": (fnn.binary_cross_entropy, YES_OR_NO),
    "binary_cross_entropy with options": (
        partial(fnn.binary_cross_entropy, label_smoothing=0.2, positive_weight=3.0),
        YES_OR_NO,
    ),
    "softmax_cross_entropy": (fnn.softmax_cross_entropy, [0, 1, 1]),
    "softmax_cross_entropy of probabilities": (
        fnn.softmax_cross_entropy,
        [[0.7, 0.3], [0.0, 1.0], [0.5, 0.5]],
    ),
    "softmax_cross_entropy with an option": (
        partial(fnn.softmax_cross_entropy, label_smoothing=0.1),
        [0, 1, 1],
    ),
}
X = np.array([[0.5, -1.3, 0.8], [1.1, 0.4, -0.6], [-0.7, 0.2, 1.9]], np.float32)
NETWORK = fnn.serial(dense(3), jnp.tanh, dense(2))
PARAMS = parameters(NETWORK, X)


def built(form):
    """The optimizer of these links, and for the reader each link's numbers and where its moments start."""
    links = [getattr(fnn, name)(**numbers) for name, numbers in FORMS[form].items()]
    known = {
        name: ({k: v for k, v in numbers.items() if k != "initial"}, numbers.get("initial", 0.0))
        for name, numbers in FORMS[form].items()
    }
    return links[0] if len(links) == 1 else fnn.chain(*links), known


def explained(network, cost, optimizer, params, x, y):
    text = fnn.explain(network, cost, optimizer, params, x, y)
    assert isinstance(text, str)
    return text


def stepped(network, cost, optimizer, params, x, y):
    """The state after fnn.step, and the cost before it."""
    x, y = (jax.tree.map(jnp.asarray, v) for v in (x, y))
    state = fnn.start(network, optimizer, x, key=jax.random.key(0), params=params)
    return fnn.step(network, cost, optimizer, state, x, y, jax.random.key(1))


def leaves_by_place(tree):
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def numbers_of(tokens):
    return np.vectorize(number, otypes=[float])(tokens)


def assert_printed(tokens, values):
    """The tokens are these values, to the last digit but one for another order of adding up."""
    np.testing.assert_allclose(numbers_of(tokens), np.asarray(values, float), rtol=2e-5, atol=1e-6)


# --- every number follows from the others


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", COSTS)
def test_every_number_follows_from_the_numbers_before_it(name, form):
    (cost, y), (optimizer, known) = COSTS[name], built(form)
    y = np.asarray(y, np.float32 if isinstance(y[0], list) else np.int32)
    text = explained(NETWORK, cost, optimizer, PARAMS, X, y)
    read = Reader(text, NETWORK, cost, known).follow()
    state, value = stepped(NETWORK, cost, optimizer, PARAMS, X, y)
    assert_printed(read.value, value)
    assert_printed(read.now, fnn.loss(NETWORK, cost)(state.params, X, y))
    for place, new in leaves_by_place(state.params).items():
        assert_printed(read.new[place], new)
    for place, g in leaves_by_place(fnn.backprop(NETWORK, cost, PARAMS, X, y).grads).items():
        assert_printed(read.grads[place], g)


def together(pair):
    return pair[0] + pair[1]


def named(pair):
    return pair["a"] + pair["b"]


NETWORKS = {  # a network, the shape of a row of x
    "a layer alone": (dense(2), (3,)),
    "one layer": (fnn.serial(dense(2)), (3,)),
    "relu": (fnn.serial(dense(4), jax.nn.relu, dense(2)), (3,)),
    "ends in an activation": (fnn.serial(dense(2), jax.nn.sigmoid), (3,)),
    "softmax": (fnn.serial(dense(3), jax.nn.softmax, dense(2)), (3,)),
    "residual": (fnn.serial(dense(3), fnn.residual(dense(3), jnp.tanh), dense(2)), (3,)),
    "residual in residual": (
        fnn.serial(dense(3), fnn.residual(dense(3), fnn.residual(jnp.tanh, dense(3))), dense(2)),
        (3,),
    ),
    "serial in serial": (fnn.serial(fnn.serial(dense(3), jnp.tanh), fnn.serial(dense(2))), (3,)),
    "parallel": (
        fnn.serial(dense(3), fnn.parallel(dense(2), fnn.serial(jnp.tanh, dense(2))), together),
        (3,),
    ),
    "parallel by key": (
        fnn.serial(fnn.parallel(a=dense(2), b=fnn.serial(fnn.flatten(2), dense(2))), named),
        {"a": (3,), "b": (2, 2)},
    ),
    "flatten and dropout": (fnn.serial(fnn.flatten(2), dense(3), fnn.dropout(0.0), dense(2)), (2, 2)),
    "sequences": (fnn.serial(dense(3), jnp.tanh, fnn.flatten(2), dense(2)), (2, 3)),
    "freeze": (fnn.serial(dense(3), fnn.freeze(dense(3)), jnp.tanh, dense(2)), (3,)),
}


@pytest.mark.parametrize("form", ["adam", "clip, decay and adam"])
@pytest.mark.parametrize(("network", "shape"), NETWORKS.values(), ids=NETWORKS)
def test_every_number_of_every_kind_of_network_follows_from_the_others(network, shape, form):
    draw, (optimizer, known) = np.random.default_rng(0), built(form)
    is_shape = lambda v: isinstance(v, tuple)
    x = jax.tree.map(lambda s: np.asarray(draw.normal(size=(3, *s)), np.float32), shape, is_leaf=is_shape)
    params, y = parameters(network, x), np.asarray(QUANTITIES, np.float32)
    read = Reader(explained(network, fnn.mse, optimizer, params, x, y), network, fnn.mse, known).follow()
    state, value = stepped(network, fnn.mse, optimizer, params, x, y)
    assert_printed(read.value, value)
    expected = leaves_by_place(fnn.trained(state.params))
    assert set(read.new) == set(expected) == set(read.grads)
    for place, new in expected.items():
        assert_printed(read.new[place], new)


def test_every_number_follows_in_float64(x64):
    with x64():
        x, y = np.asarray(X, np.float64), np.array([0, 1, 1])
        params, (optimizer, known) = parameters(NETWORK, x), built("adam as it is")
        cost = fnn.softmax_cross_entropy
        Reader(explained(NETWORK, cost, optimizer, params, x, y), NETWORK, cost, known).follow()


# --- the reader would notice


def moved(token):
    """Another number: three per cent off, or a half in place of zero."""
    return "0.5" if number(token) == 0 else f"{1.03 * number(token):.6g}".replace("-", "−")


def mutations(text):
    """The text with one number in it changed, for every number but those in titles, names and shapes."""
    at = 0
    for line in text.split("\n"):
        titled = re.match(r"One turn|\d\. | *(?:layer|branch) \d+, |.*  \([\d, ]*\)$", line)
        start = line.rfind(" = ") if re.match(" *(?:worked|c =)", line) else 0
        for match in re.finditer(rf"(?<![\w.])−?{NUMBER}(?![\w.])", "" if titled else line):
            if match.start() >= start:
                yield line, text[: at + match.start()] + moved(match[0]) + text[at + match.end() :]
        at += len(line) + 1


NOTICED = [
    ("mse", "gradient_descent"),
    ("rmse", "adadelta"),
    ("huber of another corner", "adagrad"),
    ("binary_cross_entropy with options", "clip, decay and adam"),
    ("softmax_cross_entropy with an option", "nesterov"),
    ("softmax_cross_entropy", "rmsprop"),
]


@pytest.mark.parametrize(("name", "form"), NOTICED)
def test_a_reader_would_notice_any_wrong_number(name, form):
    network = fnn.serial(dense(2), jnp.tanh, dense(2))
    (cost, y), (optimizer, known) = COSTS[name], built(form)
    x, y = X[:2], np.asarray(y[:2], np.float32 if isinstance(y[0], list) else np.int32)
    params = parameters(network, x)
    text = explained(network, cost, optimizer, params, x, y)
    Reader(text, network, cost, known).follow()
    now = text.rsplit("is now ", 1)[1]
    unnoticed, tried = [], 0
    for line, changed in mutations(text):
        tried += 1
        with contextlib.suppress(AssertionError, LookupError, ValueError):
            assert Reader(changed, network, cost, known).follow().now == now
            unnoticed.append(line)
    assert unnoticed == [] and tried > 80


# --- what is printed is what the library computes


def test_the_stages_come_in_order_and_say_on_how_many_rows():
    for rows in (1, 2, 3):
        text = explained(NETWORK, fnn.mse, fnn.adam(), PARAMS, X[:rows], np.ones((rows, 2), np.float32))
        title, rule, parts = stages(text)
        assert title == f"One turn of the wheel, on {rows} row" + "s" * (rows > 1)
        assert rule == "adam" and all(parts)


def test_a_step_is_that_of_training(x64):
    with x64():
        optimizer = fnn.chain(fnn.clip_by_global_norm(0.3), fnn.weight_decay(0.1), fnn.adam(0.1))
        network = fnn.serial(dense(3), fnn.residual(jax.nn.gelu, dense(3)), fnn.freeze(dense(3)), dense(2))
        x, y = np.asarray(X, float), np.asarray(QUANTITIES)
        params = parameters(network, x)
        text = explained(network, fnn.huber, optimizer, params, x, y)
        state, value = stepped(network, fnn.huber, optimizer, params, x, y)
        *arrays, last = stages(text)[2][4]
        expected = leaves_by_place(fnn.trained(state.params))
        assert [entry.text for entry in arrays] == list(expected)
        for entry in arrays:
            said = np.vectorize(lambda v: f"{v:.6g}".replace("-", "−"), otypes=[object])
            np.testing.assert_array_equal(entry.array, said(np.asarray(expected[entry.text])))
        now = fnn.loss(network, fnn.huber)(state.params, x, y)
        assert last.text == f"the cost was {value:.6g}, and is now {now:.6g}".replace("-", "−")


def test_lists_and_arrays_of_any_library_give_the_same_text():
    y = np.array([0, 1, 1])
    kinds = [
        np.asarray,
        jnp.asarray,
        np.ndarray.tolist,
        lambda v: np.asarray(v, np.float64 if v.ndim > 1 else np.int64),
    ]
    texts = {
        explained(NETWORK, fnn.softmax_cross_entropy, fnn.adam(), PARAMS, kind(X), kind(y)) for kind in kinds
    }
    numpy = jax.tree.map(np.asarray, PARAMS)
    texts.add(explained(NETWORK, fnn.softmax_cross_entropy, fnn.adam(), numpy, X, y))
    assert len(texts) == 1


def test_the_same_call_gives_the_same_text_and_changes_nothing():
    before = jax.tree.map(np.array, PARAMS)
    y = np.asarray(QUANTITIES, np.float32)
    chain = lambda: fnn.chain(fnn.clip_by_global_norm(1.0), fnn.nesterov())
    texts = {explained(NETWORK, fnn.huber, chain(), PARAMS, X, y) for _ in range(3)}
    assert len(texts) == 1
    assert all(map(np.array_equal, jax.tree.leaves(before), jax.tree.leaves(PARAMS)))


ADDRESSES = {
    "a chain in a chain": fnn.chain(
        fnn.clip_by_global_norm(1.0), fnn.chain(fnn.weight_decay(0.1), fnn.adam())
    ),
    "a rule of optax": optax.adam(0.1),
    "a chain with a rule of optax": fnn.chain(optax.clip(1.0), fnn.adam()),
}


@pytest.mark.parametrize("optimizer", ADDRESSES.values(), ids=ADDRESSES)
def test_a_text_holds_no_memory_address_and_no_stray_space(optimizer):
    network = fnn.serial(dense(3), fnn.residual(jnp.tanh, dense(3)), dense(2))
    text = explained(
        network, lambda p, y: fnn.mse(p, y), optimizer, parameters(network, X), X, np.ones((3, 2), "float32")
    )
    assert not re.search(r"0x[0-9a-f]+", text)
    assert [line for line in text.split("\n") if line != line.rstrip()] == []


def test_a_zero_has_no_sign():
    params = ({"weight": -jnp.eye(3), "bias": jnp.zeros(3)}, ())
    text = explained(
        fnn.serial(dense(3), jax.nn.relu),
        fnn.mse,
        fnn.gradient_descent(),
        params,
        np.abs(X),
        np.ones((3, 3), "float32"),
    )
    assert not re.search(r"−0(?![.\d])", text)


# --- what is too large


def test_a_layer_that_is_too_large_says_so_and_shows_its_range():
    network = fnn.serial(dense(40), jnp.tanh, dense(2))
    params, y = parameters(network, X), np.asarray(QUANTITIES, np.float32)
    text = explained(network, fnn.mse, fnn.adam(), params, X, y)
    state, _ = stepped(network, fnn.mse, fnn.adam(), params, X, y)
    shortened = [(e.text, *e.shortened) for part in stages(text)[2] for e in part if e.shortened]
    values = {
        "W": params[0]["weight"],
        "z, its pre-activations": dense(40).forward(params[0], X),
        "a, its activations": jnp.tanh(dense(40).forward(params[0], X)),
        "∂c/∂W": fnn.backprop(network, fnn.mse, params, X, y).grads[0]["weight"],
        "[0]['weight']": state.params[0]["weight"],
    }
    for name, value in values.items():
        (line,) = [line for said, shape, line in shortened if said == name and shape == value.shape]
        pattern = r"(\d+) numbers, too many to print: from (\S+) to (\S+)"
        count, low, high = re.fullmatch(pattern, line).groups()
        assert int(count) == value.size
        assert_printed([low, high], [value.min(), value.max()])
    names = {name for name, _, _ in shortened}
    assert {"['m'][0]['weight']", "['v'][0]['weight']", "Δ[0]['weight']"} <= names
    assert "b" not in names and len(text.split("\n")) < 250


def test_exactly_what_is_allowed_is_printed_and_one_more_is_not():
    for features, fits in ((8, True), (9, False)):
        x = np.random.default_rng(0).normal(size=(8, features)).astype("float32")
        text = explained(dense(1), fnn.mse, fnn.adam(), parameters(dense(1), x), x, x[:, :1])
        assert (stages(text)[2][0][0].array is not None) == fits
        assert ("72 numbers, too many to print" in text) == (not fits)


@pytest.mark.parametrize("rows", [8, 9, 12, 40])
def test_many_rows_are_shortened_and_it_is_said(rows):
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(rows, 3)).astype("float32"), draw.normal(size=(rows, 2)).astype("float32")
    text = explained(NETWORK, fnn.huber, fnn.adam(), PARAMS, x, y)
    said = [entry.text for entry in stages(text)[2][1] if not entry.is_array]
    shown = [line for line in said if line.startswith("row ")]
    assert [line.split(":")[0] for line in shown] == [f"row {i}" for i in range(8)]
    p = np.asarray(NETWORK.forward(PARAMS, x))
    for i, line in enumerate(shown):
        assert_meets(value_of(line.split(":  ")[1].rsplit(" = ", 1)[0]), line.rsplit(" = ", 1)[1], line)
        assert_printed(line.rsplit(" = ", 1)[1], oracles.huber(p[i : i + 1], y[i : i + 1]))
    more = [line for line in said if line.startswith("… and")]
    assert len(more) == (rows > 8) and all(f"and {rows - 8} row" in line for line in more)
    assert_printed(said[-1].rsplit(" = ", 1)[1], oracles.huber(p, y))
    assert text.split("\n")[0].endswith(f"on {rows} rows")


# --- what has no words


def updates_of(text):
    """The arrays of the last link's updates, by place."""
    found = {}
    for entry in stages(text)[2][3]:
        if entry.is_array and entry.text.startswith("Δ"):
            found[entry.text[1:]] = entry.array
    return found


@pytest.mark.parametrize(
    "optimizer",
    [optax.adam(0.1), optax.sgd(0.1, momentum=0.9), fnn.chain(fnn.clip_by_global_norm(0.1), optax.adam(0.1))],
    ids=["adam", "sgd", "chain"],
)
def test_a_rule_of_another_library_says_that_its_formula_is_not_written(optimizer):
    y = np.asarray(QUANTITIES, np.float32)
    text = explained(NETWORK, fnn.mse, optimizer, PARAMS, X, y)
    assert text.count("its formula is not written here; its updates:") == 1
    learns = fnn.backprop(NETWORK, fnn.mse, PARAMS, X, y).grads
    updates, _ = optimizer.update(learns, optimizer.init(PARAMS), PARAMS)
    for place, update in leaves_by_place(updates).items():
        assert_printed(updates_of(text)[place], update)


def test_a_rule_that_needs_the_cost_is_given_it_as_in_training():
    optimizer, y = optax.lbfgs(), np.asarray(QUANTITIES, np.float32)
    text = explained(NETWORK, fnn.mse, optimizer, PARAMS, X, y)
    state, _ = stepped(NETWORK, fnn.mse, optimizer, PARAMS, X, y)
    for entry in stages(text)[2][4][:-1]:
        np.testing.assert_allclose(
            numbers_of(entry.array), leaves_by_place(state.params)[entry.text], rtol=1e-3, atol=1e-4
        )


def fourth_power(predictions, targets):
    return ((predictions - targets) ** 4).mean()


UNWRITTEN = {
    "a user's": (fourth_power, QUANTITIES, "fourth_power"),
    "a lambda": (lambda p, y: fnn.mse(p, y), QUANTITIES, "<lambda>"),
    "with class weights": (
        partial(fnn.softmax_cross_entropy, class_weight=np.array([1.0, 3.0], np.float32)),
        [0, 1, 1],
        "softmax_cross_entropy",
    ),
}


@pytest.mark.parametrize(("cost", "y", "name"), UNWRITTEN.values(), ids=UNWRITTEN)
def test_a_cost_without_words_says_so(cost, y, name):
    y = np.asarray(y, np.float32 if isinstance(y[0], list) else np.int32)
    text = explained(NETWORK, cost, fnn.adam(), PARAMS, X, y)
    said = [entry.text for entry in stages(text)[2][1] if not entry.is_array]
    (line,) = [line for line in said if line.startswith("c = ")]
    assert line.startswith(f"c = {name}")
    value = re.search(rf"\(ŷ, y\) = (−?{NUMBER})", line)[1]
    assert_printed(value, fnn.loss(NETWORK, cost)(PARAMS, X, y))
    assert any("not written here" in line for line in said)


# --- what the words say is so


def test_the_derivative_of_what_is_not_entry_by_entry_is_not_called_a_product_of_entries():
    network = fnn.serial(dense(3), jax.nn.softmax, lambda a: a[..., ::-1], dense(2))
    text = explained(
        network, fnn.mse, fnn.adam(), parameters(network, X), X, np.asarray(QUANTITIES, np.float32)
    )
    assert "tanh′(z)" in explained(
        NETWORK, fnn.mse, fnn.adam(), PARAMS, X, np.asarray(QUANTITIES, np.float32)
    )
    assert "⊙ softmax′(z)" not in text and "⊙ <lambda>′(z)" not in text


def test_a_derivative_that_jax_takes_is_not_passed_off_as_done_by_hand():
    network = fnn.serial(dense(3), lambda z: z**2, fnn.freeze(dense(2)))
    params, y = parameters(network, X), np.asarray(QUANTITIES, np.float32)
    found = fnn.backprop(network, fourth_power, params, X, y)
    assert found.automatic == ("layer 1, <lambda>", "layer 2, freeze", "cost")
    backward = explained(network, fourth_power, fnn.adam(), params, X, y).split("3. ")[1].split("4. ")[0]
    assert "jax" in backward.lower() or "automatic" in backward.lower()


def test_what_is_spared_is_called_by_its_own_name():
    def init(key, x):
        return {"scale": jnp.ones(x.shape[-1])}

    stretch = fnn.layer(init, lambda params, x: params["scale"] * x, name="stretch")
    optimizer = fnn.chain(fnn.weight_decay(0.1), fnn.gradient_descent())
    text = explained(stretch, fnn.mse, optimizer, {"scale": jnp.array([1.0, 2.0, 3.0])}, X, np.zeros_like(X))
    assert "for what is named scale is spared" in text and "named bias" not in text


def test_a_residual_network_alone_shows_that_its_input_is_added():
    network = fnn.residual(dense(3), jnp.tanh)
    params, y = parameters(network, X), np.zeros_like(X)
    text = explained(network, fnn.mse, fnn.adam(), params, X, y)
    assert all("residual" in part for part in re.split(r"\n\d\. ", text)[1:4:2])
    wanted = {
        "forward": network.forward(params, X),
        "backward": jax.grad(lambda x: fnn.mse(network.forward(params, x), y))(X),
    }
    for stage, value in zip((0, 2), wanted.values(), strict=True):
        arrays = [entry.array for entry in stages(text)[2][stage] if entry.is_array]
        close = [
            a.shape == value.shape and np.allclose(numbers_of(a), value, rtol=1e-4, atol=1e-5) for a in arrays
        ]
        assert any(close), "the sum of both ways is not shown"


def test_a_learning_rate_of_zero_moves_nothing_and_prints_numbers():
    y = np.asarray(QUANTITIES, np.float32)
    for rule in (fnn.adadelta(0.0), fnn.adam(0.0), fnn.gradient_descent(0.0)):
        text = explained(NETWORK, fnn.mse, rule, PARAMS, X, y)
        assert "nan" not in text and "inf" not in text
        was, now = re.search(r"the cost was (\S+), and is now (\S+)", text).groups()
        assert was == now


def test_a_rule_bound_without_options_is_read_as_the_rule_itself():
    y = np.asarray(QUANTITIES, np.float32)
    for cost in (fnn.rmse, fnn.mse, fnn.softmax_cross_entropy):
        y = np.array([0, 1, 1]) if cost is fnn.softmax_cross_entropy else y
        plain, bound = (
            [
                e.text.rsplit("(ŷ", 1)[-1]
                for e in stages(explained(NETWORK, c, fnn.adam(), PARAMS, X, y))[2][1]
            ]
            for c in (cost, jax.tree_util.Partial(cost))
        )
        assert plain == bound


# --- any network, any data


def test_a_network_that_learns_nothing_is_explained():
    for network in (fnn.serial(jnp.tanh), fnn.freeze(dense(3))):
        params = parameters(network, X)
        text = explained(network, fnn.mse, fnn.adam(), params, X, np.ones_like(X))
        was, now = re.search(r"the cost was (\S+), and is now (\S+)", text).groups()
        assert was == now
        assert_printed(was, fnn.loss(network, fnn.mse)(params, X, np.ones_like(X)))


def test_sequences_are_explained_under_every_cost():
    x = np.stack([X, 2 * X])
    for cost, y in COSTS.values():
        y = np.asarray([y, y], np.float32 if isinstance(y[0], list) else np.int32)
        text = explained(NETWORK, cost, fnn.adam(), PARAMS, x, y)
        said = [entry.text for entry in stages(text)[2][1] if not entry.is_array]
        assert_printed(said[-1].rsplit(" = ", 1)[1], fnn.loss(NETWORK, cost)(PARAMS, x, y))
        for line in said:
            if line.startswith("row"):
                assert_meets(
                    value_of(line.split(":  ")[1].rsplit(" = ", 1)[0]), line.rsplit(" = ", 1)[1], line
                )


def test_predictions_without_an_axis_of_outputs_are_explained():
    network = fnn.serial(dense(1), lambda z: z[..., 0])
    for cost in (fnn.mse, fnn.rmse, fnn.mae, fnn.huber, fnn.binary_cross_entropy):
        text = explained(
            network, cost, fnn.adam(), parameters(network, X), X, np.array([0.0, 1.0, 1.0], "float32")
        )
        said = [entry.text for entry in stages(text)[2][1] if not entry.is_array]
        assert len(said) == 4
        for line in said[:-1]:
            assert_meets(value_of(line.split(":  ")[1].rsplit(" = ", 1)[0]), line.rsplit(" = ", 1)[1], line)


def test_a_network_that_takes_ids_is_explained():
    network = fnn.serial(lambda ids: jax.nn.one_hot(ids, 3), dense(2))
    x = np.array([2, 0, 1])
    text = explained(
        network,
        fnn.mse,
        fnn.adam(),
        parameters(network, jnp.asarray(x)),
        x,
        np.asarray(QUANTITIES, np.float32),
    )
    assert stages(text)[2][0][0].array.tolist() == ["2", "0", "1"]


def test_tiny_numbers_stay_apart(x64):
    with x64():
        x = np.full((1, 2), -1e-101)
        text = explained(
            fnn.serial(jnp.tanh, dense(2)),
            fnn.mse,
            fnn.adam(),
            ((), {"weight": jnp.eye(2), "bias": jnp.zeros(2)}),
            -x * -1.23456,
            np.zeros((1, 2)),
        )
        assert stages(text)[2][0][0].array.tolist() == [["−1.23456e−101"] * 2]


def test_statistics_are_left_where_they_are():
    network = fnn.serial(dense(3), CENTRE, dense(2))
    params = parameters(network, X)
    text = explained(network, fnn.mse, fnn.adam(), params, X, np.asarray(QUANTITIES, np.float32))
    names = [entry.text for entry in stages(text)[2][4] if entry.is_array]
    assert names == ["[0]['bias']", "[0]['weight']", "[1]['offset']", "[2]['bias']", "[2]['weight']"]


# --- errors


def test_what_training_refuses_is_refused_in_the_same_words():
    y = np.asarray(QUANTITIES, np.float32)
    cases = [
        (PARAMS, X[:, :2], y, r"^layer 0, dense\(3\): dense expected 3 features"),
        (PARAMS[:2], X, y, "^expected the parameters of 3 layers"),
        (PARAMS, X, y[:, :1], "mse compares like with like"),
        (PARAMS, X, y[:2], "expected the same number of rows everywhere, got: x has 3, y has 2"),
        (PARAMS, [["a", "b", "c"]] * 3, y, "x expected numbers, got"),
        (PARAMS, [[1.0, 2.0, 3.0], [1.0]], y, "x expected rows of equal length"),
        (PARAMS, X[:0], y[:0], "expected at least one row"),
    ]
    for params, x, targets, message in cases:
        with pytest.raises((ValueError, TypeError), match=message):
            fnn.explain(NETWORK, fnn.mse, fnn.adam(), params, x, targets)


MISTAKES = {  # what is changed, pieces of the message
    "network and cost swapped": ({"network": fnn.mse, "cost": NETWORK}, ("explain: network expected a layer", "swapped?")),
    "cost and optimizer swapped": ({"cost": fnn.adam(), "optimizer": fnn.mse}, ("explain: cost expected", "swapped?")),
    "a cost by name": ({"cost": "mse"}, ("explain: cost expected a function", "got 'mse'", "fnn.mse")),
    "a rule not called": ({"optimizer": fnn.adam}, ("explain: optimizer expected", "Call it: adam(…)")),
    "a network for parameters": ({"params": NETWORK}, ("explain: params expected a tree of arrays", "network.init(")),
    "whole numbers for parameters": (
        {"params": jax.tree.map(lambda p: np.asarray(p, np.int32), PARAMS)}, ("explain: params[", "int32", "no slope")),
    "a gap": ({"x": np.where(np.eye(3) > 0, np.nan, X)}, ("x expected finite numbers", "got nan in row 0, column 0")),
    "an id beyond the classes": (
        {"cost": fnn.softmax_cross_entropy, "y": np.array([0, 99, 1])}, ("y expected class ids", "got 99 in row 1")),
}  # fmt: skip


@pytest.mark.parametrize(("changed", "pieces"), MISTAKES.values(), ids=MISTAKES)
def test_what_is_not_what_its_name_says_is_refused(changed, pieces):
    given = {"network": NETWORK, "cost": fnn.mse, "optimizer": fnn.adam(), "params": PARAMS, "x": X}
    with refused(*pieces):
        fnn.explain(**(given | {"y": np.asarray(QUANTITIES, np.float32)} | changed))
