"""The Python engine's threads in every order, and mistakes in it that this must find: Pipe, Mailbox, Bell, and the
owning thread's loop, between a scheduler and scripted sockets (explored.py)."""

import errno
from pathlib import Path

import pytest
from explored import Code, Socket
from explored_world import World
from planted import read_mistakes
from schedules import Failed, explore
from support import LIMIT

pytestmark = [pytest.mark.once, pytest.mark.timeout(5 * LIMIT)]

PLENTY = 1000  # schedules of a scenario; fewer would mean that it does not do what it should
MISTAKES = read_mistakes(Path(__file__).with_name("explore_mistakes_python.txt"))


def numbered(producer, count):
    return [producer + b"%d" % i for i in range(count)]


# ---------------------------------------------------------------------- putting


def put(world):
    socket = Socket()
    pipe = world.make_pipe(socket)
    world.start()
    messages = numbered(b"a", 3)
    world.spawn_hub(lambda: [world.try_put(pipe, message) for message in messages])

    def check():
        assert socket.taken == messages

    return check


def put_many(world):
    """Two at a time."""
    socket = Socket()
    pipe = world.make_pipe(socket)
    world.start()
    messages = numbered(b"a", 4)
    world.spawn_hub(lambda: [pipe.offer_many(messages[: start + 2], start) for start in (0, 2)])

    def check():
        assert socket.taken == messages

    return check


def writable(world):
    """A message is put only while it is writable, one ahead: the hub is woken whenever there is room."""
    socket = Socket(room=1)
    pipe = world.make_pipe(socket)
    world.start()
    messages = numbered(b"a", 2)
    told = []

    def offer(message):
        while not pipe.offer_writable(message):
            while not told:
                world.hub_pass()
            told.clear()

    def hub():
        pipe.watch_writable(world.code.mailbox.Bell(world.hub_mail, lambda: told.append(True)))
        offer(messages[0])
        socket.make_room(1)
        offer(messages[1])

    world.spawn_hub(hub)

    def check():
        assert socket.taken == messages

    return check


def put_full(world, out, count, hub):
    """One thread fills the queue again and again."""
    socket = Socket()
    pipe = world.make_pipe(socket, out=out)
    world.start()
    messages = numbered(b"a", count)

    def body(me):
        for message in messages:
            world.put_waiting(pipe, me, message)

    if hub:
        world.spawn_hub(lambda: body(world.greenlet))
    else:
        world.spawn_foreign(body)

    def check():
        assert socket.taken == messages

    return check


def put_full_hub(world):
    return put_full(world, 1, 3, True)


def put_full_foreign(world):
    return put_full(world, 1, 3, False)


def put_full_quarter(world):
    return put_full(world, 4, 6, True)  # much room is more than a quarter


def putters_take_turns(world):
    """The hub and a foreign thread wait for room in one line: the bell goes from one to the other while it is rung."""
    socket = Socket()
    pipe = world.make_pipe(socket, out=1)
    world.start()
    messages = numbered(b"a", 2)
    world.spawn_hub(lambda: [world.put_waiting(pipe, world.greenlet, message) for message in messages])
    world.spawn_foreign(lambda me: world.put_waiting(pipe, me, b"b0"))

    def check():
        assert sorted(socket.taken) == [*messages, b"b0"]
        assert [message for message in socket.taken if message != b"b0"] == messages

    return check


def peer_makes_room(world):
    """libzmq refuses for now; its peer makes room while the owner goes to sleep."""
    socket = Socket(room=0)
    pipe = world.make_pipe(socket, out=1)
    world.start()
    messages = numbered(b"a", 2)
    world.spawn_hub(lambda: [world.put_waiting(pipe, world.greenlet, message) for message in messages])
    world.scheduler.spawn("peer", lambda: [socket.make_room(1) for _ in messages])

    def check():
        assert socket.taken == messages

    return check


def peer_makes_little_room(world):
    """It makes room for one, no more: that is a little of it, but all that there will be."""
    socket = Socket(room=0)
    pipe = world.make_pipe(socket, out=4)
    world.start()
    messages = numbered(b"a", 5)
    world.spawn_hub(lambda: [world.put_waiting(pipe, world.greenlet, message) for message in messages])
    world.scheduler.spawn("peer", lambda: socket.make_room(1))

    def check():
        assert socket.taken == messages[:1]
        assert pipe.pending() == 4

    return check


