"""Mistakes in the patterns, in zgreen.auth, and in the leaves that all import."""

from __future__ import annotations

from .mutant import Mutant


def _in(file: str, tests: str, *mistakes: tuple[str, str], engine: str = "native", quick: bool = False) -> list[Mutant]:
    return [Mutant(file, old, new, tests, engine, quick) for old, new in mistakes]


_AUTH = _in(
    "auth.py", "test_auth.py test_auth_decisions.py",
    ("if not right or name not in passwords:", "if not right:"),
    ("if not right or name not in passwords:", "if name not in passwords:"),
    ("if len(request.credentials) != 2:", "if len(request.credentials) < 2:"),
    ("if len(request.credentials) != 1 or len(request.credentials[0]) != 32:", "if len(request.credentials) != 1:"),
    ("self._passwords.get(request.domain, self._passwords.get(\"*\"))", "self._passwords.get(request.domain)"),
    ("request.domain if request.domain in self._keys else \"*\"", "\"*\""),
    ("            if key not in keys.read():", "            if key not in keys._keys:"),
    ("if len(self._workers) < self._concurrency:", "if len(self._workers) <= self._concurrency:"),
    ("            worker.rawlink(self._workers.discard)  # for one that is killed before it begins\n", ""),
    ("            self._workers.discard(gevent.getcurrent())\n", ""),
    ("            if not self._waiting.empty() and not self.closed:  # a callback has ended this greenlet\n                self._hire()\n", ""),
    ("        self._counts[_ALLOWED] += 1\n", ""),
    ("        self._counts[denial.cause] += 1\n", ""),
    ("        gevent.killall(workers, block=False)\n", ""),
    (" if worker is not gevent.getcurrent()]", "]"),
    ("if self._allowed and not is_in(address, self._allowed):", "if self._allowed and address and not is_in(address, self._allowed):"),
    ("if is_in(address, self._denied):", "if False:"),
    ("            raise Denied(\"overloaded\"", "            return\n            raise Denied(\"overloaded\""),
    ("            self._deny(request, _failed())\n            raise", "            raise"),
) + _in(
    "_certificates.py", "test_auth_decisions.py",
    ("        self._files.clear()\n", ""),
    ("        self._state = None\n        self._files.clear()", "        self._files.clear()"),
    ("self._state = state if settled else None", "self._state = state"),
    ("if known is not None and known[0] == sign:", "if known is not None:"),
    (" for entry in entries if entry.name.endswith(SUFFIX)}", " for entry in entries}"),
    ("        if state != self._state:\n", "        if True:\n"),
) + _in(
    "_networks.py", "test_auth.py test_auth_decisions.py",
    ("return mapped or address", "return address"),
    ("    if mapped is None:\n", "    if True:\n"),
) + _in(
    "auth.py", "test_auth_decisions.py test_auth.py",
    ("if not right or name not in passwords:", "if not right and name not in passwords:"),
    ("self._passwords.get(request.domain, self._passwords.get(\"*\"))", "self._passwords.get(request.domain) or self._passwords.get(\"*\")"),
    ("self._passwords.get(request.domain, self._passwords.get(\"*\"))", "self._passwords.get(\"*\", self._passwords.get(request.domain))"),
    ("        self._check_address(request.address)\n", "        if request.mechanism == b\"NULL\":\n            self._check_address(request.address)\n"),
    ("if is_in(address, self._denied):", "if not self._allowed and is_in(address, self._denied):"),
    ("if self._allowed and not is_in(address, self._allowed):", "if self._allowed and not self._denied and not is_in(address, self._allowed):"),
    ("self._allowed += networks_of(addresses)", "self._allowed = networks_of(addresses)"),
    ("self._denied += networks_of(addresses)", "self._denied = networks_of(addresses)"),
    ("len(request.credentials) != 1 or len(request.credentials[0]) != 32", "len(request.credentials) < 1 or len(request.credentials[0]) != 32"),
    ("len(request.credentials) != 1 or len(request.credentials[0]) != 32", "len(request.credentials) != 1 or len(request.credentials[0]) < 32"),
    ("domain = request.domain if request.domain in self._keys else \"*\"", "domain = \"*\" if \"*\" in self._keys else request.domain"),
    ("if key not in keys.read():", "if keys.read() and key not in keys.read():"),
    ("            if allowed:\n", "            if allowed is not None:\n"),
    ("            if allowed:\n", "            if allowed is not False:\n"),
    ("raise Denied(\"mechanism\", \"mechanism not supported\")", "return b\"anonymous\""),
    ("if request.mechanism == b\"PLAIN\":", "if request.mechanism != b\"CURVE\":"),
    ("{n.encode(): p.encode() for n, p in passwords.items()}", "{**self._passwords.get(_domain(domain), {}), **{n.encode(): p.encode() for n, p in passwords.items()}}"),
    ("        except Exception:\n            logger.exception(\"a request of %s failed, so it is denied\", request.address)\n            self._deny(request, _failed())", "        except Exception:\n            logger.exception(\"a request of %s failed, so it is denied\", request.address)\n            self._allow(request, b'x')"),
    ("self._put(request.reply(denial.status, str(denial)))", "self._put(request.reply(denial.status, str(denial), b'x'))"),
) + _in(
    "_zap.py", "test_auth.py test_auth_decisions.py",
    ("if len(body) < 6 or body[0] != VERSION:", "if len(body) < 6:"),
    ("if len(body) < 6 or body[0] != VERSION:", "if body[0] != VERSION:"),
    ("if len(body) > 1 else None", "if len(body) > 0 else None"),
) + _in(
    "_networks.py", "test_auth_decisions.py test_auth.py",
    ("return address is not None and any(", "return address is None or any("),
    ("return ipaddress.IPv4Network((mapped, network.prefixlen - _MAPPED))", "return network"),
    ("network.prefixlen - _MAPPED", "network.prefixlen - _MAPPED - 1"),
) + _in(
    "_certificates.py", "test_auth_decisions.py test_auth.py",
    ("settled = time.time_ns() - status.st_mtime_ns > _RACY", "settled = True"),
    ("settled = time.time_ns() - status.st_mtime_ns > _RACY", "settled = False"),
    ("status.st_mtime_ns, status.st_size, status.st_ino, stat", "status.st_size, status.st_ino, stat"),
    ("status.st_mtime_ns, status.st_size, status.st_ino, stat", "status.st_mtime_ns, status.st_ino, stat"),
    ("status.st_mtime_ns, status.st_size, status.st_ino, stat", "status.st_mtime_ns, status.st_size, stat"),
    ("if entry.name.endswith(SUFFIX)", "if SUFFIX in entry.name"),
    ("        except OSError as error:  # a link", "        except FileNotFoundError as error:  # a link"),
    ("failure = None if stat.S_ISREG(status.st_mode) else \"it is no file\"", "failure = None"),
    ("        self._state = None\n        self._files.clear()", "        self._state = None"),
    ("if len(z85.decode(key)) != 32:", "if not key:"),
    ("        if known is not None and known[0] == sign:", "        if known is not None:"),
    ("        if known is not None and known[0] == sign:", "        if False:"),
)  # fmt: skip

