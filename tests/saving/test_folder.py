"""checkpoint=: the same call goes on where a run ended, however it ended, and no other call does."""

import gc
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
import zipfile

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import HELD, X, Y, bits, fit, listening, network, same_run, searching

import fnn
from fnn.saving.checkpoint import save

HERE = pathlib.Path(__file__).parent.parent


def kept(folder):
    return sorted(path.name for path in folder.iterdir())


def spoil(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


# The same call ------------------------------------------------------------------------------------


def test_a_run_in_a_folder_is_the_run_without_and_keeps_the_last_few(tmp_path):
    same_run(fit(7, checkpoint=tmp_path / "run", every=2), fit(7))
    assert kept(tmp_path / "run") == [f"epoch-0000000{epoch}.fnn" for epoch in (4, 6, 7)]


@pytest.mark.parametrize(("first", "every"), [(3, 2), (4, 1), (0, 5)])
def test_a_run_that_ended_early_goes_on_to_the_same_bits(tmp_path, first, every):
    begun = fit(first, checkpoint=tmp_path, every=every)
    assert int(begun.state.epoch) == first
    same_run(fit(7, checkpoint=tmp_path, every=every), fit(7))
    same_run(fit(7, checkpoint=tmp_path), fit(7))  # it is finished: nothing more is trained


def test_early_stopping_goes_on_as_if_nothing_had_been(tmp_path):
    rule = fnn.gradient_descent(0.0)  # nothing is learned: patience ends it after the first epoch's cost
    whole = fit(20, rule=rule, patience=4)
    assert whole.stopped == "patience"
    fit(3, rule=rule, patience=4, checkpoint=tmp_path)
    for _ in range(2):
        resumed = fit(20, rule=rule, patience=4, checkpoint=tmp_path)
        same_run(resumed, whole)
        assert resumed.stopped == "patience"


def test_a_state_that_is_given_is_where_the_folder_begins(tmp_path):
    begun = fit(2)
    fit(4, state=begun.state, checkpoint=tmp_path)
    resumed = fit(6, state=begun.state, checkpoint=tmp_path)
    chex.assert_trees_all_equal(bits(resumed.state), bits(fit(6).state))
    assert len(resumed.history["cost"]) == 4


def test_a_checkpoint_can_be_loaded_by_itself(tmp_path):
    fitted = fit(2, checkpoint=tmp_path)
    tree = fnn.load(tmp_path / "epoch-00000002.fnn")
    chex.assert_trees_all_equal(bits(tree["state"]), bits(fitted.state))
    chex.assert_trees_all_equal(tree["history"], fitted.history)
    assert tree["fingerprint"]["batch_size"] == "8"


# Another call -------------------------------------------------------------------------------------


def other_rows():
    x = X.copy()
    x[3, 1] += 1e-3
    return x


def small_fit(folder, epochs=3, **options):
    network = options.pop("network", fnn.serial(fnn.dense(4), jnp.tanh, fnn.dense(3)))
    cost, x, y = options.pop("cost", fnn.softmax_cross_entropy), options.pop("x", X), options.pop("y", Y)
    rule = options.pop("rule", fnn.adam(0.01))
    options = {"key": jax.random.key(0), "validation": HELD} | options
    return fnn.fit(network, cost, rule, x, y, epochs=epochs, checkpoint=folder, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    small_fit(folder)
    return folder


OTHERS = {
    "a network": (
        dict(network=fnn.serial(fnn.dense(5), jnp.tanh, fnn.dense(3))),
        r"network is serial\(dense\(4\), tanh, dense\(3\)\) #\w+ there, serial\(dense\(5\), tanh, dense\(3\)\)",
    ),
    "a function in it": (
        dict(network=fnn.serial(fnn.dense(4), jax.nn.relu, fnn.dense(3))), r"network is .*tanh.* there, .*relu",
    ),
    "an initializer in it": (
        dict(network=fnn.serial(fnn.dense(4, weight_init=jax.nn.initializers.lecun_normal()), jnp.tanh, fnn.dense(3))),
        r"network is serial\(dense\(4\).* #(\w+) there, serial\(dense\(4.* #(?!\1)\w+ here",
    ),
    "a rule": (dict(rule=fnn.momentum()), r"optimizer is adam_update #\w+ there, momentum_update #\w+ here"),
    "a learning rate": (dict(rule=fnn.adam(0.02)), r"call: learning_rate is 0.01 there, 0.02 here\. Repeat"),
    "a cost": (
        dict(cost=lambda p, t: fnn.softmax_cross_entropy(p, t)), r"cost is softmax\w+ #\w+ there, <lambda> #\w+ here",
    ),
    "a penalty": (
        dict(penalty=lambda params: jnp.sum(params[0]["weight"] ** 2)), r"penalty is absent there, <lambda> #\w+ here",
    ),
    "a key": (dict(key=jax.random.key(1)), r"key is key<fry> \(\) #(\w+) there, key<fry> \(\) #(?!\1)\w+ here"),
    "a batch size": (dict(batch_size=16), r"batch_size is 32 there, 16 here"),
    "a metric": (dict(metrics={"accuracy": fnn.accuracy}), r"metrics\['accuracy'\] is absent there, accuracy #"),
    "patience": (dict(patience=9), r"patience is absent there, 9 here"),
    "one number of x": (dict(x=other_rows()), r"call: x is float32 \(45, 4\) #(\w+) there, float32 \(45, 4\) #(?!\1)"),
    "other targets": (dict(y=Y[::-1].copy()), r"call: y is int\d+ \(45,\) #"),
    "weights": (dict(sample_weight=np.ones(45)), r"sample_weight is absent there, float32 \(45,\)"),
    "validation": (dict(validation=(X[:8], Y[:8])), r"validation\[0\] is float32 \(9, 4\) #\w+ there, float32 \(8, 4\)"),
    "fewer epochs": (dict(epochs=2), r"has made 3 epochs, more than epochs=2; with checkpoint=, epochs is the total"),
}  # fmt: skip


@pytest.mark.parametrize(("options", "message"), OTHERS.values(), ids=OTHERS)
def test_another_call_is_refused_with_what_differs_and_changes_nothing(finished, options, message):
    before = {path.name: path.read_bytes() for path in finished.iterdir()}
    with pytest.raises(ValueError, match=message):
        small_fit(finished, **options)
    assert {path.name: path.read_bytes() for path in finished.iterdir()} == before


def by_its_own_rate(rate):
    """A foreign rule, whose number stands in its memory only."""

    def init(params):
        jax.tree.map(jnp.zeros_like, params[0]["weight"])  # it looks into its parameters
        return {"rate": jnp.full((), rate)}

    return fnn.Optimizer(init, plain_update)


def plain_update(grads, state, params=None):
    return jax.tree.map(lambda g: -state["rate"] * g, grads), state


def test_what_a_rule_begins_with_tells_calls_apart(tmp_path):
    for name, one, other, what in (
        (
            "adagrad",
            fnn.adagrad(0.1, initial=0.0),
            fnn.adagrad(0.1, initial=5.0),
            r"optimizer\.moments\['\w+'\]\[0\]",
        ),
        ("own", by_its_own_rate(0.1), by_its_own_rate(0.2), r"optimizer\['rate'\] is 0\.1 there, 0\.2 here"),
    ):
        small_fit(tmp_path / name, rule=one, epochs=1)
        with pytest.raises(ValueError, match=what):
            small_fit(tmp_path / name, rule=other)
        same_run(small_fit(tmp_path / name, rule=one), small_fit(None, rule=one))


def test_numbers_of_python_and_numpy_in_a_state_go_on_and_are_resumed(tmp_path):
    rule = by_its_own_rate(0.013)
    begun = small_fit(None, rule=rule, epochs=2).state
    odd = begun._replace(epoch=2, params=jax.tree.map(lambda p: np.asarray(p, np.float64), begun.params))
    for _ in range(2):
        again = small_fit(tmp_path, rule=rule, key=None, state=odd)
    chex.assert_trees_all_equal(
        bits(again.state), bits(small_fit(None, rule=rule, key=None, state=begun, epochs=1).state)
    )


def test_a_run_of_weakly_typed_numbers_resumes_to_the_same_bits(tmp_path):
    rule = by_its_own_rate(jnp.asarray(0.013, jnp.bfloat16) * 1.0)
    half = lambda params: jax.tree.map(lambda p: p.astype(jnp.bfloat16), params)
    params = half(small_fit(None, epochs=0).params)
    small_fit(tmp_path, rule=rule, params=params, epochs=1)
    same_run(small_fit(tmp_path, rule=rule, params=params), small_fit(None, rule=rule, params=params))


def test_a_state_that_has_made_more_epochs_than_the_total_is_refused_at_once(tmp_path):
    state = small_fit(None).state
    with pytest.raises(
        ValueError, match=r"the state given has made 3 epochs, more than epochs=2; with checkpoint=,"
    ):
        small_fit(tmp_path / "run", key=None, state=state, epochs=2)
    assert kept(tmp_path) == []


def test_a_number_in_a_state_is_compared_in_its_own_type():
    state = small_fit(None).state
    numbers = {**state.optimizer.hyperparameters, "learning_rate": 0.02}
    moved = state._replace(optimizer=state.optimizer._replace(hyperparameters=numbers))
    small_fit(None, key=None, state=moved, rule=fnn.adam(0.02))
    with pytest.raises(ValueError, match=r"learning_rate is 0\.02 in the state, 0\.03 in the optimizer"):
        small_fit(None, key=None, state=moved, rule=fnn.adam(0.03))


# Damage -------------------------------------------------------------------------------------------


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before_and_says_so(tmp_path):
    whole = fit(5, checkpoint=tmp_path)
    spoil(tmp_path / "epoch-00000005.fnn")
    with pytest.warns(
        UserWarning, match=r"epoch-00000005.fnn' cannot be read .* damaged.* from epoch 4"
    ) as caught:
        same_run(fit(5, checkpoint=tmp_path), whole)
    assert [warning.filename for warning in caught] == [str(HERE / "runs.py")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same_run(fit(5, checkpoint=tmp_path), whole)  # it was written anew


def test_where_none_can_be_read_nothing_is_begun_anew(tmp_path):
    fit(2, checkpoint=tmp_path)
    for path in tmp_path.iterdir():
        spoil(path)
    before = kept(tmp_path)
    with pytest.raises(
        ValueError,
        match=r"no checkpoint in .* can be read: .*To start again from the beginning, move them away\.$",
    ):
        fit(2, checkpoint=tmp_path)
    assert kept(tmp_path) == before


def test_a_foreign_file_under_a_checkpoints_name_is_refused(tmp_path):
    save(tmp_path / "epoch-00000001.fnn", {"weight": jnp.ones(2)})
    with pytest.raises(ValueError, match=r"is no checkpoint of a run: give checkpoint= a folder of its own"):
        fit(2, checkpoint=tmp_path)


def test_what_a_killed_process_left_half_written_is_cleared_and_nothing_else(tmp_path):
    (tmp_path / ".epoch-00000004.fnn.0123456789abcdef.tmp").write_bytes(b"half")
    mine = [".epoch-mine.tmp", "epoch-000000007.fnn", "epoch-7.fnn", "notes.txt"]
    for name in mine:
        (tmp_path / name).write_text("mine")
    fit(1, checkpoint=tmp_path)
    assert kept(tmp_path) == sorted(["epoch-00000000.fnn", "epoch-00000001.fnn", *mine])


def test_a_newer_format_is_refused_and_let_alone(tmp_path, monkeypatch):
    fit(2, checkpoint=tmp_path)
    tree = fnn.load(tmp_path / "epoch-00000002.fnn")
    monkeypatch.setattr("fnn.saving.checkpoint.VERSION", 3)
    save(tmp_path / "epoch-00000002.fnn", tree)
    monkeypatch.undo()
    before = (tmp_path / "epoch-00000002.fnn").read_bytes()
    with pytest.raises(ValueError, match=r"its format is 3, not 2; update fnn"):
        fit(3, checkpoint=tmp_path)
    assert (tmp_path / "epoch-00000002.fnn").read_bytes() == before


def test_a_sector_that_cannot_be_read_is_damage_too(tmp_path, monkeypatch):
    whole, read, asked = fit(3, checkpoint=tmp_path), np.lib.format.read_array, []

    def bad_sector(*args, **options):
        asked.append(None)
        if len(asked) == 1:
            raise OSError(5, "Input/output error")
        return read(*args, **options)

    monkeypatch.setattr(np.lib.format, "read_array", bad_sector)
    with pytest.warns(
        UserWarning, match=r"epoch-00000003.fnn' cannot be read .*Input/output error.* from epoch 2"
    ):
        same_run(fit(3, checkpoint=tmp_path), whole)


def test_a_folder_under_a_checkpoints_name_does_not_end_the_run(tmp_path):
    (tmp_path / "epoch-00000002.fnn").mkdir()
    (tmp_path / "epoch-00000002.fnn" / "mine").write_text("mine")
    fit(1, checkpoint=tmp_path / "run")
    for path in (tmp_path / "run").iterdir():
        path.rename(tmp_path / path.name)
    with pytest.warns(
        UserWarning, match=r"(it is not a file.* from epoch 1|epoch 2 could not be written: .*no.* file)"
    ):
        fitted = fit(3, checkpoint=tmp_path)
    same_run(fitted, fit(3))
    assert (tmp_path / "epoch-00000002.fnn" / "mine").read_text() == "mine"


def test_the_folder_is_the_one_the_run_began_in_wherever_a_callback_goes(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "b")
    fit(2, seed=7, checkpoint="run")
    before = {path.name: path.read_bytes() for path in (tmp_path / "b" / "run").iterdir()}
    monkeypatch.chdir(tmp_path / "a")
    fit(5, checkpoint="run", on_epoch=lambda report: os.chdir(tmp_path / "b"))
    assert kept(tmp_path / "a" / "run")[-1] == "epoch-00000005.fnn"
    assert {path.name: path.read_bytes() for path in (tmp_path / "b" / "run").iterdir()} == before


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (dict(every=2), ValueError, r"every=2 needs checkpoint="),
        (dict(checkpoint=7), TypeError, r"checkpoint expected a folder's path, .*got 7"),
        (dict(checkpoint="", every=1), NotADirectoryError, r"checkpoint expected a folder, got ''"),
        (dict(checkpoint=__file__), NotADirectoryError, r"checkpoint expected a folder, got .*which is none"),
        (dict(checkpoint="run", every=0), ValueError, r"every expected a whole number, at least 1, got 0"),
        (
            dict(checkpoint="run", every=1.5),
            ValueError,
            r"every expected a whole number, at least 1, got 1.5",
        ),
    ],
)
def test_wrong_folders_are_refused(tmp_path, monkeypatch, options, error, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        fit(2, **options)
    assert kept(tmp_path) == []


# A disk that is full ------------------------------------------------------------------------------


def test_a_disk_that_fills_up_does_not_end_the_run(tmp_path, monkeypatch):
    fsync, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > 4:  # two checkpoints: each the file and its folder
            raise OSError(28, "No space left on device")
        return fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitted = fit(3, checkpoint=tmp_path)
    for warning, epoch in zip(caught, (2, 3), strict=True):
        said = (
            rf"fit: the checkpoint of epoch {epoch} could not be written: .*No space left .* The run goes on"
        )
        assert re.match(said, str(warning.message))
    same_run(fitted, fit(3))
    assert kept(tmp_path) == ["epoch-00000000.fnn", "epoch-00000001.fnn"]
    monkeypatch.undo()
    same_run(fit(3, checkpoint=tmp_path), fitted)


def test_a_folder_that_cannot_be_written_is_told_of_before_anything_is_trained(tmp_path, monkeypatch):
    def read_only(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("fnn.saving.archive.open", read_only, raising=False)
    with pytest.raises(PermissionError, match=r"Permission denied: .*epoch-00000000\.fnn") as caught:
        fit(3, checkpoint=tmp_path)
    assert int(caught.value.fitted.state.epoch) == 0
    assert kept(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="who may write is told by POSIX here")
def test_a_read_only_folder_is_told_of_and_the_begun_run_is_in_the_error():
    """Not as root, who may write everywhere."""
    text = """
import os, tempfile, fnn
fit(1)  # all is imported and compiled
folder = tempfile.mkdtemp()
os.chmod(folder, 0o555)
os.geteuid() or os.seteuid(65534)
try:
    fit(2, checkpoint=folder)
except OSError as error:
    print(type(error).__name__, int(error.fitted.state.epoch), os.path.basename(error.filename), os.listdir(folder))
"""
    said, _ = program(text).communicate(timeout=120)
    assert said == "PermissionError 0 epoch-00000000.fnn []\n"


def program(text, *arguments):
    head = f"import sys; sys.path.insert(0, {str(HERE)!r}); from runs import fit\n"
    return subprocess.Popen(
        [sys.executable, "-c", head + text, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_files_that_may_not_grow_are_told_of_and_the_run_is_returned(tmp_path):
    grown = """
import resource, signal, warnings
limit = lambda report: report.epoch == 2 and resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    fitted = fit(4, checkpoint=sys.argv[1], on_epoch=lambda report: limit(report) and False)
print(int(fitted.state.epoch), fitted.stopped, *[str(w.message)[:60] for w in caught], sep="; ")
"""
    said, _ = program(grown, tmp_path).communicate(timeout=120)
    assert said.split("; ")[:2] == ["4", "epochs"] and len(said.split("; ")) == 4
    assert [line.strip() for line in said.split("; ")[2:]] == [
        f"fit: the checkpoint of epoch {epoch} could not be written: [Errno 27] File too large"[:60].strip()
        for epoch in (3, 4)
    ]
    assert kept(tmp_path) == [f"epoch-0000000{epoch}.fnn" for epoch in (0, 1, 2)]
    same_run(fit(4, checkpoint=tmp_path), fit(4))


# Two at once --------------------------------------------------------------------------------------


def test_two_runs_in_one_folder_are_told_apart_and_in_two_do_not_disturb_each_other(tmp_path):
    inside, said = threading.Event(), []

    def first(report):
        inside.set()
        time.sleep(0.05)

    def one():
        said.append(fit(8, checkpoint=tmp_path / "a", on_epoch=first))

    thread = threading.Thread(target=one)
    thread.start()
    inside.wait(60)
    with pytest.raises(BlockingIOError, match=r"another run is using the folder .*a folder of its own"):
        fit(8, checkpoint=tmp_path / "a")
    other = fit(8, seed=1, checkpoint=tmp_path / "b")
    thread.join()
    same_run(said[0], fit(8))
    same_run(other, fit(8, seed=1))


def test_two_processes_in_one_folder_are_told_apart_and_in_two_do_not_disturb_each_other(tmp_path):
    slow = """
import fnn
wait = lambda report: report.epoch == 1 and (print(report.epoch, flush=True), sys.stdin.readline())
fitted = fit(8, checkpoint=sys.argv[1], on_epoch=lambda report: wait(report) and False)
fnn.save(sys.argv[2], fitted.params)
"""
    other = program(slow, tmp_path / "a", tmp_path / "result")
    assert other.stdout.readline() == "1\n"
    with pytest.raises(BlockingIOError, match=r"another run is using the folder .*a folder of its own"):
        fit(8, checkpoint=tmp_path / "a")
    same_run(fit(8, checkpoint=tmp_path / "b"), fit(8))
    other.communicate("go on\n", timeout=120)
    assert other.returncode == 0
    whole = fit(8)
    chex.assert_trees_all_equal(bits(fnn.load(tmp_path / "result")), bits(whole.params))
    same_run(fit(8, checkpoint=tmp_path / "a"), whole)


# Killed and interrupted ----------------------------------------------------------------------------

PROGRAM = """
import io, os, random, signal, sys, threading, time
folder, result, site, seed, build = sys.argv[1:]
sys.path.insert(0, os.environ["TESTS"])
import fnn.saving.archive
import runs

draw = random.Random(int(seed))
left = draw.randint(1, 300 if site == "write" else 12)

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def deadly(function):
    def called(*args, **options):
        global left
        left -= 1
        if left == 0:
            if draw.random() < 0.5:
                die()
            function(*args, **options)
            die()
        return function(*args, **options)
    return called

class Deadly(io.BufferedRandom):
    def write(self, content):
        global left
        left -= 1
        if left == 0:
            super().write(bytes(content)[: len(content) // 2])
            self.flush()
            die()
        return super().write(content)

if site == "open":
    fnn.saving.archive.open = deadly(open)
elif site == "write":
    fnn.saving.archive.open = lambda name, mode: Deadly(io.FileIO(name, "x+")) if "x" in mode else open(name, mode)
elif site in ("fsync", "replace"):
    setattr(os, site, deadly(getattr(os, site)))

def told(report):
    if site == "moment" and report.epoch and not threading.active_count() > 1:
        pause = draw.random() * 0.3
        threading.Thread(target=lambda: (time.sleep(pause), die()), daemon=True).start()
    print(report.epoch, flush=True)

fitted = runs.fit(
    EPOCHS, patience=EPOCHS, build=getattr(runs, build), checkpoint=folder, every=1, on_epoch=told
)
fnn.save(result, {"params": fitted.params, "state": fitted.state, "history": fitted.history})
"""
EPOCHS = 300


def process(folder, site, seed, build):
    program = PROGRAM.replace("EPOCHS", str(EPOCHS))
    environment = {
        **os.environ, "TESTS": str(HERE), "JAX_COMPILATION_CACHE_DIR": str(folder.parent / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }  # fmt: skip
    arguments = [sys.executable, "-c", program, folder, folder.with_suffix(".result"), site, str(seed), build]
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)


def readable(folder):
    """The newest epoch of which a whole checkpoint is there."""
    for path in sorted(folder.glob("epoch-*.fnn"), reverse=True):
        return int(fnn.load(path)["state"].epoch)  # none that has its name is half written
    return -1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("site", "times", "build"),
    [("moment", 50, network), ("open", 15, network), ("write", 15, network), ("fsync", 15, network),
     ("replace", 15, network), ("moment", 10, listening), ("moment", 10, searching)],
)  # fmt: skip
def test_a_run_that_is_killed_again_and_again_is_the_run_that_never_was(tmp_path, site, times, build):
    whole, kills, round_, attempt = fit(EPOCHS, patience=EPOCHS, build=build), 0, 0, 0
    while kills < times or not (tmp_path / f"{round_}.result").exists():
        if (tmp_path / f"{round_}.result").exists():
            round_ += 1
        folder = tmp_path / str(round_)
        before = readable(folder) if folder.exists() else -1
        done = process(folder, site if kills < times else "nowhere", attempt, build.__name__)
        attempt += 1
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        kills += done.returncode == -signal.SIGKILL
        told = [int(line) for line in done.stdout.split()]
        if folder.exists():
            assert readable(folder) >= max([before, *told])  # nothing that was kept is lost
        if told:
            assert told[0] == before + 1 or (before == -1 and told[0] == 1)
    for result in tmp_path.glob("*.result"):
        tree = fnn.load(result)
        chex.assert_trees_all_equal(bits(tree["params"]), bits(whole.params))
        chex.assert_trees_all_equal(bits(tree["state"]), bits(whole.state))
        chex.assert_trees_all_equal({k: np.asarray(v) for k, v in tree["history"].items()}, whole.history)


def interrupted(run, after):
    """What a run returns when Ctrl-C is pressed so many seconds after it began, and the seconds since."""
    pressed = []

    def press():
        pressed.append(time.perf_counter())
        signal.raise_signal(signal.SIGINT)

    timer = threading.Timer(after, press)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    gc.disable()  # Python loses a KeyboardInterrupt inside JAX's callback of the garbage collector
    timer.start()
    try:
        fitted = run()
    finally:
        timer.cancel()  # it must not ring in another test
        gc.enable()
        signal.signal(signal.SIGINT, before)
    return fitted, time.perf_counter() - pressed[0]


@pytest.mark.parametrize("watched", [False, True])
def test_ctrl_c_returns_what_was_learned_at_once(watched):
    network = fnn.serial(fnn.dense(20), jnp.tanh, fnn.dense(3))
    reports, options = [], {"validation": HELD, "epochs": 20_000}  # for some ten seconds
    x, y = np.tile(X, (20, 1)), np.tile(Y, 20)
    run = lambda **more: fnn.fit(
        network, fnn.softmax_cross_entropy, fnn.adam(), x, y, **(options | {"key": jax.random.key(0)} | more)
    )
    run(epochs=1)  # what is compiled is not interrupted
    fitted, waited = interrupted(lambda: run(on_epoch=reports.append if watched else None), after=0.7)
    assert fitted.stopped == "interrupted" and waited < 5
    made = int(fitted.state.epoch)
    assert made > 0 and {len(rows) for rows in fitted.history.values()} == {made}
    if watched:
        assert made - reports[-1].epoch in (0, 1)
    whole = run(epochs=made)
    chex.assert_trees_all_equal(bits(whole.state), bits(fitted.state))


ENDLESS = """
import os, signal, jax, jax.numpy as jnp, numpy as np, fnn
signal.signal(signal.SIGINT, signal.default_int_handler)

def slow(x):
    turns = jax.lax.stop_gradient(x[0, 0]).astype(int)  # more of them compile nothing
    busy = jax.lax.fori_loop(0, turns, lambda _, v: jnp.cos(v @ v), jnp.zeros((64, 64)))
    return x + 0 * busy[0, 0]

network = fnn.serial(slow, fnn.dense(1))
for turns, folder in ((1, None), (1e9, sys.argv[1])):  # a billion: for days
    x = np.full((4, 1), turns, np.float32)
    fitted = fnn.fit(network, fnn.mae, fnn.adam(), x, x, key=jax.random.key(0), epochs=1, checkpoint=folder)
print(fitted.stopped, int(fitted.state.epoch), flush=True)
os._exit(0)  # the epoch is still being computed
"""


def test_ctrl_c_does_not_wait_for_the_end_of_a_long_epoch(tmp_path):
    run = program(ENDLESS, tmp_path / "run")
    try:
        while not (tmp_path / "run" / "epoch-00000000.fnn").exists():  # written before the first epoch
            assert run.poll() is None
            time.sleep(0.1)
        time.sleep(0.5)
        run.send_signal(signal.SIGINT)
        said, _ = run.communicate(timeout=60)
    finally:
        run.kill()
    assert said == "interrupted 0\n"


@pytest.mark.parametrize(("every", "at", "epoch"), [(3, 3, 3), (3, 5, 5), (9, 3, 5), (2, 4, 2), (1, 1, 0)])
def test_ctrl_c_while_a_checkpoint_is_written_loses_nothing(tmp_path, monkeypatch, every, at, epoch):
    fsync, calls = os.fsync, []

    def pressed(descriptor):
        calls.append(descriptor)
        if len(calls) == at:  # each checkpoint syncs its file, then its folder
            raise KeyboardInterrupt
        return fsync(descriptor)

    monkeypatch.setattr(os, "fsync", pressed)
    fitted = fit(5, checkpoint=tmp_path, every=every)
    assert int(fitted.state.epoch) == epoch and fitted.stopped in ("interrupted", "epochs")
    monkeypatch.undo()
    if epoch:
        assert kept(tmp_path)[-1] == f"epoch-0000000{epoch}.fnn"
    same_run(fit(5, checkpoint=tmp_path, every=every), fit(5))


def test_ctrl_c_between_two_entries_of_a_file_comes_through_as_itself(tmp_path, monkeypatch):
    opened = zipfile.ZipFile.open

    def left_open(archive, *args, **options):
        opened(archive, *args, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(zipfile.ZipFile, "open", left_open)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path / "tree", {"a": jnp.ones(2)})
    assert kept(tmp_path) == []


def test_a_finished_run_in_a_folder_that_cannot_be_written_is_returned(tmp_path, monkeypatch):
    whole = fit(3, checkpoint=tmp_path, every=2)

    def read_only(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("fnn.saving.archive.write", read_only)
    monkeypatch.setattr("fnn.saving.checkpoint.write", read_only)
    same_run(fit(3, checkpoint=tmp_path, every=2), whole)


def test_an_error_of_a_callback_comes_through_and_carries_what_was_learned(tmp_path):
    class MyError(Exception):
        pass

    def third(report):
        if report.epoch == 3:
            raise MyError("of my own")

    with pytest.raises(MyError, match="^of my own") as caught:
        fit(9, on_epoch=third, checkpoint=tmp_path, every=2)
    assert caught.value.__notes__ == [
        "fit: what was learned in 3 epochs is in this error: error.fitted.params"
    ]
    same_run(caught.value.fitted, fit(3))
    assert kept(tmp_path)[-1] == "epoch-00000003.fnn"
    same_run(fit(9, checkpoint=tmp_path, every=2), fit(9))
