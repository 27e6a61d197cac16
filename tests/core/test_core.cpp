// core.hpp, one thread, one step at a time, over the scripted libzmq.
//
// Each test gets a World and leaves nothing: after it every content is freed, once, and core.hpp's own counts meet.

#include "scripted.hpp"

#include <fcntl.h>
#ifdef __linux__
#include <malloc.h>
#endif

#include <algorithm>
#include <functional>

using namespace zgreen;
using scripted::Frames;
using scripted::Socket;
namespace on = scripted;

// ------------------------------------------------------------------------------------------------ asserting

struct Failure {
    std::string text;
};

inline std::string show(const std::string &value) { return value; }
inline std::string show(const char *value) { return value; }
template <class T>
std::string show(T value) {
    return std::to_string(value);
}
inline std::string show(const std::vector<Frames> &messages) {
    std::string text;
    for (const auto &frames : messages) {
        text += "(";
        for (const auto &frame : frames) text += frame + ",";
        text += ")";
    }
    return text;
}
inline std::string show(const Frames &frames) { return show(std::vector<Frames>{frames}); }
inline std::string show(NoticeKind kind) { return std::to_string(int(kind)); }
inline std::string show(EventKind kind) { return std::to_string(int(kind)); }

[[noreturn, gnu::noinline]] void differ(const char *what, int line, const std::string &a, const std::string &b) {
    throw Failure{std::string(what) + " at line " + std::to_string(line) + ": " + a + " and " + b};
}
[[noreturn, gnu::noinline]] void untrue(const char *what, int line) {
    throw Failure{std::string(what) + " at line " + std::to_string(line)};
}
template <class A, class B>
void expect_equal(const A &a, const B &b, const char *what, int line) {
    if (!(a == b)) differ(what, line, show(a), show(b));
}

