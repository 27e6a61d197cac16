"""A WSGI application for prefork servers: each worker process makes its own channel, at its first request.

Run it, in the folder of this file (or with --chdir examples/howto):

         PUSH_TO=tcp://127.0.0.1:5555 gunicorn --worker-class gevent --workers 2 prefork:application
         PUSH_TO=tcp://127.0.0.1:5555 uwsgi --gevent 100 --processes 2 --http :8000 --module prefork
"""

import os

import zmq

import zgreen


@zgreen.per_process
def push() -> zgreen.Channel:
    return zgreen.Channel(zmq.PUSH, connect=os.environ["PUSH_TO"])


def application(environ, start_response):
    push().put([str(os.getpid()), environ["PATH_INFO"]], timeout=5)
    start_response("202 Accepted", [("Content-Length", "0")])
    return []


try:
    import uwsgi
except ImportError:
    pass  # gunicorn's workers end as any Python process does, and zgreen sends what was put by itself
else:
    # uWSGI's workers end without Python's atexit functions in gevent mode; close() waits 5 seconds at most.
    uwsgi.atexit = lambda: push().close(linger=5)
