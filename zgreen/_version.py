"""The one place that holds the version: setup.cfg has it read as text, without importing the package."""

__version__ = "0.2.0"
