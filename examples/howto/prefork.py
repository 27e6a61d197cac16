"""A WSGI application for prefork servers: each worker process makes its own channel, at its first request.

Run it, in the folder of this file (or with --chdir examples/howto):

         PUSH_TO=tcp://127.0.0.1:5555 gunicorn --worker-class gevent --workers 2 prefork:application
         PUSH_TO=tcp://127.0.0.1:5555 uwsgi --gevent 100 --processes 2 --http :8000 --module prefork
"""

import os

import zmq

import zgreen

_channel = None


def channel() -> zgreen.Channel:
    """This process's channel. To make one takes a moment in which other greenlets run: so it is kept only once made."""
    global _channel
    if _channel is None:
        made = zgreen.Channel(zmq.PUSH, connect=os.environ["PUSH_TO"])
        if _channel is None:
            _channel = made
        else:  # another greenlet was faster
            made.close()
    return _channel


def goodbye() -> None:
    """Send what was put; close() waits 5 seconds at most."""
    if _channel is not None:
        _channel.close(linger=5)


try:
    import uwsgi
except ImportError:
    pass  # gunicorn's workers end as any Python process does, and zgreen sends what was put by itself
else:
    uwsgi.atexit = goodbye  # uWSGI's workers end without Python's atexit functions in gevent mode


def application(environ, start_response):
    channel().put([str(os.getpid()), environ["PATH_INFO"]], timeout=5)
    start_response("202 Accepted", [("Content-Length", "0")])
    return []
