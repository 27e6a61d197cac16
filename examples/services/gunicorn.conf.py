worker_class = "gevent"
worker_connections = 1000
from zgreen.gunicorn import post_worker_init, worker_int  # noqa: E402, F401
