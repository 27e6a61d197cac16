"""A page about one's own process: pumps, channels, queues, waiters, losses, rates; as a WSGI application to mount.

Needs the extra ``status`` (``pip install zgreen[status]``).
"""

from .web import application as application
