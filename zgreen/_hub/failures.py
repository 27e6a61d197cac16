"""Failures: what the user and the statistics learn of messages of a channel that were not sent, and of its errors. Hub
side; the hub's thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import zmq

from .reports import Reports
from .statistics import Tally, describe

logger = logging.getLogger("zgreen")


class Failures:
    """The failures of one channel."""

    def __init__(self, name: Callable[[], str], reports: Reports, tally: Tally, note: Callable[[str], None]) -> None:
        """*name* gives the channel's name for the log. *note* is called with each error, in words, for the pump."""
        self._name = name
        self._reports = reports
        self._tally = tally
        self._note = note
        self.on_error: Callable[[BaseException, Any], Any] | None = None  # any thread writes

    def not_sent(self, error: BaseException, message: Any) -> None:
        """Report a message that will not be sent."""
        self._reports.add(self._tell, error, message)

    def refused(self, error: BaseException) -> None:
        """Count a refusal of libzmq's. A message that was left when the channel ended is none."""
        if isinstance(error, zmq.ZMQError):
            self._tally.refused(error.errno)
            self.note(error)

    def note(self, error: BaseException) -> None:
        """Keep *error* as the last one, for the statistics."""
        text = self._tally.last_error = describe(error)
        self._note(f"{self._name()}: {text}")

    def _tell(self, error: BaseException, message: Any) -> None:
        on_error = self.on_error
        if on_error is None:
            logger.warning("%s: a message was not sent: %s", self._name(), error)
            return
        try:
            on_error(error, message)
        except Exception:
            logger.exception("%s: on_error has failed", self._name())
