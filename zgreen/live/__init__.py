"""``zgreen live``: the fan-out service as a page in a browser, on 127.0.0.1 only. Built on zgreen's public face.

::

    publisher process                    this process                                     browsers
    -----------------                    ------------                                     --------
    PUB channel --- ZeroMQ/tcp --> SUB channel -> Fanout -> a Subscription for each  -- events --> page
    PULL channel <- ZeroMQ/tcp --- PUSH channel <- greenlet of the request          <--- POST ---- form

``service`` holds the channels, the fan-out and the streams; ``stream`` is what one browser gets; ``web`` is the HTTP
server; ``publisher`` is the child process and ``keeper`` sees that one runs; ``command`` ties them together. ``wire``
names what travels and how large it may be. ``page/`` is what the browser loads.
"""
