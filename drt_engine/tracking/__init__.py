"""Processes followed along voltage, cycle, time or temperature, from the peaks of each spectrum."""

from drt_engine.tracking.changes import change
from drt_engine.tracking.linking import Motion
from drt_engine.tracking.options import Known, TrackingOptions
from drt_engine.tracking.tracks import EVENTS, Tracks, track

__all__ = ["EVENTS", "Known", "Motion", "TrackingOptions", "Tracks", "change", "track"]
