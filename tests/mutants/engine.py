"""Mistakes in zgreen/_engine's Python files: the Python engine, and what both engines share."""

from __future__ import annotations

from .mutant import Mutant

ENGINE = "test_pipe.py test_commands.py test_python_engine.py -k 'not zmq_poll'"
EXPLORE = "test_explore_python.py"

ENDS = "test_commands.py test_ends.py"

_CLOSING = [
    Mutant("_engine/_closing.py", "        _free_names(pipe.socket, pipe.end.names)\n", "", ENDS),
    Mutant("_engine/_closing.py", "self._most = most_held(pipe) if pipe.end.asked else 0", "self._most = most_held(pipe)", ENDS),
    Mutant("_engine/_closing.py", "return min(sent, connections * (limit + encoded))", "return connections * (limit + encoded)", ENDS),
    Mutant("_engine/_closing.py", "if not limit or pipe.end.connections is None:", "if pipe.end.connections is None:", ENDS),
    Mutant("_engine/_closing.py", "            self.connections += 1\n", "            pass\n", ENDS),
    Mutant("_engine/_closing.py", "            if bound:\n                self.names.add(endpoint)\n", "", ENDS),
    Mutant("_engine/_closing.py", "        self.far = True\n        if bound", "        if bound", ENDS),
    Mutant("_engine/_closing.py", "math.ceil(linger * 1000)", "int(linger)", ENDS),
    Mutant("_engine/_closing.py", "        if self.pipe.end.subscribes:\n            linger = min(linger, _OF_A_SUB)\n", "", ENDS),
    Mutant("_engine/_closing.py", "        self.held = 0 if in_time else self._most", "        self.held = self._most", ENDS),
    Mutant("_engine/_closing.py", "        self.held = 0 if in_time else self._most", "        self.held = 0", ENDS),
    Mutant("_engine/_closing.py", "        if now + linger < self._due:", "        if True:", ENDS),
    Mutant("_engine/_closing.py", "self.alarm = now + linger + _GRACE", "self.alarm = now + linger", ENDS),
    Mutant("_engine/_closing.py", "    except zmq.Again:\n        return False\n", "    except zmq.Again:\n        return True\n", ENDS),
    Mutant("_engine/_closing.py", "        while len(self._spare) > 1:\n            self._spare.pop().close(linger=0)", "        while len(self._spare) > 1:\n            self._spare.pop()", ENDS),
    Mutant("_engine/_closing.py", "                    reserve.make_room(pair)", "                    pass", ENDS),
    Mutant("_engine/_closing.py", "        while len(self._spare) > 1:", "        while len(self._spare) > 2:", ENDS),
    Mutant("_engine/_farewells.py", "        self._alarm = min(self._alarm, farewell.alarm)\n\n", "\n", ENDS),
    Mutant("_engine/_farewells.py", "        self._loop.unwatch(farewell)\n        self._watched.discard(farewell)\n", "        self._loop.unwatch(farewell)\n", ENDS),
    Mutant("_engine/_farewells.py", "if farewell.alarm <= now]:", "if farewell.alarm > now]:", ENDS),
    Mutant("_engine/_farewells.py", "            farewell.give_up()\n            self._tell(farewell)\n\n    def leave", "            self._tell(farewell)\n\n    def leave", ENDS),
    Mutant("_engine/_farewells.py", "        self.reserve.drop()\n        late", "        late", ENDS),
    Mutant("_engine/_farewells.py", "            if not self._awaited:\n                self._alarm = math.inf\n", "", ENDS),
    Mutant("_engine/core.hpp", "while (events.empty() && timeout != 0);", "while (false);", "test_core.py", ""),
]  # fmt: skip

