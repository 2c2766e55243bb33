"""Sessions: each sets up all that it needs."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import nox

nox.needs_version = ">=2024.10"
nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "types", "tests", "smoke"]

# Tests in a few processes only: many of them start kernels with threads of their own.
_SPREAD = "-n", str(min(4, os.cpu_count() or 1))


@nox.session
def bench(session: nox.Session) -> None:
    """Measure this machine's crossover; arguments after -- go to the command."""
    session.install("-e", _project(*_cuda_extras()))
    session.run("crossover", *session.posargs)


@nox.session
def peers(session: nox.Session) -> None:
    """Measure with PyTorch and MKL installed beside ours, and SparseProp where it can be built."""
    session.install("-e", _project("peers", *_built_extras(), *_cuda_extras()))
    session.run("crossover", *(session.posargs or ["run", "--out", "results/peers"]))


@nox.session
def report(session: nox.Session) -> None:
    """Write the report of what was measured again."""
    session.install("-e", ".")
    session.run("crossover", "report", *session.posargs)


@nox.session
def gallery(session: nox.Session) -> None:
    """Write the reports of all committed runs again, and the page that documents the figures."""
    session.install("-e", ".")
    written = "reports/reference", "reports/METRICS.md"
    session.run("python", "-m", "crossover.reports.exports.gallery", *written)


@nox.session
def selfcheck(session: nox.Session) -> None:
    """Ask whether measurements on this machine can be trusted (installs pyperf)."""
    session.install("-e", _project("selfcheck"))
    session.run("crossover", "selfcheck", *session.posargs)


@nox.session
def regress(session: nox.Session) -> None:
    """Compare your files with a revision, in turns (arguments after --: --base REV)."""
    session.install("-e", _project("history"))
    session.run("crossover", "gate", *(session.posargs or ["--base", "HEAD"]))


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests; those that need a GPU say that they did not run."""
    session.install("-e", _project("test", *_cuda_extras()))
    session.run("python", "-m", "pytest", *_SPREAD, "--dist", "loadfile", *session.posargs)


# What numba-cuda's extras bring is several times as large: these alone compile and assemble.
_COMPILERS = {
    "12": ("cuda-bindings<13", "nvidia-cuda-nvcc-cu12", "nvidia-cuda-nvrtc-cu12"),
    "13": ("cuda-bindings==13.*", "nvidia-nvvm", "nvidia-cuda-nvcc", "nvidia-cuda-nvrtc"),
}


@nox.session
@nox.parametrize("cuda", list(_COMPILERS))
def ptx(session: nox.Session, cuda: str) -> None:
    """Compile the kernels by CUDA 12 and by 13, without a GPU (installs 200 MB of compilers)."""
    session.install("-e", _project("test"), "numba-cuda>=0.20", *_COMPILERS[cuda])
    environment = {"CROSSOVER_PTX_RELEASE": cuda}
    tests = "tests/kernels/test_ptx.py"
    session.run("python", "-m", "pytest", tests, *_SPREAD, *session.posargs, env=environment)


@nox.session
def soak(session: nox.Session) -> None:
    """Kill every study twenty times, each at another moment, and simulate a thousand gates."""
    session.install("-e", _project("test"))
    session.run("python", "-m", "pytest", "-m", "soak", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Fuzz the readers of networks by coverage, a minute each (arguments after --: seconds)."""
    session.install("-e", _project("test"), "atheris>=2.3")
    session.run("python", "-m", "tests.workloads.readers.fuzz", *session.posargs)


@nox.session
def gpu(session: nox.Session) -> None:
    """Check every GPU kernel, then measure an NVIDIA GPU into a reference run."""
    extras = _cuda_extras()
    if not extras:
        session.error(
            "no NVIDIA driver is installed here: GPU kernels were neither checked nor run"
        )
    session.install("-e", _project("test", *extras))
    session.run("python", "-m", "pytest", "-m", "gpu", *_SPREAD)
    out = f"reports/reference/{_gpu_name()}"
    session.run("crossover", "run", "--preset", "gpu", "--out", out, *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check the style and the format of the code, and the forms of the CI jobs."""
    session.install(*_PYPROJECT["project"]["optional-dependencies"]["lint"])
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    schema = "check-jsonschema", "--builtin-schema"
    session.run(*schema, "vendor.github-workflows", *map(str, Path(".github/workflows").iterdir()))
    session.run(*schema, "vendor.gitlab-ci", "bench/gate/gitlab-ci.yml")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types, strictly, tests included."""
    session.install("-e", _project("types", "test"))
    # mypy does not follow __path__: it reads the package as it is installed.
    root, house = Path.cwd(), Path(session.create_tmp()) / "house"
    shutil.rmtree(house, ignore_errors=True)
    (house / "crossover").mkdir(parents=True)
    for name in ("bench", "kernels", "reports"):
        (house / "crossover" / name).symlink_to(root / name)
    (house / "crossover" / "__init__.py").symlink_to(root / "crossover.py")
    for name in ("tests", "noxfile.py", "hatch_build.py"):
        (house / name).symlink_to(root / name)
    session.chdir(house)
    options = f"--config-file={root / 'pyproject.toml'}", f"--cache-dir={root / '.mypy_cache'}"
    parts = "-p", "crossover", "-p", "tests", "-m", "noxfile", "-m", "hatch_build"
    session.run("mypy", *options, *parts)


@nox.session
def smoke(session: nox.Session) -> None:
    """Run a tiny sweep, from nothing to a finished report."""
    session.install("-e", ".")
    folder = session.create_tmp()
    out = f"{folder}/results"
    arguments = ["--sparsity", "0.9", "--batch", "16", "--budget", "5s", "--out", out, "--again"]
    session.run("crossover", "run", *arguments)
    for name in ("report.html", "report.md", "results.csv"):
        session.run("python", "-c", f"assert open({out + '/' + name!r}).read().strip()")


_PYPROJECT = nox.project.load_toml("pyproject.toml")


def _project(*extras: str) -> str:
    return f".[{','.join(extras)}]" if extras else "."


def _built_extras() -> list[str]:
    """Return the extra that is built from C++ for x86, if this machine can."""
    here = platform.machine() in ("x86_64", "AMD64") and shutil.which("g++")
    return ["sparseprop"] if here else []


def _cuda_extras() -> list[str]:
    """Return the CUDA extra that fits this machine's NVIDIA driver, or nothing without one."""
    version = ctypes.c_int(0)
    for library in ("libcuda.so.1", "nvcuda.dll"):
        try:
            if ctypes.CDLL(library).cuDriverGetVersion(ctypes.byref(version)) == 0:
                return ["cuda13" if version.value >= 13000 else "cuda12"]
        except OSError:
            continue
    return []


def _gpu_name() -> str:
    """Return the name of the first GPU, as a folder is called."""
    query = "nvidia-smi", "--query-gpu=name", "--format=csv,noheader"
    name = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
