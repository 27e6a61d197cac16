"""Mistakes in zgreen/_hub."""

from __future__ import annotations

from .mutant import Mutant

LINE = "test_line.py test_select.py test_fairness.py test_sharing.py"
EXIT = "test_exit.py test_pump.py"


def _in(file: str, tests: str, *mistakes: tuple[str, str], quick: bool = False) -> list[Mutant]:
    return [Mutant(f"_hub/{file}", old, new, tests, "native", quick) for old, new in mistakes]


_WAIT = _in(
    "wait.py", "test_line.py test_channel.py",
    ("        if expired is not timer:\n            raise\n", ""),
    ("        try:\n            timer.close()  # cancel", "        try:\n            pass  # cancel"),
    ("math.ceil(min(left, _LONGEST_POLL) * 1000)", "math.floor(min(left, _LONGEST_POLL) * 1000)"),
    ("        mailbox.signaler.drain()\n    mailbox.asleep", "    mailbox.asleep"),
    ("    mailbox.asleep = False\n    while", "    while"),
    ("                if waiter in self._waiters:\n                    self._waiters.remove(waiter)\n", "                pass\n"),
    ("            self.tell()\n            raise", "            raise"),
    ("            except TimedOut:\n                return bool(predicate())", "            except TimedOut:\n                return False"),
)  # fmt: skip

_LINE = _in(
    "line.py", LINE,
    ("                self._tell_pipe()\n            # The attempt", "                pass\n            # The attempt"),
    ("            while not (self._waiters[0] is waiter and attempt()):", "            while not attempt():"),
    ("            try:\n                self._pass_on(waiter)\n            except BaseException:  # a signal handler's: see `wait`\n                self._pass_on(waiter)\n                raise", "            self._pass_on(waiter)"),
    ("        if waiter.foreign or not self._dispatching:  # `dispatch` goes on to the next head by itself\n            self.nudge()", "        pass"),
    ("                    self._now -= 1\n                    self._waited += now\n            self._tell_pipe()", "                    self._now -= 1\n                    self._waited += now"),
    ("                if waiter.counted:\n                    self._now -= 1", "                if waiter.counted:\n                    pass"),
    ("        self._listen(bell, waiting + self._turn)", "        self._listen(bell, waiting)"),
    ("            return 0 if self._link.here() else len(self._waiters) + 1", "            return 0"),
    ("        if self._turn and not reserved and self._link.here():\n            self._set_turn(False)\n", ""),
    ("            self._tell_pipe()\n        self.nudge()  # after", "            self._tell_pipe()\n        # after"),
    ("                    self._leave(waiter)\n                    break\n        self.nudge()", "                    self._leave(waiter)\n                    break"),
    ("        finally:\n            self._set_turn(False)\n", "        else:\n            self._set_turn(False)\n"),
    ("            loop.run_callback(self.nudge)  # once more", "            pass  # once more"),
    ("        finally:\n            self._dispatching = False\n            head", "        finally:\n            head"),
    ("            if head is not None and not head.foreign:\n                self.nudge()", "            pass"),
    ("        except IndexError:\n            return None", "        except ZeroDivisionError:\n            return None"),
) + _in(
    "line.py", "test_fork.py -k 'locks or threads_of'",
    ("        self._lock = _RLock()\n        for waiter", "        for waiter"),
    ("        self._waiters = deque(waiter for waiter in self._waiters if not isinstance(waiter, _ThreadWaiter))\n", ""),
)  # fmt: skip

_LINK = _in(
    "link.py", "test_link.py test_fairness.py test_signals.py test_pump.py test_channel.py",
    ("        if not self._turned and self.may_wait():\n            gevent.sleep(0)\n", ""),
    ("        self._turned = False\n        if self._marking", "        if self._marking"),
    ("            self._watcher.stop()\n            self._watcher.close()\n", ""),
    ("            self.replies.discard(reply)\n            then", "            then"),
    ("                    with contextlib.suppress(BaseException):\n                        item()", "                    item()"),
    ("            if inbox and inbox[0] is item:\n                inbox.popleft()", "            pass"),
    ("        elif inbox or not self.mailbox.sleeping():\n            self.mailbox.signaler.ring()", "        elif inbox:\n            self.mailbox.signaler.ring()"),
    ("                self.mailbox.signaler.poke()\n", "                pass\n"),
    ("            self.mailbox.signaler.drain()\n            self.take_mail()", "            self.take_mail()\n            self.mailbox.signaler.drain()"),
    ("        self.look(inbox)\n        self.mailbox.move(count, inbox)", "        self.mailbox.move(count, inbox)\n        self.look(inbox)"),
    ("        self.wakeups += 1\n", ""),
) + _in(
    "link.py", "test_fork.py",
    ("        self.stop()\n        self._inbox.clear()", "        self.stop()"),
)  # fmt: skip

