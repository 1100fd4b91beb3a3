"""Oracles: every formula of fnn once more, in plain NumPy float64, written from its source.

Optimizers act on one flat array, `(g, theta, memory, t, **numbers) -> (new theta, new memory)`,
with t = 1 at the first step and `start` giving the memory before it. Costs and metrics walk over
their entries in explicit loops.
"""

import re

import numpy as np

MOMENTS = {
    "gradient_descent": (),
    "momentum": ("velocity",),
    "nesterov": ("velocity",),
    "adagrad": ("total",),
    "rmsprop": ("mean_square",),
    "adadelta": ("mean_square", "mean_square_update"),
    "adam": ("m", "v"),
    "adamw": ("m", "v"),
    "adamax": ("m", "u"),
    "nadam": ("m", "v"),
    "amsgrad": ("m", "v", "v_max"),
    "radam": ("m", "v"),
    "lion": ("m",),
    "muon": ("m", "v"),
}


def start(name, theta, **numbers):
    """Memory before the first step: zeros; Adagrad's total starts at `initial`."""
    has_velocity = name == "rmsprop" and {"momentum", "centered"} & set(numbers)
    moments = ("mean", "variance", "velocity") if has_velocity else MOMENTS[name]
    return {moment: np.full(theta.shape, numbers.get("initial", 0.0)) for moment in moments}


# An asymmetric objective of eight parameters: badly scaled, tilted, not quadratic. The gradient of
# the third is exactly zero always, of the sixth in every other step, of the last where it is < 0.
CURVATURE = np.array([1e-3, 0.05, 0.0, 0.7, 3.0, 10.0, 40.0, 2.0])
CENTRE = np.array([3.0, -2.0, 0.5, 0.25, -1.0, 1.5, -0.125, 0.0])
TILT = np.array([0.01, -0.2, 0.0, 0.3, 0.5, -1.0, 2.0, 0.0])
ALTERNATING, RECTIFIED = np.eye(8)[5], np.eye(8)[7]
DECAYED = np.array([1, 1, 1, 1, 1, 1, 0, 0])  # the weights; the last two are biases
START = np.array([0.5, -0.25, 1.0, 2.0, -1.5, 0.75, 0.375, 0.5])


def slope(theta, t):
    """Gradient of the objective at theta (…, 8) in step t, for NumPy and JAX alike."""
    constants = CURVATURE, CENTRE, TILT, ALTERNATING, RECTIFIED
    curvature, centre, tilt, alternating, rectified = (c.astype(theta.dtype) for c in constants)
    smooth = curvature * (theta - centre + 0.1 * (theta - centre) ** 3) + tilt
    gate = (1 - alternating * (t % 2)) * (1 - rectified * (theta < 0))
    return (smooth * gate).astype(theta.dtype)


def walk(rule, name, numbers, steps):
    """Gradients, parameters before each step and after the last, memories, each stacked by step."""
    theta, memory = START, start(name, START, **numbers)
    gradients, path, memories = [], [theta], [memory]
    for t in range(1, steps + 1):
        gradients.append(slope(theta, t))
        theta, memory = rule(gradients[-1], theta, memory, t, **numbers)
        path.append(theta)
        memories.append(memory)
    stacked = {key: np.stack([memory[key] for memory in memories]) for key in memory}
    return np.stack(gradients), np.stack(path), stacked


def says(*parts):
    """A pattern for messages in which all of the parts stand, in any order."""
    return "(?s)" + "".join(f"(?=.*{re.escape(part)})" for part in parts)


def gradient_descent(g, theta, memory, t, learning_rate=0.01):
    """Cauchy (1847), Robbins and Monro (1951)."""
    return theta - learning_rate * g, memory


def momentum(g, theta, memory, t, learning_rate=0.01, momentum=0.9):
    """Polyak (1964); Sutskever et al. (2013), eq. 1 and 2, with the rate outside v."""
    v = momentum * memory["velocity"] + g
    return theta - learning_rate * v, {"velocity": v}


def nesterov(g, theta, memory, t, learning_rate=0.01, momentum=0.9):
    """Nesterov (1983) in the look-ahead variables of Bengio et al. (2013), section 3.5."""
    v = momentum * memory["velocity"] + g
    return theta - learning_rate * (g + momentum * v), {"velocity": v}


