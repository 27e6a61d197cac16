"""A page that shows messages as they come, by server-sent events.

Run it:  python examples/services/sse.py [port]
and open http://127.0.0.1:8000/ in some browser windows. SIGTERM (kill) ends it well; Ctrl-C ends it, too.

A publisher of its own, so that there is something to see: in real life it is another process.
"""

import contextlib
import sys

import gevent
import zmq
from gevent.pool import Pool
from gevent.pywsgi import WSGIServer

import zgreen
import zgreen.sse

PAGE = b"""<!doctype html><title>zgreen</title><ul id="list"></ul><script>
new EventSource("/events").onmessage = event =>
  document.getElementById("list").appendChild(document.createElement("li")).textContent = event.data
</script>"""


def publish(publisher: zgreen.Channel) -> None:
    with contextlib.suppress(zgreen.ClosedError):  # zgreen.drain has closed it
        for number in range(sys.maxsize):
            publisher.put([b"ticks", f"tick {number}"])
            gevent.sleep(1)


def main() -> None:
    publisher = zgreen.Channel(zmq.PUB, bind="tcp://127.0.0.1:*")
    fan = zgreen.Fanout(zgreen.Channel(zmq.SUB, connect=publisher.last_endpoint), keep=10)

    def application(environ, start_response):
        if environ["PATH_INFO"] != "/events":
            start_response("200 OK", [("Content-Type", "text/html")])
            return [PAGE]
        start_response("200 OK", zgreen.sse.HEADERS)
        try:
            subscription = fan.subscribe("ticks", replay=10)
        except zgreen.ClosedError:  # it has been told to end
            return zgreen.sse.come_back()
        return zgreen.sse.events(subscription, last_event_id=environ.get("HTTP_LAST_EVENT_ID"))

    gevent.spawn(publish, publisher)
    server = WSGIServer(
        ("127.0.0.1", int(sys.argv[1]) if sys.argv[1:] else 8000), application, spawn=Pool(1000), log=None
    )
    zgreen.drain_on_signal(server.stop)
    server.start()
    print(f"http://127.0.0.1:{server.server_port}/", flush=True)
    try:
        server.serve_forever()
    finally:
        zgreen.drain()


if __name__ == "__main__":
    main()
