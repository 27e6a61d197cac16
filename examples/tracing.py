"""Spans for OpenTelemetry: the trace context travels in a frame of its own, and the receiver continues the trace.

Run it:  python examples/tracing.py  (needs pip install 'zgreen[tracing]')
"""

from __future__ import annotations

import time
from collections import deque

import gevent
import zmq
from opentelemetry import trace
from opentelemetry.context import Context, get_current
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import zgreen

W3C = TraceContextTextMapPropagator()  # writes and reads "traceparent"
EPOCH = time.time_ns() - time.monotonic_ns()  # what a span's clock is ahead of an event's


class Sender:
    """Puts to a channel, with a span for each message and one within it for its time in the send queue."""

    def __init__(self, tracer: trace.Tracer, channel: zgreen.Channel) -> None:
        self._tracer = tracer
        self._channel = channel
        self._contexts: deque[Context] = deque()  # of the messages on their way to libzmq, which go in order
        self._put_at: deque[int] = deque()

    def send(self, body: bytes) -> None:
        """Put *body* behind the context of a new span."""
        with self._tracer.start_as_current_span("send", kind=SpanKind.PRODUCER):
            carrier: dict[str, str] = {}
            W3C.inject(carrier)
            context = get_current()
            self._contexts.append(context)
            try:
                self._channel.put([carrier["traceparent"].encode(), body])
            except BaseException:
                self._contexts.remove(context)
                raise

    def on_event(self, event: zgreen.Event) -> None:
        """The hub calls this; what libzmq has taken becomes a span of its own."""
        if event.channel is not self._channel:
            return
        now = EPOCH + int(event.time * 1e9)
        if event.kind == "put":
            self._put_at.append(now)
        elif event.kind == "sent":
            context, put_at = self._contexts.popleft(), self._put_at.popleft()
            span = self._tracer.start_span("in the send queue", context, start_time=put_at)
            span.set_attribute("messaging.message.envelope.size", event.size)
            span.end(now)


def receive(channel: zgreen.Channel) -> tuple[Context, bytes]:
    """The context of the span that sent it, and the body."""
    traceparent, body = channel.get()
    return W3C.extract({"traceparent": traceparent.decode()}), body


def work(tracer: trace.Tracer, channel: zgreen.Channel) -> None:
    for _ in range(2):
        context, body = receive(channel)
        with tracer.start_as_current_span("work", context, SpanKind.CONSUMER) as span:
            span.set_attribute("body", body.decode())


def main() -> None:
    exporter = InMemorySpanExporter()  # in a real program: one that sends them to a collector
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("zgreen.example")
    with (
        zgreen.Pump("traced") as pump,
        zgreen.Channel(zmq.PULL, bind="tcp://127.0.0.1:*", pump=pump) as pull,
        zgreen.Channel(zmq.PUSH, connect=pull.last_endpoint, pump=pump) as push,
    ):
        sender = Sender(tracer, push)
        pump.on_event = sender.on_event
        worker = gevent.spawn(work, tracer, pull)
        for body in (b"one", b"two"):
            with tracer.start_as_current_span(f"request {body.decode()}"):
                sender.send(body)
        worker.get()
        push.flush()
    spans = exporter.get_finished_spans()
    names = {span.context.span_id: span.name for span in spans}
    for root in [span for span in spans if span.parent is None]:
        print(root.name)
        rest = [span for span in spans if span.parent is not None and span.context.trace_id == root.context.trace_id]
        for span in sorted(rest, key=lambda span: span.name):
            print(f"  {span.name}, within {names[span.parent.span_id]}")


if __name__ == "__main__":
    main()