def adagrad(g, theta, memory, t, learning_rate=0.01, eps=1e-10, eps_root=0.0, initial=0.0):
    """Duchi, Hazan and Singer (2011), fig. 1, diagonal form."""
    total = memory["total"] + g**2
    return theta - learning_rate * g / (np.sqrt(total + eps_root) + eps), {"total": total}


def rmsprop(
    g, theta, memory, t, learning_rate=0.001, decay=0.9, eps=1e-8, eps_root=0.0, momentum=None, centered=False
):
    """Tieleman and Hinton (2012), lecture 6.5, slide 29; Graves (2013), eq. 38 to 41, without his α in v."""
    if momentum is None and not centered:
        s = decay * memory["mean_square"] + (1 - decay) * g**2
        return theta - learning_rate * g / (np.sqrt(s + eps_root) + eps), {"mean_square": s}
    s = decay * (memory["variance"] + centered * memory["mean"] ** 2) + (1 - decay) * g**2
    mean = decay * memory["mean"] + (1 - decay) * g
    variance = s - centered * mean**2
    v = (momentum or 0.0) * memory["velocity"] + g / (np.sqrt(variance + eps_root) + eps)
    return theta - learning_rate * v, {"mean": mean, "variance": variance, "velocity": v}


def muon(
    g, theta, memory, t, learning_rate=0.001, momentum=0.95, weight_decay=0.1, b1=0.9, b2=0.999, eps=1e-8
):
    """Of arrays that are no matrices: AdamW. Of a matrix: muon_of_a_matrix."""
    return adamw(g, theta, memory, t, learning_rate, b1, b2, eps, 0.0, weight_decay)


def muon_of_a_matrix(g, theta, m, learning_rate, momentum, weight_decay, scale):
    """Jordan et al. (2024), with the scale and the decay of Liu et al. (2025), eq. 4."""
    m = momentum * m + g
    x = g + momentum * m
    x = x / np.linalg.norm(x)
    for _ in range(5):
        x = 3.4445 * x - 4.775 * (x @ x.T) @ x + 2.0315 * (x @ x.T) @ (x @ x.T) @ x
    return theta - learning_rate * (scale * x + weight_decay * theta), m


def adadelta(g, theta, memory, t, learning_rate=1.0, decay=0.95, eps=1e-6):
    """Zeiler (2012), algorithm 1; the rate multiplies the step, not what is remembered of it."""
    s = decay * memory["mean_square"] + (1 - decay) * g**2
    step = -np.sqrt(memory["mean_square_update"] + eps) / np.sqrt(s + eps) * g
    d = decay * memory["mean_square_update"] + (1 - decay) * step**2
    return theta + learning_rate * step, {"mean_square": s, "mean_square_update": d}


def adam(g, theta, memory, t, learning_rate=0.001, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0):
    """Kingma and Ba (2015), algorithm 1."""
    m = b1 * memory["m"] + (1 - b1) * g
    v = b2 * memory["v"] + (1 - b2) * g**2
    m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)
    return theta - learning_rate * m_hat / (np.sqrt(v_hat + eps_root) + eps), {"m": m, "v": v}


def adamw(
    g, theta, memory, t, learning_rate=0.001, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, weight_decay=0.01
):
    """Loshchilov and Hutter (2019), algorithm 2, with the rate as the schedule multiplier; no decay of biases."""
    moved, after = adam(g, 0 * theta, memory, t, learning_rate, b1, b2, eps, eps_root)
    return theta * (1 - learning_rate * weight_decay * DECAYED) + moved, after


def adamax(g, theta, memory, t, learning_rate=0.002, b1=0.9, b2=0.999, eps=1e-8):
    """Kingma and Ba (2015), algorithm 2, with ε beside |g|."""
    m = b1 * memory["m"] + (1 - b1) * g
    u = np.maximum(b2 * memory["u"], abs(g) + eps)
    return theta - learning_rate / (1 - b1**t) * m / u, {"m": m, "u": u}