_INBOX = _in(
    "patterns/_inbox.py", "test_inbox.py",
    ("                    timer.close()\n", "                    pass\n"),
    ("        if inbox.due:\n            return\n", ""),
    ("        if not self._scheduled:\n            self._scheduled = True\n            self.hub", "        if True:\n            self.hub"),
    ("                inbox.due = False\n                inbox.tell()", "                inbox.tell()\n                inbox.due = False"),
    ("                inbox.tell()\n                self._due.popleft()", "                self._due.popleft()\n                inbox.tell()"),
    ("            self._scheduled = bool(self._due)\n", ""),
    ("if len(self._items) >= self._maxsize:\n            self.dropped", "if len(self._items) > self._maxsize:\n            self.dropped"),
    ("                self.full = True\n", ""),
    ("                self._waker.urgent = True\n", "                pass\n"),
    ("            self.error = error\n            self._waker.add(self)", "            self.error = error"),
    ("                self.unlink(waiter.switch)\n", "                pass\n"),
    ("        self._links.append((callback, subject))\n        if self.ready():\n            self._waker.add(self)", "        self._links.append((callback, subject))"),
    ("                link = self._links[0]\n", "                link = self._links[-1]\n"),
    ("                link = self._links[0]\n                try:\n                    del self._links[0]  # no call from here to the callback's: a signal cannot separate them\n", "                link = self._links.pop(0)\n                try:\n"),
    ("                if not self._links or not (self._items or self.error is not None):", "                if not self._links:"),
    ("while self._told < goal:", "while self._told < goal - 1:"),
    ("        self.urgent = False\n        goal", "        goal"),
    engine="", quick=True,
)  # fmt: skip

