"""Mistakes in zgreen/_hub."""

from __future__ import annotations

from .mutant import Mutant

LINE = "test_line.py test_select.py test_fairness.py test_sharing.py"


def _in(file: str, tests: str, *mistakes: tuple[str, str], quick: bool = False) -> list[Mutant]:
    return [Mutant(f"_hub/{file}", old, new, tests, "native", quick) for old, new in mistakes]


_WAIT = _in(
    "wait.py", "test_wait.py test_line.py",
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
    "lanes.py", "test_channel.py test_fairness.py test_flow.py test_tracing.py test_pump.py",
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
    "shutdown.py", "test_pump.py test_exit.py",
    ("        if self._greenlet is None and thread.state.now is not Life.ENDED:", "        if thread.state.now is not Life.ENDED:"),
    ("            thread.link.hub.loop.run_callback(thread.run_over)  # give it up\n", ""),
    ("        if not (ends.wait(deadline) and ends.stop_thread(deadline)):\n            ends.complain()\n        thread.unsent_outside", "        ends.wait(deadline)\n        thread.unsent_outside"),
    ("            count += member.pending() if value is None else value.total", "            count += 0 if value is None else value.total"),
    ("        thread.link.exiting = park\n", "        pass\n"),
    ("        for _ in range(2):  # in place", "        for _ in range(1):  # in place"),
    ("        link.reports.tell_now(late.left() or 0.0)\n", ""),
) + _in(
    "shutdown.py", "test_dump.py test_edges.py test_exit.py test_fork.py",
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

_SENT = _in(
    "sent.py", "test_queue_names.py test_channel.py test_fairness.py",
    ("if block else self._offer_now(message)", "if block else self._offer(message)"),
    ("            self._lanes.put(message, False, None)", "            self._lanes.put(message, True, None)"),
    ("pipe.pending() >= sizes.send_maxsize", "pipe.pending() > sizes.send_maxsize"),
    ("pipe.pending_bytes() >= sizes.send_maxbytes", "pipe.pending_bytes() > sizes.send_maxbytes"),
)  # fmt: skip

_RECEIVED = _in(
    "received.py", "test_fanout.py -k its_channel",
    ("        self._take = self._take_now = _nothing  # so", "        pass  # so"),
    ("            raise error or RuntimeError(", "            raise RuntimeError("),
    ("        self._linked(self._lanes).line.unlink", "        self._linked().line.unlink"),
) + _in(
    "received.py", "test_queue_names.py test_fairness.py test_fork.py test_select.py",
    ("        except ForkedError:\n            raise\n", ""),
    ("        lanes.link.check_here(f\"{self}: waiting for several things at once\")\n", ""),
    ("lanes.receives.qsize() if lanes.kind.receives else 0", "lanes.receives.qsize()"),
    ("        message = self._take() if block else self._take_now()", "        message = self._take_now()"),
)  # fmt: skip

_MANY = _in(
    "many.py", "test_many.py",
    ("                lanes.put(batch[done], True, deadline.left())\n                done += 1", "                done += 1\n                lanes.put(batch[done - 1], True, deadline.left())"),
    ("lanes.put(batch[done], True, deadline.left())", "lanes.put(batch[done], True, timeout)"),
    ("    batch = list(messages)\n", "    batch = messages if isinstance(messages, list) else list(messages)\n"),
    ("    more = pipe.take_many(limit - 1)\n    if not more", "    more = pipe.take_many(limit)\n    if not more"),
    ("        more = pipe.take_many(limit - 1)\n    return", "        more = pipe.take_many(limit)\n    return"),
    ("    with suppress(Empty, ClosedError, BrokenError):  # an end", "    with suppress(Empty):  # an end"),
    ("    pipe, limit = lanes.pipe, min(limit, MANY)", "    pipe = lanes.pipe"),
    ("    if not more and pipe.due():  # the others have had their turn while this waited\n        more = pipe.take_many(limit - 1)\n", ""),
)  # fmt: skip

_SEAM = _in(
    "seam.py", "test_requester.py test_proxy.py test_fanout.py -k 'another_thread or fork or closed_channel'",
    ("    if not may_wait(pump):\n", "    if False:\n"),
    ("    return error if isinstance(error, ForkedError) else None", "    return None"),
    ("    channel._lanes.state.check_open()\n", "    pass\n"),
)  # fmt: skip

_EXCHANGE = _in(
    "exchange.py", "test_request.py",
    ("                    self._turn = None\n                    self.line.nudge()", "                    self._turn = None"),
    ("                if self._turn is turn:\n", "                if True:\n"),
    ("        if len(self.line) or not attempt():", "        if not attempt():"),
    (" and not pipe.pending() and", " and"),
    ("                lanes.post(lanes.engine.set_option, zmq.REQ_RELAXED, 0)\n", "                pass\n"),
    ("            while True:\n                lanes.get(False, None)\n", "            pass\n"),
    ("            self._set(zmq.REQ_CORRELATE, 0 if self._correlates else 1)", "            self._set(zmq.REQ_CORRELATE, 1)"),
    ("        self._correlates = True  # before the command: it is carried out even if its caller is killed\n        sent = bool(lanes.command(lanes.engine.restart, frames))\n", "        sent = bool(lanes.command(lanes.engine.restart, frames))\n        self._correlates = True\n"),
    ("            self.restarts += 1\n", ""),
)  # fmt: skip

_SUBSCRIBERS = _in(
    "subscribers.py", "test_monitor.py -k 'subscri or xpub or pub'",
    ("            if message is not None:\n                self._note(message)\n            return message", "            return message"),
    ("range(len(topic) + 1))", "range(len(topic)))"),
    ("            self._topics.discard(frame[1:])\n", "            pass\n"),
    ("self._seen[0][:] if self._seen else", "self._seen[0] if self._seen else"),
    ("                if self._keep:\n", "                if True:\n"),
    ("lambda: found() or over(), deadline)", "found, deadline)"),
    ("            return  # a message from an XSUB\n        self._changed.tell()", "            return  # a message from an XSUB"),
    ("            if self.waiting() <= reserved:\n                return None\n            if self._seen:\n                return self._seen.popleft()", "            if self._seen:\n                return self._seen.popleft()"),
) + _in(
    "subscribers.py", "test_fork.py",
    ("        self._lock = _RLock()\n        self._seen = deque()\n\n    def _note", "        self._seen = deque()\n\n    def _note"),
    ("        self._lock = _RLock()\n        self._seen = deque()\n\n    def _note", "        self._lock = _RLock()\n\n    def _note"),
)  # fmt: skip

_REPORTS = _in(
    "reports.py", "test_reports.py test_channel.py",
    ("        if self._runner is None and self._here() and not self.held:", "        if self._runner is None:"),
    ("gevent.getcurrent() in (runner, self._hub):", "gevent.getcurrent() is self._hub:"),
    ("gevent.getcurrent() in (runner, self._hub):", "gevent.getcurrent() is runner:"),
    ("                runner.join(timeout)\n", "                pass\n"),
    ("            except SystemExit:\n                pass  # the", "            except ZeroDivisionError:\n                pass  # the"),
    ("        self._queue.clear()\n", ""),
    ("                if self._queue:\n                    self._runner = gevent.spawn(self._run)", "                pass"),
)  # fmt: skip

_TRACER = _in(
    "tracer.py", "test_tracing.py",
    (">= _BACKLOG:", "> _BACKLOG:"),
    ("            self._bell.ring()\n", "            pass\n"),
    ("            self._lost = 0\n        for", "        for"),
    ("        self._queue.clear()\n", ""),
    ("            if not self._queue:  # the callback has forked\n                return\n", ""),
    ("            self._receives.line.listen_idle(self._look, listen=False)", "            pass"),
    ("        self._look()\n        self.tell(\"got\", message)", "        self.tell(\"got\", message)\n        self._look()"),
    ("                self._failed(outcome.error, frames)", "                pass"),
    ("                then(outcome)\n", "                pass\n"),
    ("                self._bytes += size\n", ""),
    ("        self._messages, self._bytes = counts.received, counts.received_bytes  # told so far", "        self._messages = self._bytes = 0  # told so far"),
)  # fmt: skip

_THREAD = _in(
    "thread.py", "test_pump.py test_tracing.py test_statistics.py test_fork.py",
    ("                del self.members[member]\n", ""),
    ("                self._past = add(self._past, [member.statistics()], closed=True)\n                del self.members[member]", "                del self.members[member]"),
    ("            self.pool = self._ready = None\n            raise", "            raise"),
    ("        self.link.fail_replies(self.error)  # what", "        pass  # what"),
    ("        self.link.stop()\n        gevent.spawn(self._end_pool)", "        gevent.spawn(self._end_pool)"),
    ("            self._own_context.term()\n", "            pass\n"),
    ("max(self._past.unsent, self.unsent_outside)", "self._past.unsent"),
    ("        self.events.forget()\n", ""),
    ("            member.forked()\n", "            pass\n"),
    ("        self.link.hub.loop.run_callback(self.link.fail_replies, self.error)\n", ""),
    ("        if error is None and self.engine.ended:  # the hub", "        if False:  # the hub"),
)  # fmt: skip

_MONITOR = _in(
    "monitor.py", "test_monitor.py",
    ("            if self._failed:\n                self._failed -= 1\n            elif self.up:", "            if self.up:"),
    ("            self.up = min(self.up, len(self._open))\n", ""),
    ("            self._failed = min(self._failed, len(self._open))\n", ""),
    ("            self._opening = False\n            self.changed.tell()", "            self._opening = False"),
    ("        self._connections.pop(reported, None)\n", ""),
    ("        self._forgotten.add(reported)\n", ""),
    ("        self._forgotten.discard(self._bound.get(endpoint, endpoint))\n", ""),
    ("            if not self.monitors and not self.keep:", "            if not self.monitors:"),
    ("            self._pair.close(0, math.inf)", "            pass"),
    ("            self.dropped += 1\n", ""),
    ("        if self._maxsize is not None and len(self._events) >= self._maxsize:\n            self._events.popleft()", "        if self._maxsize is not None and len(self._events) > self._maxsize:\n            self._events.popleft()"),
    ("            self._tap.remove(self)\n            self._tap.changed.tell()", "            self._tap.remove(self)"),
    ("        self._error = error\n        self._connections.clear()", "        self._connections.clear()"),
    ("        self.gap = self.gap or f\"{why}: give an address, no name and no wildcard\"\n        self.changed.tell()", "        self.gap = self.gap or f\"{why}: give an address, no name and no wildcard\""),
    ("        except BaseException:\n            self.close()\n            raise\n        finally:", "        finally:"),
)  # fmt: skip

_CHANNEL = _in(
    "channel.py", "test_channel.py test_monitor.py",
    ("            connects = tuple(dict.fromkeys(connects))  # see Endpoints", "            pass"),
    ("        except BaseException:\n            self._lanes.abandon()\n            raise", "        except ZeroDivisionError:\n            raise"),
    ("return lanes.kind.number if option == zmq.TYPE else value", "return value"),
    ("        self._pump = pump  # a channel that is in use keeps its pump", "        self._pump = __import__(\"weakref\").proxy(pump)"),
    ("        at_once = ((), ()) if monitor else (binds, connects)", "        at_once = (binds, connects)"),
) + _in(
    "endpoints.py", "test_channel.py test_monitor.py",
    ("            except BaseException:\n                self._connected.discard(endpoint)\n                raise", "            except ZeroDivisionError:\n                raise"),
    ("            self._connected.discard(endpoint)\n\n    def _attach", "            pass\n\n    def _attach"),
    ("            self._connected.update(connected)", "            pass"),
) + _in(
    "call.py", "test_wait.py test_dump.py",
    ("        finally:\n            waiting.discard(self)", "        finally:\n            pass"),
    ("        while not self._answered:", "        if not self._answered:"),
)  # fmt: skip

MUTANTS = [
    *_WAIT, *_LINE, *_LINK, *_QUEUES, *_QUEUES_TOO, *_LIFE, *_LANES, *_FAILURES, *_SHUTDOWN, *_REGISTER, *_SENT,
    *_RECEIVED, *_MANY, *_SEAM, *_EXCHANGE, *_SUBSCRIBERS, *_REPORTS, *_TRACER, *_THREAD, *_MONITOR, *_CHANNEL,
]  # fmt: skip
