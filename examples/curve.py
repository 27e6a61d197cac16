"""CURVE: a server that lets in the clients whose keys it knows, and turns away the others.

Run it:  python examples/curve.py

The Authenticator is asked about every handshake of the pump's sockets. It is a channel of the pump like any other, so
it works under monkey.patch_all(), and its callback may wait for a database.
"""

import gevent
import zmq

import zgreen
import zgreen.auth


def client_options(keys: tuple[bytes, bytes], server_key: bytes) -> dict[int, bytes]:
    return {zmq.CURVE_PUBLICKEY: keys[0], zmq.CURVE_SECRETKEY: keys[1], zmq.CURVE_SERVERKEY: server_key}


def main() -> None:
    # in real life: python -m zgreen keygen, and zmq.auth.load_certificate(file)
    server_keys, friend, stranger = zmq.curve_keypair(), zmq.curve_keypair(), zmq.curve_keypair()

    def is_known(_domain: str, key: bytes) -> bool:
        gevent.sleep(0.01)  # the time a database takes; others are served meanwhile
        return key == friend[0]

    with zgreen.Pump("server") as pump, zgreen.auth.Authenticator(pump) as auth, zgreen.Pump("clients") as clients:
        auth.allow("127.0.0.1")
        auth.configure_curve_callback(is_known)
        server = zgreen.Channel(
            zmq.PULL,
            bind="tcp://127.0.0.1:*",
            options={
                zmq.CURVE_SERVER: 1,
                zmq.CURVE_SECRETKEY: server_keys[1],
                zmq.ZAP_DOMAIN: "example",
                zmq.ZAP_ENFORCE_DOMAIN: 1,  # no client gets in while no authenticator is there
            },
            pump=pump,
        )
        with server.monitor() as events:
            for name, keys in [("stranger", stranger), ("friend", friend)]:
                options = client_options(keys, server_keys[0])
                channel = zgreen.Channel(zmq.PUSH, connect=server.last_endpoint, options=options, pump=clients)
                channel.put(f"hello from the {name}")
                for event in events:
                    if event.name.startswith("HANDSHAKE"):
                        break
                print(f"{name}: {event.name} {event.reason}".rstrip())
        print(server.get().decode())
        clients.shutdown(linger=0)  # the stranger's message will never go


if __name__ == "__main__":
    main()