_FANOUT = _in(
    "patterns/fanout.py", "test_fanout.py test_topics.py",
    ("        self._unmatched += len(self._in_hand)\n", ""),
    ("        seam.give_to(channel, self)\n", ""),
    ("            self._leave_and_tell(inbox, partial(ClosedError, f\"{subscription} was never made\"), wait=False)\n            raise", "            raise"),
    ("            self._greenlet.kill(block=False)\n", "            pass\n"),
    ("        self._upstream.tell_all(self._upstream.leave_all())\n", ""),
    ("                self._forget_abandoned(wait=False)\n", ""),
    ("                    self._waker.catch_up()\n", "                    pass\n"),
    ("            self._since_breath += 1\n", ""),
    ("        self._leave_and_tell(inbox, error, wait=False)\n\n    def _end", "        self._leave(inbox, error)\n\n    def _end"),
    ("            self._unmatched += 1\n", "            pass\n"),
    ("        self._dropped += inbox.dropped\n", ""),
    ("            raise\n\n    def _deliver", "\n    def _deliver"),
) + _in(
    "patterns/_upstream.py", "test_upstream.py test_fanout.py test_topics.py",
    ("            self.tell_all(left, wait=False)\n            raise", "            raise"),
    ("            self._told.add(prefix)\n            self._channel.subscribe(prefix)", "            self._channel.subscribe(prefix)\n            self._told.add(prefix)"),
    ("            self._told.discard(prefix)\n            self._channel.unsubscribe(prefix)", "            self._channel.unsubscribe(prefix)\n            self._told.discard(prefix)"),
    ("if not wait or not may_wait(self._channel.pump):", "if not wait:"),
    ("            self._left.pop(prefix, None)\n", "            pass\n"),
    ("            self._left.move_to_end(prefix)\n", ""),
    ("self._left.popitem(last=False)", "self._left.popitem(last=True)"),
    ("        self._left.clear()\n", ""),
    ("if not self._filters or wanted ==", "if wanted =="),
) + _in(
    "patterns/_prefixes.py", "test_prefixes.py",
    ("            if length > size:\n                break\n", "            if length >= size:\n                break\n"),
    ("            del self._counts[length]\n            self._lengths.remove(length)", "            del self._counts[length]"),
    ("        if members:\n            return False\n        del", "        if True:\n            return False\n        del"),
    ("        if self._counts[length] == 1:\n", "        if True:\n"),
    ("            return list(found[0])", "            return found[0]"),
    engine="", quick=True,
) + _in(
    "patterns/subscription.py", "test_fanout.py",
    ("            if self._inbox.full:\n                raise\n", ""),
    ("        except ForkedError:\n            raise\n", ""),
    ("        if self._inbox.error is None:\n            self._fan.abandon(self._inbox)", "        pass"),
)  # fmt: skip

_SELECT = _in(
    "patterns/select.py", "test_select.py",
    ("            timer.close()\n", "            pass\n"),
    ("            source.unlink(waiter.switch)\n", "            pass\n"),
    ("            greenlet.kill(block=False)\n", "            pass\n"),
    ("    if may_wait:\n        _breathe()\n", ""),
    ("ready.pop(random.randrange(len(ready)))", "ready.pop(0)"),
    ("            error.source = source  # type: ignore[union-attr]\n", ""),
    ("while taken is None and may_wait:", "if taken is None and may_wait:"),
    ("    except Exception:  # noqa: BLE001 (it was shut down", "    except ZeroDivisionError:  # noqa: BLE001 (it was shut down"),
    ("may_wait = timeout != 0 and", "may_wait ="),
    ("return source.qsize() > 0 or getattr(source, \"is_shutdown\", False)", "return source.qsize() > 0"),
)  # fmt: skip

_REQUESTER = _in(
    "patterns/requester.py", "test_requester.py",
    ("if time.monotonic() < request.deadline:  # the", "if False:  # the"),
    ("request.get())\n        finally:\n            self._forget(request)", "request.get())\n        finally:\n            pass"),
    ("            self._forget(request)\n            raise\n        return request", "            raise\n        return request"),
    ("                request.tries -= 1\n                if not", "                if not"),
    ("                if expired is not limit:\n                    raise\n", ""),
    ("            self._forget(request)\n            self._timed_out += 1\n", "            self._timed_out += 1\n"),
    ("if request.taken is None or request.taken.ready():", "if True:"),
    ("if len(frames) < 3 or frames[1]:", "if len(frames) < 3:"),
    ("if len(frames) < 3 or frames[1]:", "if frames[1]:"),
    ("elif len(key) == 16 and key.startswith(self._mark):", "elif len(key) == 16:"),
    ("            self._end_all(error)\n            if not", "            if not"),
    ("            if not self._channel.closed:\n                gevent.spawn(self._channel.close)\n", ""),
    ("        for request in tuple(self._waiting.values()):\n            self._forget(request)\n", "        for request in tuple(self._waiting.values()):\n"),
    ("{zmq.IMMEDIATE: 1}", "{}"),
    ("self._start_timer(request, started + request.timeout)", "self._start_timer(request, time.monotonic() + request.timeout)"),
)  # fmt: skip