_COMMANDS = [
    Mutant("_engine/core_pipe.hpp", "== Overflow::DropOldest && came &&", "== Overflow::DropOldest &&", "test_pipe.py -k drops_nothing", "native"),
    Mutant("_engine/_native_state.pxi", "        if self.pipe is not NULL and getpid() == self.pid:", "        if self.pipe is not NULL:", "test_fork.py -k not_freed", "native"),
    Mutant("_engine/_commands.py", "        pipe.finished = True\n        if error", "        if error", ENDS),
    Mutant("_engine/_commands.py", "if first and not pipe.pending():", "if not pipe.pending():", ENDS, "native"),
    Mutant("_engine/_commands.py", "if first and not pipe.pending():", "if first:", ENDS),
    Mutant("_engine/_commands.py", "        left = pipe.withdraw()\n", "        left = []\n", "test_commands.py -k cut_short", quick=True),
    Mutant("_engine/_commands.py", "            reply.complete(unsent)\n", "            reply.complete(Unsent(len(left), 0))\n", ENDS),
    Mutant("_engine/_commands.py", "end.asked = end.asked or linger > 0", "end.asked = linger > 0", ENDS),
    Mutant("_engine/_commands.py", "        pipe.flushes = []\n        _ring_all(pipe)\n", "        pipe.flushes = []\n", "test_commands.py -k bells", quick=True),
    Mutant("_engine/_commands.py", "            _ring_all(pipe)  # foreign", "            pass  # foreign", "test_python_engine.py -k error_in_the_loop", quick=True),
    Mutant("_engine/_commands.py", "            self._farewells.tell_all()  # before", "            pass  # before", ENDS),
    Mutant("_engine/_commands.py", "            self._monitors.closing(pipe)\n            pipe.socket", "            pipe.socket", ENDS),
    Mutant("_engine/_commands.py", "for reply in pipe.end.replies + [", "for reply in [", ENGINE),
    Mutant("_engine/_commands.py", "        if self._owns_context:\n            self._context.term()\n", "", ENGINE),
    Mutant("_engine/_commands.py", "        if self.ended:\n            # it may", "        if False:\n            # it may", "test_python_engine.py -k mail_after", quick=True),
    Mutant("_engine/_commands.py", "if self._stops or pipe.finished:", "if pipe.finished:", "test_python_engine.py -k behind_a_stop", quick=True),
    Mutant("_engine/_commands.py", "if self._stops or pipe.finished:", "if self._stops:", "test_python_engine.py -k never_opened", quick=True),
    Mutant("_engine/_commands.py", "            pipe.fd = -1\n            socket.close(linger=0)\n            raise", "            pipe.fd = -1\n            raise", ENGINE),
    Mutant("_engine/_commands.py", "            pipe.fd = -1\n            socket.close(linger=0)\n            raise", "            socket.close(linger=0)\n            raise", ENGINE),
    Mutant("_engine/_commands.py", "        self._touch(pipe)\n        return pipe.socket", "        return pipe.socket", "test_python_engine.py -k eaten", quick=True),
    Mutant("_engine/_commands.py", "pipe.settled + pipe.pending()", "pipe.sent + pipe.pending()", ENGINE),
    Mutant("_engine/_commands.py", "pipe.flushes.append((pipe.settled + pipe.pending(), reply))", "pipe.flushes.append((pipe.settled, reply))", ENGINE),
    Mutant("_engine/_commands.py", "pipe.flushes[0][0] <= pipe.settled", "pipe.flushes[0][0] < pipe.settled", ENGINE),
    Mutant("_engine/_commands.py", "                pipe.flushes.remove((target, waiting))\n", "", ENGINE),
    Mutant("_engine/_commands.py", "                waiting.complete()\n                break", "                break", ENGINE),
    Mutant("_engine/_commands.py", "        self._monitors.closing(pipe)\n        del self._by_fd", "        del self._by_fd", "test_monitor.py"),
    Mutant("_engine/_commands.py", "return not self._farewells and not self._pipes()", "return not self._pipes()", "test_commands.py -k stop_waits", quick=True),
    Mutant("_engine/_commands.py", "            reply.complete(error=zmq.ZMQError(zmq.ENOTSOCK))\n        pipe.flushes = []", "            pass\n        pipe.flushes = []", ENGINE),
    Mutant("_engine/_commands.py", "        pipe.flushes = []\n        _ring_all(pipe)", "        pipe.flushes = []", ENGINE),
    Mutant("_engine/_commands.py", "        self._hub.send(self._on_end)\n        self._refuse_mail()\n", "        self._hub.send(self._on_end)\n", ENGINE),
    Mutant("_engine/_commands.py", "_DEFAULT_LINGER if milliseconds < 0", "_DEFAULT_LINGER if milliseconds <= 0", "test_commands.py -k linger_of_its_own", quick=True),
]  # fmt: skip

