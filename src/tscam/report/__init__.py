"""An evaluation's files → one page for people. Knows nothing of networks; the files and the pictures are all it reads."""

from tscam.report.page import REPORT, write_report

__all__ = ["REPORT", "write_report"]