_QUEUES = _in(
    "queues.py", "test_line.py test_channel.py",
    ("        if self._pipe.try_push(frames, reply, len(self.line)):", "        if self._pipe.try_push(frames, reply, 0):"),
    ("            message = look(0)  # the last one may have come just before the end\n            if message is None:\n                raise error\n            return True", "            raise error"),
    ("        if error is not None and not self._source.waiting():\n            raise error", "        if error is not None:\n            raise error"),
    ("self._first(self._source.try_pop, self.line.claim(), block, timeout)", "self._first(self._source.try_pop, 0, block, timeout)"),
    ("self._first(self._source.try_peek, self.line.reserved(), block, timeout)", "self._first(self._source.try_peek, 0, block, timeout)"),
    ("return not block or timeout == 0 or not self._link.may_wait()", "return not block or timeout == 0"),
    ("return not block or timeout == 0 or not self._link.may_wait()", "return not block or not self._link.may_wait()"),
    ("        return None if self._link.exiting else self._error()", "        return self._error()"),
    ("return self._source.waiting() > self.line.reserved() or", "return self._source.waiting() > 0 or"),
)  # fmt: skip

_QUEUES_TOO = [
    Mutant("_hub/queues.py", "            if message is None:\n                raise error\n", "            if True:\n                raise error\n", "test_queues.py", "", True),
    Mutant("_hub/queues.py", "        if error is not None and not self._", "        if error is not None or not self._", "test_queues.py", "", True),
]  # fmt: skip

_LIFE = _in(
    "life.py", "test_life.py",
    ("            if self.now >= life:\n                return False\n", ""),
    ("            if self.now >= life:", "            if self.now > life:"),
    ("self.now is Life.CLOSING and self._finished():", "False:"),
    ("        error = self.get_error()\n        if error is None and self.now is Life.CLOSING:", "        error = self.get_error()\n        if False:"),
    ("        return error or self._thread.error()\n", "        return error\n"),
    ("        if isinstance(cause, (ClosedError, BrokenError)):", "        if False:"),
) + _in(
    "life.py", "test_fork.py -k locks",
    ("        self.lock = _RLock()\n        self._make_error = make_error", "        self._make_error = make_error"),
)  # fmt: skip

_LANES = _in(
    "lanes.py", "test_channel.py test_tracing.py test_pump.py",
    ("        except BaseException:  # refused, or the caller was killed while it waited\n            self.abandon()\n            raise", "        except ZeroDivisionError:\n            raise"),
    ("            self.thread.post(self.engine.close, self.pipe, 0.0, 0.0)\n", "            pass\n"),
    ("            self.link.replies.discard(reply)\n            raise", "            raise"),
    ("                self.failures.refused(reply.error)\n", "                pass\n"),
    ("                self.thread.post(self.engine.forget_flush, self.pipe, call.reply)\n", "                pass\n"),
    ("        self.pipe.open = False\n        if self.feeder", "        if self.feeder"),
    ("        self.sends.line.nudge()\n        self.thread.send(reply, self.engine.close", "        self.thread.send(reply, self.engine.close"),
    ("        self.thread.leave(self)\n        if self.thread.error() is None:", "        if self.thread.error() is None:"),
    ("        if block and self.pipe.due():\n            self.link.breathe()\n        (self.tracer", "        (self.tracer"),
    ("        if block and self.pipe.due():\n            self.link.breathe()\n        message", "        message"),
)  # fmt: skip

_FAILURES = _in(
    "failures.py", "test_channel.py test_statistics.py",
    ("        if isinstance(error, zmq.ZMQError):\n", "        if True:\n"),
    ("            self._tally.refused(error.errno)\n", ""),
    ("            self.note(error)\n", ""),
    ("        self._note(f", "        print(f"),
    ("        except Exception:\n            logger.exception(\"%s: on_error", "        except ZeroDivisionError:\n            logger.exception(\"%s: on_error"),
)  # fmt: skip

_SHUTDOWN = _in(
    "shutdown.py", EXIT,
    ("        if self._greenlet is None and thread.state.now is not Life.ENDED:", "        if thread.state.now is not Life.ENDED:"),
    ("            thread.link.hub.loop.run_callback(thread.run_over)  # give it up\n", ""),
    ("        if not (ends.wait(deadline) and ends.stop_thread(deadline)):\n            ends.complain()\n        thread.unsent_outside", "        ends.wait(deadline)\n        thread.unsent_outside"),
    ("            count += member.pending() if value is None else value.total", "            count += 0 if value is None else value.total"),
    ("        thread.link.exiting = park\n", "        pass\n"),
    ("        for _ in range(2):  # in place", "        for _ in range(1):  # in place"),
    ("        link.reports.tell_now(late.left() or 0.0)\n", ""),
) + _in(
    "shutdown.py", "test_fork.py test_exit.py",
    ("    _watched.clear()\n", ""),
    ("        hub.loop.reinit()\n", "        pass\n"),
    ("kwargs={\"park\": False}", "kwargs={\"park\": True}"),
)  # fmt: skip

_REGISTER = _in(
    "register.py", "test_register.py",
    ("        self._in_hand = self._in_hand[1:]  # empty", "        self._in_hand = [item, *self._in_hand][1:]  # empty"),
    ("            self._in_hand = self._in_hand[done:]\n", "            self._in_hand = self._in_hand[min(done, 1):]\n"),
    (" and not _is_end(item) and", " and"),
    ("            return len(messages) - number\n", "            return 0\n"),
    ("    gevent.sleep(0)  # gevent throws", "    pass  # gevent throws"),
)  # fmt: skip

MUTANTS = [*_WAIT, *_LINE, *_LINK, *_QUEUES, *_QUEUES_TOO, *_LIFE, *_LANES, *_FAILURES, *_SHUTDOWN, *_REGISTER]
