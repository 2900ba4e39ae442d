"""What a verb may use of the machine. Imports nothing: the command line reads it for `--help`."""

from typing import Literal

Precision = Literal["fp32", "bf16", "fp16"]