def stalled(world):
    """ROUTER with MANDATORY: POLLOUT is there although libzmq refuses; a timer tries again."""
    socket = Socket(room=0)
    socket.says_writable = True
    pipe = world.make_pipe(socket, out=1)
    world.start()
    messages = numbered(b"a", 2)
    world.spawn_hub(lambda: [world.put_waiting(pipe, world.greenlet, message) for message in messages])
    world.scheduler.spawn("peer", lambda: socket.make_room(2))

    def check():
        assert socket.taken == messages

    return check


# ---------------------------------------------------------------------- getting


def get_all(world, into, before, after, hub):
    socket = Socket()
    pipe = world.make_pipe(socket, into=into)
    messages = numbered(b"a", before + after)
    socket.arrive(*messages[:before])
    world.start()

    def body(me):
        for _ in messages:
            world.get_waiting(pipe, me)

    if hub:
        world.spawn_hub(lambda: body(world.greenlet))
    else:
        world.spawn_foreign(body)
    if after:
        world.scheduler.spawn("peer", lambda: [socket.arrive(message) for message in messages[before:]])

    def check():
        assert world.got == messages

    return check


def get_credit(world):
    return get_all(world, 1, 3, 0, True)


def get_credit_half(world):
    return get_all(world, 2, 4, 0, True)


def get_many(world):
    """As many at a time as there are."""
    socket = Socket()
    pipe = world.make_pipe(socket, into=2)
    messages = numbered(b"a", 4)
    socket.arrive(*messages)
    world.start()

    def hub():
        while len(world.got) < len(messages):
            taken = pipe.take_many(3)
            world.got += taken
            if not taken:
                world.get_waiting(pipe, world.greenlet)

    world.spawn_hub(hub)

    def check():
        assert world.got == messages

    return check


def get_foreign(world):
    return get_all(world, 1, 3, 0, False)


def get_arriving(world):
    return get_all(world, 1, 0, 2, True)


def getters_take_turns(world):
    """The hub and a foreign thread wait for a message in one line."""
    socket = Socket()
    pipe = world.make_pipe(socket, into=1)
    messages = numbered(b"a", 2)
    socket.arrive(*messages)
    world.start()
    world.spawn_hub(lambda: world.get_waiting(pipe, world.greenlet))
    world.spawn_foreign(lambda me: world.get_waiting(pipe, me))

    def check():
        assert sorted(world.got) == messages

    return check


def drops(world, overflow):
    socket = Socket()
    pipe = world.make_pipe(socket, into=1, overflow=overflow)
    messages = numbered(b"a", 3)
    socket.arrive(messages[0])
    world.start()
    world.scheduler.spawn("peer", lambda: [socket.arrive(message) for message in messages[1:]])

    def hub():
        world.got += [message for _ in range(3) if (message := pipe.try_pop(0)) is not None]

    world.spawn_hub(hub)

    def check():
        assert pipe.received == 3
        assert len(pipe.incoming) <= 1
        seen = world.got + list(pipe.incoming)
        assert seen == sorted(seen)
        assert len(seen) == len(set(seen)) == 3 - pipe.dropped

    return check


def drop_oldest(world):
    return drops(world, "drop_oldest")


def drop_newest(world):
    return drops(world, "drop_newest")


def both_ways(world):
    """One socket both ways: any call of one lane may eat the edge of the other."""
    socket = Socket()
    pipe = world.make_pipe(socket)
    world.start()

    def hub():
        world.try_put(pipe, b"a0")
        world.get_waiting(pipe, world.greenlet)

    world.spawn_hub(hub)
    world.scheduler.spawn("peer", lambda: socket.arrive(b"b0"))

    def check():
        assert socket.taken == [b"a0"]
        assert world.got == [b"b0"]

    return check


def room_while_receiving(world):
    """The peer makes room as the owner receives, which uses up the edge of that, and the credit is used up, too."""
    socket = Socket(room=0)
    pipe = world.make_pipe(socket, into=1)
    world.start()
    world.spawn_hub(lambda: world.try_put(pipe, b"a0"))
    world.scheduler.spawn("peer", lambda: [socket.arrive(b"b0"), socket.make_room(1)])

    def check():
        assert socket.taken == [b"a0"]
        assert list(pipe.incoming) == [b"b0"]

    return check


# ---------------------------------------------------------------------- commands and ends


def commands(world):
    """A command is answered, once; messages go on beside it."""
    socket = Socket()
    pipe = world.make_pipe(socket)
    world.start()

    def hub():
        world.engine.post(world.reply("pong"), world.engine.ping)
        while not world.replies:
            world.hub_pass()

    world.spawn_hub(hub)
    world.spawn_foreign(lambda _me: world.try_put(pipe, b"a0"))

    def check():
        assert world.replies == ["pong"]
        assert socket.taken == [b"a0"]

    return check


