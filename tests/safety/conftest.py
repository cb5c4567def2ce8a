"""The command line, as the tests of jobs have it."""

from tests.jobs.conftest import cli, quick

__all__ = ["cli", "quick"]
