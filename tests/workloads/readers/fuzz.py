"""Coverage-guided fuzzing of the readers: ``nox -s fuzz``, by atheris.

Run as ``python -m tests.workloads.readers.fuzz ENDING SECONDS``: from a small sound file of that
ending inputs grow towards code that none reached before. Whatever is no InputError ends it; what
did that is kept in ``found/``, where the tests read it ever after.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["crossover.bench.workloads.readers"]):
    from crossover.bench.workloads import readers

from crossover.bench.errors import InputError
from tests.workloads.readers.examples import WRITERS, chain

FOUND = Path(__file__).parent / "found"
_MOST_BYTES = 1 << 14
_TEXT = {
    ".mtx": b"%%MatrixMarket matrix coordinate real general\n2 3 2\n1 1 1.5\n2 3 -2\n",
    ".smtx": b"2, 3, 2\n0 1 2\n0 2\n",
}


def sound(ending: str) -> bytes:
    """Return the content of a small sound file."""
    if ending in _TEXT:
        return _TEXT[ending]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"net{ending}"
        WRITERS[ending](path, chain((3, 2, 2)))
        return path.read_bytes()


def fuzz(ending: str, seconds: str) -> None:
    """Fuzz one reader for so long, in this process."""
    folder = Path(tempfile.mkdtemp())
    (folder / "corpus").mkdir()
    (folder / "corpus" / "sound").write_bytes(sound(ending))
    path = folder / f"net{ending}"

    def one(data: bytes) -> None:
        path.write_bytes(data)
        try:
            for layer in readers.read(path).layers:
                layer.read_weight()
                if layer.read_bias:
                    layer.read_bias()
        except InputError:
            pass

    FOUND.mkdir(exist_ok=True)
    options = [
        f"-max_total_time={seconds}", f"-max_len={_MOST_BYTES}", "-rss_limit_mb=2048",
        "-timeout=20", f"-artifact_prefix={FOUND}/{ending.removeprefix('.')}-",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(folder / "corpus")], one)
    atheris.Fuzz()


def main() -> int:
    """Fuzz every reader, or the one that is named, and return how many did not stand it."""
    if len(sys.argv) == 3:
        fuzz(*sys.argv[1:])
    seconds = sys.argv[1] if len(sys.argv) > 1 else "60"
    failed = 0
    for ending in (*WRITERS, *_TEXT):
        command = [sys.executable, "-m", __spec__.name, ending, seconds]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        last = [line for line in done.stderr.splitlines() if "DONE" in line or "Done" in line]
        print(ending, last[-1] if not done.returncode and last else done.stderr[-3000:])
        failed += done.returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
