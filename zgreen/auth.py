"""Authenticator: decides who may connect to the sockets of a pump. On the public face alone; the hub's thread.

libzmq asks a ZAP handler (rfc.zeromq.org/spec/27) in the same context about every handshake of a socket with security:
a ROUTER channel of the pump is that handler, so no thread and no event loop is needed besides, patched or not.
"""

from __future__ import annotations

import hmac
import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import gevent
import zmq
import zmq.auth
from gevent.queue import Full, Queue
from zmq.utils import z85

import zgreen
from zgreen import _zap
from zgreen._arguments import check_seconds
from zgreen._certificates import Certificates
from zgreen._hub import seam
from zgreen._networks import Network, address_of, is_in, networks_of
from zgreen._zap import Denied, Request

logger = logging.getLogger("zgreen.auth")

ENDPOINT = "inproc://zeromq.zap.01"
ANY = zmq.auth.CURVE_ALLOW_ANY  #: instead of a directory: every key is allowed

_Callback: TypeAlias = Callable[[str, bytes], Any]

_BACKLOG = 10_000  # requests that wait for a greenlet; more get "try again"
_GRACE = 2.0  # seconds that callbacks have to end when the authenticator is closed

# What a request comes to; the reasons of denials are the keys of AuthStatistics.
_ALLOWED = "allowed"


class AuthStatistics(NamedTuple):
    """A snapshot: requests *allowed* and *denied*, and how many of the latter for which cause.

    *address*: not allowed, or denied; *mechanism*: none that is set up for the domain; *password* and *key*: wrong;
    *failed*: a callback raised, took too long or the key directory was not readable; *overloaded*: too many wait for
    callbacks; *malformed*: no valid ZAP request.
    """

    allowed: int
    denied: int
    address: int
    mechanism: int
    password: int
    key: int
    failed: int
    overloaded: int
    malformed: int


