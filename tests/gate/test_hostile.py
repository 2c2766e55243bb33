"""Text of head's (names, exceptions, titles) reaches no output as anything but text."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from junitparser import JUnitXml
from markdown_it import MarkdownIt

from crossover.bench.commands.main import main
from crossover.reports.foreign import markdown_text, terminal_text
from tests.gate.conftest import Gate
from tests.gate.project import CSR, DENSE, FAMILY, KERNEL, Machine, git, revision

HOSTILE = (
    "[bold red]m[/] ::error::x | y \\| z \\\\| `code` <img src=x onerror=alert(1)> </details> "
    "[link](http://evil.example) ![i](http://evil.example/i.png) <http://evil.example> "
    "**bold** _it_ ~~gone~~ $a$ &lt; "
    "\n\n# heading\n::error file=a::taken\n| a | b |\r\n##[error]old "
    "\x1b[31mred\x1b]0;title\x07 \x00 \u202eright \u2028 @octocat #123 https://evil.example ]]> "
    "\uffff"
)
#: As Python has it in a string.
NAME = HOSTILE.replace("\x00", "").encode("unicode_escape").decode().replace('"', "'")
BRANCH = "x|y`z<b>&](u)@octocat"
CELLS = 4


@pytest.fixture
def exported(
    project: Path, machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[Path, str]:
    """The exports and the output of a gate in which everything that head may say is hostile."""
    family = FAMILY + KERNEL.format(cls="Hostile", name=NAME)
    base = revision(project, family)
    revision(project, f"{family}\n# changed")
    git(project, "branch", BRANCH)
    machine.rows = {f"head:{CSR}": {"status": "wrong", "reason": HOSTILE}}
    machine.rows[f"head:{DENSE}"] = {"status": "failed", "reason": HOSTILE}
    arguments = [
        "--base",
        base,
        "--head",
        BRANCH,
        "--out",
        str(tmp_path / "out"),
    ]
    code = main(["gate", "--budget", "10s", "--export", str(tmp_path / "gate"), *arguments])
    assert code == 3
    return tmp_path / "gate", "".join(capsys.readouterr())


def markup(text: str) -> set[str]:
    """Return what a parser of Markdown finds in ``text`` beside text."""
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    tokens = parser.parse(text)
    inline = {each.type for token in tokens for each in token.children or ()}
    return {each.type for token in tokens for each in [token]} | inline


def test_the_markdown_holds_no_markup_but_its_own(exported: tuple[Path, str]) -> None:
    text = (exported[0] / "summary.md").read_text()
    found = markup(text)
    assert not found & {"link_open", "image", "html_inline", "strong_open", "em_open", "s_open"}
    assert text.count("</details>") == 1
    # Backticks are the legend's.
    assert text.replace("\\`", "").count("`") == 4
    assert sum(line.startswith("#") for line in text.splitlines()) == 1
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    rows = [token.map for token in tokens if token.type == "tr_open"]
    cells = [token for token in tokens if token.type in ("td_open", "th_open")]
    assert len(cells) == 9 * len(rows), "a pipe made a cell of its own"
    for linked in ("@octocat", "#123", "://", "www."):
        assert linked not in text


@pytest.mark.parametrize("text", [HOSTILE, "a\\|b", "a\\\\|b", "|", "\\", "`", "a`b``c", "_x_ *y*"])
def test_a_cell_of_markdown_stays_one(text: str) -> None:
    line = f"| a | b |\n| - | - |\n| {markdown_text(text)} | end |"
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(line)
    cells = [token for token in tokens if token.type == "inline"]
    assert len(cells) == 4
    assert cells[3].content == "end"
    assert {child.type for child in cells[2].children or ()} <= {"text", "text_special"}


def test_ordinary_text_stays_as_it_is() -> None:
    for text in ("numpy_dense fc1, batch 64", "1.02 [0.98, 1.05]", "45-50 % × 2", "a (b) c-d e.g."):
        assert markdown_text(text) == terminal_text(text) == text


def test_junit_is_xml_with_a_case_per_quantity(exported: tuple[Path, str]) -> None:
    path = exported[0] / "junit.xml"
    root = ET.parse(path).getroot()
    assert {each.tag for each in root.iter()} <= {
        "testsuites", "testsuite", "testcase", "failure", "error", "skipped", "system-out",
    }  # fmt: skip
    (suite,) = JUnitXml.fromfile(str(path))
    cases = list(suite)
    assert suite.tests == len(cases)
    # What kills XML parsers is gone, what can be read is there.
    (message,) = {c.result[0].message for c in cases if c.name == f"{CSR} fc1 forward batch 1"}
    assert "<img src=x onerror=alert(1)>" in message
    assert "\x1b" not in message


def test_the_terminal_gets_text_alone(exported: tuple[Path, str]) -> None:
    printed = exported[1]
    assert not set(printed) & {"\x1b", "\x07", "\x00", "\u202e", "\u2028"}
    # GitHub takes such lines for commands, wherever a table breaks a cell.
    assert "::" not in printed
    assert "##[" not in printed
    assert "[bold" in printed, "markup is shown, not obeyed"


def test_a_head_that_cannot_be_loaded_says_so_in_one_line(
    project: Path, machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = revision(project)
    head = revision(project, 'raise ImportError("a\\n::error::b\\x1b[31m")')
    assert main(["gate", "--base", base, "--head", head, "--out", str(tmp_path), "--quiet"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "\x1b" not in line
    assert not line.startswith("::")


def test_a_hostile_name_is_a_kernel_like_others(project: Path, gate: Gate) -> None:
    head = revision(project, FAMILY + KERNEL.format(cls="Hostile", name=NAME))
    found = gate(head, head)
    names = {each.name for each in found.findings if each.metric == "time"}
    assert len(names) == 3 * CELLS
    assert not any("\n" in name or "\x1b" in name for name in names)
