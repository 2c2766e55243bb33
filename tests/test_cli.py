"""The command line as a user meets it: good input, bad input, and the report."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from bench.__main__ import main
from kernels.base import discover

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
        (["run", "--budget", "-3s"], "budget"),
        (["run", "--budget", "0s"], "'0s' is not a duration"),
        (["run", "--data", "/nowhere"], "/nowhere/.* is missing"),
        (["run", "--kernel-module", "no.such.module"], "'no.such.module' cannot be imported"),
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
    shown = json.loads(capsys.readouterr().out)
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
