"""A run with every study, made by hand once."""

from __future__ import annotations

import pytest

from crossover.reports.results import Results
from tests.reports import made


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return made.results(tmp_path_factory.mktemp("results"), *made.everything())
