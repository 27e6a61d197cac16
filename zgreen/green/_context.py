"""Context: the zmq.Context whose sockets are green."""

from __future__ import annotations

import sys
from typing import Any

import zmq

from ._life import ContextLife
from ._socket import Socket


class Context(zmq.Context[Socket]):
    """As :class:`zmq.Context`, with sockets that never block the hub. See pyzmq for its methods.

    The first socket that is used in a thread starts an owning thread for that thread's hub; it ends with the context.
    """

    _socket_class = Socket
    _repr_cls = "zmq.green.Context"
    _instance: Any = None  # not that of the base class
    _life: ContextLife

    def __new__(cls, *args: Any, **kwargs: Any) -> Context:
        self = super().__new__(cls, *args, **kwargs)
        object.__setattr__(self, "_life", ContextLife())  # here, because subclasses may skip our constructor
        return self

    @classmethod
    def instance(cls, io_threads: int = 1) -> Any:
        """The context of the process; a new one if that of before is being terminated. See pyzmq."""
        if cls._instance is not None and cls._instance._life.terminating:
            cls._instance = None
        return super().instance(io_threads)

    def socket(self, *args: Any, **kwargs: Any) -> Any:
        """See :meth:`zmq.Context.socket`.

        :raises zmq.ContextTerminated: :meth:`term` has begun.
        :raises zmq.ZMQError: ENOTSOCK in the child of a fork: the context is the parent's.
        """
        self._life.check_process()
        if self._life.terminating and not self.closed:
            raise zmq.ContextTerminated
        return super().socket(*args, **kwargs)

    def term(self) -> None:
        """Terminate the context: those that wait for its sockets get ETERM, and this returns when all its sockets are
        closed and what they had to send is sent, or their LINGER is over. Other greenlets run meanwhile.

        Call it in a greenlet. It does nothing in the child of a fork.
        """
        if not self.closed:
            self._life.terminate(super().term)

    def __del__(self) -> None:
        if self._shadow or sys.is_finalizing() or getattr(self, "closed", True):
            return
        self._life.abandon()