_PIPE = [
    Mutant("_engine/_pipe.py", "len(self.outgoing) + reserved >= self.out_maxsize", "len(self.outgoing) + reserved > self.out_maxsize", "test_commands.py -k queue_of_one", quick=True),
    Mutant("_engine/_pipe.py", "        if self.finished:\n            return self._take_back(items)\n", "", "test_python_engine.py -k races_with_the_end", quick=True),
    Mutant("_engine/_pipe.py", "            self.idle = False\n            self.owes_ring = True", "            self.owes_ring = True", "test_python_engine.py -k rings_once", quick=True),
    Mutant("_engine/_pipe.py", "            self.owes_ring = True  # before: the turn that this asks for pays it\n            self._mailbox.send(self)", "            self._mailbox.send(self)\n            self.owes_ring = True", EXPLORE),
    Mutant("_engine/_pipe.py", "if len(self.incoming) <= self.low:", "if len(self.incoming) < self.low:", ENGINE),
    Mutant("_engine/_pipe.py", "            self.starved = False\n            self._mailbox.send(self)\n\n", "            self._mailbox.send(self)\n\n", ENGINE),
    Mutant("_engine/_pipe.py", "if len(self.incoming) <= reserved:\n            return None\n        message = None", "if len(self.incoming) < reserved:\n            return None\n        message = None", ENGINE),
    Mutant("_engine/_pipe.py", "if len(self.incoming) <= reserved:\n            return None\n        try:", "if len(self.incoming) < reserved:\n            return None\n        try:", ENGINE),
    Mutant("_engine/_pipe.py", "        self.finished = True\n        self.takes", "        self.takes", ENGINE),
    Mutant("_engine/_pipe.py", "        self.incoming = deque()\n\n    # -", "\n    # -", "test_fork.py"),
    Mutant("_engine/_pipe.py", "        self.open = False\n        self.incoming", "        self.incoming", "test_fork.py test_pipe.py"),
    Mutant("_engine/_pipe.py", "len(self.incoming) >= self.in_maxsize:\n            self.dropped", "len(self.incoming) > self.in_maxsize:\n            self.dropped", "test_python_engine.py -k overflow", quick=True),
    Mutant("_engine/_pipe.py", "            except IndexError:  # it has just been got\n                self.dropped -= 1", "            except IndexError:  # it has just been got\n                pass", ENGINE),
    Mutant("_engine/_pipe.py", "if not self.open or self.finished:  # a push", "if not self.open:  # a push", ENGINE),
    Mutant("_engine/_pipe.py", "pending < self.out_maxsize and (not self.owes_ring", "pending <= self.out_maxsize and (not self.owes_ring", ENGINE),
    Mutant("_engine/_pipe.py", "            except IndexError:  # try_push took its own back\n                break\n", "            except ZeroDivisionError:\n                break\n", ENGINE),
]  # fmt: skip

