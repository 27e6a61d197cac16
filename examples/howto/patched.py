"""monkey.patch_all(): greenlets, patched "threads" and real OS threads put to one channel.

Run it:  python examples/howto/patched.py
"""

from gevent import monkey

monkey.patch_all()  # first of all, before any other import

import threading  # noqa: E402

import gevent  # noqa: E402
import zmq  # noqa: E402

import zgreen  # noqa: E402

pull = zgreen.Channel(zmq.PULL, bind="tcp://127.0.0.1:*")
push = zgreen.Channel(zmq.PUSH, connect=pull.last_endpoint)

greenlet = gevent.spawn(push.put, "from a greenlet")
thread = threading.Thread(target=push.put, args=("from a threading.Thread, which is a greenlet now",))
thread.start()
gevent.get_hub().threadpool.apply(push.put, ("from a real OS thread",))
greenlet.join()
thread.join()

for text in sorted(pull.get().decode() for _ in range(3)):
    print(text)
push.close()
pull.close()
