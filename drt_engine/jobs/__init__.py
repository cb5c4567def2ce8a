"""Jobs that invert whole files: in blocks that are kept once they are done, by any number of workers."""

from drt_engine.jobs.job import JobSummary, Progress, invert_file
from drt_engine.jobs.options import JobOptions

__all__ = ["JobOptions", "JobSummary", "Progress", "invert_file"]