def nadam(g, theta, memory, t, learning_rate=0.002, b1=0.9, b2=0.999, eps=1e-8):
    """Dozat (2016), algorithm 2, with one momentum for all steps."""
    m = b1 * memory["m"] + (1 - b1) * g
    v = b2 * memory["v"] + (1 - b2) * g**2
    g_hat, m_hat, v_hat = g / (1 - b1**t), m / (1 - b1 ** (t + 1)), v / (1 - b2**t)
    return theta - learning_rate * (b1 * m_hat + (1 - b1) * g_hat) / (np.sqrt(v_hat) + eps), {"m": m, "v": v}


def amsgrad(g, theta, memory, t, learning_rate=0.001, b1=0.9, b2=0.999, eps=1e-8):
    """Reddi et al. (2018), algorithm 2, with the corrections of Adam."""
    m = b1 * memory["m"] + (1 - b1) * g
    v = b2 * memory["v"] + (1 - b2) * g**2
    largest = np.maximum(memory["v_max"], v)
    divisor = np.sqrt(largest / (1 - b2**t)) + eps
    return theta - learning_rate * m / (1 - b1**t) / divisor, {"m": m, "v": v, "v_max": largest}


def radam(g, theta, memory, t, learning_rate=0.001, b1=0.9, b2=0.999, eps=1e-8):
    """Liu et al. (2020), algorithm 2, rectified from a length of 5 on."""
    m = b1 * memory["m"] + (1 - b1) * g
    v = b2 * memory["v"] + (1 - b2) * g**2
    m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)
    most = 2 / (1 - b2) - 1
    length = most - 2 * t * b2**t / (1 - b2**t)
    if length <= 5:
        return theta - learning_rate * m_hat, {"m": m, "v": v}
    r = np.sqrt((length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length))
    return theta - learning_rate * r * m_hat / (np.sqrt(v_hat) + eps), {"m": m, "v": v}


def lion(g, theta, memory, t, learning_rate=1e-4, b1=0.9, b2=0.99, weight_decay=0.0):
    """Chen et al. (2023), program 1; no decay of biases."""
    moved = -learning_rate * np.sign(b1 * memory["m"] + (1 - b1) * g)
    after = {"m": b2 * memory["m"] + (1 - b2) * g}
    return theta * (1 - learning_rate * weight_decay * DECAYED) + moved, after


def corrected_rmsprop(g, theta, memory, t, learning_rate=0.001, decay=0.999, eps=1e-8):
    """RMSProp with the bias correction of Kingma and Ba (2015), section 3."""
    s = decay * memory["mean_square"] + (1 - decay) * g**2
    return theta - learning_rate * g / (np.sqrt(s / (1 - decay**t)) + eps), {"mean_square": s}


def clip_by_global_norm(g, max_norm):
    """Pascanu, Mikolov and Bengio (2013), algorithm 1; g holds all leaves, flat."""
    norm = np.sqrt(sum(float(entry) ** 2 for entry in g))
    return g if norm <= max_norm else g * (max_norm / norm)


def weight_decay(g, theta, rate, decayed=True):
    """Krogh and Hertz (1992): g + λθ, where `decayed` (true or a mask) says so."""
    return g + rate * theta * decayed


def weighted_mean(losses, sample_weight=None):
    """Σ wℓ / Σ w over all entries, w read by the leading axes; 0 where there is no weight."""
    losses, total, weight = np.asarray(losses, np.float64), 0.0, 0.0
    for index in np.ndindex(losses.shape):
        w = 1.0 if sample_weight is None else float(sample_weight[index[: np.ndim(sample_weight)]])
        total, weight = total + w * losses[index], weight + w
    return total / weight if weight else 0.0


def _each(loss, predictions, targets):
    """The array of loss(prediction, target), entry by entry."""
    predictions, targets = np.asarray(predictions, np.float64), np.asarray(targets, np.float64)
    assert predictions.shape == targets.shape
    losses = np.empty(predictions.shape)
    for index in np.ndindex(predictions.shape):
        losses[index] = loss(predictions[index], targets[index])
    return losses


def mse(predictions, targets, sample_weight=None):
    """Legendre (1805); Bishop (2006), eq. 1.2, as a mean and not halved."""
    return weighted_mean(_each(lambda p, y: (p - y) ** 2, predictions, targets), sample_weight)


def rmse(predictions, targets, sample_weight=None):
    """Bishop (2006), eq. 1.3, as a mean: √mse."""
    return np.sqrt(mse(predictions, targets, sample_weight))


