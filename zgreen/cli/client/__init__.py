"""``zgreen pub``, ``sub``, ``push``, ``pull``, ``req``, ``rep`` and ``monitor``: a terminal's end of any ZeroMQ peer.

``options`` are the arguments that they share, and the channel that is made of them; ``formats`` says how a message is
written down; ``stdio`` reads and writes the standard streams without holding up the hub; ``rates`` is the line that
says how it goes; ``handshakes`` tells of peers that refuse; ``delivery`` is the end of a channel that sends. The others
are the commands: ``sending``, ``receiving``, ``asking``, ``answering`` and ``watching``.
"""
