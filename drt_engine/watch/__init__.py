"""A folder that is followed while an instrument writes into it: new sweeps go into a campaign and its results."""

from drt_engine.watch.alarms import Alarm
from drt_engine.watch.follow import Options, Problem, Taken, Watch

__all__ = ["Alarm", "Options", "Problem", "Taken", "Watch"]