def mae(predictions, targets, sample_weight=None):
    """Boscovich (1757), Laplace (1793): least absolute deviations, as a mean."""
    return weighted_mean(_each(lambda p, y: abs(p - y), predictions, targets), sample_weight)


def huber(predictions, targets, sample_weight=None, delta=1.0):
    """Huber (1964): ρ(e) = e²/2 near zero, δ(|e| − δ/2) far from it."""

    def loss(prediction, target):
        error = abs(prediction - target)
        return error**2 / 2 if error <= delta else delta * (error - delta / 2)

    return weighted_mean(_each(loss, predictions, targets), sample_weight)


def binary_cross_entropy(logits, targets, sample_weight=None, label_smoothing=0.0, positive_weight=1.0):
    """Bishop (2006), eq. 4.90, y = σ(z); smoothing: Szegedy et al. (2016), section 7, K = 2."""

    def loss(z, y):
        y = (1 - label_smoothing) * y + label_smoothing / 2
        return positive_weight * y * np.logaddexp(0, -z) + (1 - y) * np.logaddexp(0, z)

    return weighted_mean(_each(loss, logits, targets), sample_weight)


def one_hot(targets, classes):
    """Ids (…) as one-hot rows (…, classes); Bishop (2006), eq. 4.1."""
    return np.eye(classes)[np.asarray(targets)]


def softmax_cross_entropy(logits, targets, sample_weight=None, label_smoothing=0.0, class_weight=None):
    """Bishop (2006), eq. 4.108; smoothing: Szegedy et al. (2016), section 7."""
    logits = np.asarray(logits, np.float64)
    classes = logits.shape[-1]
    rows = np.asarray(targets, np.float64) if np.shape(targets) == logits.shape else one_hot(targets, classes)
    losses, weights = np.empty(logits.shape[:-1]), np.empty(logits.shape[:-1])
    for index in np.ndindex(losses.shape):
        z, y = logits[index], rows[index]
        log_p = z - z.max() - np.log(sum(np.exp(z - z.max())))
        smooth = (1 - label_smoothing) * y + label_smoothing / classes
        losses[index] = -sum(smooth[k] * log_p[k] for k in range(classes))
        weights[index] = 1.0 if sample_weight is None else sample_weight[index[: np.ndim(sample_weight)]]
        weights[index] *= 1.0 if class_weight is None else sum(y[k] * class_weight[k] for k in range(classes))
    return weighted_mean(losses, weights)


def central_differences(function, x, h=1e-6):
    """∂f/∂xᵢ ≈ (f(x + heᵢ) − f(x − heᵢ)) / 2h; Nocedal and Wright (2006), section 8.1."""
    x = np.asarray(x, np.float64)
    slopes = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += h
        down[index] -= h
        slopes[index] = (function(up) - function(down)) / (2 * h)
    return slopes


def decide(predictions, targets):
    """True and predicted class, by largest logit, or logit > 0; Bishop (2006), section 1.5."""
    predictions, targets = np.asarray(predictions), np.asarray(targets)
    if targets.shape != predictions.shape:
        return targets.ravel(), predictions.argmax(-1).ravel()
    if predictions.ndim == 1 or predictions.shape[-1] == 1:
        return targets.astype(int).ravel(), (predictions > 0).astype(int).ravel()
    return targets.argmax(-1).ravel(), predictions.argmax(-1).ravel()


def accuracy(predictions, targets, sample_weight=None):
    """The weighted share of right decisions; Bishop (2006), eq. 1.78 counts the others."""
    true, predicted = decide(predictions, targets)
    weights = np.ones(true.shape) if sample_weight is None else np.ravel(sample_weight)
    right = sum(w for w, a, b in zip(weights, true, predicted, strict=True) if a == b)
    return right / sum(weights)


def binary_accuracy(predictions, targets, sample_weight=None):
    """One minus the Hamming loss, row by row; Schapire & Singer (2000)."""
    right = (np.asarray(predictions) > 0) == (np.asarray(targets) > 0.5)
    each = right.reshape(len(right), -1).mean(-1)
    return np.average(each, weights=sample_weight)


