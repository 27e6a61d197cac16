"""Mistakes in zgreen/_hub."""

from __future__ import annotations

from .mutant import Mutant

_REGISTER = [
    Mutant("_hub/register.py", "        finally:\n            self._in_hand = []\n", "", "test_register.py", "native"),
    Mutant("_hub/register.py", "    gevent.sleep(0)  # gevent throws", "    pass  # gevent throws", "test_register.py", "native"),
]  # fmt: skip

_FORK = [
    Mutant("_hub/line.py", "        self._lock = _RLock()\n        for waiter", "        for waiter", "test_fork.py -k locks", "native"),
    Mutant("_hub/pump.py", "        self._past_lock = _RLock()\n        ", "        pass\n        ", "test_fork.py -k locks", "native"),
]  # fmt: skip

_QUEUES = [
    Mutant("_hub/queues.py", "            if message is None:\n                raise error\n", "            if True:\n                raise error\n", "test_queues.py", "", True),
    Mutant("_hub/queues.py", "        if error is not None and not self._", "        if error is not None or not self._", "test_queues.py", "", True),
]  # fmt: skip

MUTANTS: list[Mutant] = [*_REGISTER, *_FORK, *_QUEUES]
