"""What is counted: snapshots of a channel, and of its pump.

Run it:  python examples/howto/counts.py
"""

import json

import zmq

import zgreen

with zgreen.Pump("counted") as pump:
    pull = zgreen.Channel(zmq.PULL, bind="tcp://127.0.0.1:*", pump=pump)
    push = zgreen.Channel(zmq.PUSH, connect=pull.last_endpoint, pump=pump)
    push.put([b"header", b"body"])
    pull.get()

    one = pull.statistics()  # zgreen.ChannelStatistics: since the channel was made
    print(f"{one.received} message of {one.received_bytes} bytes")
    print("from JSON:", json.loads(json.dumps(one._asdict()))["get_waits"] <= 1)

    push.close()
    total = pump.statistics()  # zgreen.PumpStatistics: all channels together, those that are closed included
    print(f"{total.channels} channel is open, {total.sent} message was sent")
    print(pump.dump().splitlines()[0].startswith("<zgreen.Pump 'counted'>: "))  # the dump names every waiter
