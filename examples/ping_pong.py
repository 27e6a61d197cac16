"""Ping and pong: one REQ and one REP socket, spoken to through four gevent queues.

Run it:  python examples/ping_pong.py
"""

import gevent
from gevent.queue import Queue

import zgreen

ADDRESS = "inproc://ping-pong"
ROUNDS = 3


def main() -> None:
    # "in" and "out" are named as the library sees them: you put to in_ and get from out.
    server_in, server_out, client_in, client_out = (Queue(64) for _ in range(4))

    zgreen.register_socket(server_in, server_out, socket_type="rep", configurator=lambda s: s.bind(ADDRESS))
    zgreen.register_socket(client_in, client_out, socket_type="req", configurator=lambda s: s.connect(ADDRESS))

    def server() -> None:
        for _ in range(ROUNDS):
            print(server_out.get().decode())
            server_in.put("pong")
        server_in.shutdown()  # closes the REP socket once the last pong has gone out

    def client() -> None:
        for _ in range(ROUNDS):
            client_in.put("ping")
            print(client_out.get().decode())
        client_in.shutdown()

    gevent.joinall([gevent.spawn(server), gevent.spawn(client)], raise_error=True)


if __name__ == "__main__":
    main()
