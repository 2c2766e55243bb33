"""The command line as a user meets it: good input, bad input, and the report."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from crossover.bench import machine
from crossover.bench.__main__ import main
from crossover.bench.store import FILE_NAME
from crossover.bench.worker import Worker
from crossover.kernels import discover

SWEEP = ["--sparsity", "0", "0.9", "--batch", "1,16", "--budget", "1s", "--quiet"]


@pytest.fixture(scope="module")
def measured(small_mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with a small sweep of every kernel."""
    folder = tmp_path_factory.mktemp("results")
    assert main(["run", "--data", str(small_mnist), "--out", str(folder), *SWEEP]) == 0
    return folder


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "--model", "lenet-300-100", "--sparsity", "2"], r"sparsity 2 .*\[0, 1\)"),
        (["run", "--sparsity", "-0.1"], r"sparsity -0.1 is outside"),
        (["run", "--sparsity", "many"], "sparsity 'many' is not a number"),
        (["run", "--sparsity", "nan"], r"\[0, 1\)"),
        (["run", "--model", "alexnet"], "unknown network 'alexnet': choose from"),
        (["run", "--kernels", "magic"], "unknown kernel 'magic': choose from"),
        (["run", "--batch", "0"], "batch 0"),
        (["run", "--batch", "10001"], "batch 10001"),
        (["run", "--passes", "sideways"], "unknown pass 'sideways'"),
        (["run", "--threads", "4096"], "threads 4096"),
        (["run", "--caches", "warm"], "unknown state of the caches 'warm'"),
        (["run", "--budget", "-3s"], "'-3s' is not a duration"),
        (["run", "--budget", "0s"], "'0s' is not a duration"),
        (["run", "--data", "/nowhere"], "/nowhere/.* is missing"),
        (
            ["run", "--kernel-module", "no.such.module"],
            "'no.such.module' cannot be used",
        ),
        (["run", "--frobnicate"], "--frobnicate"),
        (["dance"], "dance"),
        (["models", "show", "lenet-5", "--sparsity", "0.123"], "is not trained yet"),
        (["models", "train", "nothing"], "unknown network"),
        (["models", "train", "wide", "--kernel", "magic"], "unknown kernel"),
        (["models", "train", "wide", "--kernel", "numba-sell"], "cannot train: it has no backward"),
        (["crossover", "--layer", "fc9"], "unknown layer 'fc9': lenet-300-100 has fc1, fc2, fc3"),
        (["crossover", "--confidence", "1"], "confidence 1 is outside"),
        (["crossover", "--width", "0"], "width 0 is outside"),
        (["crossover", "--kernels", "magic"], "unknown kernel 'magic'"),
        (["crossover", "--against", "magic"], "unknown kernel 'magic'"),
        (["crossover", "--batch", "0"], "batch 0"),
        (["crossover", "--budget", "soon"], "time 'soon' is not a duration"),
        (["kernels", "explain", "magic", "--shape", "3x4"], "unknown kernel 'magic'"),
        (["kernels", "explain", "numba-tiled", "--shape", "300"], "shape '300' is not of the form"),
        (["kernels", "explain", "numba-tiled", "--shape", "0x5"], "shape '0x5' is not of the form"),
        (["kernels", "explain", "numba-tiled", "--shape", "99999x99999"], "has more than"),
        (["kernels", "explain", "numba-tiled", "--shape", "3x4", "--batch", "0"], "batch 0"),
        (
            ["kernels", "list", "--kernel-module", "tests.kernels.problems"],
            "holds no kernel",
        ),
        (["crossover", "--kernels", "numpy-dense"], "'numpy-dense' would be compared with itself"),
        (
            ["crossover", "--kernels", "numba-csr", "--against", "numba-csr"],
            "'numba-csr' would be compared with itself",
        ),
        (["scaling", "--batch", "99999999999"], "GiB are free: give a smaller --batch"),
        (["history", "--out", "new"], "no history in new"),
        (["gate", "--base", "HEAD", "--export", __file__], "is no folder: name another"),
        (["report", "--out", "/nowhere"], "/nowhere holds no results.sqlite"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("crossover: ")
    assert re.search(says, lines[0])
    assert not list(tmp_path.iterdir()), "something was written"


def test_a_batch_beyond_ones_own_test_set_is_refused(
    small_mnist: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--data", str(small_mnist), "--batch", "129"]) == 2
    assert "batch 129 is outside 1 to 128" in capsys.readouterr().err


def test_an_unwritable_output_folder_is_one_line(
    small_mnist: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    arguments = ["run", "--data", str(small_mnist), "--out", str(tmp_path / "file" / "out")]
    assert main(arguments) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_an_unwritable_cache_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CROSSOVER_CACHE", str(tmp_path / "file"))
    assert main(["run", "--out", str(tmp_path / "out")]) == 2
    assert "CROSSOVER_CACHE" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("def broken(:", "SyntaxError"),
        ("raise RuntimeError('planted')", "RuntimeError: planted"),
        (
            "from crossover.kernels.base import Kernel\nclass Half(Kernel):\n    name = 'half'\n",
            "abstract",
        ),
    ],
)
def test_a_broken_kernel_module_is_one_line(
    code: str,
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = f"broken_{len(code)}"
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["kernels", "list", "--kernel-module", name]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"kernel module '{name}' cannot be used" in line
    assert says in line


def test_a_run_that_is_not_there_is_one_line(
    measured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "--out", str(measured), "--run", "zzz"]) == 2
    assert re.search("has no run 'zzz': choose from [0-9a-f]{16}", capsys.readouterr().err)


@pytest.mark.parametrize("damage", ["pages", "cell", "file", "folder"])
def test_damaged_results_are_one_line(
    damage: str, measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "copy"
    path = out / FILE_NAME
    out.mkdir()
    with sqlite3.connect(measured / FILE_NAME) as source, sqlite3.connect(path) as target:
        source.backup(target)
        if damage == "cell":
            target.execute("UPDATE rows SET samples = 'not json'")
    target.close()
    source.close()
    if damage == "pages":
        content = bytearray(path.read_bytes())
        content[4096:] = b"\xff" * (len(content) - 4096)
        path.write_bytes(content)
    elif damage == "file":
        path.write_text("no database" * 1000)
    elif damage == "folder":
        shutil.rmtree(out)
        out.write_text("")
    command = ["run", *SWEEP] if damage == "folder" else ["report"]
    assert main([*command, "--out", str(out)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert ("is no folder" if damage == "folder" else "is damaged, or no results file") in line
    assert "use another --out" in line


@pytest.mark.parametrize(
    ("command", "calls", "of"),
    [
        (["peers", "--model", "none", "--squares", "16", "--batch", "8", "--budget", "20s"], 1,
         "matches"),
        (["scaling", "--shapes", "16x16", "--batch", "8", "--sparsity", "0.5"], 16, "scaling"),
        (["step", "--model", "lenet-300-100", "--pattern", "initial", "--batch", "8", "--budget",
          "1s", "--kernels", "numpy-masked-update"], 1, "steps"),
    ],
    ids=lambda each: each[0] if isinstance(each, list) else str(each),
)  # fmt: skip
@pytest.mark.skipif(machine.available_cores() < 2, reason="one core")
def test_ctrl_c_shows_what_was_found_so_far(
    command: list[str],
    calls: int,
    of: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measure = Worker.measure
    done: list[Any] = []

    def stopped(self: Worker, task: Any) -> Any:
        if len(done) == calls:
            raise KeyboardInterrupt
        done.append(task)
        return measure(self, task)

    monkeypatch.setattr(Worker, "measure", stopped)
    assert main([*command, "--json", "--quiet"]) == 130
    captured = capsys.readouterr()
    assert json.loads(captured.out)[of]
    assert captured.err.endswith("stopped; what was found so far is above\n")


def test_ctrl_c_says_what_was_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def stopped(*_: Any) -> Any:
        raise KeyboardInterrupt

    for target, command, says in (
        ("crossover.bench.commands.machine.machine.identity", ["machine"], "nothing was kept"),
        ("crossover.bench.sweep.sweep", ["run"], "what was measured is kept"),
    ):
        monkeypatch.setattr(target, stopped)
        assert main(command) == 130
        assert says in capsys.readouterr().err


def test_kernels_list_names_all_with_their_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kernels", "list", "--json"]) == 0
    listed = {line["name"]: line for line in json.loads(capsys.readouterr().out)}
    assert set(listed) == set(discover())
    for line in listed.values():
        assert line["available"] == "yes" or line["available"].endswith(".")
    assert main(["kernels", "list"]) == 0
    assert "numpy-dense" in capsys.readouterr().out


def test_models_train_list_and_show(small_mnist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["lenet-300-100", "--data", str(small_mnist), "--sparsity", "90%", "--seed", "21"]
    assert main(["models", "train", *options, "--quiet"]) == 0
    trained = capsys.readouterr().out
    assert "fc1" in trained
    assert main(["models", "show", *options]) == 0
    assert capsys.readouterr().out == trained
    assert main(["models", "show", *options, "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert shown["parameters"] == 266_610
    assert shown["nnz"] == 26_620
    assert main(["models", "list"]) == 0
    assert "90 % gradual" in capsys.readouterr().out


def test_a_run_ends_in_a_report(
    measured: Path, small_mnist: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--data", str(small_mnist), "--out", str(measured), *SWEEP]) == 0
    text = capsys.readouterr().out
    assert "Crossover of the fastest sparse kernel" in text
    assert "300 × 784" in text
    assert "Not run" in text
    for name in ("report.html", "report.md", "results.csv"):
        assert (measured / name).stat().st_size > 1000


def test_the_csv_has_a_row_per_kernel_and_cell(measured: Path) -> None:
    frame = pd.read_csv(measured / "results.csv")
    cells = 2 * 2 * 3 * 3  # sparsities, batches, layers, passes
    assert len(frame) == cells * len(discover())
    assert frame["cell_id"].nunique() == cells
    done = frame[frame["status"] == "measured"]
    assert (done["time_s"] > 0).all()
    assert (done["time_low_s"] <= done["time_high_s"]).all()
    assert (done["share_of_bound"] <= 1).all()
    assert frame[frame["status"] != "measured"]["reason"].str.len().gt(0).all()
    baselines = done[done["kernel"] == done["baseline"]]
    assert len(baselines) == cells
    assert (baselines["speedup"] == 1).all()
    assert {"csr_bytes", "bsr_bytes", "accuracy", "relative_error"} <= set(frame.columns)


def test_json_holds_the_same_answers(measured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--out", str(measured), "--json", "--quiet"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["run"]["machine"]["cpu"]
    kinds = {row["crossover"]["kind"] for row in content["crossovers"]}
    assert kinds <= {"between", "always", "never", "several", "open"}
    assert len(content["rows"]) == len(pd.read_csv(measured / "results.csv"))


def test_the_page_is_self_contained_and_shows_what_did_not_run(measured: Path) -> None:
    page = (measured / "report.html").read_text()
    assert not re.search(r"<script|<link|src=|@import|url\(http", page)
    assert page.count("<svg") == 3
    for name, kernel in discover().items():
        if kernel.device == "cuda":
            assert name in page
    assert "test accuracy" in page
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL).lower().split()


def test_the_page_renders_in_a_browser(measured: Path, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        pytest.skip("not run: no chromium on this machine")
    picture = tmp_path / "page.png"
    done = subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1280,2400",
         "--enable-logging=stderr", f"--screenshot={picture}",
         (measured / "report.html").as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "CONSOLE" not in done.stderr
    import matplotlib.image

    pixels = matplotlib.image.imread(picture)
    assert pixels.shape[:2] == (2400, 1280)
    # The plots are there: colour, not only black text on white.
    colourful = (pixels[..., :3].max(axis=2) - pixels[..., :3].min(axis=2)) > 0.3
    assert colourful.mean() > 0.001


@pytest.mark.parametrize("name", ["numba-tiled", "numba-bsr", "numba-sell"])
def test_a_kernel_explains_what_it_chose(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["kernels", "explain", name, "--shape", "300x784", "--batch", "1,256", "--json"]) == 0
    )
    lines = json.loads(capsys.readouterr().out)
    assert {line["batch"] for line in lines} == {1, 256, "all"}
    assert all(line["chosen"] and line["why"] for line in lines)
    if name == "numba-sell":
        assert any(line["chosen"] == "not computed" for line in lines)
    else:
        assert {"vectors", "threads", "tiles of X packed"} <= {line["chosen"] for line in lines}
