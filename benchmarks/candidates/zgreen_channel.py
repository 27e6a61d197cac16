"""zgreen: greenlets put to and get from channels. `engine` says which engine owns the sockets."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import gevent
import zmq
from gevent.event import Event

import zgreen
import zgreen.green
import zgreen.sse

from . import _sse
from ._endpoints import endpoints_of
from ._fan_out import announce, count
from ._greenlets import measure
from ._meter import Meter, Opening, Sending, age, allow_descriptors, clock, stamped, work
from ._paced import pace
from ._protocol import END, batch_of, done, main, messages_of, say, share_of
from ._wsgi import serve


def channel(pump: zgreen.Pump, kind: int, endpoint: str, hwm: int = 1000) -> zgreen.Channel:
    """Defaults, but where messages are so big that 1,000 of them do not fit."""
    options: dict[int, Any] = {zmq.SNDHWM: hwm, zmq.RCVHWM: hwm}
    return zgreen.Channel(kind, connect=endpoint, options=options, send_maxsize=hwm, recv_maxsize=hwm, pump=pump)


def pump_of(spec: SimpleNamespace) -> zgreen.Pump:
    waits = {"busy_wait": spec.busy_wait} if hasattr(spec, "busy_wait") else {}  # which older revisions do not know
    return zgreen.Pump("benchmark", engine=spec.engine, **waits)


def probe(spec: SimpleNamespace) -> dict[str, str]:
    """Whether the engine is there, and which zgreen this is."""
    with pump_of(spec) as pump:
        return {"engine": pump.engine, "version": zgreen.__version__}


def push(spec: SimpleNamespace) -> dict[str, float]:
    message, batch, share = messages_of(spec), batch_of(spec), share_of(spec)
    with pump_of(spec) as pump:
        ch = channel(pump, zmq.PUSH, spec.endpoint, spec.hwm)
        sending = Sending()
        deadline = clock() + spec.warm + spec.seconds

        def greenlet() -> int:
            put, sent = ch.put, 0
            while sent < share and (spec.messages or clock() < deadline):
                for _ in range(batch):
                    put(message)
                sent += batch
            return sent

        return finish(ch, sending, [gevent.spawn(greenlet) for _ in range(spec.greenlets)])


def finish(ch: zgreen.Channel, sending: Sending, greenlets: list[gevent.Greenlet[..., Any]]) -> dict[str, float]:
    sent = sum(g.get() for g in greenlets)
    ch.put(END)
    ch.flush()
    done()
    return sending.figures(sent)


def pull(spec: SimpleNamespace) -> dict[str, float]:
    batch, over = batch_of(spec), Event()
    meter = Meter(spec, over.set)
    with pump_of(spec) as pump:
        ch = channel(pump, zmq.PULL, spec.endpoint, spec.hwm)

        def greenlet() -> None:
            get, add = ch.get, meter.add
            while not meter.done:
                for _ in range(batch):
                    get()
                add(batch)

        return measure(meter, over, [gevent.spawn(greenlet) for _ in range(spec.greenlets)])


def round_trip(spec: SimpleNamespace) -> dict[str, float]:
    over = Event()
    meter = Meter(spec, over.set)
    with pump_of(spec) as pump:
        ch = channel(pump, zmq.DEALER, spec.endpoint)

        def greenlet() -> None:
            put, get, note, add = ch.put, ch.get, meter.latencies.append, meter.add
            while not meter.done:
                put(stamped(spec.size))
                note(age(get()))
                add(1)

        return measure(meter, over, [gevent.spawn(greenlet) for _ in range(spec.in_flight)])


def busy_hub(spec: SimpleNamespace) -> dict[str, float]:
    with pump_of(spec) as pump:
        ch = channel(pump, zmq.PUSH, spec.endpoint)
        sending = Sending()
        deadline = clock() + spec.warm + spec.seconds

        def greenlet() -> int:
            sent = 0
            while clock() < deadline:
                work(spec.work_us)
                ch.put(stamped(spec.size))
                sent += 1
                gevent.sleep(0)  # as a request that ends here and one that comes next
            return sent

        return finish(ch, sending, [gevent.spawn(greenlet) for _ in range(spec.greenlets)])


def wsgi(spec: SimpleNamespace) -> dict[str, float]:
    with pump_of(spec) as pump:
        ch = channel(pump, zmq.PUSH, spec.endpoint)
        return serve(spec, ch.put, ch.flush)


def many_sockets(spec: SimpleNamespace) -> dict[str, float]:
    allow_descriptors()
    over = Event()
    meter = Meter(spec, over.set)
    with pump_of(spec) as pump:
        channels = [channel(pump, zmq.PULL, endpoint) for endpoint in endpoints_of(spec)]

        def greenlet(ch: zgreen.Channel) -> None:
            get, add = ch.get, meter.add
            while not meter.done:
                get()
                add(1)

        return measure(meter, over, [gevent.spawn(greenlet, ch) for ch in channels])


def idle(spec: SimpleNamespace) -> dict[str, float]:
    allow_descriptors()
    endpoints = endpoints_of(spec)
    with pump_of(spec) as pump:
        channels = [channel(pump, zmq.PULL, endpoints[0])]
        opening = Opening()
        channels += [channel(pump, zmq.PULL, endpoint) for endpoint in endpoints[1:]]
        getters = [gevent.spawn(ch.get) for ch in channels] if spec.getters else []
        gevent.sleep(spec.settle)  # until all have connected
        opening.opened(len(channels) - 1)
        gevent.sleep(spec.seconds)
        figures = opening.figures()
        say("done")
        gevent.killall(getters)
        return figures


def paced(spec: SimpleNamespace) -> dict[str, float]:
    with pump_of(spec) as pump:
        ch = channel(pump, zmq.PUSH, spec.endpoint)
        sending = Sending()
        sent = pace(spec, ch.put)
        return {**finish(ch, sending, []), "sent": sent, "seconds": spec.seconds}


def fan_out(spec: SimpleNamespace) -> dict[str, float]:
    with pump_of(spec) as pump, zgreen.Fanout(channel(pump, zmq.SUB, spec.endpoint, spec.hwm)) as fan:
        topic = messages_of(spec) if spec.topic else ""  # a message of one frame is its own topic
        subscriptions = [fan.subscribe(topic, exact=spec.topic == "exact") for _ in range(spec.greenlets)]
        announce(spec, 1)
        return count(spec, [subscription.get for subscription in subscriptions])


def sse(spec: SimpleNamespace) -> dict[str, float]:
    with pump_of(spec) as pump, zgreen.Fanout(channel(pump, zmq.SUB, spec.endpoint, spec.hwm)) as fan:
        return _sse.serve(spec, lambda: zgreen.sse.events(fan.subscribe("")), 1)


def green(spec: SimpleNamespace) -> dict[str, float]:
    """The functions of zmq_green, with zgreen.green in its place."""
    os.environ["ZGREEN_ENGINE"] = spec.engine
    zgreen.green.install()
    from . import zmq_green

    return zmq_green.GREEN[spec.scenario](spec)


GREEN = dict.fromkeys(("green_push", "green_pull", "green_busy_hub", "green_requests", "green_refused", "green_polled"),
                      green)  # fmt: skip

if __name__ == "__main__":
    functions = (probe, push, pull, round_trip, busy_hub, wsgi, many_sockets, idle, paced, fan_out, sse)
    main({function.__name__: function for function in functions} | GREEN)
