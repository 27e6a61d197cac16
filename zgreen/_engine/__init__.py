"""The thread side: what runs in the owning thread. Imports zmq, never gevent."""

from ._choose import choose as choose
