"""A document as GitHub's Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from crossover.reports import tables
from crossover.reports.foreign import markdown_text
from crossover.reports.sections import Document, Part


def markdown(document: Document) -> str:
    """Return a document as Markdown, with every table that is no grid."""
    blocks = [f"# {markdown_text(document.title)}", f"{markdown_text(document.about)}."]
    for number, section in enumerate(document.sections):
        blocks += [f"## {section.title}"] if number else []
        blocks += map(markdown_text, section.sentences)
        for part in section.parts:
            blocks += _part(part, "###")
    for part in document.closing:
        blocks += _part(part, "##")
    return "\n\n".join(blocks) + "\n"


def _part(part: Part, heading: str) -> Iterator[str]:
    if part.grids and not (part.tables or part.plots):
        return
    yield f"{heading} {markdown_text(part.title)}"
    yield from map(markdown_text, part.sentences)
    yield from (f"![{markdown_text(plot.alt)}]({plot.file})" for plot in part.plots)
    for table in part.tables:
        if table.title != part.title:
            yield f"{heading}# {markdown_text(table.title)}"
        yield tables.markdown(table.frame)
