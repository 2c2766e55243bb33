"""Reports on what was measured: metrics, tables, plots and the page. Nothing here measures."""
