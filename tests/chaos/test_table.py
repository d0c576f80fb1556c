"""The table itself, and what the cells break things with."""

from __future__ import annotations

import ast
import errno
import os
import subprocess
import sys
import threading
import time
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.chaos import disk, table
from tests.chaos.harness import REPO
from tests.chaos.proxy import Proxy

ROW = {
    "part": "train", "broken": "driver", "how": "SIGKILL", "when": "step 3 | 4",
    "what happened": "completed", "seconds": 3.4, "result": "passed",
}  # fmt: skip
ABOUT = {"date": "2026-01-01", "revision": "abc", "seed": "0"}


def cells() -> list[tuple[str, str]]:
    """Part and what is broken, of every cell."""
    nodes = (
        node
        for path in sorted(Path(__file__).parent.glob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
    )
    return [
        tuple(ast.literal_eval(argument) for argument in node.args)
        for node in nodes
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "cell"
    ]


def test_the_page_describes_every_cell_and_no_other():
    page = (REPO / "docs" / "chaos.md").read_text().partition(table.MARKS[0])[0]
    rows = [line.split("|")[1:3] for line in page.splitlines() if line.startswith("| ")][1:]
    assert sorted((part.strip(), broken.strip()) for part, broken in rows) == sorted(cells())
    assert len(cells()) > 15


def test_the_table_is_put_into_a_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"# Chaos\n\n{table.MARKS[0]}\nold\n{table.MARKS[1]}\nend\n")
    failed = {**ROW, "result": "failed", "part": "preprocess"}
    table.into_page(page, table.markdown(ABOUT, [ROW, failed]))
    text = page.read_text()
    assert "old" not in text
    assert text.endswith(f"{table.MARKS[1]}\nend\n")
    assert "1 of 2 passed" in text
    assert "| train | driver | SIGKILL | step 3 \\| 4 | completed | 3 | passed |" in text
    assert text.index("| preprocess |") < text.index("| train |")
    table.write(tmp_path, ABOUT, [ROW])
    assert (tmp_path / "table.json").exists()


@pytest.mark.parametrize("silent", [True, False])
def test_a_cut_wire_carries_nothing_and_then_all_again(tmp_path, silent):
    (tmp_path / "file").write_text("hello")
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline().split("port ")[1].split()[0])
        with Proxy(port) as proxy:

            def get(timeout: float = 60.0) -> bytes:
                with urlopen(f"http://127.0.0.1:{proxy.port}/file", timeout=timeout) as answer:
                    return answer.read()

            assert get() == b"hello"
            cut = threading.Thread(target=proxy.cut, args=(3.0, silent))
            cut.start()
            time.sleep(0.2)
            with pytest.raises((TimeoutError, ConnectionError, URLError, HTTPException)):
                get(timeout=0.5)
            cut.join()
            assert get() == b"hello"
    finally:
        server.kill()
        server.wait()


def test_an_injected_full_disk_is_full_until_there_is_room(tmp_path, monkeypatch):
    monkeypatch.setattr(disk.Disk, "_mount", lambda self, options: False)
    code = "import sys; open(sys.argv[1], 'w').write('x')"
    with disk.small_disk(tmp_path / "small", 10) as small:
        assert small.how == "injected ENOSPC"
        env = {**os.environ, **small.env, "PYTHONPATH": small.env["FULL_DISK_SITE"]}

        def write(folder: Path) -> str:
            command = [sys.executable, "-c", code, str(folder / "file")]
            return subprocess.run(command, env=env, capture_output=True, text=True).stderr

        assert not write(small.folder)
        small.fill()
        assert os.strerror(errno.ENOSPC) in write(small.folder)
        assert not write(tmp_path)
        small.grow()
        assert not write(small.folder)
