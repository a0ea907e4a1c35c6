"""The version of xortune."""

VERSION = "0.1.0"