def outcomes(world):
    """What becomes of messages is told, once; libzmq refuses the second one for good."""
    socket = Socket()
    socket.refuses[b"a1"] = errno.EHOSTUNREACH
    pipe = world.make_pipe(socket)
    world.start()

    def hub():
        world.try_put(pipe, b"a0", reply=world.reply("first"))
        world.try_put(pipe, b"a1")
        world.try_put(pipe, b"a2", reply=world.reply("last"))
        while len(world.replies) < 2:
            world.hub_pass()
        assert pipe.pending() == 0  # who is told may look
        while not world.refusals:
            world.hub_pass()

    world.spawn_hub(hub)

    def check():
        assert socket.taken == [b"a0", b"a2"]
        assert world.replies == ["first", "last"]
        assert world.refusals == [b"a1"]

    return check


def flush(world):
    """Told when all that was put before has gone."""
    socket = Socket()
    socket.refuses[b"a1"] = errno.EHOSTUNREACH
    pipe = world.make_pipe(socket)
    world.start()

    def hub():
        world.try_put(pipe, b"a0")
        world.try_put(pipe, b"a1")
        world.engine.post(world.reply("flushed"), world.engine.flush, pipe)
        while not world.replies:
            world.hub_pass()
        assert socket.taken[:1] == [b"a0"]
        assert pipe.refused == 1
        world.try_put(pipe, b"a2")

    world.spawn_hub(hub)

    def check():
        assert world.replies == ["flushed"]
        assert socket.taken == [b"a0", b"a2"]

    return check


def close_under_a_putter(world):
    """A putter waits for room, which the end takes from it."""
    socket = Socket(room=1)
    pipe = world.make_pipe(socket, out=1)
    world.start()

    def hub():
        world.put_waiting(pipe, world.greenlet, b"a0")
        world.engine.post(world.reply("closed"), world.engine.close, pipe, 0, 1000)
        world.put_waiting(pipe, world.greenlet, b"a1")
        world.put_waiting(pipe, world.greenlet, b"a2")

    world.spawn_hub(hub)

    def check():
        assert world.ends == 1
        assert socket.taken + world.unsent == world.put

    return check


def post_against_the_end(world):
    """The engine stops while a foreign thread posts commands: each is answered."""
    world.start()

    def hub():
        world.engine.post(world.reply("stopped"), world.engine.stop)
        while len(world.replies) < 2:
            world.hub_pass()

    world.spawn_hub(hub)
    world.spawn_foreign(lambda _me: world.engine.post(world.reply("pong"), world.engine.ping))

    def check():
        assert sorted(world.replies) == ["pong", "stopped"]

    return check


# ---------------------------------------------------------------------- all of them

# each with the number of preemptions
SCENARIOS = {
    put: 3,
    put_many: 3,
    writable: 2,
    put_full_hub: 2,
    put_full_foreign: 2,
    put_full_quarter: 2,
    putters_take_turns: 2,
    peer_makes_room: 2,
    peer_makes_little_room: 2,
    stalled: 2,
    get_credit: 2,
    get_credit_half: 3,
    get_many: 3,
    get_foreign: 2,
    get_arriving: 2,
    getters_take_turns: 2,
    drop_oldest: 2,
    drop_newest: 2,
    both_ways: 2,
    room_while_receiving: 2,
    commands: 2,
    outcomes: 2,
    flush: 2,
    close_under_a_putter: 2,
    post_against_the_end: 2,
}
NAMED = {scenario.__name__: scenario for scenario in SCENARIOS}


def explore_scenario(code, scenario):
    def build(scheduler):
        world = World(code, scheduler)
        check = scenario(world)

        def check_all():
            world.check()
            check()

        return check_all

    return explore(build, SCENARIOS[scenario], time_limit=10 if scenario is stalled else 0)


@pytest.fixture(scope="module")
def code():
    return Code()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.__name__ for scenario in SCENARIOS])
def test_every_order(code, scenario):
    """No message is lost, doubled or overtaken, and no thread sleeps while there is work for it, in any schedule."""
    schedules = explore_scenario(code, scenario)
    print(f"{schedules} schedules, up to {SCENARIOS[scenario]} preemptions")
    assert schedules >= PLENTY


@pytest.mark.parametrize("mistake", MISTAKES, ids=[mistake.name for mistake in MISTAKES])
def test_finds(mistake):
    """Each scenario of a planted mistake ends with the schedule in which it shows."""
    code = Code(mistake)
    for scenario in mistake.scenarios:
        with pytest.raises(Failed):
            explore_scenario(code, NAMED[scenario])
