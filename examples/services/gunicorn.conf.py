worker_class = "gevent"
worker_connections = 1000
from zgreen.gunicorn import child_exit, post_worker_init, worker_exit, worker_int  # noqa: E402, F401
