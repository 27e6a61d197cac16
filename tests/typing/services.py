"""A user's program about requests, fan-out, select, authentication and logging, typed. Not run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zmq
from gevent.event import AsyncResult
from gevent.queue import Queue, ShutDown

import zgreen
import zgreen.auth


def handler(request: bytes | list[bytes]) -> bytes | list[bytes]:
    return request


def on_error(error: BaseException, _request: Any) -> str:
    return str(error)


def serving() -> int:
    channel = zgreen.Channel(zmq.ROUTER, bind="tcp://127.0.0.1:*")
    with zgreen.serve(channel, handler, concurrency=10, on_error=on_error) as server:
        typed: zgreen.Server = server
        ended: bool = typed.stop(timeout=1.0)
        statistics: zgreen.ServerStatistics = typed.statistics()
    return statistics.answered if ended else 0


def asking(endpoints: list[str]) -> bytes:
    with zgreen.Requester(connect=endpoints, retries=2, options={zmq.RECONNECT_IVL: 10}) as requester:
        result: AsyncResult[Any] = requester.submit("job", timeout=0.5)
        requester.forget(result)
        late: int = requester.statistics().late
        reply: bytes | list[bytes] = requester.request(["ping", b"x"], timeout=0.5)
    with zgreen.Requester(connect=endpoints, multipart=True) as exact:
        frames: list[bytes] = exact.request("ping")
    return (reply if isinstance(reply, bytes) else reply[0]) + str(late).encode() + frames[0]


def news(fan: zgreen.Fanout) -> Iterator[bytes | tuple[bytes, ...]]:
    with fan.subscribe("news", b"weather", maxsize=10, overflow="disconnect") as subscription:
        yield from subscription
    print(subscription.dropped, subscription.prefixes, fan.statistics().delivered)


def any_of(channel: zgreen.Channel, subscription: zgreen.Subscription, queue: Queue[str]) -> None:
    sources: set[zgreen.Channel | zgreen.Subscription | Queue[str]] = {channel, subscription, queue}
    while sources:
        try:
            source, message = zgreen.select(*sources, timeout=None)
        except (ShutDown, zgreen.BrokenError) as ended:
            if isinstance(ended, zgreen.ZgreenError):
                sources.discard(ended.source)
        else:
            print(source, message)


def broker(pump: zgreen.Pump) -> int:
    with zgreen.Proxy("tcp://127.0.0.1:*", ["tcp://127.0.0.1:*"], type="queue", pump=pump) as proxy:
        proxy.pause(timeout=1.0)
        proxy.resume()
        statistics: zgreen.ProxyStatistics = proxy.statistics()
        ends: tuple[str, ...] = proxy.frontend + proxy.backend
        print(ends, proxy.paused, proxy.join(timeout=0))
    return statistics.frontend_received


def is_known(domain: str, key: bytes) -> bool:
    return domain == "orders" and len(key) == 40


def secured(keys: Path) -> int:
    with zgreen.auth.Authenticator(concurrency=10, timeout=5.0) as auth:
        auth.allow("127.0.0.1")
        auth.configure_curve(keys)
        auth.configure_curve(zgreen.auth.ANY, domain="open")
        auth.configure_curve_callback(is_known, domain="orders")
        auth.configure_plain({"anne": "a password"})
        return auth.statistics().denied


def logs(channel: zgreen.Channel) -> int:
    handler = zgreen.PubHandler(channel, "shop", level=logging.INFO)
    logging.getLogger().addHandler(handler)
    return handler.sent + handler.dropped + handler.skipped


def frames_of(channel: zgreen.Channel[list[bytes]]) -> Iterator[bytes]:
    fan = zgreen.Fanout(channel)
    with fan.subscribe("news") as subscription:
        for topic, *body in subscription:
            yield topic
            yield from body
        batch: list[tuple[bytes, ...]] = subscription.get_many(10)
    _, message = zgreen.select(channel, timeout=1.0)
    known: list[bytes] = message
    yield from known + list(batch[0])


@zgreen.per_process
def updates() -> zgreen.Channel[list[bytes]]:
    return zgreen.Channel(zmq.SUB, connect="tcp://127.0.0.1:5556", subscribe="", multipart=True)


def update() -> list[bytes]:
    return updates().get()


@zgreen.per_process
def push() -> zgreen.Channel:
    return zgreen.Channel(zmq.PUSH, connect="tcp://127.0.0.1:5555")


def pushed(message: bytes) -> int:
    push().put(message)
    return push().statistics().sent
