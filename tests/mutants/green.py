"""Mistakes in zgreen.green."""

from __future__ import annotations

from .mutant import Mutant

SOCKET = "test_green_socket.py test_green_ends.py test_green_poll.py test_green_faults.py"


def _in(file: str, tests: str, *mistakes: tuple[str, str]) -> list[Mutant]:
    return [Mutant(f"green/{file}", old, new, tests, "native") for old, new in mistakes]


_CORE = _in(
    "_core.py", SOCKET,
    ("        except BaseException:\n            self.turn = before\n            raise", "        except ZeroDivisionError:\n            raise"),
    ("            while lanes.pipe.try_pop(0) is not None:\n                pass  # the", "            pass  # the"),
    ("            return self.lanes\n        self.check()\n        raw", "            return self.lanes\n        raw"),
    ("            self.look()\n            if not lanes.pipe.writable:", "            if not lanes.pipe.writable:"),
    ("            raw.set(option, mark - ours)", "            pass"),
    ("                lanes.link.mailbox.send(lambda: self._wake_here(lanes))", "                pass"),
    ("        if self.turn is not None:\n            self.turn = _SEND", "        pass"),
    ("        self._handing.give_up(lanes)\n", ""),
    ("                except Empty:\n                    self.look()\n", "                except Empty:\n                    pass\n"),
    ("        self.closed = True\n        self._open_short_ways()", "        self.closed = True"),
) + _in(
    "_readiness.py", SOCKET,
    ("            self._signaler.drain()\n", ""),
    ("            self._signaler.drain()\n            self._ring_descriptor()", "            self._signaler.drain()"),
    ("            self.listen(self._ring_descriptor)\n            self._ring_descriptor()", "            self.listen(self._ring_descriptor)"),
    ("            lanes.link.breathe()", "            pass"),
    ("            lanes.watch_writable(Bell(lanes.link.mailbox, self.tell))\n", ""),
) + _in(
    "_handing.py", SOCKET,
    ("        finally:\n            self.calls.discard(call)", "        finally:\n            pass"),
    ("        except BaseException:\n            lanes.link.replies.discard(call.reply)\n            raise", "        except ZeroDivisionError:\n            raise"),
    ("        if taken:\n            lanes.link.replies.discard(call.reply)", "        if taken:\n            pass"),
    ("            self._take_back(lanes, call)\n            raise", "            raise"),
    ("                raise zmq.Again from None", "                return"),
) + _in(
    "_parts.py", SOCKET,
    ("        if not rest:\n            self.rest.pop(gevent.getcurrent(), None)\n", ""),
    ("if other.dead and (rest", "if (rest"),
    ("deque(frames[1:])", "deque(frames)"),
    ("self.begun.pop(gevent.getcurrent(), None)", "self.begun.get(gevent.getcurrent())"),
) + _in(
    "_life.py", SOCKET,
    ("        if self.terminating and not self._cores:\n            self._all_closed.set()", "        pass"),
    ("        self.terminating = True\n        self._wake_all()", "        self._wake_all()\n        self.terminating = True"),
    ("        if self._cores:\n            self._wait_until_all_closed()", "        pass"),
    ("        watcher.start(lambda: None)\n", ""),
    ("list(self._pumps.values()), {}\n        left", "list(self._pumps.values()), self._pumps\n        left"),
    ("            if count <= 0:", "            if count < 0:"),
    ("        if not left:\n            _start_thread(plain.term, ())", "        pass"),
) + _in(
    "_lanes.py", SOCKET,
    ("            if call.reply.error is not None or self.thread.error() is not None:\n                self.abandon()\n", "            self.abandon()\n"),
    ("        self.closed_by_user = True\n", ""),
    ("        self.wake()\n        if wait:", "        if wait:"),
    ("        if error is None and self._life.terminating:", "        if False:"),
) + _in(
    "_poll.py", SOCKET,
    ("            source.ignore()\n", "            pass\n"),
    ("                source.look()  # so", "                pass  # so"),
    ("            watcher.stop()\n            watcher.close()", "            pass"),
) + _in(
    "_context.py", SOCKET,
    ("            cls._instance = None\n", "            pass\n"),
    ("        self._life.abandon()", "        pass"),
) + _in(
    "_device.py", SOCKET,
    ("                capture.send_multipart(message)", "                pass"),
)  # fmt: skip

MUTANTS = [*_CORE]
