"""The names and descriptions of zgreen's metrics (a leaf)."""

from __future__ import annotations

# What pumps and channels both have: (field of the statistics, name without prefix, what it says).
COUNTERS = (
    ("sent", "sent_messages", "Messages that libzmq has taken."),
    ("sent_bytes", "sent_bytes", "Content of the messages that libzmq has taken."),
    ("received", "received_messages", "Messages that libzmq has given."),
    ("received_bytes", "received_bytes", "Content of the messages that libzmq has given."),
    ("put_waits", "put_waits", "Puts that had to wait for room."),
    ("put_wait_seconds", "put_wait_seconds", "Time that puts have waited, those that wait now included."),
    ("get_waits", "get_waits", "Gets that had to wait for a message."),
    ("get_wait_seconds", "get_wait_seconds", "Time that gets have waited, those that wait now included."),
    ("send_turns", "send_turns", "Turns of the owning thread in which messages were sent."),
    ("receive_turns", "receive_turns", "Turns of the owning thread in which messages were received."),
    ("hub_wakeups", "hub_wakeups", "Times that the owning thread woke the hub, or a thread that waits."),
    ("thread_wakeups", "thread_wakeups", "Times that the owning thread was woken."),
)
CAUSES = (
    ("refusals", "refusals", "Messages that libzmq refused for good, by the name of the error."),
    ("drops", "drops", "Messages that were lost, by cause: drop_oldest, drop_newest, unsent."),
)
GAUGES = (
    ("pending", "pending_messages", "Messages put, and not with libzmq."),
    ("waiting", "waiting_messages", "Messages received, and not got."),
    ("peak_pending", "peak_pending_messages", "The most messages that were pending in one channel."),
    ("peak_waiting", "peak_waiting_messages", "The most messages that waited in one channel."),
    ("largest_send", "largest_send_messages", "The most messages sent in one turn."),
    ("largest_receive", "largest_receive_messages", "The most messages received in one turn."),
)
# What pumps alone have.
COUNTERS_OF_PUMPS = (
    ("busy_wait_hits", "busy_wait_hits", "Times that the owning thread looked before it slept, and found work."),
    ("busy_wait_misses", "busy_wait_misses", "Times that the owning thread looked before it slept, and found none."),
)
OF_PUMPS = (("channels", "channels", "Open channels."),)
OF_CHANNELS = (
    ("putters", "putters", "Greenlets and threads that wait to put."),
    ("getters", "getters", "Greenlets and threads that wait to get."),
    ("pending_bytes", "pending_bytes", "Content of the pending messages, if send_maxbytes is set."),
    ("waiting_bytes", "waiting_bytes", "Content of the waiting messages, if recv_maxbytes is set."),
)