def exact_match(predictions, targets, sample_weight=None):
    """The share of rows without a wrong label, scikit-learn's subset accuracy."""
    right = [
        np.array_equal(z > 0, y > 0.5)
        for z, y in zip(np.asarray(predictions), np.asarray(targets), strict=True)
    ]
    return np.average(right, weights=sample_weight)


def confusion_matrix(predictions, targets, sample_weight=None):
    """Weight of the rows of true class i taken for class j; Stehman (1997)."""
    true, predicted = decide(predictions, targets)
    binary = np.shape(predictions) == np.shape(targets) and (
        np.ndim(targets) == 1 or np.shape(targets)[-1] == 1
    )
    classes = 2 if binary else np.shape(predictions)[-1]
    matrix = np.zeros((classes, classes))
    weights = np.ones(true.shape) if sample_weight is None else np.ravel(sample_weight)
    for w, i, j in zip(weights, true, predicted, strict=True):
        matrix[i, j] += w
    return matrix


def r2_score(predictions, targets, sample_weight=None):
    """Wright (1921): the mean over the outputs of 1 − Σw(y−ŷ)² / Σw(y−ȳ)²."""
    rows = len(targets)
    predictions, targets = np.reshape(predictions, (rows, -1)), np.reshape(targets, (rows, -1))
    weights = np.ones(rows) if sample_weight is None else sample_weight
    scores = []
    for p, y in zip(predictions.T, targets.T, strict=True):
        mean = sum(weights * y) / sum(weights)
        missed, spread = sum(weights * (y - p) ** 2), sum(weights * (y - mean) ** 2)
        scores.append(1 - missed / spread if spread else float(missed == 0))
    return float(np.mean(scores))


def mlp_forward(layers, x, hidden="tanh"):
    """[x, a₁, …, z_L] of layers [(W (in, out), b (out,)), …], the last linear; Nielsen, eq. 25."""
    activate = {"tanh": np.tanh, "relu": lambda z: np.where(z > 0, z, 0.0)}[hidden]
    activations = [np.asarray(x, np.float64)]
    for number, (weight, bias) in enumerate(layers, start=1):
        z = activations[-1] @ weight + bias
        activations.append(z if number == len(layers) else activate(z))
    return activations


def output_error(outputs, targets, cost):
    """Cost and ∂C/∂z_L: (softmax(z) − y)/n or 2(z − y)/(n·out); Bishop (2006), eq. 5.18."""
    if cost == "mse":
        return mse(outputs, targets), 2 * (outputs - targets) / outputs.size
    exponentials = np.exp(outputs - outputs.max(-1, keepdims=True))
    p = exponentials / exponentials.sum(-1, keepdims=True)
    delta = (p - one_hot(targets, outputs.shape[-1])) / len(outputs)
    return softmax_cross_entropy(outputs, targets), delta


def mlp_backward(layers, activations, delta, hidden="tanh"):
    """[(∂C/∂W, ∂C/∂b), …] and [δ₁, …, δ_L] from δ_L; Nielsen, BP2 to BP4."""
    grads, deltas = [], [delta]
    for number in range(len(layers) - 1, -1, -1):
        a = activations[number]
        grads.insert(0, (a.T @ deltas[0], deltas[0].sum(0)))
        if number > 0:
            slope = 1 - a**2 if hidden == "tanh" else (a > 0).astype(np.float64)
            deltas.insert(0, (deltas[0] @ layers[number][0].T) * slope)
    return grads, deltas


def mlp(layers, x, targets, hidden="tanh", cost="softmax_cross_entropy"):
    """Cost, gradients, activations and deltas of a perceptron; Bishop (2006), section 5.3."""
    activations = mlp_forward(layers, x, hidden)
    value, delta = output_error(activations[-1], targets, cost)
    grads, deltas = mlp_backward(layers, activations, delta, hidden)
    return value, grads, activations, deltas


def normalise(numbers, eps):
    """(x − mean) / √(variance + eps) of a list of numbers; Ioffe & Szegedy (2015), algorithm 1."""
    mean = sum(numbers) / len(numbers)
    variance = sum((x - mean) ** 2 for x in numbers) / len(numbers)
    return [(x - mean) / (variance + eps) ** 0.5 for x in numbers]


