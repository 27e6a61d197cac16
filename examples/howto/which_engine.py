"""Which engine runs, and on which versions.

Run it:  python examples/howto/which_engine.py
"""

import zmq

import zgreen

with zgreen.Pump() as pump:
    print("engine:", pump.engine)
print("zgreen", zgreen.__version__, "libzmq", zmq.zmq_version())
