"""CURVE with key files: the server lets in the clients whose public keys are in a directory. And PLAIN, with passwords.

Run it:  python examples/howto/certificates.py
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import zmq
import zmq.auth

import zgreen
import zgreen.auth


def server(keys: Path, pump: zgreen.Pump) -> zgreen.Channel:
    _, secret = zmq.auth.load_certificate(keys / "server.key_secret")
    return zgreen.Channel(
        zmq.PULL,
        bind="tcp://127.0.0.1:*",
        options={
            zmq.CURVE_SERVER: 1,
            zmq.CURVE_SECRETKEY: secret,
            zmq.ZAP_DOMAIN: "orders",  # which set-up counts: "orders", else "*"
            zmq.ZAP_ENFORCE_DOMAIN: 1,  # no client gets in while there is no authenticator
        },
        pump=pump,
    )


def client(keys: Path, endpoint: str) -> zgreen.Channel:
    public, secret = zmq.auth.load_certificate(keys / "client-1.key_secret")
    server_key, _ = zmq.auth.load_certificate(keys / "server.key")
    return zgreen.Channel(
        zmq.PUSH,
        connect=endpoint,
        options={zmq.CURVE_PUBLICKEY: public, zmq.CURVE_SECRETKEY: secret, zmq.CURVE_SERVERKEY: server_key},
    )


def plain(auth: zgreen.auth.Authenticator, pump: zgreen.Pump) -> tuple[zgreen.Channel, zgreen.Channel]:
    auth.configure_plain({"anne": "a password"}, domain="notes")
    listening = zgreen.Channel(
        zmq.PULL,
        bind="tcp://127.0.0.1:*",
        options={zmq.PLAIN_SERVER: 1, zmq.ZAP_DOMAIN: "notes", zmq.ZAP_ENFORCE_DOMAIN: 1},
        pump=pump,
    )
    sending = zgreen.Channel(
        zmq.PUSH,
        connect=listening.last_endpoint,
        options={zmq.PLAIN_USERNAME: "anne", zmq.PLAIN_PASSWORD: "a password"},
    )
    return listening, sending


def main(keys: Path) -> None:
    for name in ("server", "client-1"):
        subprocess.run(
            [sys.executable, "-m", "zgreen", "keygen", "--directory", keys, name], check=True, stdout=subprocess.DEVNULL
        )
    clients = keys / "clients"  # the public keys of the clients that may come in, and nothing else
    clients.mkdir()
    (keys / "client-1.key").rename(clients / "client-1.key")

    with zgreen.Pump() as pump:
        auth = zgreen.auth.Authenticator(pump)  # first: before anything is bound
        auth.allow("192.0.2.0/24", "127.0.0.1")  # optional; deny() likewise, and it wins
        auth.configure_curve(clients)  # every *.key in there

        orders = server(keys, pump)
        with client(keys, orders.last_endpoint) as sending:
            sending.put("an order")
            print(orders.get(timeout=20).decode())

        notes, noting = plain(auth, pump)
        noting.put("a note")
        print(notes.get(timeout=20).decode())
        noting.close()
        print("allowed:", auth.statistics().allowed)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
