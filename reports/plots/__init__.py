"""The plots of a report, one module per kind, in one style and as SVG text."""
