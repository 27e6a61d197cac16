from gevent import monkey

monkey.patch_all()  # before the application is imported, which --preload does before there is a worker

worker_class = "gevent"
worker_connections = 1000
from zgreen.gunicorn import child_exit, post_worker_init, worker_exit, worker_int  # noqa: E402, F401
