"""The statistics of a process for Prometheus, printed as a scrape would get them.

Run it:  python examples/howto/collector.py    (needs pip install 'zgreen[metrics]')
"""

import prometheus_client
import zmq

import zgreen
import zgreen.metrics

pump = zgreen.Pump("shop")
registry = prometheus_client.CollectorRegistry()  # or prometheus_client.REGISTRY, for all of the process
registry.register(zgreen.metrics.Collector(pump))

with zgreen.Channel(zmq.PULL, bind="inproc://orders", pump=pump) as pull:
    with zgreen.Channel(zmq.PUSH, connect="inproc://orders", pump=pump) as push:
        push.put_many(["an order", "another order"])
        print(pull.get(), pull.get())
    for line in prometheus_client.generate_latest(registry).decode().splitlines():
        if line.startswith("zgreen_pump_received_messages_total"):
            print(line)
pump.shutdown()
