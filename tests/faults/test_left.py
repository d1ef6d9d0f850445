"""What tests leave behind that are killed in their midst."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server.servers import wait_for

HOLD_A_DISK = """
import sys
from pathlib import Path
from tests.faults.stores import SmallDisk, Unable
try:
    SmallDisk(Path(sys.argv[1]))
except Unable as error:
    print(error, flush=True)
else:
    print("mounted", flush=True)
input()
"""


def test_no_disk_stays_mounted_when_its_user_is_killed(tmp_path: Path) -> None:
    user = subprocess.Popen(
        [sys.executable, "-c", HOLD_A_DISK, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with user:
        assert user.stdout is not None
        said = user.stdout.readline().strip()
        disk = tmp_path / "disk"
        if said != "mounted":
            pytest.skip(said)
        assert os.path.ismount(disk)
        user.kill()
    wait_for(lambda: not os.path.ismount(disk), "the disk to be gone")
