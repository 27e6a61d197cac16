"""Where libzmq's functions are: in the very libzmq that pyzmq has loaded (any side, at import).

pyzmq's extension module links to libzmq, so the dynamic linker finds libzmq's names through it.
"""

from __future__ import annotations

import ctypes

NAMES = (
    "zmq_msg_init", "zmq_msg_init_size", "zmq_msg_init_data", "zmq_msg_data", "zmq_msg_size", "zmq_msg_more",
    "zmq_msg_copy", "zmq_msg_close", "zmq_msg_send", "zmq_msg_recv", "zmq_getsockopt", "zmq_errno",
)  # fmt: skip


def addresses() -> tuple[int, ...]:
    """The addresses of `NAMES`; an ImportError if this pyzmq does not give them."""
    try:
        from zmq.backend.cython import _zmq

        library = ctypes.CDLL(_zmq.__file__)
        found = tuple(ctypes.cast(getattr(library, name), ctypes.c_void_p).value for name in NAMES)
    except (ImportError, OSError, AttributeError) as error:
        raise ImportError(
            f"the native engine does not find libzmq's functions through pyzmq ({error}); "
            "use the Python engine: ZGREEN_ENGINE=python"
        ) from error
    return tuple(address for address in found if address)
