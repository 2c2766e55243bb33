"""A document as GitHub's Markdown, short enough for a comment on a pull request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from crossover.reports import tables
from crossover.reports.foreign import markdown_text
from crossover.reports.sections import Document, Part, Section

#: GitHub takes 65,536 characters in a comment.
MOST_CHARACTERS = 60_000
#: Of the folder beside it that holds the plots.
PLOTS = "plots"
_MOST_ROWS = 30
#: Of the first section, whose plots are not folded away.
_OPEN_PARTS = 2


def markdown(document: Document) -> str:
    """Return the answers, first tables and plots of a document; the rest is folded.

    What would make it longer than :data:`MOST_CHARACTERS` is left to the page.
    """
    blocks = [f"# {markdown_text(document.title)}", f"{markdown_text(document.about)}."]
    blocks.append("\n".join(f"- {markdown_text(answer)}" for answer in document.answers))
    for number, section in enumerate(document.sections):
        blocks += _section(section, document.answers, first=number == 0)
    folded = [
        _folded(part)
        for section in document.sections
        for part in section.parts[_OPEN_PARTS if section is document.sections[0] else 0 :]
    ] + [_folded(part) for part in document.closing]
    size, left_out = sum(len(block) + 2 for block in blocks), 0
    for block in filter(None, folded):
        if size + len(block) > MOST_CHARACTERS - 200:
            left_out += 1
            continue
        size += len(block) + 2
        blocks.append(block)
    if left_out:
        blocks.append(f"{left_out} parts are too long for here: they are in `report.html`.")
    return "\n\n".join(blocks) + "\n"


def _section(section: Section, answers: Sequence[str], first: bool) -> Iterator[str]:
    if not first:
        yield f"## {markdown_text(section.title)}"
    yield from (markdown_text(each) for each in section.sentences if each not in answers)
    for part in section.parts[: _OPEN_PARTS if first else 0]:
        yield from _images(part)
    again = [] if first else [id(table) for part in section.parts for table in part.tables]
    for table in section.brief:
        # What a folded part shows is not shown twice.
        if len(table.frame) and id(table) not in again:
            yield f"### {markdown_text(table.title)}"
            yield _rows(table)


def _folded(part: Part) -> str:
    """Return a part behind its title; nothing of one that has only grids."""
    blocks = [*map(markdown_text, part.sentences), *_images(part)]
    for table in part.tables:
        if len(table.frame):
            blocks += [f"**{markdown_text(table.title)}**"] if table.title != part.title else []
            blocks.append(_rows(table))
    if not blocks or not (part.plots or part.tables):
        return ""
    content = "\n\n".join(blocks)
    return f"<details><summary>{markdown_text(part.title)}</summary>\n\n{content}\n\n</details>"


def _images(part: Part) -> list[str]:
    return [f"![{markdown_text(plot.alt)}]({PLOTS}/{plot.file})" for plot in part.plots]


def _rows(table: tables.Table) -> str:
    shown = tables.markdown(table.frame.head(_MOST_ROWS))
    more = len(table.frame) - _MOST_ROWS
    return f"{shown}\n\n… and {more} more rows in `report.html`." if more > 0 else shown
