"""JUnit XML, which every CI shows: a case per quantity."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from typing import TYPE_CHECKING

from crossover.reports.views.gate import change

if TYPE_CHECKING:
    from crossover.bench.gate.comparison import Comparison


def xml(found: Comparison) -> str:
    """Return JUnit XML: a case per quantity, a failure where it is slower, an error if wrong."""
    suite = ET.Element("testsuite", name="crossover gate", tests=str(len(found.findings)))
    counts: Counter[str] = Counter()
    kinds = {"slower": "failure", "wrong": "error", "new": "skipped", "gone": "skipped"}
    for each in found.findings:
        case = ET.SubElement(suite, "testcase", classname=each.metric, name=each.name, time="0")
        text = f"{each.verdict}: {change(each)} {each.note}".strip()
        if kind := kinds.get(each.verdict):
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
