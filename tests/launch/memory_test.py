"""The peak covers children, and not processes of others."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

from launch.memory import Peak, resident

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


def test_children_count():
    with Peak(every=0.02) as peak:
        alone = resident(os.getpid())
        code = "x = bytearray(200 << 20); print('ready', flush=True); input()"
        child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        child.stdout.readline()
        both = resident(os.getpid())
        assert resident(child.pid) > 200 << 20
        child.communicate(b"\n", timeout=60)
    assert both > alone + (190 << 20)
    assert peak.bytes > 0 and peak.seconds > 0


def test_a_process_that_is_gone_holds_nothing():
    assert resident(2**22 + 1) == 0