_PYTHON = [
    Mutant("_engine/_python.py", "pipe.deadline = min(pipe.deadline, deadline) if pipe.closing else deadline", "pipe.deadline = deadline", ENDS),
    Mutant("_engine/_python.py", "        self._closing.add(pipe)\n", "", "test_python_engine.py -k gives_up", quick=True),
    Mutant("_engine/_python.py", "            self._closing.discard(target)\n", "", ENGINE),
    Mutant("_engine/_python.py", "        pipe.closing = True\n", "", ENGINE),
    Mutant("_engine/_python.py", "            self.wakeups += timeout != 0\n", "", ENGINE),
    Mutant("_engine/_python.py", "                    self.mailbox.signaler.drain()\n", "                    pass\n", ENGINE),
    Mutant("_engine/_python.py", "        finally:\n            self.mailbox.asleep = False\n", "        finally:\n            pass\n", ENGINE),
    Mutant("_engine/_python.py", "if pipe.deadline <= now]:\n", "if pipe.deadline < now - 1]:\n", ENGINE),
    Mutant("_engine/_python.py", "            del self._stalled[pipe]\n", "", ENGINE),
    Mutant("_engine/_python.py", "+ list(self._stalled.values())\n", "\n", ENGINE),
    Mutant("_engine/_python.py", "        if pipe.outgoing:\n            pipe.owes_ring = True\n", "", EXPLORE),
    Mutant("_engine/_python.py", "if pipe.closing and not pipe.outgoing:", "if pipe.closing:", ENGINE),
    Mutant("_engine/_python.py", "                self._receive_some(pipe)\n                events = int(pipe.socket.get(zmq.EVENTS))", "                self._receive_some(pipe)", ENGINE),
    Mutant("_engine/_python.py", "        pipe.idle = pipe.starved = True\n        credit = pipe.credit() > 0\n", "        credit = pipe.credit() > 0\n        pipe.idle = pipe.starved = True\n", EXPLORE),
    Mutant("_engine/_python.py", "        if credit:\n            pipe.starved = False\n", "", ENGINE),
    Mutant("_engine/_python.py", "        if pending:\n            pipe.idle = False\n", "", "test_python_engine.py -k ring", quick=True),
    Mutant("_engine/_python.py", "            writable = not self._stall(pipe)\n        else:\n            pipe.stalls = 0", "            writable = not self._stall(pipe)", ENGINE),
    Mutant("_engine/_python.py", "pipe.stalls < 2", "pipe.stalls < 1", ENGINE),
    Mutant("_engine/_python.py", "            pipe.owes_ring = False  # first: the waiter that is told looks at it\n", "", ENGINE),
    Mutant("_engine/_python.py", "if len(pipe.outgoing) < pipe.out_maxsize and", "if len(pipe.outgoing) <= pipe.out_maxsize and", ENGINE),
    Mutant("_engine/_python.py", "while outgoing and done < _TURN:", "while outgoing and done <= _TURN:", "test_python_engine.py -k turns", quick=True),
    Mutant("_engine/_python.py", "(error.errno == zmq.EFSM and pipe.kind == _REQ)", "False", "test_python_engine.py -k req_waits", quick=True),
    Mutant("_engine/_python.py", "                raise\n            # With its", "                return error\n            # With its", ENGINE),
    Mutant("_engine/_python.py", "return error.with_traceback(None)", "return error", "test_python_engine.py -k not_kept_by", quick=True),
    Mutant("_engine/_python.py", "        pipe.sent_bytes += len(frames)", "        pipe.sent_bytes += 0 * len(frames)", "test_statistics.py"),
    Mutant("_engine/_python.py", "            pipe.refused += 1\n", "            pass\n", "test_python_engine.py -k refuse", quick=True),
    Mutant("_engine/_python.py", "        elif error is not None:\n            self._hub.send(", "        elif False:\n            self._hub.send(", "test_python_engine.py -k refuse", quick=True),
    Mutant("_engine/_python.py", "                pipe.peak_waiting = max(pipe.peak_waiting, len(pipe.incoming))\n", "", "test_pipe.py -k counts"),
    Mutant("_engine/_python.py", "if i and error.errno == zmq.EAGAIN and pipe.kind != _PAIR:", "if error.errno == zmq.EAGAIN and pipe.kind != _PAIR:", ENGINE),
    Mutant("_engine/_python.py", "if i and error.errno == zmq.EAGAIN and pipe.kind != _PAIR:", "if i and error.errno == zmq.EAGAIN:", ENGINE),
    Mutant("_engine/_python.py", "for rest in range(i + 1, last + 1):", "for rest in range(i, last + 1):", ENGINE),
    Mutant("_engine/_python.py", "or error.errno == zmq.EFSM:\n            return None", ":\n            return None", ENGINE),
    Mutant("_engine/_python.py", "    pipe.parts = []\n    return", "    return", ENGINE),
]  # fmt: skip

