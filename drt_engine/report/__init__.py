"""A report on a campaign in one file that opens in a browser, without network."""

from drt_engine.report.contents import Contents, Part, gather
from drt_engine.report.page import Remarks, written

__all__ = ["Contents", "Part", "Remarks", "gather", "written"]
