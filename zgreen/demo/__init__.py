"""What ``python -m zgreen demo`` runs: real HTTP, real processes, and a count of every message.

Three processes, each a module that ``python -m`` can run::

    client                          server (and supervisor)                    worker
    ------                          -----------------------                    ------
    POST /news --------- HTTP ----> greenlet of the request
                                      -> put, PUSH channel ---- ZeroMQ/tcp --> PULL channel, get
                                                                                 |
    reader of a stream <-- HTTP --- greenlet of the stream                       v
      (50 of them)                    <- fan-out <- SUB channel <- ZeroMQ/tcp -- PUB channel, put

``supervisor`` runs it all and judges, by way of ``child`` (a child process, from outside) and ``progress``
(what is printed); ``server`` holds the WSGI application. ``worker`` and ``client`` are the two children;
they talk to the supervisor by ``report``, and ``measure`` counts for the client. ``wire`` names what
travels. All of it is on zgreen's public face: it can be read as an example.
"""