_SERVER = _in(
    "patterns/server.py", "test_server.py",
    ("        self._acceptor.kill()", "        self._acceptor.kill(block=False)"),
    ("                self._pool.wait_available()\n", ""),
    ("            if reply is not None:\n                self._answer(envelope, reply)", "            pass"),
    ("        finally:  # a REP must answer even for a handler that was killed\n", "        except ZeroDivisionError:\n            pass\n        else:\n"),
    ("None if self._routes else b\"\"  # what", "None  # what"),
    ("                self._failed += 1\n                raise  # to", "                raise  # to"),
    ("                self._failed += 1\n                logger", "                logger"),
    ("            self._answered += 1\n", ""),
    ("return self._acceptor.dead and self._join_handlers(deadline)", "return self._join_handlers(deadline)"),
    ("        except (Exception, gevent.Timeout):\n            logger.exception(\"%s: on_error", "        except Exception:\n            logger.exception(\"%s: on_error"),
    ("        if gevent.getcurrent() in set(self._pool):", "        if False:"),
    ("        except (ClosedError, BrokenError) as error:\n            logger.warning(\"%s: a reply", "        except BrokenError as error:\n            logger.warning(\"%s: a reply"),
)  # fmt: skip

_PUB_HANDLER = _in(
    "patterns/pub_handler.py", "test_pub_handler.py",
    ("if _emitting.get() or record.name", "if record.name"),
    ("            _emitting.reset(token)\n", "            pass\n"),
    ("            self._skipped.add()\n", ""),
    ("            self._dropped.add()\n", "            pass\n"),
    ("        except (Full, ClosedError, BrokenError):", "        except (Full, ClosedError):"),
    ("        self.lock = None\n", "        super().createLock()\n"),
    ("            self.handleError(record)\n", "            pass\n"),
    ("        if not accepted:\n            return False\n", ""),
    ("self.format(record).encode(errors=\"backslashreplace\")", "self.format(record).encode()"),
)  # fmt: skip

_LEAVES = _in(
    "_errors.py", "test_errors.py test_requester.py test_fanout.py",
    ("    new.__cause__ = error.__cause__\n", ""),
    ("    error.__cause__ = cause\n", ""),
) + _in(
    "_message.py", "test_message.py",
    ("        if not message:\n", "        if False:\n"),
    ("return frames if len(frames) > 1 else frames[0]", "return frames"),
    ("    except ValueError as error:", "    except ZeroDivisionError as error:"),
    engine="", quick=True,
) + _in(
    "_arguments.py", "test_channel.py test_register.py test_pump.py",
    ("if not 0 <= value < math.inf:", "if not 0 < value < math.inf:"),
    ("if not 0 <= value < math.inf:", "if not 0 <= value:"),
    ("    if value < 1:\n        raise ValueError(f\"{name}", "    if value < 0:\n        raise ValueError(f\"{name}"),
    ("    if value not in allowed:\n", "    if False:\n"),
) + _in(
    "_sockets.py", "test_register.py test_channel.py",
    ("(\"PUB\", True, False)", "(\"PUB\", True, True)"),
    ("_BY_NAME.get(socket_type.upper())", "_BY_NAME.get(socket_type)"),
)  # fmt: skip

_SSE = _in(
    "sse.py", "test_sse.py",
    ("        self._pause = heartbeat / 2", "        self._pause = heartbeat"),
    ("numbered.number > int(number)]", "numbered.number >= int(number)]"),
    ("return kept[index + 1 :]", "return kept[index:]"),
    ("            stream.close()\n            raise", "            raise"),
    ("% _one_line(self.id)", "% _utf8(self.id)"),
    ("_lines_joined(value, b\" \").replace(b\"\\0\", b\" \")", "_lines_joined(value, b\" \")"),
    ("reversed(range(len(kept)))", "range(len(kept))"),
    ("        self.sent += len(messages)", "        self.sent += 1"),
    ("round(self.retry * 1000)", "round(self.retry)"),
    ("            self._over = True\n            return come_back()[0]", "            return come_back()[0]"),
    ("event if event.id is not None else event._replace", "event._replace"),
    ("return _small(encoded, self._id(number))", "return _small(encoded, None)"),
    ("len(encoded) <= _SMALL", "len(encoded) >= 0"),
    ("        self._over = True\n        self._subscription.close()", "        self._over = True"),
    ("token == self._subscription.token and ", ""),
) + _in(
    "_draining.py", "test_drain.py test_per_process.py",
    ("    return _pid == os.getpid()", "    return _pid != 0"),
    ("    _pid = os.getpid()\n    return", "    return"),
)  # fmt: skip

MUTANTS = [
    *_AUTH, *_INBOX, *_FANOUT, *_SELECT, *_REQUESTER, *_SERVER, *_PUB_HANDLER, *_LEAVES, *_SSE,
]  # fmt: skip
