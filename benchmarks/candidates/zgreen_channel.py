"""zgreen: greenlets put to and get from channels. `engine` says which engine owns the sockets."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gevent
import zmq
from gevent.event import Event

import zgreen

from . import _sse
from ._endpoints import endpoints_of
from ._fan_out import announce, count
from ._greenlets import measure
from ._meter import Meter, Opening, Sending, age, allow_descriptors, clock, stamped, work
from ._paced import pace
from ._protocol import END, batch_of, done, main, messages_of, say, share_of
from ._wsgi import serve

MANY = 100  # messages at once
INPROC = "inproc://scale"


def channel(pump: zgreen.Pump, kind: int, endpoint: str, hwm: int = 1000, maxsize: int | None = None) -> zgreen.Channel:
    """Defaults, but where messages are so big that 1,000 of them do not fit, or the queues are to be small."""
    options: dict[int, Any] = {zmq.SNDHWM: hwm, zmq.RCVHWM: hwm}
    size = maxsize or hwm
    return zgreen.Channel(kind, connect=endpoint, options=options, send_maxsize=size, recv_maxsize=size, pump=pump)


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


def push_many(spec: SimpleNamespace) -> dict[str, float]:
    messages = [messages_of(spec)] * MANY
    with pump_of(spec) as pump:
        ch = channel(pump, zmq.PUSH, spec.endpoint, spec.hwm)
        sending, sent = Sending(), 0
        deadline = clock() + spec.warm + spec.seconds
        while clock() < deadline:
            ch.put_many(messages)
            sent += MANY
        return finish(ch, sending, [], sent)


def put_small(spec: SimpleNamespace) -> dict[str, float]:
    message = messages_of(spec)
    with pump_of(spec) as pump:
        ch = channel(pump, zmq.PUSH, spec.endpoint, spec.hwm, spec.maxsize)
        return one_by_one(spec, ch, lambda: ch.put(message))


def send_and_wait(spec: SimpleNamespace) -> dict[str, float]:
    message = messages_of(spec)
    with pump_of(spec) as pump:
        ch = channel(pump, zmq.PUSH, spec.endpoint, spec.hwm)
        return one_by_one(spec, ch, lambda: ch.send(message).get())


def one_by_one(spec: SimpleNamespace, ch: zgreen.Channel, put: Callable[[], object]) -> dict[str, float]:
    sending, sent = Sending(), 0
    deadline = clock() + spec.warm + spec.seconds
    while clock() < deadline:
        put()
        sent += 1
    return finish(ch, sending, [], sent)


def many_pumps(spec: SimpleNamespace) -> dict[str, float]:
    """As push, with a channel on each of several pumps; greenlets take them in turn."""
    message, batch = messages_of(spec), batch_of(spec)
    with contextlib.ExitStack() as stack:
        pumps = [stack.enter_context(pump_of(spec)) for _ in range(spec.pumps)]
        channels = [channel(pump, zmq.PUSH, spec.endpoint, spec.hwm) for pump in pumps]
        sending = Sending()
        deadline = clock() + spec.warm + spec.seconds

        def greenlet(put: Callable[[bytes], object]) -> int:
            sent = 0
            while clock() < deadline:
                for _ in range(batch):
                    put(message)
                sent += batch
            return sent

        greenlets = [gevent.spawn(greenlet, channels[i % spec.pumps].put) for i in range(spec.greenlets)]
        sent = sum(g.get() for g in greenlets)
        for ch in channels[1:]:
            ch.put(END)
            ch.flush()
        return finish(channels[0], sending, [], sent)


def finish(
    ch: zgreen.Channel, sending: Sending, greenlets: list[gevent.Greenlet[..., Any]], sent: int = 0
) -> dict[str, float]:
    """Wait for what *greenlets* have sent, beside the *sent* messages of the caller, to be counted."""
    sent += sum(g.get() for g in greenlets)
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


def pull_many(spec: SimpleNamespace) -> dict[str, float]:
    meter = Meter(spec)
    with pump_of(spec) as pump:
        ch = channel(pump, zmq.PULL, spec.endpoint, spec.hwm)
        while not meter.done:
            meter.add(len(ch.get_many(MANY)))
        done()
        return meter.figures()


def get_small(spec: SimpleNamespace) -> dict[str, float]:
    meter, batch = Meter(spec), batch_of(spec)
    with pump_of(spec) as pump:
        ch = channel(pump, zmq.PULL, spec.endpoint, spec.hwm, spec.maxsize)
        while not meter.done:
            for _ in range(batch):
                ch.get()
            meter.add(batch)
        done()
        return meter.figures()


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


def many_channels(spec: SimpleNamespace) -> dict[str, float]:
    allow_descriptors()
    over = Event()
    meter = Meter(spec, over.set)
    with pump_of(spec) as pump:
        source = zgreen.Channel(zmq.PUSH, bind=INPROC, pump=pump)
        opening = Opening()
        channels = [zgreen.Channel(zmq.PULL, connect=INPROC, pump=pump) for _ in range(spec.channels)]

        def greenlet(ch: zgreen.Channel) -> None:
            get, add = ch.get, meter.add
            while not meter.done:
                get()
                add(1)

        greenlets = [gevent.spawn(greenlet, ch) for ch in channels]
        gevent.sleep(0)  # each waits
        opening.opened(spec.channels)
        memory = opening.figures()["bytes_per_channel"]
        sending = gevent.spawn(pace, SimpleNamespace(**{**vars(spec), "seconds": 1e6}), source.put)
        return {**measure(meter, over, [sending, *greenlets]), "bytes_per_channel": memory}


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
        return {**finish(ch, sending, [], pace(spec, ch.put)), "seconds": spec.seconds}


def fan_out(spec: SimpleNamespace) -> dict[str, float]:
    with pump_of(spec) as pump, zgreen.Fanout(channel(pump, zmq.SUB, spec.endpoint, spec.hwm)) as fan:
        topic = messages_of(spec) if spec.topic else ""  # a message of one frame is its own topic
        how = {"exact": True} if spec.topic == "exact" else {}  # which older revisions do not know
        subscriptions = [fan.subscribe(topic, **how) for _ in range(spec.greenlets)]
        announce(spec, 1)
        return count(spec, [subscription.get for subscription in subscriptions])


def sse(spec: SimpleNamespace) -> dict[str, float]:
    import zgreen.sse  # here and below, as older revisions, which are measured too, lack it

    with pump_of(spec) as pump, zgreen.Fanout(channel(pump, zmq.SUB, spec.endpoint, spec.hwm)) as fan:
        return _sse.serve(spec, lambda: zgreen.sse.events(fan.subscribe("")), 1)


def green(spec: SimpleNamespace) -> dict[str, float]:
    """The functions of zmq_green, with zgreen.green in its place."""
    import zgreen.green

    os.environ["ZGREEN_ENGINE"] = spec.engine
    zgreen.green.install()
    from . import zmq_green

    return zmq_green.GREEN[spec.scenario](spec)


GREEN = dict.fromkeys(("green_push", "green_pull", "green_busy_hub", "green_requests", "green_refused", "green_polled"),
                      green)  # fmt: skip

if __name__ == "__main__":
    functions = (
        probe, push, push_many, put_small, send_and_wait, many_pumps, pull, pull_many, get_small, round_trip, busy_hub,
        wsgi, many_sockets, many_channels, idle, paced, fan_out, sse,
    )  # fmt: skip
    main({function.__name__: function for function in functions} | GREEN)
