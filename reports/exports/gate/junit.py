"""JUnit XML, which every CI shows: a case per quantity."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from typing import TYPE_CHECKING

from crossover.bench.errors import printable
from crossover.reports.views.gate import change

if TYPE_CHECKING:
    from crossover.bench.gate.comparison import Comparison


def xml(found: Comparison) -> str:
    """Return JUnit XML: a case per quantity.

    A failure where head is slower, or fails alone; an error where it is wrong, or base fails, too.
    """
    suite = ET.Element("testsuite", name="crossover gate", tests=str(len(found.findings)))
    counts: Counter[str] = Counter()
    kinds = {"wrong": "error", "failed": "error", "new": "skipped", "gone": "skipped"}
    for each in found.findings:
        name = printable(each.name)
        case = ET.SubElement(suite, "testcase", classname=each.metric, name=name, time="0")
        parts = f"{each.verdict}:", change(each), each.note, found.environment
        text = printable(" ".join(part for part in parts if part))
        if kind := "failure" if each.regression else kinds.get(each.verdict):
            counts[kind] += 1
            ET.SubElement(case, kind, message=text)
        else:
            ET.SubElement(case, "system-out").text = text
    for name, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(counts[kind]))
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return ET.tostring(root, "unicode", xml_declaration=True) + "\n"
