// What the scenarios of explore.cpp have in common: a core over the scripted libzmq, its owning thread, the hub, foreign
// threads that wait in line, and what must be true in the end.

#pragma once

#include "scripted.hpp"

#include <algorithm>

namespace explore {

using namespace zgreen;

#define MUST(condition)                                                                     \
    do {                                                                                    \
        if (!(condition)) scheduler.fail(#condition " does not hold", {__FILE__, __LINE__}); \
    } while (0)

// ------------------------------------------------------------------------------------------------ libzmq

// A socket of the scripted libzmq. Each call of it is one step for the other threads: libzmq is not what is looked at.
struct Socket : scripted::Socket {
    using scripted::Socket::Socket;
    const Id id = scheduler.new_id();

    void arrive(const std::string &text, EXPLORE_HERE) {
        scheduler.point(id, true, {file, line});
        const Scheduler::Quiet quiet(scheduler);
        scripted::Socket::arrive(scripted::Frames{text});
    }
    void make_room(size_t messages, EXPLORE_HERE) {
        scheduler.point(id, true, {file, line});
        const Scheduler::Quiet quiet(scheduler);
        scripted::Socket::make_room(messages);
    }
};

inline Scheduler::Quiet call(void *socket, EXPLORE_HERE) {
    scheduler.point(static_cast<Socket *>(static_cast<scripted::Socket *>(socket))->id, true, {file, line});
    return Scheduler::Quiet(scheduler);
}

inline Api stepwise_api() {
    Api api = scripted::api();
    api.msg_send = [](Msg *msg, void *socket, int flags) {
        const auto quiet = call(socket);
        return scripted::msg_send(msg, socket, flags);
    };
    api.msg_recv = [](Msg *msg, void *socket, int flags) {
        const auto quiet = call(socket);
        return scripted::msg_recv(msg, socket, flags);
    };
    api.getsockopt = [](void *socket, int option, void *value, size_t *size) {
        const auto quiet = call(socket);
        return scripted::getsockopt(socket, option, value, size);
    };
    return api;
}

// ------------------------------------------------------------------------------------------------ lines

class World;

// A foreign thread with a descriptor of its own, or a greenlet of the hub.
struct Waiter {
    const int fd;  // the hub's, for its greenlets
    const bool hub;
    void ring() const {
        const uint64_t one = 1;
        sync::write(fd, &one, sizeof one);
    }
    void wait() const {  // for a ring
        pollfd fds{fd, POLLIN, 0};
        sync::poll(&fds, 1, -1);
        char buffer[8];
        sync::read(fd, buffer, sizeof buffer);
    }
};

// As zgreen/_hub/line.py: only the head takes its turn, the bell is the head's, and who leaves has the next one look.
class Line {
  public:
    Line(World &world, Bell &bell, std::function<bool()> ready) : world_(world), bell_(bell), ready_(std::move(ready)) {}
    void wait_turn(const Waiter &me, const std::function<bool()> &attempt);
    void rung() {  // the hub looks at the line; under the GIL
        if (waiters_.empty() || !ready_()) return;
        if (waiters_.front()->hub) dispatch_ = true;
        else waiters_.front()->ring();
    }
    void nudge() {  // have the head look, if it could go on; another thread, under the GIL
        if (waiters_.empty() || !ready_()) return;
        if (waiters_.front()->hub) dispatch_ = true;
        waiters_.front()->ring();
    }
    size_t length() const { return waiters_.size(); }  // under the GIL

  private:
    void listen() const {
        if (waiters_.empty()) bell_.none();
        else if (waiters_.front()->hub) bell_.hub();
        else bell_.foreign(waiters_.front()->fd);
    }
    void sleep(const Waiter &me);
    World &world_;
    Bell &bell_;
    const std::function<bool()> ready_;
    // --- under the GIL
    std::deque<const Waiter *> waiters_;
    bool dispatch_ = false;  // the hub has been told to give the head its turn
};

// ------------------------------------------------------------------------------------------------ the world

class World {
  public:
    World() {
        scripted::faults.clear();
        violations_ = scripted::violations;
        core = std::make_unique<Core>(stepwise_api(), own_fd, own_fd, hub_fd);
    }
    World(const World &) = delete;

    // --- set-up: what the sockets are; then start()
    std::shared_ptr<Pipe> out, in;
    Socket push{scripted::kPush}, pull{scripted::kPull};

    void make_out(size_t out_max, size_t room = 100) {
        out = core->make_pipe(scripted::kPush, out_max, 1, Overflow::Block);
        putters = std::make_unique<Line>(*this, out->room, [this] { return finished || out->wakes(putters->length()); });
        push.make_room(room);
        MUST(core->attach(out, static_cast<scripted::Socket *>(&push), push.fd) == 0);
    }
    // The owner looks before it sleeps, two times at most (see sync::yield); before the sockets are made.
    void look_before_sleep() { core = std::make_unique<Core>(stepwise_api(), own_fd, own_fd, hub_fd, 1.5e-4); }
    void make_in(size_t in_max, Overflow overflow = Overflow::Block) {
        in = core->make_pipe(scripted::kPull, 1, in_max, overflow);
        getters = std::make_unique<Line>(*this, in->message, [this] { return in->waiting() > 0; });
        MUST(core->attach(in, static_cast<scripted::Socket *>(&pull), pull.fd) == 0);
    }
    void make_both_ways(size_t out_max, size_t in_max, size_t room) {  // `push` is a DEALER that sends and receives
        out = in = core->make_pipe(scripted::kDealer, out_max, in_max, Overflow::Block);
        putters = std::make_unique<Line>(*this, out->room, [this] { return out->wakes(putters->length()); });
        getters = std::make_unique<Line>(*this, in->message, [this] { return in->waiting() > 0; });
        push.make_room(room);
        MUST(core->attach(out, static_cast<scripted::Socket *>(&push), push.fd) == 0);
    }
    void start() {  // the owning thread has parked what it can
        for (int i = 0; i < 4; ++i) core->step(0);
        core->step(1e-3);  // a short wait: no time passes here
        scheduler.spawn("owner", [this] { own(); }, false);
    }

    // --- the owning thread
    std::vector<std::string> commands_run;
    int flushes = 0, drained = 0;
    bool finished = false;  // the sending pipe is; under the GIL

    // As _commands._finish: the end of the sending socket.
    void finish() {
        {
            const sync::lock_guard lock(gil);
            core->detach(*out);
        }
        const sync::lock_guard lock(gil);
        withdraw();
        finished = true;
        putters->nudge();
    }
    void withdraw() {
        Message message;
        out->finish();
        while (out->withdraw(message)) unsent.push_back(text_of(message, core->out_hub));
    }

    // --- the hub side
    sync::mutex gil;  // serialises the hub side's calls; the owning thread has it for commands alone
    const int own_fd = sync::eventfd(0, 0), hub_fd = sync::eventfd(0, 0);
    std::shared_ptr<Releases> releases = Releases::make(hub_fd);
    std::unique_ptr<Core> core;
    std::unique_ptr<Line> putters, getters;
    std::vector<uint64_t> outcomes;             // tokens, as they were told
    std::vector<int> errors;                    // likewise
    std::vector<std::string> refused, unsent;   // messages

    Message message(const std::string &text, uint64_t token = 0) {
        Message m;
        MUST(core->api.msg_init_size(&m.one, text.size()) == 0);
        std::memcpy(core->api.msg_data(&m.one), text.data(), text.size());
        m.count = 1;
        m.token = token;
        core->out_hub.add_made(1);
        return m;
    }
    // As NativePipe.try_push. `reserved`: so many places are for those who wait.
    bool try_push(const std::string &text, size_t reserved = 0, uint64_t token = 0) {
        if (!out->has_room(reserved)) return false;
        Message m = message(text, token);
        if (out->push(std::move(m))) {
            put.push_back(text);
            return true;
        }
        m.close(core->api, core->out_hub);
        return false;
    }
    bool try_once(const std::string &text, uint64_t token) {  // as NativePipe.try_send
        const sync::lock_guard lock(gil);
        Message m = message(text, token);
        if (out->push_once(std::move(m))) return true;
        m.close(core->api, core->out_hub);
        return false;
    }
    bool try_put(const std::string &text, uint64_t token = 0) {
        const sync::lock_guard lock(gil);
        return try_push(text, putters->length(), token);
    }
    bool push_all(const std::vector<std::string> &texts) {
        const sync::lock_guard lock(gil);
        std::vector<Message> messages;
        for (const std::string &text : texts) messages.push_back(message(text));
        if (!out->push_all(messages)) return false;
        put.insert(put.end(), texts.begin(), texts.end());
        return true;
    }
    void pop_and_put_back() {
        const sync::lock_guard lock(gil);
        Message m;
        if (in->pop(m) && !in->put_back(m)) m.close(core->api, core->in_hub);
    }
    void put_waiting(const Waiter &me, const std::string &text) {
        if (try_put(text)) return;
        putters->wait_turn(me, [&] { return try_push(text) || finished; });
    }
    std::string get_waiting(const Waiter &me) {
        Message m;
        bool there;
        {
            const sync::lock_guard lock(gil);
            there = in->waiting() > getters->length() && in->pop(m);
        }
        if (!there) getters->wait_turn(me, [&] { return in->pop(m); });
        MUST(m.count == 1);
        const sync::lock_guard lock(gil);
        got.push_back(text_of(m, core->in_hub));
        return got.back();
    }
    void command(const std::string &name, std::function<void()> what) {
        {
            const sync::lock_guard lock(gil);
            commands_.emplace_back(name, std::move(what));
        }
        core->post_mail();
    }
    // One pass of the hub's loop, which sleeps until it is rung: as link.take_mail.
    void hub_pass() {
        greenlet.wait();
        std::vector<Notice> notices;
        core->hub.take(notices);
        for (Notice &notice : notices) take(notice);
    }
    void spawn_hub(std::function<void()> body) {  // which goes on listening when the body has ended
        scheduler.spawn("hub", [this, body = std::move(body)] {
            body();
            scheduler.done();
            for (;;) hub_pass();
        });
    }
    void spawn_foreign(std::function<void(const Waiter &)> body) {
        scheduler.spawn("foreign", [body = std::move(body)] {
            const Waiter me{sync::eventfd(0, 0), false};
            body(me);
            sync::close(me.fd);
        });
    }
    bool try_get() {
        const sync::lock_guard lock(gil);
        Message m;
        if (!in->pop(m)) return false;
        got.push_back(text_of(m, core->in_hub));
        return true;
    }
    const Waiter greenlet{hub_fd, true};

    // For those who look for what is wrong.
    std::string state() const {
        std::string text;
        const auto add = [&](const char *name, long long value) { text += std::string(" ") + name + "=" + std::to_string(value); };
        if (out) {
            add("pushed", out->pushed), add("settled", out->settled), add("idle", out->idle);
            add("owes_ring", out->owes_ring), add("finished", out->finished);
        }
        if (in) add("delivered", in->delivered), add("taken", in->taken), add("starved", in->starved);
        return text;
    }

    // --- in the end
    std::vector<std::string> put, got;  // of all threads, under the GIL
    std::function<void()> check = [] {};

    // What was taken by libzmq, in order.
    std::vector<std::string> sent() const {
        std::vector<std::string> texts;
        for (const auto &frames : push.taken) texts.push_back(frames[0]);
        return texts;
    }
    void finish_run() {
        if (out) nothing_left_undone(*out);
        if (in) nothing_left_undone(*in);
        check();
        scheduler.end();
        for (const auto &pipe : {out, in})
            if (pipe && pipe->fd >= 0) core->detach(*pipe);
        out.reset();
        in.reset();
        std::vector<Notice> notices;
        core->hub.take(notices);
        for (Notice &notice : notices) notice.message.close(core->api, core->out_hub);
        const Core &c = *core;
        MUST(c.out_hub.made + c.in_thread.made == c.out_hub.freed + c.out_thread.freed + c.in_thread.freed + c.in_hub.freed);
        core.reset();
        releases.reset();
        MUST(scripted::violations == violations_);
        sync::close(own_fd);
        sync::close(hub_fd);
    }
    std::string text_of(Message &m, Counts &counts) {
        const std::string text = scripted::text_of(m.frames());
        m.close(core->api, counts);
        return text;
    }

  private:
    // The owner sleeps, and its flags say what is so.
    static void nothing_left_undone(Pipe &pipe) {
        if (pipe.fd < 0) return;
        MUST(!pipe.ready);
        MUST(!pipe.owes_ring);
        MUST(pipe.idle == (pipe.pending() == 0));
        const bool credit = pipe.overflow != Overflow::Block || pipe.waiting() < pipe.in_max.load();
        MUST(pipe.starved || credit);
        MUST(!pipe.starved || pipe.waiting() > pipe.in_max.load() / 2);  // it need not hear of less
    }
    void own() {
        for (;;) {
            core->step(-1);
            std::vector<Event> events;
            events.swap(core->events);
            for (const Event &event : events) take(event);
        }
    }
    void take(const Event &event) {
        if (event.kind == EventKind::Mail) {
            std::vector<std::pair<std::string, std::function<void()>>> commands;
            {
                const sync::lock_guard lock(gil);
                commands.swap(commands_);
            }
            for (const auto &[name, what] : commands) {
                commands_run.push_back(name);
                if (what) what();
            }
        } else if (event.kind == EventKind::Drained) {
            ++drained;
            finish();
        } else if (event.kind == EventKind::Flushed) {
            ++flushes;
        } else {
            scheduler.fail("the core says that a socket has failed");
        }
    }
    void take(Notice &notice) {
        const sync::lock_guard lock(gil);
        if (notice.kind == NoticeKind::Outcome) {
            outcomes.push_back(notice.token);
            errors.push_back(notice.error);
        } else if (notice.kind == NoticeKind::Refused) {
            refused.push_back(text_of(notice.message, core->out_hub));
        } else if (notice.kind == NoticeKind::Room) {
            out->room.answered();
            putters->rung();
        } else if (notice.kind == NoticeKind::Writable) {
            out->can_send.answered();
        } else {
            in->message.answered();
            getters->rung();
        }
    }
    std::vector<std::pair<std::string, std::function<void()>>> commands_;  // under the GIL
    int violations_;
};

inline void Line::sleep(const Waiter &me) {
    if (!me.hub) return me.wait();
    for (;;) {
        world_.hub_pass();
        const sync::lock_guard lock(world_.gil);
        if (std::exchange(dispatch_, false) && waiters_.front() == &me) return;
    }
}

inline void Line::wait_turn(const Waiter &me, const std::function<bool()> &attempt) {
    {
        const sync::lock_guard lock(world_.gil);
        waiters_.push_back(&me);
        listen();
    }
    for (;;) {
        {
            const sync::lock_guard lock(world_.gil);
            if (waiters_.front() == &me && attempt()) break;
        }
        sleep(me);
    }
    const sync::lock_guard lock(world_.gil);
    waiters_.erase(std::find(waiters_.begin(), waiters_.end(), &me));
    listen();
    nudge();
}

}  // namespace explore
