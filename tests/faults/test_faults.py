"""Nothing is lost, nothing comes twice, and every run ends once, whatever happens."""

from __future__ import annotations

import typing as t

import pytest

from tests.faults.play import Row
from tests.faults.play import insist
from tests.faults.play import line
from tests.faults.rows import ROWS
from tests.faults.scene import Scenes
from tests.faults.scene import Setting
from tests.faults.stores import Unable

pytestmark = [pytest.mark.server, pytest.mark.timeout(180)]


def case(row: Row, setting: Setting, *marks: pytest.MarkDecorator) -> t.Any:
    if row.pending:
        marks = (*marks, pytest.mark.xfail(strict=True, reason=row.pending))
    return pytest.param(row, setting, id=f"{row.name}-{setting.name}", marks=marks)


CASES = [
    *(case(row, setting) for row in ROWS for setting in row.settings),
    *(case(row, setting, pytest.mark.nightly) for row in ROWS for setting in row.more),
]


@pytest.mark.parametrize(("row", "setting"), CASES)
def test_a_fault_costs_nobody_a_token(row: Row, setting: Setting, scenes: Scenes) -> None:
    try:
        told = insist(row, setting, scenes.take(setting))
    except Unable as error:
        pytest.skip(str(error))
    finally:
        if row.ruins:
            scenes.drop(setting)
    print(line(told))
    assert not told.complaints(), "\n".join([line(told), *told.notes])
