"""Sizes of memory as people write them."""

import re

import click

__all__ = ["MemorySize"]

_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4,
          "ki": 1024, "mi": 1024**2, "gi": 1024**3, "ti": 1024**4}  # fmt: skip
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?\s*", re.IGNORECASE)


class MemorySize(click.ParamType):
    """Bytes from 500M, 2GiB, 1.5g, 1000000; at least a megabyte."""

    name = "size"

    def convert(self, value, param, ctx):
        if isinstance(value, int):
            return value
        match = _SIZE.fullmatch(value)
        if match is None:
            self.fail(f"{value!r} is no size of memory; wanted e.g. 500M or 2GiB", param, ctx)
        size = int(float(match[1]) * _UNITS[(match[2] or "").lower()])
        if size < 1_000_000:
            self.fail(f"{value!r} is too little memory; at least 1M", param, ctx)
        return size