def batch_norm(x, scale, offset, eps):
    """Each column of x (…, features) over all rows; Ioffe & Szegedy (2015), algorithm 1."""
    columns = np.asarray(x, np.float64).reshape(-1, len(scale)).T
    y = [scale[i] * np.array(normalise(list(column), eps)) + offset[i] for i, column in enumerate(columns)]
    return np.array(y).T.reshape(np.shape(x))


def layer_norm(x, scale, offset, eps):
    """Each row of x (…, features) by itself; Ba, Kiros and Hinton (2016), eq. 4."""
    rows = np.asarray(x, np.float64).reshape(-1, len(scale))
    return np.array([scale * normalise(list(row), eps) + offset for row in rows]).reshape(np.shape(x))


def rms_norm(x, scale, eps):
    """Each row of x (…, features) by its root mean square; Zhang and Sennrich (2019), eq. 4."""
    rows = np.asarray(x, np.float64).reshape(-1, len(scale))
    root = [(sum(number**2 for number in row) / len(row) + eps) ** 0.5 for row in rows]
    return np.array([scale * row / r for row, r in zip(rows, root, strict=True)]).reshape(np.shape(x))


def group_norm(x, scale, offset, groups, eps):
    """Each group of channels of an image (n, height, width, channels); Wu and He (2018), eq. 3, 4 and 7."""
    y, size = np.array(x, np.float64), len(scale) // groups
    for image in y:
        for group in range(groups):
            channels = slice(group * size, (group + 1) * size)
            part = image[..., channels]
            part[...] = np.reshape(normalise(list(part.ravel()), eps), part.shape)
    return scale * y + offset


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def rnn(own, steps):
    """h of each step of one sequence (T, in); Elman (1990)."""
    h, found = np.zeros(len(own["recurrent"]["weight"])), []
    for x in steps:
        h = np.tanh(x @ own["input"]["weight"] + own["input"]["bias"] + h @ own["recurrent"]["weight"])
        found.append(h)
    return np.array(found).reshape(len(steps), -1)


def gru(own, steps):
    """h of each step of one sequence (T, in); Cho et al. (2014), reset after the product; PyTorch's nn.GRU."""
    h, found = np.zeros(len(own["recurrent"]["weight"])), []
    w_r, w_z, w_n = np.split(own["input"]["weight"], 3, 1)
    u_r, u_z, u_n = np.split(own["recurrent"]["weight"], 3, 1)
    b_r, b_z, b_n = np.split(own["input"]["bias"], 3)
    for x in steps:
        r, z = sigmoid(x @ w_r + b_r + h @ u_r), sigmoid(x @ w_z + b_z + h @ u_z)
        n = np.tanh(x @ w_n + b_n + r * (h @ u_n + own["recurrent"]["bias"]))
        h = (1 - z) * n + z * h
        found.append(h)
    return np.array(found).reshape(len(steps), -1)


def lstm(own, steps):
    """h of each step of one sequence (T, in); Gers, Schmidhuber and Cummins (2000); PyTorch's nn.LSTM."""
    h = c = np.zeros(len(own["recurrent"]["weight"]))
    w, u, b, found = (
        np.split(own["input"]["weight"], 4, 1), np.split(own["recurrent"]["weight"], 4, 1),
        np.split(own["input"]["bias"], 4), [],
    )  # fmt: skip
    for x in steps:
        i, f, g, o = (x @ w[k] + b[k] + h @ u[k] for k in range(4))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        found.append(h)
    return np.array(found).reshape(len(steps), -1)


def attention(own, x, context, allowed, heads, rotary=None):
    """Vaswani et al. (2017), eq. 1 and section 3.2.2, query by query; rotated as Su et al. (2021), eq. 34."""

    def affine(name, rows):
        return rows @ own[name]["weight"] + own[name]["bias"]

    def turned(row, place):
        pairs = len(row) // 2
        if rotary is None:
            return row
        new = np.empty_like(row)
        for i in range(pairs):  # the first half with the second
            angle = place * rotary ** (-2 * i / len(row))
            new[i] = row[i] * np.cos(angle) - row[i + pairs] * np.sin(angle)
            new[i + pairs] = row[i] * np.sin(angle) + row[i + pairs] * np.cos(angle)
        return new

    q, k, v = affine("query", x), affine("key", context), affine("value", context)
    d, taken = q.shape[1] // heads, np.zeros(q.shape)
    for t in range(len(x)):
        for head in range(heads):
            own_columns = slice(head * d, (head + 1) * d)
            query = turned(q[t, own_columns], t)
            shares = {}
            for s in range(len(context)):
                if allowed[t, s]:
                    shares[s] = np.exp(query @ turned(k[s, own_columns], s) / np.sqrt(d))
            for s, share in shares.items():
                taken[t, own_columns] += share / sum(shares.values()) * v[s, own_columns]
    return affine("output", taken)


