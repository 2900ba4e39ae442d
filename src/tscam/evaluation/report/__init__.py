"""An evaluation's files → one page for people. Reads those files and the pictures alone; knows nothing of networks."""

from tscam.evaluation.report.page import REPORT, write_report

__all__ = ["REPORT", "write_report"]
