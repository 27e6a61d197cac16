"""Many sockets: a hundred channels on one thread, and a second pump for what may not wait.

Run it:  python examples/howto/many_sockets.py
"""

import gevent
import zmq

import zgreen

PAIRS = 100

with zgreen.Pump("work") as work, zgreen.Pump("control") as control:
    pulls = [zgreen.Channel(zmq.PULL, bind=f"inproc://{i}", recv_maxsize=10, pump=work) for i in range(PAIRS)]
    pushes = [zgreen.Channel(zmq.PUSH, connect=f"inproc://{i}", send_maxsize=10, pump=work) for i in range(PAIRS)]
    getters = [gevent.spawn(pull.get) for pull in pulls]  # a greenlet each costs a few kilobytes, and no thread
    for number, push in enumerate(pushes):
        push.put(str(number))
    print("sum:", sum(int(getter.get()) for getter in getters))
    print("channels of the pump:", work.statistics().channels)

    # its own thread and its own context: a large message among the others does not hold this one up
    commands = zgreen.Channel(zmq.PULL, bind="tcp://127.0.0.1:*", pump=control)
    commander = zgreen.Channel(zmq.PUSH, connect=commands.last_endpoint, pump=control)
    commander.put("stop")
    print("command:", commands.get().decode())