_LEAVES = [
    Mutant("_engine/_mailbox.py", "            self._items.append(item)\n            if self.asleep:\n", "            asleep = self.asleep\n            self._items.append(item)\n            if asleep:\n", EXPLORE),
    Mutant("_engine/_mailbox.py", "                self.asleep = False\n                self.signaler.ring()", "                self.signaler.ring()", "test_mailbox.py", "", quick=True),
    Mutant("_engine/_mailbox.py", "            self.signaler.ring()\n            raise", "            raise", "test_mailbox.py test_signals.py", ""),
    Mutant("_engine/_mailbox.py", "        self.asleep = True\n        if self._items:\n            self.asleep = False\n            return False\n        return True", "        if self._items:\n            return False\n        self.asleep = True\n        return True", "test_mailbox.py", "", quick=True),
    Mutant("_engine/_mailbox.py", "            self.asleep = False\n            return False", "            return False", "test_mailbox.py", "", quick=True),
    Mutant("_engine/_mailbox.py", "            self._rung = True\n            self.mailbox", "            self.mailbox", "test_mailbox.py", "", quick=True),
    Mutant("_engine/_mailbox.py", "            self._rung = False\n            raise", "            raise", "test_mailbox.py", "", quick=True),
    Mutant("_engine/_mailbox.py", "        self._rung = False\n        self._look()", "        self._look()\n        self._rung = False", "test_mailbox.py", "", quick=True),
    Mutant("_engine/_mailbox.py", "        self.error = error\n        self.mailbox.send(self)", "        self.mailbox.send(self)\n        self.error = error", "test_mailbox.py", ""),
    Mutant("_engine/_signaler.py", "        except BlockingIOError:  # it is full", "        except ZeroDivisionError:  # it is full", "test_signaler.py", "", quick=True),
    Mutant("_engine/_signaler.py", "            if self._fd >= 0:\n                _close(self._fd)", "            pass", "test_signaler.py", "", quick=True),
    Mutant("_engine/_signaler.py", "            if self._fd >= 0:\n                _close", "            if True:\n                _close", "test_signaler.py", "", quick=True),
    Mutant("_engine/_signaler.py", "self._pair[0].recv(4096)", "self._pair[0].recv(1)", "test_signaler.py", "", quick=True),
    Mutant("_engine/_signaler.py", "            for end in self._pair:\n                end.close()", "            self._pair[0].close()", "test_signaler.py", ""),
    Mutant("_engine/_poller.py", "math.ceil(timeout * 1000)", "int(timeout * 1000)", "test_poller.py", "", quick=True),
    Mutant("_engine/_poller.py", "self._epoll.poll(-1 if timeout is None else timeout)", "self._epoll.poll(-1)", "test_poller.py", "", quick=True),
    Mutant("_engine/_poller.py", "        self._fds.discard(fd)", "        pass", "test_poller.py", "", quick=True),
    Mutant("_engine/_monitoring.py", "            del self._watched_by[pair]\n            _stop(pipe)", "            del self._watched_by[pair]", "test_monitor.py"),
    Mutant("_engine/_monitoring.py", "            del self._pair_of[watched]\n            _stop(watched)", "            del self._pair_of[watched]", "test_monitor.py"),
    Mutant("_engine/_monitoring.py", "            del self._pair_of[watched]\n", "", "test_monitor.py"),
    Mutant("_engine/_monitoring.py", "            del self._watched_by[pair]\n", "", "test_monitor.py"),
    Mutant("_engine/_setup.py", "        socket.close(linger=0)\n", "        pass\n", ENGINE),
    Mutant("_engine/_setup.py", "        socket.set(zmq.REQ_RELAXED, 0)", "        pass", "test_request.py"),
    Mutant("_engine/_setup.py", "    socket.set(zmq.REQ_CORRELATE, 1)\n", "", "test_request.py"),
    Mutant("_engine/_setup.py", "if type(one) is bytes and len(one) >= _LARGE else one", "if False else one", ENGINE),
]  # fmt: skip

_PIPE_STATE = [
    Mutant("_engine/_pipe_state.py", "return self._mailbox.asleep and not len(self._mailbox)", "return self._mailbox.asleep", "test_python_engine.py -k quiet"),
    Mutant("_engine/_pipe_state.py", "if self.fd < 0 or zmq.backend.zmq_poll([(self.fd, _POLLIN)], 0):", "if self.fd < 0:", "test_python_engine.py -k quiet"),
    Mutant("_engine/_pipe_state.py", "len(self.outgoing) < self.ahead", "len(self.outgoing) <= self.ahead", "test_pipe.py test_explore_python.py"),
    Mutant("_engine/_pipe_state.py", "self.low = self.in_maxsize / 2  #", "self.low = self.in_maxsize / 2 - 1  #", ENGINE),
    Mutant("_engine/_pipe_state.py", "self.sent_bytes, self.received_bytes,", "self.received_bytes, self.sent_bytes,", "test_statistics.py"),
    Mutant("_engine/_pipe_state.py", "self.peak_pending, self.peak_waiting, self", "self.peak_waiting, self.peak_pending, self", "test_statistics.py"),
    Mutant("_engine/_pipe_state.py", "self.largest_send, self.largest_receive, self.rings", "self.largest_receive, self.largest_send, self.rings", "test_statistics.py"),
]  # fmt: skip

_PROXY = [
    Mutant("_engine/_proxy.py", old, new, "test_proxy.py")
    for old, new in (
        ("            self._end_context()\n            self.gone.release()", "            self.gone.release()\n            self._end_context()"),
        ("            _say(control, LEFT)", "            pass"),
        ("                    control.send_multipart([bytes(8)] * COUNTS, zmq.DONTWAIT)", "                    pass"),
        (" and not (error.errno == zmq.EAGAIN and not control.poll(0, zmq.POLLOUT))", ""),
        ("            self._block_signals()\n", ""),
        ("[(control, zmq.POLLIN), (idle, zmq.POLLIN)]", "[(control, zmq.POLLIN)]"),
        ("((zmq.LINGER, self._linger), *side.options)", "(*side.options, (zmq.LINGER, self._linger))"),
        ("            control.linger = 0\n", ""),
        ("            self.failure = error\n", "            pass\n"),
        ("        finally:\n            control.close()", "        finally:\n            pass"),
    )
]  # fmt: skip

MUTANTS = [*_CLOSING, *_COMMANDS, *_PIPE, *_PYTHON, *_LEAVES, *_PIPE_STATE, *_PROXY]