class Authenticator:
    """Answers for all sockets of a pump's context whether a client may connect.

    :param pump: a :class:`zgreen.Pump`; default: :func:`zgreen.get_pump`.
    :param concurrency: how many callbacks run at once, each in a greenlet of its own; more wait their turn.
    :param timeout: seconds that a callback may take; then the client is denied. libzmq itself gives a handshake 30 s
        (ZMQ_HANDSHAKE_IVL).
    :raises zmq.ZMQError: EADDRINUSE: the pump's context has an authenticator, or another ZAP handler, already.

    It works from its making to :meth:`close`; as a context manager, too. libzmq asks about sockets with
    ``CURVE_SERVER`` or ``PLAIN_SERVER`` set, and about those without either only if they have a ``ZAP_DOMAIN``.
    Until something is set up, PLAIN and CURVE clients are denied and plain (NULL) ones are allowed.

    Set it up before you bind, and close it after the channels it protects: without an authenticator libzmq lets every
    CURVE client in, unless the socket has both a ``zmq.ZAP_DOMAIN`` and ``zmq.ZAP_ENFORCE_DOMAIN``. (The latter without
    the former means that no handler is asked; with ``PLAIN_SERVER`` libzmq then ends the process.) A client that is
    connected stays connected whatever becomes of its key; it is asked for again when it connects again.

    A *domain* is the server socket's ``zmq.ZAP_DOMAIN``; ``"*"`` is for all domains that have no set-up of their own.
    On the thread of the pump's hub only: on another one it raises a RuntimeError, and in the child of a fork
    :class:`zgreen.ForkedError`, but :meth:`close` does nothing there.
    """

    def __init__(
        self, pump: zgreen.Pump | None = None, *, concurrency: int = 100, timeout: float | None = 30.0
    ) -> None:
        if not isinstance(concurrency, int) or isinstance(concurrency, bool) or concurrency < 1:
            raise ValueError(f"concurrency must be a positive int, not {concurrency!r}")
        check_seconds("timeout", timeout)
        self._concurrency = concurrency
        self._timeout = timeout
        self._allowed: list[Network] = []
        self._denied: list[Network] = []
        self._passwords: dict[str, dict[bytes, bytes]] = {}
        self._keys: dict[str, Certificates | _Callback | None] = {}  # None: any key
        self._counts: Counter[str] = Counter()
        self._waiting: Queue[tuple[Request, _Callback]] = Queue(_BACKLOG)
        self._workers: set[gevent.Greenlet[..., None]] = set()
        try:
            self._channel = zgreen.Channel(zmq.ROUTER, bind=ENDPOINT, pump=pump, multipart=True)
        except zmq.ZMQError as error:
            if error.errno == zmq.EADDRINUSE:
                raise zmq.ZMQError(
                    zmq.EADDRINUSE, f"EADDRINUSE: the pump's context has a ZAP handler ({ENDPOINT}) already"
                ) from error
            raise
        self._greenlet = gevent.spawn(self._run)

    # ------------------------------------------------------------------ who may connect

    def allow(self, *addresses: str) -> None:
        """Deny all addresses but these, and those of earlier calls; PLAIN and CURVE clients must then prove who they
        are as well.

        :param addresses: ``"192.0.2.7"``, ``"2001:db8::1"``, or networks like ``"192.0.2.0/24"``.
        :raises ValueError: one is neither; none of them is added.

        What has no IP address, a client over ipc, is then denied, too.
        """
        self._check()
        self._allowed += networks_of(addresses)

    def deny(self, *addresses: str) -> None:
        """Deny these addresses and networks, even if :meth:`allow` names them, too. See there."""
        self._check()
        self._denied += networks_of(addresses)

    def configure_plain(self, passwords: Mapping[str, str], domain: str = "*") -> None:
        """Allow PLAIN clients with these user names and *passwords*, in place of those given before for *domain*."""
        self._check()
        if not isinstance(passwords, Mapping):
            raise TypeError(f"passwords must be a mapping of user names, not {type(passwords).__name__}")
        for name, password in passwords.items():
            if not isinstance(name, str) or not isinstance(password, str):
                raise TypeError("user names and passwords must be str")
        self._passwords[_domain(domain)] = {n.encode(): p.encode() for n, p in passwords.items()}

    def configure_curve(self, location: str | os.PathLike[str], domain: str = "*") -> None:
        """Allow CURVE clients whose public key is in a ``*.key`` file (pyzmq's certificates) of a directory.

        :param location: the directory; or :data:`ANY`, ``"*"``: every key is allowed.
        :raises NotADirectoryError: there is no such directory.

        A file that is added or removed, or replaced by rename, counts from the next handshake on; after a change
        within a file call :meth:`reload`. A file without a key is logged and left out; while the directory cannot be
        read every client is denied.
        """
        self._check()
        where = None if location == ANY else Certificates(Path(location))
        self._keys[_domain(domain)] = where

    def configure_curve_callback(self, callback: _Callback, domain: str = "*") -> None:
        """Allow CURVE clients for which ``callback(domain, key)`` returns something true.

        *key* is the client's public key, 40 bytes of Z85, as in certificate files. The callback runs in a greenlet of
        its own and may do gevent I/O. One that raises, or takes too long, denies; it is logged. libzmq's client then
        tries again when its handshake has timed out; one that was denied for its key does not.
        """
        self._check()
        if not callable(callback):
            raise TypeError(f"callback must be callable, not {type(callback).__name__}")
        self._keys[_domain(domain)] = callback

    def reload(self) -> None:
        """Read all keys anew at the next handshake."""
        self._check()
        for keys in self._keys.values():
            if isinstance(keys, Certificates):
                keys.forget()

    # ------------------------------------------------------------------ state and end

    def statistics(self) -> AuthStatistics:
        """A snapshot of the counts since the start."""
        counts = self._counts
        causes = [counts[cause] for cause in AuthStatistics._fields[2:]]
        return AuthStatistics(counts[_ALLOWED], sum(causes), *causes)

    @property
    def closed(self) -> bool:
        """Whether it answers no more requests."""
        return self._channel.closed

    def close(self) -> None:
        """Stop; requests under way are not answered: their callbacks are killed, and one that has not ended within 2
        seconds is left to itself, with a warning in the ``zgreen.auth`` log. Again: nothing."""
        seam.check_here(self._channel.pump, "an Authenticator")
        self._channel.close(linger=0)
        self._greenlet.kill()
        workers = [worker for worker in self._workers if worker is not gevent.getcurrent()]
        gevent.killall(workers, block=False)
        gevent.joinall(workers, timeout=_GRACE)
        running = sum(not worker.dead for worker in workers)
        if running:
            logger.warning("%d callbacks were killed and have not ended yet", running)

    stop = close

    def __enter__(self) -> Authenticator:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _check(self) -> None:
        seam.check_process(self._channel.pump)
        seam.check_here(self._channel.pump, "an Authenticator")

    # ------------------------------------------------------------------ answering

    def _run(self) -> None:
        """Read requests without ever waiting for an answer, so that a slow callback holds up no other client."""
        try:
            for frames in self._channel:
                self._take(frames)
        except (zgreen.ForkedError, zgreen.BrokenError) as error:
            logger.debug("%s: %s", self._channel, error)  # the pump has reported it

    def _take(self, frames: list[bytes]) -> None:
        try:
            request = _zap.parse(frames)
        except _zap.Malformed as malformed:
            self._counts["malformed"] += 1
            logger.error("%s", malformed)
            if malformed.reply is not None:
                self._put(malformed.reply)
            return
        try:
            user = self._decide(request)
        except Denied as denial:
            self._deny(request, denial)
        except Exception:
            logger.exception("a request of %s failed, so it is denied", request.address)
            self._deny(request, _failed())
        else:
            if user is not None:
                self._allow(request, user)

    def _decide(self, request: Request) -> bytes | None:
        """The user id; None if a callback will decide."""
        self._check_address(request.address)
        if request.mechanism == b"NULL":
            return b"anonymous"
        if request.mechanism == b"PLAIN":
            return self._check_password(request)
        if request.mechanism == b"CURVE":
            return self._check_key(request)
        raise Denied("mechanism", "mechanism not supported")

    def _check_address(self, text: str) -> None:
        address = address_of(text)
        if is_in(address, self._denied):
            raise Denied("address", "address denied")
        if self._allowed and not is_in(address, self._allowed):
            raise Denied("address", "address not allowed")

    def _check_password(self, request: Request) -> bytes:
        if len(request.credentials) != 2:
            raise Denied("malformed", "PLAIN has two credentials")
        passwords = self._passwords.get(request.domain, self._passwords.get("*"))
        if passwords is None:
            raise Denied("mechanism", "PLAIN is not set up for this domain")
        name, password = request.credentials
        # as much work for a name that is not known
        right = hmac.compare_digest(passwords.get(name, b""), password)
        if not right or name not in passwords:
            raise Denied("password", "wrong user name or password")
        return name

    def _check_key(self, request: Request) -> bytes | None:
        if len(request.credentials) != 1 or len(request.credentials[0]) != 32:
            raise Denied("malformed", "CURVE has one credential of 32 bytes")
        domain = request.domain if request.domain in self._keys else "*"
        if domain not in self._keys:
            raise Denied("mechanism", "CURVE is not set up for this domain")
        keys, key = self._keys[domain], z85.encode(request.credentials[0])
        if isinstance(keys, Certificates):
            if key not in keys.read():
                raise Denied("key", "key not known")
        elif keys is not None:
            self._ask(request, keys)
            return None
        return bytes(key)

    # ------------------------------------------------------------------ callbacks

    def _ask(self, request: Request, callback: _Callback) -> None:
        try:
            self._waiting.put_nowait((request, callback))
        except Full:
            raise Denied("overloaded", "try again later", b"300") from None
        self._hire()

    def _hire(self) -> None:
        """One more worker, unless there are as many as there may be."""
        if len(self._workers) < self._concurrency:
            worker = gevent.spawn(self._work)
            self._workers.add(worker)
            worker.rawlink(self._workers.discard)  # for one that is killed before it begins

    def _work(self) -> None:
        """Answer waiting requests in their order, as the other workers do; end when none is left."""
        try:
            while not self._waiting.empty():
                self._call_back(*self._waiting.get_nowait())
        finally:
            # At once, not when the hub tells of the end: a request that came in between would count on this worker.
            self._workers.discard(gevent.getcurrent())
            if not self._waiting.empty() and not self.closed:  # a callback has ended this greenlet
                self._hire()

    def _call_back(self, request: Request, callback: _Callback) -> None:
        """Answer one request as its callback says."""
        key = z85.encode(request.credentials[0])
        try:
            with gevent.Timeout(self._timeout, TimeoutError(f"the callback took over {self._timeout} s")):
                allowed = callback(request.domain, key)
        except (Exception, gevent.Timeout):
            logger.exception("the callback failed for %s, so it is denied", request.address)
            self._deny(request, _failed())
        except BaseException:
            self._deny(request, _failed())
            raise
        else:
            if allowed:
                self._allow(request, key)
            else:
                self._deny(request, Denied("key", "key not known"))

    # ------------------------------------------------------------------ replies

    def _allow(self, request: Request, user: bytes) -> None:
        self._counts[_ALLOWED] += 1
        self._put(request.reply(b"200", "OK", user))

    def _deny(self, request: Request, denial: Denied) -> None:
        self._counts[denial.cause] += 1
        logger.info("denied %s of %s: %s", request.mechanism.decode(errors="replace"), request.address, denial)
        self._put(request.reply(denial.status, str(denial)))

    def _put(self, reply: list[bytes | str]) -> None:
        try:
            self._channel.put(reply)
        except (zgreen.ClosedError, zgreen.BrokenError):
            pass  # libzmq denies the clients that wait for an answer


def _failed() -> Denied:
    return Denied("failed", "try again later", b"300")


def _domain(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a domain is a str, '*' for all others, not {type(value).__name__}")
    return value
