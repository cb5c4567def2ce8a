"""Write the copies of tests that pytest keeps, in which assertions say more, without importing what the tests need.

pytest writes them when it imports the tests. Where several of its processes begin at the same time, each would write
them all.
"""

from pathlib import Path

import pytest
from _pytest.assertion import rewrite


class _Written:
    """A plugin of pytest that writes them before anything is collected, and ends there."""

    def pytest_sessionstart(self, session):
        state = session.config.stash[rewrite.assertstate_key]
        for path in sorted(Path(__file__).parent.rglob("*.py")):
            if path.name == "conftest.py" or any(map(path.match, session.config.getini("python_files"))):
                kept = rewrite.get_cache_dir(path) / f"{path.stem}{rewrite.PYC_TAIL}"
                if rewrite._read_pyc(path, kept) is None:
                    source, code = rewrite._rewrite_test(path, session.config)
                    kept.parent.mkdir(exist_ok=True)
                    rewrite._write_pyc(state, code, source, kept)
        pytest.exit("assertions are rewritten", returncode=0)


if __name__ == "__main__":
    raise SystemExit(pytest.main(["--quiet", "--noconftest"], plugins=[_Written()]))