def conv_transpose(x, weight, bias, stride, dilation, padding, groups):
    """Each place adds its product with each place of the window, where `conv` would have read it."""
    window, features = weight.shape[:-2], weight.shape[-2] * groups
    places = x.shape[:-1]
    if padding == "SAME":
        larger = [n * s for n, s in zip(places, stride)]
        around = pads(larger, window, stride, dilation, "SAME")
    else:
        around = [(0, 0)] * len(places) if padding == "VALID" else padding
        larger = [
            (n - 1) * s + d * (k - 1) + 1 - sum(pair)
            for n, s, d, k, pair in zip(places, stride, dilation, window, around)
        ]
    y = np.zeros((*larger, features)) + bias
    seen = x.shape[-1] // groups
    for place in np.ndindex(*places):
        for tap in np.ndindex(*window):
            at = tuple(
                s * o + d * t - lo for s, o, d, t, (lo, _) in zip(stride, place, dilation, tap, around)
            )
            if all(0 <= i < n for i, n in zip(at, larger)):
                for g in range(groups):
                    mine = slice(g * weight.shape[-2], (g + 1) * weight.shape[-2])
                    y[(*at, mine)] += (
                        weight[tap][:, g * seen : (g + 1) * seen] @ x[place][g * seen : (g + 1) * seen]
                    )
    return y


def pads(places, window, stride, dilation, padding):
    """What is added before and after each axis; SAME as TensorFlow and lax have it, the odd one after."""
    if padding == "SAME":
        each = zip(places, window, stride, dilation, strict=True)
        totals = [max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0) for n, k, s, d in each]
        return [(total // 2, total - total // 2) for total in totals]
    return [(0, 0)] * len(places) if padding == "VALID" else list(padding)


def windows_of(x, window, stride, dilation, padding, value=0.0):
    """For every place out: the window's numbers (k…, channels), and which of them are no padding."""
    around = pads(x.shape[:-1], window, stride, dilation, padding)
    padded = np.pad(np.asarray(x, np.float64), [*around, (0, 0)], constant_values=value)
    real = np.pad(np.ones(x.shape), [*around, (0, 0)])
    counts = [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(padded.shape[:-1], window, stride, dilation, strict=True)
    ]
    for out in np.ndindex(*counts):
        places = tuple(
            slice(o * s, o * s + d * (k - 1) + 1, d)
            for o, s, d, k in zip(out, stride, dilation, window, strict=True)
        )
        yield out, padded[places], real[places]


def conv(x, weight, bias, stride, dilation, padding, groups):
    """One image (places…, in) by loops; LeCun et al. (1989), without flipping the window."""
    window, (inputs, features) = weight.shape[:-2], weight.shape[-2:]
    found = {}
    for out, seen, _ in windows_of(x, window, stride, dilation, padding):
        found[out] = y = np.array(bias, np.float64)
        for f in range(features):
            group = f // (features // groups)
            y[f] += (seen[..., group * inputs : (group + 1) * inputs] * weight[..., f]).sum()
    shape = tuple(n + 1 for n in max(found))
    return np.array([found[out] for out in np.ndindex(*shape)]).reshape(*shape, features)


def pool(x, window, stride, padding, kind):
    """The largest or the mean of each window of one image; padding never is the largest, nor counted."""
    value = -np.inf if kind == "max" else 0.0
    ones, found = (1,) * len(window), {}
    for out, seen, real in windows_of(x, window, stride, ones, padding, value):
        numbers, counts = seen.reshape(-1, x.shape[-1]), real.reshape(-1, x.shape[-1]).sum(0)
        found[out] = numbers.max(0) if kind == "max" else numbers.sum(0) / counts
    shape = tuple(n + 1 for n in max(found))
    return np.array([found[out] for out in np.ndindex(*shape)]).reshape(*shape, x.shape[-1])
