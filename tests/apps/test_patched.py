"""requests and logging under monkey.patch_all(), beside channels: nothing hangs, nothing is lost."""

from __future__ import annotations

from support import run


def test_requests_and_logging():
    """Greenlets that ask a server of this very process, log from greenlets and from a real thread, and push."""
    status, out, err = run(
        """
        from gevent import monkey; monkey.patch_all()
        import gevent, logging, threading
        import requests, zmq
        from gevent.pywsgi import WSGIServer
        from gevent.threadpool import ThreadPool
        import zgreen

        logs = zgreen.Channel(zmq.PULL, bind="tcp://127.0.0.1:*")
        handler = zgreen.PubHandler(zgreen.Channel(zmq.PUSH, connect=logs.last_endpoint))
        log = logging.getLogger("app")
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
        pull = zgreen.Channel(zmq.PULL, bind="tcp://127.0.0.1:*")
        push = zgreen.Channel(zmq.PUSH, connect=pull.last_endpoint)

        def application(environ, start_response):
            body = environ["wsgi.input"].read()
            push.put(body)
            log.info("got %s", body.decode())
            start_response("200 OK", [("Content-Length", "0")])
            return []

        server = WSGIServer(("127.0.0.1", 0), application, log=None)
        server.start()
        url = f"http://127.0.0.1:{server.server_port}/"

        def ask(number):
            with requests.Session() as session:
                for n in range(10):
                    assert session.post(url, data=str(number * 10 + n), timeout=20).status_code == 200

        pool = ThreadPool(2)
        threads = [threading.Thread(target=ask, args=(n,)) for n in range(20)]
        for thread in threads:
            thread.start()
        outside = [pool.spawn(log.info, "from outside") for _ in range(50)]
        for thread in threads:
            thread.join()
        gevent.wait(outside)
        print(sorted(int(pull.get()) for _ in range(200)) == list(range(200)))
        print(len([logs.get(timeout=20) for _ in range(250)]), handler.dropped)
        pool.kill()
        server.stop()
        """
    )
    assert (status, out) == (0, "True\n250 0\n"), err
