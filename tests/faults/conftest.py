from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.scene import Scenes


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenes]:
    scenes = Scenes(tmp_path_factory.mktemp("faults"))
    yield scenes
    scenes.close()
