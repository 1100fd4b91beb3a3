"""Named arrays ↔ one file, written completely or not at all, and read only if no bit has changed.

The file is a zip of .npy files without compression, as `np.savez` writes it, and `np.load` opens it. The
zip's comment, the last 71 bytes, is "sha256 " and the digest of all bytes before it.
"""

import contextlib
import hashlib
import math
import os
import secrets
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from typing import IO

import numpy as np

__all__: list[str] = []


SEAL = len("sha256 ") + 64


CHUNK = 1 << 20


def write(name: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Write the arrays to the file `name`. An old file stays until all of the new one is on the disk."""
    with _whole_file(name) as file:
        try:
            _zip(file, arrays)
        except ValueError as error:
            if isinstance(error.__context__, KeyboardInterrupt):  # zipfile complains about the open entry
                raise error.__context__ from None
            raise
        seal = _seal(file)
        file.seek(-SEAL, os.SEEK_END)
        file.write(seal)


def _zip(file: IO[bytes], arrays: Mapping[str, np.ndarray]) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for where, array in arrays.items():
            member = zipfile.ZipInfo(where + ".npy")  # the date is always 1980
            with archive.open(member, "w", force_zip64=True) as entry:  # may pass 2 GiB
                np.lib.format.write_array(entry, array, allow_pickle=False)
        archive.comment = bytes(SEAL)


def read_archive(name: str) -> dict[str, np.ndarray]:
    """The arrays in a file; ValueError if its bytes have changed or contradict each other.

    No code in the file is run, and no more memory is allocated than the file has bytes.
    """
    if os.path.exists(name) and not os.path.isfile(name):
        raise ValueError("it is not a file")
    with open(name, "rb") as file:
        _check_seal(file)
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            claimed, size = sum(member.file_size for member in members), os.fstat(file.fileno()).st_size
            if claimed > size:
                raise ValueError(f"its entries claim {claimed} bytes, and the file has {size}")
            arrays = {member.filename.removesuffix(".npy"): _array(archive, member) for member in members}
    if len(arrays) < len(members):
        raise ValueError("two of its entries have the same name")
    return arrays


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """One entry, read only after its header has been checked against its size."""
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{member.filename} is compressed, and no checkpoint is")
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"{member.filename} is of .npy version {version}, not (1, 0)")
        try:
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        except Exception as error:
            raise ValueError(f"{member.filename} has no valid array header") from error
        if dtype.hasobject:
            raise ValueError(f"{member.filename} contains pickled objects, which could run code")
        claimed = file.tell() + math.prod(shape) * dtype.itemsize
        if claimed != member.file_size or dtype.itemsize == 0:
            raise ValueError(f"{member.filename} has {member.file_size} bytes, its header claims {claimed}")
        file.seek(0)
        array = np.lib.format.read_array(file, allow_pickle=False)
        file.read(1)  # reading to the end compares the CRC
    return array


def _check_seal(file: IO[bytes]) -> None:
    file.seek(max(0, file.seek(0, os.SEEK_END) - SEAL))
    found = file.read()
    if not found.startswith(b"sha256 "):
        raise ValueError("it does not end with a SHA-256: it is no checkpoint, or its end is missing")
    expected = _seal(file)
    if found != expected:
        raise ValueError(
            f"it is damaged: its bytes have the {expected[:14].decode()}…, but it was saved with "
            f"{found[:14].decode('ascii', 'replace')}…"
        )


def _seal(file: IO[bytes]) -> bytes:
    """What the last bytes must be: the digest of all bytes before them."""
    size = max(0, file.seek(0, os.SEEK_END) - SEAL)
    file.seek(0)
    digest = hashlib.sha256()
    for start in range(0, size, CHUNK):
        digest.update(file.read(min(CHUNK, size - start)))
    return b"sha256 " + digest.hexdigest().encode()


@contextlib.contextmanager
def _whole_file(name: str) -> Iterator[IO[bytes]]:
    """A new file that gets the name only when all of it is on the disk."""
    target = os.path.realpath(name)  # a link stays a link
    folder, base = os.path.split(target)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"no folder {folder!r} for {name!r}; make it with os.makedirs.")
    if not os.path.basename(name) or (os.path.exists(target) and not os.path.isfile(target)):
        raise ValueError(f"{name!r} does not name a file; end the path with a file's name.")
    # A killed process may leave this file behind: folder.py deletes it by its name.
    temporary = os.path.join(folder, f".{base[:100]}.{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "x+b") as file:
            if os.path.exists(target):
                shutil.copymode(target, temporary)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        if error.errno is not None and error.filename in (None, temporary):
            error.filename = name  # a full disk names no file
        raise
    finally:
        with contextlib.suppress(OSError):  # it is gone if all went well
            os.unlink(temporary)
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:  # where folders open
        descriptor = os.open(folder, os.O_RDONLY)
        stack.callback(os.close, descriptor)
        os.fsync(descriptor)