#define CHECK(condition)                               \
    do {                                               \
        if (!(condition)) untrue(#condition, __LINE__); \
    } while (0)
#define EQUAL(a, b) expect_equal(a, b, #a " == " #b, __LINE__)

// ------------------------------------------------------------------------------------------------ allocation on demand

static thread_local int64_t allocations_left = -1;         // -1: no limit
static thread_local const Pipe *watched;                   // whose pending is to be read at the next allocation
static thread_local size_t seen;

static thread_local int64_t in_use;                        // bytes

static int64_t usable([[maybe_unused]] void *memory) {
#ifdef __linux__
    return int64_t(::malloc_usable_size(memory));
#else
    return 0;
#endif
}

void *operator new(size_t size) {
    if (watched) seen = std::exchange(watched, nullptr)->pending();
    if (allocations_left == 0) throw std::bad_alloc();
    if (allocations_left > 0) --allocations_left;
    void *memory = std::malloc(size ? size : 1);
    if (!memory) throw std::bad_alloc();
    in_use += usable(memory);
    return memory;
}
// Out of line, or gcc sees malloc's memory in a delete and takes it for a mistake.
[[gnu::noinline]] void operator delete(void *memory) noexcept {
    if (memory) in_use -= usable(memory);
    std::free(memory);
}
[[gnu::noinline]] void operator delete(void *memory, size_t) noexcept { operator delete(memory); }

// The scripted libzmq itself always has memory.
struct Plenty {
    const int64_t before = allocations_left;
    Plenty() { allocations_left = -1; }
    ~Plenty() { allocations_left = before; }
};

template <auto function>
struct WithPlenty;
template <class Result, class... Args, Result (*function)(Args...)>
struct WithPlenty<function> {
    static Result call(Args... args) {
        const Plenty plenty;
        return function(args...);
    }
};

static Api plentiful_api() {
    Api api = on::api();
    api.msg_init_size = WithPlenty<on::msg_init_size>::call;
    api.msg_init_data = WithPlenty<on::msg_init_data>::call;
    api.msg_copy = WithPlenty<on::msg_copy>::call;
    api.msg_close = WithPlenty<on::msg_close>::call;
    api.msg_send = WithPlenty<on::msg_send>::call;
    api.msg_recv = WithPlenty<on::msg_recv>::call;
    api.getsockopt = WithPlenty<on::getsockopt>::call;
    return api;
}

// ------------------------------------------------------------------------------------------------ the world of a test

struct Fd {
    const int fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    ~Fd() { ::close(fd); }
    uint64_t rings() const {  // since the last look
        uint64_t n = 0;
        return ::read(fd, &n, sizeof n) < 0 ? 0 : n;
    }
};

struct End {  // one socket and its pipe
    std::unique_ptr<Socket> socket;
    std::shared_ptr<Pipe> pipe;
    bool attached = false;
};

struct World {
    Fd own, hub_fd;
    Api api = plentiful_api();
    std::unique_ptr<Core> core = std::make_unique<Core>(api, own.fd, own.fd, hub_fd.fd);
    std::vector<std::unique_ptr<End>> ends;

    World() { on::faults.clear(); }
    ~World() { on::faults.clear(); }

    End &open(int kind, size_t out_max = 1000, size_t in_max = 1000, Overflow overflow = Overflow::Block) {
        auto end = std::make_unique<End>();
        end->socket = std::make_unique<Socket>(kind);
        end->pipe = core->make_pipe(kind, out_max, in_max, overflow);
        attach(*end);
        ends.push_back(std::move(end));
        return *ends.back();
    }
    void attach(End &end) {
        EQUAL(core->attach(end.pipe, end.socket.get(), end.socket->fd), 0);
        end.attached = true;
    }
    Message message(const Frames &frames, uint64_t token = 0) {
        const Plenty plenty;
        Message message;
        message.token = token;
        message.reserve(uint32_t(frames.size()));
        for (const auto &frame : frames) {
            Msg *msg = &message.frames()[message.count];
            if (api.msg_init_size(msg, frame.size()) < 0) std::abort();
            std::memcpy(api.msg_data(msg), frame.data(), frame.size());
            ++message.count;
        }
        core->out_hub.add_made(message.count);
        return message;
    }
    bool push(End &end, const Frames &frames, uint64_t token = 0) {
        Message made = message(frames, token);
        const bool pushed = end.pipe->push(std::move(made));
        if (!pushed) made.close(api, core->out_hub);
        return pushed;
    }
    Frames texts(Message &message, Counts &counts) {
        Frames frames;
        for (uint32_t i = 0; i < message.count; ++i) frames.push_back(on::text_of(&message.frames()[i]));
        message.close(api, counts);
        return frames;
    }
    Frames pop(End &end) {  // {} if there is none
        Message message;
        if (!end.pipe->pop(message)) return {};
        return texts(message, core->in_hub);
    }
    std::vector<Frames> pop_all(End &end) {
        std::vector<Frames> all;
        for (Frames frames = pop(end); !frames.empty(); frames = pop(end)) all.push_back(frames);
        return all;
    }
    std::vector<Frames> withdraw(End &end) {
        std::vector<Frames> all;
        Message message;
        end.pipe->finish();
        std::vector<uint32_t> counts;
        for (size_t i = 0; i < end.pipe->out.size(); ++i)
            if (end.pipe->out.at(i).lot != Lot::Gone) counts.push_back(end.pipe->out.at(i).count);
        while (end.pipe->withdraw(message)) {
            EQUAL(message.count, counts.at(all.size()));
            all.push_back(texts(message, core->out_hub));
        }
        EQUAL(all.size(), counts.size());
        return all;
    }
    std::vector<Event> step(double timeout = 0) {
        core->step(timeout);
        std::vector<Event> events;
        events.swap(core->events);
        return events;
    }
    void settle() {  // until there is nothing to do; a test that looks for events steps by itself
        for (int i = 0; i < 20; ++i) EQUAL(step().size(), 0u);
    }
    std::vector<Notice> notices() {
        std::vector<Notice> taken;
        core->hub.take(taken);
        return taken;
    }
    size_t drop_notices() {
        std::vector<Notice> taken = notices();
        for (Notice &notice : taken) notice.message.close(api, core->out_hub);
        return taken.size();
    }
    void detach(End &end) { core->detach(*end.pipe); }
    void finish() {  // as after a test that went well
        for (auto &end : ends) core->detach(*end->pipe);
        for (auto &end : ends) end->socket.reset();
        ends.clear();
        drop_notices();
        const int64_t made = core->out_hub.made + core->in_thread.made;
        core->step(0);  // lets go of pipes on its lists
        core->events.clear();
        const int64_t freed = core->out_hub.freed + core->out_thread.freed + core->in_thread.freed + core->in_hub.freed;
        EQUAL(freed, made);
        EQUAL(on::handles.open(), 0);
        core.reset();
        EQUAL(on::contents.load(), 0);
    }
};

static std::string word(int error) {
    switch (error) {
        case 0: return "none";
        case EAGAIN: return "EAGAIN";
        case EINTR: return "EINTR";
        case kEfsm: return "EFSM";
        case EHOSTUNREACH: return "EHOSTUNREACH";
        case kEterm: return "ETERM";
        case ENOTSOCK: return "ENOTSOCK";
        case ENOMEM: return "ENOMEM";
    }
    return std::to_string(error);
}
static const int kErrors[] = {EAGAIN, EINTR, kEfsm, EHOSTUNREACH, kEterm, ENOTSOCK, ENOMEM};
static bool gone(int error) { return error == kEterm || error == ENOTSOCK; }

static Frames shape(const std::string &name, int frames) {
    Frames all;
    for (int i = 0; i < frames; ++i) all.push_back(name + std::to_string(i));
    return all;
}

// ------------------------------------------------------------------------------------------------ tests

struct Test {
    const char *name;
    std::function<void(World &)> run;
};
static std::vector<Test> tests;
struct Add {
    Add(const char *name, std::function<void(World &)> run) { tests.push_back({name, std::move(run)}); }
};
#define TEST(name)                          \
    static void name(World &w);             \
    static const Add add_##name(#name, name); \
    static void name([[maybe_unused]] World &w)

TEST(sends_and_receives) {
    End &a = w.open(on::kDealer);
    a.socket->make_room(10);
    CHECK(w.push(a, {"one"}));
    CHECK(w.push(a, {"x", "", "z"}));
    a.socket->arrive(Frames{"in"});
    a.socket->arrive(Frames{"p", "", "q"});
    w.settle();
    EQUAL(a.socket->taken, (std::vector<Frames>{{"one"}, {"x", "", "z"}}));
    EQUAL(w.pop_all(a), (std::vector<Frames>{{"in"}, {"p", "", "q"}}));
    EQUAL(a.pipe->sent.load(), 2u);
    EQUAL(a.pipe->received.load(), 2u);
    EQUAL(a.pipe->pending(), 0u);
    EQUAL(a.pipe->waiting(), 0u);
}

// Each error, at each frame, of messages of one to four frames, on each kind of socket, with a message before it in the
// same turn and one behind it.
TEST(each_error_at_each_frame_of_a_send) {
    for (const int kind : {on::kPush, on::kDealer, on::kPair, on::kReq, on::kRouter})
        for (int frames = 1; frames <= 4; ++frames)
            for (int at = 0; at < frames; ++at)
                for (const int error : kErrors) {
                    if (kind == on::kRouter && at > 0 && error == EAGAIN) continue;  // ROUTER decides at the first frame
                    try {
                        World v;
                        End &a = v.open(kind);
                        a.socket->make_room(10);
                        v.settle();
                        on::faults.at(on::kSend, uint64_t(at + 1), error);
                        const Frames first = shape("a", frames), second = shape("b", 2);
                        CHECK(v.push(a, first));
                        if (kind != on::kReq) CHECK(v.push(a, second));
                        const bool later = error == EAGAIN || (error == kEfsm && kind == on::kReq);
                        const auto events = v.step();
                        std::vector<Frames> expected{first};
                        if (kind != on::kReq) expected.push_back(second);
                        if (gone(error)) {
                            EQUAL(events.size(), 1u);
                            EQUAL(events[0].kind, EventKind::Failed);
                            EQUAL(events[0].number, a.pipe->id);
                            EQUAL(events[0].error, error);
                            EQUAL(a.socket->taken, std::vector<Frames>{});
                            v.settle();  // it is not touched again
                            v.detach(a);
                            EQUAL(v.withdraw(a), expected);
                            EQUAL(a.pipe->sent.load(), 0u);
                        } else if (later) {
                            EQUAL(events.size(), 0u);
                            EQUAL(a.pipe->pending(), expected.size());
                            EQUAL(a.socket->taken, std::vector<Frames>{});
                            EQUAL(a.socket->swallowed.size(), size_t(at > 0 && at + 1 < frames && kind != on::kPair));
                            if (!a.socket->swallowed.empty()) {
                                EQUAL(a.socket->swallowed[0], Frames(first.begin() + at + 1, first.end()));
                            }
                            v.settle();
                            EQUAL(a.socket->taken, expected);
                            EQUAL(a.pipe->sent.load(), expected.size());
                            EQUAL(a.pipe->refused.load(), 0u);
                        } else if (error == EINTR) {
                            EQUAL(events.size(), 0u);
                            EQUAL(a.socket->taken, expected);
                        } else {
                            EQUAL(events.size(), 0u);
                            EQUAL(a.socket->taken, std::vector<Frames>(expected.begin() + 1, expected.end()));
                            EQUAL(a.pipe->refused.load(), 1u);
                            EQUAL(a.pipe->pending(), 0u);
                            auto notices = v.notices();
                            EQUAL(notices.size(), 1u);
                            EQUAL(notices[0].kind, NoticeKind::Refused);
                            EQUAL(notices[0].error, error);
                            EQUAL(notices[0].pipe, a.pipe->id);
                            EQUAL(v.texts(notices[0].message, v.core->out_hub), first);
                        }
                        v.finish();
                    } catch (Failure &failure) {
                        failure.text += " (kind " + std::to_string(kind) + ", frame " + std::to_string(at) + " of " +
                                        std::to_string(frames) + ", " + word(error) + ")";
                        throw;
                    }
                }
}

TEST(no_memory_for_a_copy_refuses_the_message) {
    End &a = w.open(on::kPush);
    a.socket->make_room(10);
    on::faults.at(on::kCopy, 1, ENOMEM);
    CHECK(w.push(a, {"1", "2", "3"}));
    CHECK(w.push(a, {"4", "5"}));
    w.settle();
    EQUAL(a.socket->taken, (std::vector<Frames>{{"4", "5"}}));
    EQUAL(a.pipe->refused.load(), 1u);
    EQUAL(w.drop_notices(), 1u);
}

// The peer goes between two frames, twice, then another one comes.
TEST(multipart_all_or_nothing) {
    for (const int kind : {on::kPush, on::kDealer, on::kPair}) {
        World v;
        End &a = v.open(kind);
        a.socket->make_room(5);
        v.settle();
        for (const size_t after : {1, 2}) {
            a.socket->break_pipe_after(after);
            CHECK(v.push(a, {"1", "2", "3", "4"}));
            CHECK(v.push(a, {"next"}));
            v.step();
            EQUAL(a.socket->taken, std::vector<Frames>{});
            EQUAL(a.socket->swallowed.size(), size_t(kind != on::kPair));
            v.settle();
            EQUAL(a.socket->taken, (std::vector<Frames>{{"1", "2", "3", "4"}, {"next"}}));
            a.socket->taken.clear();
            a.socket->swallowed.clear();
        }
        EQUAL(a.pipe->sent.load(), 4u);
        v.finish();
    }
}

TEST(the_swallowed_rest_may_end_with_the_socket) {
    End &a = w.open(on::kPush);
    a.socket->make_room(5);
    w.settle();
    on::faults.at(on::kSend, 2, EAGAIN);
    on::faults.at(on::kSend, 3, kEterm);  // while the rest is given
    a.socket->during.emplace_back("send", [] {});
    CHECK(w.push(a, {"1", "2", "3"}));
    w.step();
    a.socket->terminated = true;
    a.socket->nudge();
    std::vector<Event> events;
    for (int i = 0; i < 3 && events.empty(); ++i) events = w.step();
    EQUAL(events.size(), 1u);
    EQUAL(events[0].kind, EventKind::Failed);
    w.detach(a);
    EQUAL(w.withdraw(a), (std::vector<Frames>{{"1", "2", "3"}}));
}

TEST(each_error_at_each_frame_of_a_receive) {
    for (int frames = 1; frames <= 4; ++frames)
        for (int at = 0; at < frames; ++at)
            for (const int error : kErrors) {
                World v;
                End &a = v.open(on::kPull);
                v.settle();
                const Frames first = shape("a", frames);
                on::faults.at(on::kRecv, uint64_t(at + 1), error);
                a.socket->arrive(first);
                a.socket->arrive(Frames{"b"});
                const bool bad = error == kEterm || error == ENOTSOCK || error == ENOMEM || error == EHOSTUNREACH;
                std::vector<Event> events;
                for (int i = 0; i < 5 && events.empty(); ++i) events = v.step();
                EQUAL(events.size(), size_t(bad));
                if (bad) {
                    EQUAL(events[0].kind, EventKind::Failed);
                    EQUAL(events[0].error, error);
                    EQUAL(v.pop_all(a), std::vector<Frames>{});
                    EQUAL(a.pipe->parts.size(), size_t(at));
                } else {
                    EQUAL(v.pop_all(a), (std::vector<Frames>{first, {"b"}}));
                }
                v.finish();
            }
}

TEST(what_came_before_an_error_of_receive_is_delivered) {
    End &a = w.open(on::kPull);
    w.settle();
    a.socket->arrive(Frames{"1"});
    a.socket->arrive(Frames{"2"});
    on::faults.at(on::kRecv, 2, kEterm);
    a.pipe->message.hub();
    w.step();
    const auto events = w.step();
    EQUAL(events.size(), 1u);
    EQUAL(events[0].error, int(kEterm));
    EQUAL(w.notices().size(), 1u);
    EQUAL(w.pop_all(a), (std::vector<Frames>{{"1"}}));
}

TEST(each_error_of_the_events_read) {
    for (const uint64_t at : {1, 2})
        for (const int error : kErrors) {
            World v;
            End &a = v.open(on::kPull);
            v.settle();
            a.socket->arrive(Frames{"1"});
            on::faults.at(on::kGetsockopt, at, error);
            v.step();
            const auto events = v.step();
            EQUAL(events.size(), size_t(error != EINTR));
            if (error == EINTR) {
                EQUAL(v.pop_all(a).size(), 1u);
            } else {
                EQUAL(events[0].kind, EventKind::Failed);
                EQUAL(events[0].error, error);
                EQUAL(v.pop_all(a).size(), size_t(at - 1));  // after the first read, before the second
            }
            v.finish();
        }
}

TEST(a_terminated_context_fails_every_socket_once) {
    for (int i = 0; i < 3; ++i) w.open(on::kDealer);
    w.settle();
    for (auto &end : w.ends) {
        end->socket->terminated = true;
        end->socket->nudge();
    }
    w.step();
    const auto events = w.step();
    EQUAL(events.size(), 3u);
    for (const Event &event : events) {
        EQUAL(event.kind, EventKind::Failed);
        EQUAL(event.error, int(kEterm));
    }
    w.settle();
}

TEST(req_waits_for_its_reply) {
    End &a = w.open(on::kReq);
    a.socket->make_room(10);
    CHECK(w.push(a, {"q1"}));
    CHECK(w.push(a, {"q2"}));
    w.settle();
    EQUAL(a.socket->taken, (std::vector<Frames>{{"q1"}}));
    EQUAL(a.pipe->pending(), 1u);
    EQUAL(w.drop_notices(), 0u);  // neither refused nor reported
    a.socket->logging = true;
    w.settle();
    EQUAL(a.socket->calls.size(), 0u);  // it is parked, not tried again and again
    a.socket->arrive(Frames{"r1"});
    w.settle();
    EQUAL(a.socket->taken, (std::vector<Frames>{{"q1"}, {"q2"}}));
    EQUAL(w.pop_all(a), (std::vector<Frames>{{"r1"}}));
}

TEST(rep_without_a_request_is_refused) {
    End &a = w.open(on::kRep);
    CHECK(w.push(a, {"early"}));
    CHECK(w.push(a, {"asked"}, 7));
    w.settle();
    auto notices = w.notices();
    EQUAL(notices.size(), 2u);
    EQUAL(notices[0].kind, NoticeKind::Refused);
    EQUAL(notices[0].error, int(kEfsm));
    EQUAL(w.texts(notices[0].message, w.core->out_hub), Frames{"early"});
    EQUAL(notices[1].kind, NoticeKind::Outcome);
    EQUAL(notices[1].token, 7u);
    EQUAL(notices[1].error, int(kEfsm));
    a.socket->arrive(Frames{"q"});
    a.socket->arrive(Frames{"q2"});
    a.socket->make_room(1);
    w.settle();
    EQUAL(w.pop_all(a), (std::vector<Frames>{{"q"}}));  // EFSM of receive is "not now"
    CHECK(w.push(a, {"r"}));
    w.settle();
    EQUAL(a.socket->taken, (std::vector<Frames>{{"r"}}));
    EQUAL(w.pop_all(a), (std::vector<Frames>{{"q2"}}));
}

TEST(tokens_say_what_became_of_their_messages) {
    End &a = w.open(on::kPush);
    a.socket->make_room(10);
    w.settle();
    on::faults.at(on::kSend, 2, EHOSTUNREACH);
    for (uint64_t token = 1; token <= 3; ++token) CHECK(w.push(a, {std::to_string(token)}, token));
    EQUAL(a.pipe->pending(), 3u);
    EQUAL(w.step().size(), 0u);
    const auto notices = w.notices();
    EQUAL(notices.size(), 3u);
    const int errors[] = {0, EHOSTUNREACH, 0};
    for (size_t i = 0; i < 3; ++i) {
        EQUAL(notices[i].kind, NoticeKind::Outcome);
        EQUAL(notices[i].token, i + 1);
        EQUAL(notices[i].error, errors[i]);
        EQUAL(notices[i].message.count, 0u);
    }
    EQUAL(a.pipe->sent.load(), 2u);
    EQUAL(a.pipe->refused.load(), 1u);
}

TEST(who_is_told_of_a_message_finds_it_gone) {
    End &a = w.open(on::kPush);
    a.socket->make_room(1);
    w.settle();
    CHECK(w.push(a, {"1"}, 1));
    CHECK(w.push(a, {"2"}, 2));
    // after the send, the first memory that is needed is the notice's
    a.socket->during.emplace_back("send", [&] { watched = a.pipe.get(); });
    w.step();
    CHECK(!watched);
    EQUAL(seen, 1u);
    EQUAL(w.drop_notices(), 1u);
    EQUAL(a.pipe->pending(), 1u);
    EQUAL(a.pipe->sent.load(), 1u);
}

TEST(a_flush_is_told_once_its_target_is_reached) {
    End &a = w.open(on::kPush);
    CHECK(w.push(a, {"1"}));
    CHECK(w.push(a, {"2"}));
    w.settle();
    a.pipe->flush_target = 2;
    a.socket->make_room(1);
    w.settle();
    a.socket->make_room(1);
    std::vector<Event> events;
    for (int i = 0; i < 20 && events.empty(); ++i) events = w.step();
    EQUAL(events.size(), 1u);
    EQUAL(events[0].kind, EventKind::Flushed);
    EQUAL(events[0].number, a.pipe->id);
    CHECK(w.push(a, {"3"}));
    a.socket->make_room(1);
    w.settle();
    w.drop_notices();
}

TEST(room_counts_those_who_wait) {
    End &a = w.open(on::kPush, 3);
    CHECK(a.pipe->has_room(0));
    CHECK(a.pipe->has_room(2));
    CHECK(!a.pipe->has_room(3));
    for (const char *text : {"1", "2", "3"}) CHECK(w.push(a, {text}));
    CHECK(!a.pipe->has_room(0));
    a.socket->make_room(1);
    w.settle();
    CHECK(a.pipe->has_room(0));
    a.pipe->open.store(false);
    CHECK(!a.pipe->has_room(0));
}

TEST(who_waits_for_room_is_left_asleep_while_a_ring_will_come) {
    End &a = w.open(on::kPush, 400);
    a.pipe->room.hub();
    a.socket->make_room(1000);
    w.settle();
    CHECK(a.pipe->wakes(1));
    for (int i = 0; i < 400; ++i) CHECK(w.push(a, {"x"}));
    CHECK(!a.pipe->wakes(1));
    w.step();  // a turn sends 100
    EQUAL(a.pipe->pending(), 300u);
    CHECK(a.pipe->has_room(0));
    CHECK(!a.pipe->wakes(1));
    CHECK(a.pipe->wakes(101));  // so many need all of it
    w.step();
    EQUAL(a.pipe->pending(), 200u);
    CHECK(a.pipe->wakes(1));  // much room
    EQUAL(w.notices().size(), 0u);
    w.step();
    EQUAL(a.pipe->pending(), 100u);
    EQUAL(w.notices().size(), 1u);  // the ring
    a.pipe->room.answered();
    for (int i = 0; i < 299; ++i) CHECK(w.push(a, {"x"}));
    CHECK(a.pipe->wakes(1));  // it has told, and before its next turn it owes nothing
    w.settle();
    EQUAL(a.pipe->pending(), 0u);
    EQUAL(w.notices().size(), 1u);
    a.pipe->room.answered();
    for (int i = 0; i < 399; ++i) CHECK(w.push(a, {"x"}));
    CHECK(!a.pipe->wakes(1));  // the first of these has asked for a turn
    w.settle();
    EQUAL(w.notices().size(), 1u);
    CHECK(a.pipe->wakes(1));
}

TEST(a_turn_that_sends_nothing_pays_the_ring_it_owes) {
    End &a = w.open(on::kPush, 4);
    a.pipe->room.hub();
    w.settle();
    for (const char *text : {"1", "2", "3"}) CHECK(w.push(a, {text}));
    CHECK(!a.pipe->wakes(1));  // so somebody who waits is left asleep
    w.settle();               // libzmq refuses
    EQUAL(a.pipe->pending(), 3u);
    EQUAL(w.notices().size(), 1u);
    CHECK(a.pipe->wakes(1));
    a.socket->make_room(3);
    w.settle();
    w.drop_notices();
}

TEST(without_credit_nothing_is_read) {
    End &a = w.open(on::kPull, 10, 5);
    for (int i = 0; i < 12; ++i) a.socket->arrive(Frames{std::to_string(i)});
    w.settle();
    EQUAL(a.pipe->waiting(), 5u);
    EQUAL(a.pipe->received.load(), 5u);
    CHECK(a.pipe->starved.load());
    a.socket->logging = true;
    w.own.rings();
    for (const char *text : {"0", "1"}) EQUAL(w.pop(a), Frames{text});
    w.settle();
    EQUAL(a.socket->calls.size(), 0u);  // 3 of 5 left: new credit is not worth a wake-up yet
    EQUAL(w.pop(a), Frames{"2"});
    CHECK(!a.pipe->starved.load());
    w.settle();
    EQUAL(a.pipe->waiting(), 5u);
    EQUAL(a.pipe->received.load(), 8u);
    a.socket->calls.clear();
    for (int i = 3; i < 12; ++i) {
        EQUAL(w.pop(a), Frames{std::to_string(i)});
        w.settle();
    }
    EQUAL(w.pop(a), Frames{});
    EQUAL(a.pipe->received.load(), 12u);
}

TEST(credit_of_one) {
    End &a = w.open(on::kPull, 10, 1);
    for (int i = 0; i < 5; ++i) a.socket->arrive(Frames{std::to_string(i)});
    for (int i = 0; i < 5; ++i) {
        w.settle();
        EQUAL(a.pipe->waiting(), 1u);
        EQUAL(w.pop(a), Frames{std::to_string(i)});
    }
}

TEST(credit_that_comes_while_it_parks) {
    End &a = w.open(on::kPull, 10, 2);
    for (int i = 0; i < 4; ++i) a.socket->arrive(Frames{std::to_string(i)});
    // all is got while EVENTS is read for the last time: nobody rings, as it does not say "starved" yet
    a.socket->during.emplace_back("events", [] {});
    a.socket->during.emplace_back("events", [&] { EQUAL(w.pop_all(a).size(), 2u); });
    w.step();
    w.step();
    EQUAL(a.pipe->waiting(), 2u);
    EQUAL(w.pop_all(a), (std::vector<Frames>{{"2"}, {"3"}}));
}

TEST(drop_newest_counts) {
    End &a = w.open(on::kPull, 10, 3, Overflow::DropNewest);
    for (int i = 0; i < 250; ++i) a.socket->arrive(Frames{std::to_string(i), "more"});
    w.settle();
    EQUAL(a.pipe->received.load(), 250u);
    EQUAL(a.pipe->dropped.load(), 247u);
    EQUAL(a.pipe->waiting(), 3u);
    EQUAL(w.pop_all(a), (std::vector<Frames>{{"0", "more"}, {"1", "more"}, {"2", "more"}}));
    a.socket->arrive(Frames{"x"});
    w.settle();
    EQUAL(w.pop_all(a), (std::vector<Frames>{{"x"}}));
    EQUAL(a.pipe->dropped.load(), 247u);
}

TEST(drop_oldest_counts) {
    for (const size_t in_max : {1, 3, 99, 100, 101}) {
        World v;
        End &a = v.open(on::kPull, 10, in_max, Overflow::DropOldest);
        for (int i = 0; i < 250; ++i) a.socket->arrive(Frames{std::to_string(i), "more"});
        v.settle();
        EQUAL(a.pipe->received.load(), 250u);
        EQUAL(a.pipe->dropped.load(), 250u - in_max);
        EQUAL(a.pipe->waiting(), in_max);
        const auto all = v.pop_all(a);
        EQUAL(all.size(), in_max);
        for (size_t i = 0; i < in_max; ++i) EQUAL(all[i], (Frames{std::to_string(250 - in_max + i), "more"}));
        v.finish();
    }
}

TEST(turns_are_bounded_both_ways) {
    End &a = w.open(on::kDealer, 1000, 1000), &b = w.open(on::kDealer, 1000, 1000);
    w.settle();
    for (End *end : {&a, &b}) {
        end->socket->make_room(1000);
        for (int i = 0; i < 250; ++i) {
            CHECK(w.push(*end, {std::to_string(i)}));
            end->socket->arrive(Frames{std::to_string(i)});
        }
    }
    for (const size_t n : {100, 200, 250}) {
        w.step();
        for (End *end : {&a, &b}) {
            EQUAL(end->socket->taken.size(), n);
            EQUAL(end->pipe->received.load(), n);
        }
    }
    w.settle();
    EQUAL(w.pop_all(a).size(), 250u);
    EQUAL(w.pop_all(b).size(), 250u);
}

TEST(made_ready_twice_is_one_turn) {
    End &a = w.open(on::kPush);
    a.socket->make_room(1000);
    w.settle();
    for (int i = 0; i < 250; ++i) CHECK(w.push(a, {"x"}));  // touched
    a.socket->nudge();                                      // its descriptor is readable
    w.core->make_ready(*a.pipe);
    w.core->make_ready(*a.pipe);
    w.step();
    EQUAL(a.socket->taken.size(), 100u);
    w.step();
    EQUAL(a.socket->taken.size(), 200u);
}

TEST(round_robin) {
    std::string order;
    for (int i = 0; i < 3; ++i) w.open(on::kPush);
    w.settle();
    for (auto &end : w.ends) {
        end->socket->make_room(1000);
        for (int n = 0; n < 300; ++n) CHECK(w.push(*end, {"x"}));
    }
    for (int turn = 0; turn < 3; ++turn) {
        for (size_t i = 0; i < 3; ++i)
            w.ends[i]->socket->during.emplace_back("events", [&order, i] { order += char('a' + i); });
        w.step();
    }
    EQUAL(order, "abcabcabc");
}

TEST(a_parked_socket_is_left_alone) {
    End &idle = w.open(on::kDealer), &full = w.open(on::kPush), &starved = w.open(on::kPull, 10, 1);
    End &busy = w.open(on::kPush);
    CHECK(w.push(full, {"1"}));
    starved.socket->arrive(Frames{"1"});
    starved.socket->arrive(Frames{"2"});
    busy.socket->make_room(1000);
    w.settle();
    for (End *end : {&idle, &full, &starved}) end->socket->logging = true;
    for (int i = 0; i < 300; ++i) CHECK(w.push(busy, {"x"}));
    CHECK(w.push(full, {"2"}));  // it waits for the socket, not for more to send
    w.settle();
    EQUAL(busy.socket->taken.size(), 300u);
    for (End *end : {&idle, &full, &starved}) EQUAL(end->socket->calls.size(), 0u);
    full.socket->make_room(2);
    w.settle();
    EQUAL(full.socket->taken.size(), 2u);
    EQUAL(w.pop(starved), Frames{"1"});
    w.settle();
    EQUAL(w.pop(starved), Frames{"2"});
}

// The command comes between two calls of one turn, and the next call eats the edge: no descriptor will tell of it.
TEST(an_eaten_edge_is_not_lost) {
    for (const char *call : {"send", "events", "recv"})
        for (const int skip : {0, 1, 2}) {
            World v;
            End &a = v.open(on::kDealer);
            a.socket->make_room(2);
            v.settle();
            for (int i = 0; i < skip; ++i) a.socket->during.emplace_back(call, [] {});
            Socket *socket = a.socket.get();
            a.socket->during.emplace_back(call, [socket] {
                socket->arrive(Frames{"late"});
                socket->make_room(1);
            });
            CHECK(v.push(a, {"1"}));
            CHECK(v.push(a, {"2"}));
            CHECK(v.push(a, {"3"}));
            a.socket->arrive(Frames{"early"});
            v.settle();
            if (a.socket->during.empty()) {
                EQUAL(v.pop_all(a), (std::vector<Frames>{{"early"}, {"late"}}));
                EQUAL(a.socket->taken.size(), 3u);
            } else {
                EQUAL(skip, 2);  // there were not so many of these calls
            }
            v.finish();
        }
}

TEST(a_command_eats_the_edge_and_touches) {
    End &a = w.open(on::kPull);
    w.settle();
    a.socket->arrive(Frames{"1"});
    int value = 0;
    a.socket->events(&value);  // as any other call of the owning thread might
    w.settle();
    EQUAL(w.pop(a), Frames{});
    w.core->make_ready(*a.pipe);
    w.settle();
    EQUAL(w.pop(a), Frames{"1"});
}

TEST(push_while_it_parks) {
    End &a = w.open(on::kPush);
    a.socket->make_room(10);
    w.settle();
    // pushed while EVENTS is read: the pipe does not say "idle", nobody rings
    a.socket->during.emplace_back("events", [&] { CHECK(w.push(a, {"late"})); });
    w.core->make_ready(*a.pipe);
    w.own.rings();
    w.settle();
    EQUAL(a.socket->taken, (std::vector<Frames>{{"late"}}));
}

TEST(a_stalled_socket_waits_for_its_timer) {
    End &a = w.open(on::kRouter);
    a.socket->says_writable = true;
    a.socket->logging = true;
    CHECK(w.push(a, {"x"}));
    const double start = Core::now();
    w.settle();
    const auto sends = [&] { return std::count_if(a.socket->calls.begin(), a.socket->calls.end(), [](const char *call) {
        return std::strcmp(call, "send") == 0; }); };
    EQUAL(sends(), 2);  // once is a race, twice is not
    const auto until = [&](long n) {
        while (sends() < n) {
            w.step(sends() < 4 ? 1 : 0.01);  // ends at the timer
            CHECK(Core::now() - start < 0.9);
        }
    };
    until(3);
    CHECK(Core::now() - start >= 0.05);
    until(4);
    CHECK(Core::now() - start >= 0.1);
    a.socket->make_room(1);  // the descriptor is faster than the timer
    until(5);
    EQUAL(a.socket->taken.size(), 1u);
    EQUAL(a.pipe->stalls, 0);
    for (int i = 0; i < 3; ++i) w.step(0.06);  // the timer that is left finds nothing
    EQUAL(sends(), 5);
}

TEST(a_refusal_that_is_a_race_is_tried_again_at_once) {
    End &a = w.open(on::kPush);
    a.socket->make_room(10);
    w.settle();
    CHECK(w.push(a, {"x"}));
    on::faults.at(on::kSend, 1, EAGAIN);
    w.step();
    EQUAL(a.socket->taken.size(), 0u);
    w.step();
    EQUAL(a.socket->taken.size(), 1u);
    EQUAL(a.pipe->stalls, 0);
}

TEST(a_stalled_socket_still_receives) {
    End &a = w.open(on::kRouter);
    a.socket->says_writable = true;
    CHECK(w.push(a, {"x"}));
    w.settle();
    a.socket->arrive(Frames{"in"});
    w.settle();
    EQUAL(w.pop(a), Frames{"in"});
}

static size_t drained(const std::vector<Event> &events, const End &end) {
    return size_t(std::count_if(events.begin(), events.end(), [&](const Event &event) {
        return event.kind == EventKind::Drained && event.number == end.pipe->id; }));
}

TEST(closing_sends_what_is_pending) {
    End &a = w.open(on::kPush);
    a.socket->make_room(150);
    w.settle();
    for (int i = 0; i < 150; ++i) CHECK(w.push(a, {"x"}));
    w.core->begin_close(*a.pipe, 60);
    EQUAL(drained(w.step(), a), 0u);  // a turn is 100
    EQUAL(drained(w.step(), a), 1u);
    EQUAL(a.socket->taken.size(), 150u);
    w.settle();
    EQUAL(w.withdraw(a).size(), 0u);
}

TEST(closing_an_empty_pipe_is_done_at_once) {
    End &a = w.open(on::kPull);
    w.core->begin_close(*a.pipe, 60);
    EQUAL(drained(w.step(), a), 1u);
    w.settle();
}

TEST(closing_ends_at_its_deadline_once) {
    End &a = w.open(on::kPush);
    CHECK(w.push(a, {"1"}));
    CHECK(w.push(a, {"2", "3"}));
    w.settle();
    const double start = Core::now();
    w.core->begin_close(*a.pipe, 0.05);
    std::vector<Event> events;
    while (events.empty()) {
        events = w.step(10);
        CHECK(Core::now() - start < 5);
    }
    CHECK(Core::now() - start >= 0.05);
    EQUAL(events.size(), 1u);
    EQUAL(drained(events, a), 1u);
    a.socket->make_room(5);
    w.settle();  // nothing more of it
    EQUAL(a.socket->taken.size(), 0u);
    w.detach(a);
    EQUAL(w.withdraw(a), (std::vector<Frames>{{"1"}, {"2", "3"}}));
    EQUAL(a.pipe->pending(), 0u);
}

TEST(closing_without_linger_takes_one_turn) {
    End &a = w.open(on::kPush);
    w.settle();
    CHECK(w.push(a, {"1"}));
    w.core->begin_close(*a.pipe, 0);
    EQUAL(drained(w.step(), a), 1u);
    End &b = w.open(on::kPush);
    b.socket->make_room(500);
    w.settle();
    for (int i = 0; i < 150; ++i) CHECK(w.push(b, {"x"}));
    w.core->begin_close(*b.pipe, 0);
    EQUAL(drained(w.step(), b), 1u);
    EQUAL(b.socket->taken.size(), 100u);
    EQUAL(w.withdraw(b).size(), 50u);
}

TEST(closing_twice_keeps_the_shorter_deadline) {
    End &a = w.open(on::kPush);
    CHECK(w.push(a, {"1"}));
    w.settle();
    w.core->begin_close(*a.pipe, INFINITY);
    EQUAL(drained(w.step(), a), 0u);
    w.core->begin_close(*a.pipe, 60);
    const double deadline = a.pipe->deadline;
    w.core->begin_close(*a.pipe, 600);
    EQUAL(a.pipe->deadline, deadline);
    w.settle();
    w.core->begin_close(*a.pipe, 0);
    EQUAL(drained(w.step(), a), 1u);
}

TEST(closing_a_stalled_socket_keeps_trying) {
    End &a = w.open(on::kRouter);
    a.socket->says_writable = true;
    CHECK(w.push(a, {"1"}));
    w.settle();
    w.core->begin_close(*a.pipe, 60);
    EQUAL(drained(w.step(), a), 0u);
    a.socket->make_room(1);
    size_t n = 0;
    for (int i = 0; i < 5; ++i) n += drained(w.step(), a);
    EQUAL(n, 1u);
    EQUAL(a.socket->taken.size(), 1u);
}

TEST(a_failure_while_closing_is_told_once) {
    End &a = w.open(on::kPush);
    CHECK(w.push(a, {"1"}));
    w.settle();
    w.core->begin_close(*a.pipe, 0.01);
    a.socket->terminated = true;
    const auto events = w.step();
    EQUAL(events.size(), 1u);
    EQUAL(events[0].kind, EventKind::Failed);
    const double end = Core::now() + 0.02;
    while (Core::now() < end) EQUAL(w.step(0.01).size(), 0u);
}

TEST(bells_for_nobody) {
    End &a = w.open(on::kDealer);
    a.socket->make_room(5);
    CHECK(w.push(a, {"1"}));
    a.socket->arrive(Frames{"in"});
    w.settle();
    EQUAL(w.notices().size(), 0u);
    EQUAL(w.hub_fd.rings(), 0u);
}

TEST(bells_for_the_hub_merge) {
    End &a = w.open(on::kDealer);
    a.pipe->room.hub();
    a.pipe->message.hub();
    w.settle();
    EQUAL(w.notices().size(), 0u);
    for (int round = 0; round < 3; ++round) {
        for (int i = 0; i < 3; ++i) {
            a.socket->make_room(1);
            a.socket->arrive(Frames{"in"});
            CHECK(w.push(a, {"x"}));
            w.settle();
        }
        EQUAL(w.hub_fd.rings(), 1u);  // for six of them
        const auto notices = w.notices();
        EQUAL(notices.size(), 2u);
        EQUAL(notices[0].kind, NoticeKind::Message);
        EQUAL(notices[1].kind, NoticeKind::Room);
        for (const Notice &notice : notices) EQUAL(notice.pipe, a.pipe->id);
        a.pipe->room.answered();
        a.pipe->message.answered();
        w.pop_all(a);
    }
    // not answered yet: taken, but not looked at
    a.socket->arrive(Frames{"1"});
    w.settle();
    EQUAL(w.notices().size(), 1u);
    a.socket->arrive(Frames{"2"});
    w.settle();
    EQUAL(w.notices().size(), 0u);
    a.pipe->message.none();
    a.pipe->message.answered();
    a.socket->arrive(Frames{"3"});
    w.settle();
    EQUAL(w.notices().size(), 0u);
}

TEST(bells_for_a_foreign_thread) {
    End &a = w.open(on::kDealer);
    Fd one, two;
    a.pipe->message.foreign(one.fd);
    a.socket->arrive(Frames{"1"});
    w.settle();
    EQUAL(one.rings(), 1u);
    EQUAL(w.hub_fd.rings(), 0u);
    EQUAL(w.notices().size(), 0u);
    a.pipe->message.foreign(two.fd);
    a.socket->arrive(Frames{"2"});
    w.settle();
    EQUAL(one.rings(), 0u);
    EQUAL(two.rings(), 1u);
    a.pipe->message.hub();
    a.socket->arrive(Frames{"3"});
    w.settle();
    EQUAL(two.rings(), 0u);
    EQUAL(w.notices().size(), 1u);
    a.pipe->message.none();
    a.socket->arrive(Frames{"4"});
    w.settle();
    EQUAL(two.rings(), 0u);
    EQUAL(w.pop_all(a).size(), 4u);
}

TEST(a_foreign_descriptor_that_was_closed_meanwhile) {
    End &a = w.open(on::kPull);
    int ends[2];
    EQUAL(::pipe2(ends, O_NONBLOCK), 0);
    auto gone = std::make_unique<Fd>();
    const int number = gone->fd;
    a.pipe->message.foreign(number);
    gone.reset();
    EQUAL(::dup2(ends[1], number), number);  // the number is somebody else's now
    a.socket->arrive(Frames{"1"});
    w.settle();
    char buffer[64];
    EQUAL(::read(ends[0], buffer, sizeof buffer), ssize_t(-1));
    EQUAL(errno, EAGAIN);
    EQUAL(w.pop(a), Frames{"1"});
    for (const int fd : {ends[0], ends[1], number}) ::close(fd);
}

TEST(a_full_descriptor_still_is_readable) {
    End &a = w.open(on::kPull);
    Fd fd;
    const uint64_t most = UINT64_MAX - 1;
    EQUAL(::write(fd.fd, &most, sizeof most), ssize_t(sizeof most));
    a.pipe->message.foreign(fd.fd);
    a.socket->arrive(Frames{"1"});
    w.settle();
    EQUAL(fd.rings(), most);
}

TEST(the_hub_is_rung_once_until_it_looks) {
    End &a = w.open(on::kPush);
    a.socket->make_room(100);
    for (uint64_t i = 1; i <= 3; ++i) CHECK(w.push(a, {"x"}, i));
    w.settle();
    for (uint64_t i = 4; i <= 5; ++i) CHECK(w.push(a, {"x"}, i));
    w.settle();
    EQUAL(w.hub_fd.rings(), 1u);
    EQUAL(w.notices().size(), 5u);
    CHECK(w.push(a, {"x"}, 6));
    w.settle();
    EQUAL(w.hub_fd.rings(), 1u);
    EQUAL(w.notices().size(), 1u);
    EQUAL(w.notices().size(), 0u);
    EQUAL(w.hub_fd.rings(), 0u);
}

TEST(the_owning_thread_is_rung_only_when_it_sleeps) {
    End &a = w.open(on::kPush);
    w.settle();
    w.own.rings();
    CHECK(w.push(a, {"x"}));
    w.core->post_mail();
    EQUAL(w.own.rings(), 0u);
    const auto events = w.step();
    EQUAL(events.size(), 1u);
    EQUAL(events[0].kind, EventKind::Mail);
}

// What comes while others are served comes to one that is not asleep: nobody rings, so it must look before it sleeps.
TEST(what_comes_while_it_serves_is_seen_before_it_sleeps) {
    const std::function<void(World &, End &)> doings[] = {
        [](World &v, End &) { v.core->post_mail(); },
        [](World &v, End &a) { CHECK(v.push(a, {"x"})); },
        [](World &v, End &a) { v.pop_all(a); },
    };
    for (const auto &what : doings) {
        World v;
        End &a = v.open(on::kDealer, 10, 1), &b = v.open(on::kDealer);
        a.socket->arrive(Frames{"1"});
        a.socket->arrive(Frames{"2"});
        v.settle();
        v.own.rings();
        b.socket->during.emplace_back("events", [&] { what(v, a); });
        v.core->make_ready(*b.pipe);
        const double start = Core::now();
        v.step(30);
        CHECK(Core::now() - start < 15);
        EQUAL(v.own.rings(), 0u);
        v.step();
        v.drop_notices();
        v.finish();
    }
}

TEST(mail_merges) {
    for (int i = 0; i < 3; ++i) w.core->post_mail();
    EQUAL(w.step().size(), 1u);
    EQUAL(w.step().size(), 0u);
    w.core->post_mail();
    const double start = Core::now();
    EQUAL(w.step(-1).size(), 1u);  // does not sleep
    CHECK(Core::now() - start < 5);
}

TEST(a_run_goes_on_until_its_timeout_or_an_event) {
    End &push = w.open(on::kPush);
    push.socket->make_room(250);
    for (int i = 0; i < 250; ++i) CHECK(w.push(push, {"a"}));
    w.core->run(0);  // one pass
    EQUAL(push.socket->taken.size(), 100u);
    const double start = Core::now();
    w.core->run(0.01);
    CHECK(Core::now() - start >= 0.01);
    EQUAL(push.socket->taken.size(), 250u);
    CHECK(w.core->events.empty());
    w.core->post_mail();
    w.core->run(1000);
    EQUAL(w.core->events.size(), 1u);
    EQUAL(w.core->events[0].kind, EventKind::Mail);
    w.core->events.clear();
}

TEST(watches_are_reported_each_pass) {
    Fd one, two;
    const uint64_t first = w.core->watch(one.fd), second = w.core->watch(two.fd);
    CHECK(first != second);
    EQUAL(w.step().size(), 0u);
    const uint64_t ring = 1;
    EQUAL(::write(two.fd, &ring, sizeof ring), 8);
    for (int i = 0; i < 2; ++i) {
        const auto events = w.step(-1);
        EQUAL(events.size(), 1u);
        EQUAL(events[0].kind, EventKind::Readable);
        EQUAL(events[0].number, second);
    }
    w.core->unwatch(two.fd);
    EQUAL(w.step().size(), 0u);
    EQUAL(::write(one.fd, &ring, sizeof ring), 8);
    EQUAL(w.step(-1).size(), 1u);
    w.core->unwatch(one.fd);
    End &a = w.open(on::kPull);
    CHECK(a.pipe->id != first);
    CHECK(a.pipe->id != second);
}

TEST(more_descriptors_than_one_batch) {
    for (int i = 0; i < 300; ++i) w.open(on::kPull);
    w.settle();
    for (auto &end : w.ends) end->socket->arrive(Frames{"x"});
    for (int i = 0; i < 3; ++i) w.step();
    for (auto &end : w.ends) EQUAL(w.pop(*end), Frames{"x"});
}

TEST(what_cannot_be_watched_is_an_error) {
    auto pipe = w.core->make_pipe(on::kPull, 10, 10, Overflow::Block);
    Socket socket(on::kPull);
#ifdef ZGREEN_USE_EPOLL
    EQUAL(w.core->attach(pipe, &socket, 987654), EBADF);
    EQUAL(pipe->fd, -1);
    w.settle();
    bool thrown = false;
    try {
        w.core->watch(987654);
    } catch (const std::system_error &) {
        thrown = true;
    }
    CHECK(thrown);
#endif
    EQUAL(w.core->attach(pipe, &socket, socket.fd), 0);  // it may be tried again
    socket.arrive(Frames{"x"});
    w.settle();
    EQUAL(pipe->waiting(), 1u);
    w.core->detach(*pipe);
}

// As when there is no descriptor left (which a sanitizer would not survive either).
TEST(a_ringer_that_cannot_be_made_is_an_error) {
    const int bad = 987654;
    Bell bell;
    int thrown = 0;
    for (const std::function<void()> &attempt : {
             std::function<void()>([&] { bell.foreign(bad); }),
             std::function<void()>([&] { Core core(w.api, w.own.fd, bad, w.hub_fd.fd); }),
             std::function<void()>([&] { Core core(w.api, w.own.fd, w.own.fd, bad); }),
             std::function<void()>([&] { Releases releases(bad); }),
         }) {
        try {
            attempt();
        } catch (const std::system_error &error) {
            EQUAL(error.code().value(), EBADF);
            ++thrown;
        }
    }
    EQUAL(thrown, 4);
}

TEST(detach_before_attach) {
    auto pipe = w.core->make_pipe(on::kPush, 10, 10, Overflow::Block);
    w.core->detach(*pipe);
    EQUAL(pipe->finished.load(), false);
}

TEST(detach_in_every_state) {
    const std::function<void(World &, End &)> states[] = {
        [](World &, End &) {},  // on the ready list
        [](World &v, End &) { v.settle(); },  // parked
        [](World &v, End &a) { v.settle(); CHECK(v.push(a, {"t"})); },  // touched
        [](World &v, End &a) { CHECK(v.push(a, {"t"})); v.settle(); a.socket->make_room(1); },  // its descriptor readable
        [](World &v, End &a) { a.socket->says_writable = true; CHECK(v.push(a, {"t"})); v.settle(); },  // stalled
        [](World &v, End &a) { v.core->begin_close(*a.pipe, 60); },
        [](World &v, End &a) { v.core->begin_close(*a.pipe, 0); EQUAL(drained(v.step(), a), 1u); },
        [](World &v, End &a) { CHECK(v.push(a, {"t"})); v.core->begin_close(*a.pipe, 60); v.settle(); },
        [](World &v, End &a) { a.socket->terminated = true; EQUAL(v.step().size(), 1u); },  // failed
        [](World &v, End &a) {  // half a message received
            v.settle();
            on::faults.at(on::kRecv, 3, EAGAIN);
            a.socket->arrive(Frames{"1", "2", "3"});
            v.step();  // sees that it is readable
            on::faults.at(on::kGetsockopt, 2, kEterm);
            v.step();
            EQUAL(a.pipe->parts.size(), 2u);
        },
        [](World &v, End &a) { v.settle(); v.detach(a); },  // already
    };
    for (const auto &state : states) {
        World v;
        End &a = v.open(on::kDealer), &other = v.open(on::kDealer);
        other.socket->make_room(10);
        state(v, a);
        v.core->events.clear();
        v.detach(a);
        CHECK(a.pipe->finished.load());
        EQUAL(a.pipe->fd, -1);
        CHECK(a.pipe->parts.empty());
        a.socket->nudge();
        v.settle();  // its descriptor is not listened to
        const size_t pending = a.pipe->pending();
        CHECK(!v.push(a, {"late"}));
        EQUAL(a.pipe->pending(), pending);
        a.socket.reset();  // not to be used, nor its descriptor
        CHECK(v.push(other, {"x"}));
        v.settle();
        EQUAL(other.socket->taken.size(), 1u);
        EQUAL(v.withdraw(a).size(), pending);
        v.core->make_ready(*a.pipe);
        v.settle();
        v.finish();
    }
}

TEST(detach_keeps_what_was_received) {
    End &a = w.open(on::kPull, 10, 2);
    for (const char *text : {"1", "2", "3"}) a.socket->arrive(Frames{text});
    w.settle();
    w.detach(a);
    a.socket.reset();
    EQUAL(w.pop_all(a), (std::vector<Frames>{{"1"}, {"2"}}));
    w.settle();
}

TEST(push_all_is_all_or_none) {
    for (int64_t allocations = 0; allocations < 3; ++allocations) {
        World v;
        End &a = v.open(on::kPush);
        a.socket->make_room(100);
        v.settle();
        CHECK(v.push(a, {"0"}));
        std::vector<Message> batch;
        for (const char *text : {"1", "2", "3"}) batch.push_back(v.message({text}));
        bool pushed = false;
        allocations_left = allocations;
        try {
            pushed = a.pipe->push_all(batch);
        } catch (const std::bad_alloc &) {
        }
        allocations_left = -1;
        EQUAL(batch.size(), pushed ? 0u : 3u);
        EQUAL(a.pipe->pending(), pushed ? 4u : 1u);
        for (Message &message : batch) message.close(v.api, v.core->out_hub);
        v.settle();
        EQUAL(a.socket->taken.size(), pushed ? 4u : 1u);
        v.finish();
    }
}

TEST(push_all_asks_for_one_turn) {
    End &a = w.open(on::kPush);
    a.socket->make_room(100);
    w.settle();
    const uint64_t touches = a.pipe->touches;
    for (int i = 0; i < 2; ++i) {
        std::vector<Message> batch;
        for (int j = 0; j < 20; ++j) batch.push_back(w.message({std::to_string(20 * i + j)}));
        CHECK(a.pipe->push_all(batch));
    }
    EQUAL(a.pipe->places(0), 960u);
    EQUAL(a.pipe->places(100), 860u);
    EQUAL(a.pipe->places(1000), 0u);
    w.settle();
    EQUAL(a.pipe->touches - touches, 1u);
    EQUAL(a.socket->taken.size(), 40u);
    EQUAL(a.socket->taken[25], Frames{"25"});
    w.detach(a);
    std::vector<Message> late;
    late.push_back(w.message({"late"}));
    CHECK(!a.pipe->push_all(late));
    late[0].close(w.api, w.core->out_hub);
}

static std::vector<std::pair<uint64_t, int>> outcomes(World &w) {
    std::vector<std::pair<uint64_t, int>> all;
    for (const Notice &notice : w.notices()) all.emplace_back(notice.token, notice.error);
    return all;
}

static void push_once(World &w, End &end, const Frames &frames, uint64_t token) {
    CHECK(end.pipe->push_once(w.message(frames, token)));
}

TEST(tried_but_once) {
    using Outcomes = std::vector<std::pair<uint64_t, int>>;
    End &a = w.open(on::kPush);
    w.settle();
    push_once(w, a, {"1"}, 1);  // alone
    w.settle();
    CHECK((outcomes(w) == Outcomes{{1, EAGAIN}}));
    EQUAL(a.pipe->pending(), 0u);
    CHECK(w.push(a, {"2"}, 2));
    push_once(w, a, {"3", "3"}, 3);
    w.settle();  // in one turn, then with the refused one parked
    CHECK((outcomes(w) == Outcomes{{3, EAGAIN}}));
    CHECK(w.push(a, {"4"}));
    push_once(w, a, {"5"}, 5);
    push_once(w, a, {"6"}, 6);
    CHECK(w.push(a, {"7"}, 7));
    w.settle();
    CHECK((outcomes(w) == Outcomes{{5, EAGAIN}, {6, EAGAIN}}));
    a.pipe->flush_target = a.pipe->settled + a.pipe->pending();
    push_once(w, a, {"8"}, 8);
    for (int i = 0; i < 5; ++i) EQUAL(w.step().size(), 0u);
    CHECK((outcomes(w) == Outcomes{{8, EAGAIN}}));
    a.socket->make_room(10);
    size_t flushed = 0;
    for (int i = 0; i < 5; ++i) flushed += w.step().size();
    EQUAL(flushed, 1u);
    EQUAL(a.socket->taken, (std::vector<Frames>{{"2"}, {"4"}, {"7"}}));
    CHECK((outcomes(w) == Outcomes{{2, 0}, {7, 0}}));
    push_once(w, a, {"9"}, 9);
    w.settle();
    CHECK((outcomes(w) == Outcomes{{9, 0}}));
    EQUAL(a.pipe->pending(), 0u);
    EQUAL(a.pipe->refused.load(), 0u);
    w.detach(a);
    Message late = w.message({"late"});
    CHECK(!a.pipe->push_once(std::move(late)));
    late.close(w.api, w.core->out_hub);
}

TEST(tried_but_once_without_memory) {  // the loop ends by it; nothing is lost, nor told twice
    for (int64_t allocations = 0; allocations < 4; ++allocations) {
        World v;
        End &a = v.open(on::kPush);
        CHECK(v.push(a, {"1"}));
        push_once(v, a, {"2"}, 2);
        push_once(v, a, {"3"}, 3);
        size_t told = 0;
        allocations_left = allocations;
        try {
            v.core->step(0);
        } catch (const std::bad_alloc &) {
        }
        allocations_left = -1;
        told = outcomes(v).size();
        v.detach(a);
        EQUAL(v.withdraw(a).size() + told, 3u);
        v.finish();
    }
}

TEST(taken_back) {
    for (int parked = 0; parked < 4; ++parked) {
        for (uint64_t token = 1; token < 4; ++token) {
            World v;
            End &a = v.open(on::kPush);
            for (uint64_t i = 1; i < 4; ++i) {
                CHECK(v.push(a, {std::to_string(i), "x"}, i));
                if (int(i) == parked) v.settle();
            }
            Message message;
            CHECK(a.pipe->take_back(token, message));
            EQUAL(message.token, token);
            EQUAL(v.texts(message, v.core->out_thread), (Frames{std::to_string(token), "x"}));
            CHECK(!a.pipe->take_back(token, message));
            CHECK(!a.pipe->take_back(9, message));
            v.core->make_ready(*a.pipe);
            v.settle();
            EQUAL(a.pipe->pending(), token == 1 ? 2u : 3u);  // but for its place
            if (parked % 2) {
                v.detach(a);
                EQUAL(v.withdraw(a).size(), 2u);
            } else {
                a.socket->make_room(10);
                v.settle();
                EQUAL(a.socket->taken.size(), 2u);
                EQUAL(outcomes(v).size(), 2u);
            }
            EQUAL(a.pipe->pending(), 0u);
            v.finish();
        }
    }
}

// It follows POLLOUT, and the bell rings after each turn that ends with it true; while libzmq is full because of what was
// sent, messages may pend; not if a peer has gone.
TEST(writable) {
    End &a = w.open(on::kPush);
    a.pipe->ahead.store(2);
    w.settle();
    EQUAL(a.pipe->writable(), false);
    a.socket->make_room(2);
    w.settle();
    EQUAL(a.pipe->writable(), false);  // nobody has asked
    a.pipe->can_send.hub();
    a.pipe->watched.store(true);
    a.pipe->touch();
    w.settle();
    EQUAL(a.pipe->writable(), true);
    EQUAL(w.notices().size(), 1u);
    for (int i = 0; i < 2; ++i) {  // the second fills libzmq
        a.pipe->can_send.answered();
        CHECK(w.push(a, {"x"}));
        w.settle();
        EQUAL(a.pipe->writable(), true);
        EQUAL(w.notices().size(), 1u);
    }
    a.pipe->can_send.answered();
    CHECK(w.push(a, {"1"}));
    EQUAL(a.pipe->writable(), true);
    CHECK(w.push(a, {"2"}));
    EQUAL(a.pipe->writable(), false);  // so many may pend
    w.settle();
    EQUAL(a.pipe->pending(), 2u);
    EQUAL(a.pipe->writable(), false);
    EQUAL(a.pipe->takes_more.load(), true);
    w.notices();
    a.pipe->can_send.answered();
    a.socket->make_room(1);
    w.settle();
    EQUAL(a.pipe->pending(), 1u);
    EQUAL(a.pipe->writable(), true);
    EQUAL(w.notices().size(), 1u);
    a.socket->make_room(2);
    w.settle();
    EQUAL(a.pipe->pending(), 0u);
    EQUAL(a.pipe->writable(), true);
    w.notices();
    a.pipe->can_send.answered();
    a.socket->take_room();  // its peer goes
    w.core->make_ready(*a.pipe);
    w.settle();
    EQUAL(a.pipe->writable(), false);
    EQUAL(w.notices().size(), 0u);
}

TEST(writable_ends_with_the_socket) {
    End &a = w.open(on::kPush);
    a.pipe->watched.store(true);
    a.pipe->ahead.store(1);
    a.socket->make_room(1);
    w.settle();
    EQUAL(a.pipe->writable(), true);
    w.detach(a);
    EQUAL(a.pipe->writable(), false);
}

// What was popped and cannot be used, as there is no memory for it, is the first again.
TEST(put_back_is_the_first_again) {
    for (const Overflow overflow : {Overflow::Block, Overflow::DropOldest, Overflow::DropNewest}) {
        for (int in_turn = 0; in_turn < 4; ++in_turn) {  // the last in its half of the queue, too
            World v;
            End &a = v.open(on::kPull, 10, 10, overflow);
            for (const char *text : {"0", "1", "2"}) a.socket->arrive(Frames{text});
            v.settle();
            std::vector<Frames> expected{{"0"}, {"1"}, {"2"}};
            if (in_turn == 3) {
                EQUAL(v.pop_all(a), expected);
                expected.clear();
            }
            for (int i = 0; i < in_turn && in_turn < 3; ++i) {
                EQUAL(v.pop(a), expected.front());
                expected.erase(expected.begin());
            }
            a.socket->arrive(Frames{"3", "4"});
            expected.push_back({"3", "4"});
            v.settle();
            for (int i = 0; i < 2; ++i) {  // twice
                const size_t waiting = a.pipe->waiting();
                Message message;
                CHECK(a.pipe->pop(message));
                EQUAL(a.pipe->waiting(), waiting - 1);
                if (i) {  // and while more comes
                    a.socket->arrive(Frames{"5"});
                    expected.push_back({"5"});
                    v.settle();
                }
                CHECK(a.pipe->put_back(message));
                EQUAL(message.count, 0u);
                EQUAL(a.pipe->waiting(), waiting + size_t(i));
                EQUAL(a.pipe->held(), a.pipe->waiting() + 1);  // one has two frames
            }
            EQUAL(v.pop_all(a), expected);
            EQUAL(a.pipe->waiting(), 0u);
            EQUAL(a.pipe->dropped.load(), 0u);
            v.finish();
        }
    }
}

TEST(put_back_into_a_full_queue) {
    for (const Overflow overflow : {Overflow::Block, Overflow::DropOldest, Overflow::DropNewest}) {
        World v;
        End &a = v.open(on::kPull, 10, 2, overflow);
        a.socket->arrive(Frames{"0"});
        a.socket->arrive(Frames{"1"});
        v.settle();
        Message message;
        CHECK(a.pipe->pop(message));
        a.socket->arrive(Frames{"2"});
        v.core->make_ready(*a.pipe);
        v.settle();
        const bool oldest = overflow == Overflow::DropOldest;
        EQUAL(a.pipe->put_back(message), !oldest);  // the oldest of a full queue: it is the one to be dropped
        EQUAL(message.count, oldest ? 1u : 0u);
        message.close(v.api, v.core->in_hub);
        EQUAL(a.pipe->dropped.load(), oldest ? 1u : 0u);
        a.socket->arrive(Frames{"3"});
        v.settle();
        if (oldest) EQUAL(v.pop_all(a), (std::vector<Frames>{{"2"}, {"3"}}));
        else EQUAL(v.pop(a), Frames{"0"});
        v.finish();
    }
}

TEST(what_was_put_back_is_dropped_first) {
    End &a = w.open(on::kPull, 10, 2, Overflow::DropOldest);
    a.socket->arrive(Frames{"0"});
    a.socket->arrive(Frames{"1"});
    w.settle();
    Message message;
    CHECK(a.pipe->pop(message));
    CHECK(a.pipe->put_back(message));
    a.socket->arrive(Frames{"2"});
    w.settle();
    EQUAL(a.pipe->dropped.load(), 1u);
    EQUAL(w.pop_all(a), (std::vector<Frames>{{"1"}, {"2"}}));
}

TEST(withdraw_in_order_with_tokens) {
    End &a = w.open(on::kPush);
    CHECK(w.push(a, {"1"}, 11));
    CHECK(w.push(a, {"2", "3"}));
    w.settle();  // these are in front now
    CHECK(w.push(a, {"4"}, 13));
    w.detach(a);
    std::vector<uint64_t> tokens;
    std::vector<Frames> all;
    Message message;
    while (a.pipe->withdraw(message)) {
        tokens.push_back(message.token);
        all.push_back(w.texts(message, w.core->out_hub));
    }
    CHECK((tokens == std::vector<uint64_t>{11, 0, 13}));
    EQUAL(all, (std::vector<Frames>{{"1"}, {"2", "3"}, {"4"}}));
    EQUAL(a.pipe->pending(), 0u);
}

TEST(withdraw_of_a_pipe_that_was_never_attached) {
    End end;
    end.pipe = w.core->make_pipe(on::kPush, 10, 10, Overflow::Block);
    CHECK(w.push(end, {"1"}));
    w.settle();
    EQUAL(w.withdraw(end), (std::vector<Frames>{{"1"}}));
    CHECK(!w.push(end, {"2"}));
}

TEST(a_push_before_attach_is_sent) {
    auto end = std::make_unique<End>();
    end->socket = std::make_unique<Socket>(on::kPush);
    end->pipe = w.core->make_pipe(on::kPush, 10, 10, Overflow::Block);
    CHECK(w.push(*end, {"1"}));
    w.settle();
    end->socket->make_room(1);
    w.attach(*end);
    w.settle();
    EQUAL(end->socket->taken.size(), 1u);
    w.ends.push_back(std::move(end));
}

TEST(destructors_free_everything) {
    End &a = w.open(on::kDealer, 1000, 2);
    a.socket->make_room(3);
    on::faults.at(on::kSend, 1, EHOSTUNREACH);
    for (int i = 0; i < 10; ++i) CHECK(w.push(a, {"1", "2", "3"}));
    w.settle();  // one refused (its notice is not taken), three sent, six in front
    for (int i = 0; i < 5; ++i) CHECK(w.push(a, {"4", "5"}));  // behind
    for (int i = 0; i < 5; ++i) a.socket->arrive(Frames{"in", "in"});
    w.settle();
    EQUAL(a.pipe->pending(), 11u);
    EQUAL(a.pipe->waiting(), 2u);
    Counts &in = w.core->in_thread;
    EQUAL(in.made.load(), 4);
    const int64_t open = on::handles.open();
    CHECK(open > 0);
    a.socket.reset();
    w.ends.clear();
    w.core.reset();  // still attached: as after an engine that broke
    EQUAL(on::handles.open(), 0);
    w.core = std::make_unique<Core>(w.api, w.own.fd, w.own.fd, w.hub_fd.fd);
}

TEST(a_pipe_that_only_the_core_holds_is_freed_in_its_pass) {
    auto end = std::make_unique<End>();
    end->socket = std::make_unique<Socket>(on::kPush);
    end->pipe = w.core->make_pipe(on::kPush, 10, 10, Overflow::Block);
    w.attach(*end);
    w.settle();
    CHECK(w.push(*end, {"1"}));
    const std::weak_ptr<Pipe> alive = end->pipe;
    w.core->detach(*end->pipe);
    end.reset();
    CHECK(!alive.expired());  // on the list of the touched ones
    w.settle();
    CHECK(alive.expired());
}

TEST(releases_reach_the_hub_once_each) {
    Fd hub;
    auto releases = std::make_shared<Releases>(hub.fd);
    int owners[3];
    char data[] = "a large frame";
    CHECK(!releases->any());
    End &a = w.open(on::kPush);
    a.socket->make_room(1);
    const int64_t before = on::free_calls.load();
    for (int i = 0; i < 3; ++i) {
        Message message;
        EQUAL(w.api.msg_init_data(message.frames(), data, sizeof data, Releases::free_content, releases->hint(&owners[i])), 0);
        message.count = 1;
        w.core->out_hub.add_made(1);
        CHECK(a.pipe->push(std::move(message)));
    }
    w.settle();
    EQUAL(on::free_calls.load() - before, 1);
    CHECK(releases->any());
    EQUAL(hub.rings(), 1u);
    w.detach(a);
    EQUAL(w.withdraw(a).size(), 2u);
    EQUAL(hub.rings(), 0u);  // the hub was told and has not looked yet
    std::vector<void *> taken;
    allocations_left = 0;
    void *const first = releases->take();
    allocations_left = -1;
    CHECK(releases->any());
    for (void *owner = first; owner; owner = releases->take()) taken.push_back(owner);
    std::sort(taken.begin(), taken.end());
    CHECK((taken == std::vector<void *>{&owners[0], &owners[1], &owners[2]}));
    CHECK(!releases->any());
    EQUAL(on::free_calls.load() - before, 3);
    CHECK(!releases->take());
    releases->forget(releases->hint(&owners[0]));  // libzmq did not take it
}

TEST(shared_content_is_released_once) {
    Fd hub;
    auto releases = std::make_shared<Releases>(hub.fd);
    char data[] = "a large frame";
    End &a = w.open(on::kPush);
    a.socket->make_room(1);
    w.settle();
    const int64_t before = on::free_calls.load();
    Message message;
    message.reserve(3);
    for (int i = 0; i < 3; ++i) {
        EQUAL(w.api.msg_init_data(&message.frames()[i], data, sizeof data, Releases::free_content, releases->hint(data)), 0);
        ++message.count;
    }
    w.core->out_hub.add_made(3);
    on::faults.at(on::kSend, 2, EAGAIN);
    CHECK(a.pipe->push(std::move(message)));
    w.settle();
    EQUAL(a.socket->taken.size(), 1u);
    EQUAL(on::free_calls.load() - before, 3);
    for (int i = 0; i < 3; ++i) CHECK(releases->take() == data);
    CHECK(!releases->any());
}

TEST(releases_outlive_the_engine) {
    Fd hub;
    auto releases = std::make_shared<Releases>(hub.fd);
    const std::weak_ptr<Releases> alive = releases;
    char data[] = "x";
    Msg one, two;
    EQUAL(w.api.msg_init_data(&one, data, 1, Releases::free_content, releases->hint(data)), 0);
    EQUAL(w.api.msg_init_data(&two, data, 1, Releases::free_content, releases->hint(data)), 0);
    releases.reset();
    EQUAL(w.api.msg_close(&one), 0);
    CHECK(!alive.expired());
    EQUAL(w.api.msg_close(&two), 0);
    CHECK(alive.expired());
}

TEST(queues_keep_order_and_give_memory_back) {
    const int64_t before = in_use;
    Fifo fifo;
    int next_in = 0, next_out = 0;
    for (const int burst : {1, 3, 5000, 1, 100, 20000, 2}) {
        for (int i = 0; i < burst; ++i) {
            Message mark;
            mark.token = uint64_t(next_in++);
            fifo.push(std::move(mark));
            if (i % 3 == 1) {
                if (fifo.front_empty()) fifo.turn();
                EQUAL(fifo.front().token, uint64_t(next_out++));
                fifo.pop();
            }
        }
        while (!fifo.empty()) {
            if (fifo.front_empty()) fifo.turn();
            EQUAL(fifo.front().token, uint64_t(next_out++));
            fifo.pop();
        }
        CHECK(in_use - before < (1 << 20));  // at once, not when the next message comes
    }
    for (int i = 0; i < 100; ++i) {
        Message large;
        large.reserve(1000);
        fifo.push(std::move(large));
    }
    fifo.turn();
    for (int i = 0; i < 50; ++i) fifo.pop();
    CHECK(in_use - before < 51 * 64000 + (1 << 20));
    for (int i = 0; i < 50; ++i) fifo.pop();
    EQUAL(next_in, next_out);
    CHECK(fifo.empty());
}

// Any allocation of core.hpp may fail. On the hub side the message then is the caller's or the pipe's, never both, and
// what the pipe has is served. In the owning thread the loop ends by the exception; everything still is freed.
TEST(no_memory_on_the_hub_side) {
    for (int64_t n = 0;; ++n) {
        World v;
        End &a = v.open(on::kDealer, 1000, 2);
        a.socket->make_room(100);
        for (int i = 0; i < 6; ++i) a.socket->arrive(Frames{std::to_string(i)});
        v.settle();
        size_t pushed = 0, popped = 0;
        bool thrown = false;
        Fd foreign;
        for (int i = 0; i < 8; ++i) {
            const int64_t left = i == 0 ? n : allocations_left;
            allocations_left = -1;
            Message message = v.message({"x", "y"});
            allocations_left = left;
            try {
                a.pipe->message.foreign(foreign.fd);
            } catch (const std::bad_alloc &) {
                thrown = true;
            }
            try {
                CHECK(a.pipe->push(std::move(message)));
                ++pushed;
            } catch (const std::bad_alloc &) {
                const Plenty plenty;
                thrown = true;
                message.close(v.api, v.core->out_hub);
            }
            Message got;
            if (a.pipe->pop(got)) {
                ++popped;
                got.close(v.api, v.core->in_hub);
            }
            if (i == 4) {
                const Plenty plenty;
                v.settle();
            }
        }
        thrown = thrown || allocations_left == 0;
        allocations_left = -1;
        v.settle();
        EQUAL(a.socket->taken.size(), pushed);  // with its wake-up
        EQUAL(a.pipe->pending(), 0u);
        popped += v.pop_all(a).size();
        v.settle();
        popped += v.pop_all(a).size();
        v.settle();
        popped += v.pop_all(a).size();
        EQUAL(popped, 6u);
        v.finish();
        if (!thrown) {
            CHECK(n > 3);
            return;
        }
    }
}

TEST(no_memory_in_the_owning_thread) {
    for (int64_t n = 0;; ++n) {
        bool thrown = false;
        {
            World v;
            End &a = v.open(on::kDealer, 1000, 1000), &b = v.open(on::kPull, 10, 2, Overflow::DropOldest);
            for (End *end : {&a, &b}) {
                end->pipe->room.hub();
                end->pipe->message.hub();
                for (int i = 0; i < 5; ++i) end->socket->arrive(i % 2 ? Frames{"1"} : Frames{"1", "2", "3"});
            }
            a.socket->make_room(100);
            on::faults.at(on::kSend, 2, EHOSTUNREACH);
            on::faults.at(on::kSend, 3, EHOSTUNREACH);
            CHECK(v.push(a, {"1"}, 1));
            CHECK(v.push(a, {"2"}, 2));
            CHECK(v.push(a, {"3", "4"}));
            CHECK(v.push(a, {"5"}, 3));
            allocations_left = n;
            try {
                for (int i = 0; i < 3; ++i) v.core->step(0);
                v.core->begin_close(*a.pipe, 0);
                v.core->step(0);
            } catch (const std::bad_alloc &) {
                thrown = true;
            }
            allocations_left = -1;
            EQUAL(a.pipe->pending() + a.pipe->sent.load() + a.pipe->refused.load() < 10, true);
            if (!thrown) {
                EQUAL(a.pipe->pending(), 0u);
                EQUAL(a.pipe->sent.load(), 2u);
                EQUAL(a.pipe->refused.load(), 2u);
            }
            const size_t pending = a.pipe->pending();
            v.core->detach(*a.pipe);
            EQUAL(v.withdraw(a).size(), pending);
            v.pop_all(b);
            for (auto &end : v.ends) end->socket.reset();
            v.ends.clear();
            v.core.reset();
            EQUAL(on::handles.open(), 0);
        }
        if (!thrown) {
            CHECK(n > 10);
            return;
        }
    }
}

TEST(no_memory_at_attach) {
    for (int64_t n = 0;; ++n) {
        World v;
        auto end = std::make_unique<End>();
        end->socket = std::make_unique<Socket>(on::kPull);
        end->pipe = v.core->make_pipe(on::kPull, 10, 10, Overflow::Block);
        bool thrown = false;
        allocations_left = n;
        try {
            v.core->attach(end->pipe, end->socket.get(), end->socket->fd);
        } catch (const std::bad_alloc &) {
            thrown = true;
        }
        allocations_left = -1;
        if (thrown) {
            EQUAL(end->pipe->fd, -1);
            v.settle();
            v.attach(*end);
        }
        end->socket->arrive(Frames{"x"});
        v.settle();
        EQUAL(v.pop(*end), Frames{"x"});
        v.ends.push_back(std::move(end));
        v.finish();
        if (!thrown) return;
    }
}

// ------------------------------------------------------------------------------------------------ looking before sleep

TEST(short_waits_grant_a_look_and_long_ones_take_it_away) {
    (void)w;
    Grant grant(200e-6);
    EQUAL(grant.at(1), 0.0);
    grant.waited(200e-6);
    EQUAL(grant.at(1), 200e-6);
    grant.waited(201e-6);
    EQUAL(grant.at(1), 100e-6);
    grant.waited(1);
    EQUAL(grant.at(1), 50e-6);
    grant.waited(10e-6);
    EQUAL(grant.at(1), 200e-6);
    for (int i = 0; i < 6; ++i) grant.waited(1);
    EQUAL(grant.at(1), 200e-6 / 64);
    grant.waited(1);  // less than 2 us would be left
    EQUAL(grant.at(1), 0.0);
    grant.waited(0);
    EQUAL(grant.at(1), 200e-6);
    CHECK(!Grant(0).is_set());
}

TEST(a_look_that_comes_late_withdraws_the_grant_and_for_longer_each_time) {
    (void)w;
    Grant grant(200e-6);
    grant.waited(0);
    CHECK(!grant.withdrawn(Grant::kLate, 100));
    EQUAL(grant.at(100), 200e-6);
    const double late = 0.003;
    double now = 100, rest = Grant::kLeastRest * late;
    for (int i = 0; i < 10; ++i) {
        CHECK(grant.withdrawn(late, now));
        grant.waited(0);  // short waits do not give it back
        EQUAL(grant.at(now), 0.0);
        EQUAL(grant.at(now + 0.99 * rest), 0.0);
        now += 1.01 * rest;
        EQUAL(grant.at(now), 200e-6);
        rest = std::min(4 * rest, Grant::kMostRest * late);
    }
    now += Grant::kForgiven * rest;  // all went well for long
    CHECK(grant.withdrawn(late, now));
    rest = Grant::kLeastRest * late;
    EQUAL(grant.at(now + 0.99 * rest), 0.0);
    EQUAL(grant.at(now + 1.01 * rest), 200e-6);
}

TEST(one_thread_of_a_process_looks_at_a_time) {
    (void)w;
    Looking a(1000), b(1000);
    for (Looking *looking : {&a, &b}) {
        CHECK(!looking->begin(-1));
        looking->slept();
    }
    CHECK(a.begin(-1));
    CHECK(!b.begin(-1));
    a.found();
    CHECK(b.begin(0));
    CHECK(!b.go_on());  // the timeout is over
    CHECK(a.begin(-1));
    a.found();
    EQUAL(a.hits.load(), 2u);
    EQUAL(a.misses.load(), 0u);
    EQUAL(b.misses.load(), 1u);
    looking_process.store(1);  // as a fork leaves it while a thread of the parent looks
    CHECK(a.begin(-1));
    {
        Looking c(1000);
        c.begin(-1);
        c.slept();
        CHECK(!c.begin(-1));
        a.found();
        CHECK(c.begin(-1));
    }  // it ends in the middle of a look
    CHECK(a.begin(-1));
    a.found();
}

static std::function<void()> at_events;  // called as the events of a socket are read, once

TEST(a_look_finds_what_comes_to_a_socket_and_to_the_inbox) {
    w.api.getsockopt = [](void *socket, int option, void *value, size_t *size) {
        if (at_events) std::exchange(at_events, nullptr)();
        return WithPlenty<on::getsockopt>::call(socket, option, value, size);
    };
    w.core = std::make_unique<Core>(w.api, w.own.fd, w.own.fd, w.hub_fd.fd, 1000);
    End &push = w.open(on::kPush), &pull = w.open(on::kPull);
    push.socket->make_room(1);
    w.settle();
    w.core->step(1e-3);  // a short wait, in which nothing comes
    EQUAL(w.core->waiting.wakeups.load(), 1u);
    pull.socket->arrive(Frames{"a"});
    w.core->step(-1);
    EQUAL(w.core->waiting.looking.hits.load(), 1u);
    at_events = [&] { CHECK(w.push(push, {"b"})); };  // after the pass has taken what was in the inbox
    w.core->step(-1);
    EQUAL(w.core->waiting.looking.hits.load(), 2u);
    EQUAL(w.pop(pull), Frames{"a"});
    w.settle();
    EQUAL(push.socket->taken, std::vector<Frames>{{"b"}});
    EQUAL(w.core->waiting.wakeups.load(), 1u);
    EQUAL(w.core->waiting.looking.misses.load(), 0u);
    EQUAL(w.own.rings(), 0u);  // it has not said that it sleeps
}

int main() {
    int passed = 0, failed = 0;
    for (const Test &test : tests) {
        std::string failure;
        const int violations = on::violations.load();
        {
            World world;
            try {
                test.run(world);
                world.finish();
            } catch (const Failure &failed_) {
                allocations_left = -1;
                failure = failed_.text;
            } catch (const std::exception &error) {
                allocations_left = -1;
                failure = error.what();
            }
        }
        if (failure.empty() && on::violations.load() != violations) failure = "libzmq was misused";
        std::printf("%s %s%s%s\n", failure.empty() ? "ok  " : "FAIL", test.name, failure.empty() ? "" : ": ", failure.c_str());
        std::fflush(stdout);
        ++(failure.empty() ? passed : failed);
    }
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
