// The native engine's data path: pipes, mailbox wake-ups, the serve/park loop. No Python in this file.
//
// Threads. "Owning thread": runs Core::step. "Hub side": all other threads that call; under CPython they hold the GIL,
// so they run one after the other, but beside the owning thread. A comment at each field says which thread may touch it,
// and under which lock. The owning thread holds no lock while it calls libzmq.
//
// Sleeping without lost wake-ups is one pattern throughout: this side writes its data, then reads the other's flag; the
// other writes its flag, then reads the data (all sequentially consistent). Whatever the order, one sees the other.
//
// libzmq is called through a table of functions, so that tests can put a scripted one in its place.

#pragma once

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core_message.hpp"
#include "core_pipe.hpp"
#include "core_sync.hpp"
#include "core_waiting.hpp"
#include "core_wakeup.hpp"
#include "core_wire.hpp"

namespace zgreen {

enum class EventKind : uint8_t { Mail, Failed, Drained, Readable, Flushed };

struct Event {  // for the caller of step(), in the owning thread
    EventKind kind;
    uint64_t number;  // pipe or watch
    int error;
};

class Core : public Shared {
  public:
    // `busy_wait`: seconds, the longest look before a sleep; see Looking.
    Core(const Api &api, int own_fd, int own_ring_fd, int hub_ring_fd, double busy_wait = 0)
        : Shared(api, own_ring_fd, hub_ring_fd), waiting(inbox, own_fd, busy_wait) {}
    ~Core() {
        for (Message &message : arrived_) message.close(api, in_hub);  // if step() threw
        std::vector<Notice> notices;
        hub.take(notices);
        for (Notice &notice : notices) notice.message.close(api, out_hub);
    }

    static double now() { return sync::now(); }

    // --- hub side
    std::shared_ptr<Pipe> make_pipe(int kind, size_t out_max, size_t in_max, Overflow overflow,
                                    size_t out_maxbytes = kNoLimit, size_t in_maxbytes = kNoLimit) {
        return std::make_shared<Pipe>(*this, ++last_number_, kind, out_max, in_max, overflow, out_maxbytes, in_maxbytes);
    }
    void post_mail() { inbox.post_mail(); }  // step() shall return an event for it

    // --- owning thread
    std::vector<Event> events;  // the findings of step(), which its caller takes
    Waiting waiting;

    int attach(const std::shared_ptr<Pipe> &pipe, void *socket, int fd) {
        ready_.push_back(pipe);  // what may throw comes first; with no descriptor it is passed over
        pipe->ready = true;
        pipes_[pipe->id] = pipe;
        if (waiting.poller.add(fd, pipe->id) < 0) {
            const int error = errno;
            pipes_.erase(pipe->id);
            return error;
        }
        pipe->socket = socket;
        pipe->fd = fd;
        return 0;
    }
    void detach(Pipe &pipe) {
        if (pipe.fd < 0) return;
        waiting.poller.remove(pipe.fd);
        pipe.fd = -1;
        pipe.closing = true;
        timed_.erase(pipe.id);
        for (Msg &part : pipe.parts) api.msg_close(&part);
        in_thread.add_freed(int64_t(pipe.parts.size()));
        pipe.parts.clear();
        pipe.finish();
        pipes_.erase(pipe.id);
    }
    uint64_t watch(int fd) {  // an Event::Readable for each pass in which it is
        const uint64_t number = ++last_number_;
        if (waiting.poller.add(fd, number) < 0) fail("epoll_ctl");
        return number;
    }
    void serve_now(Pipe &pipe) {  // one turn of those that are ready, and then of this one; its findings are in `events`
        take_touched();               // what they send may be for this one
        serve_ready();
        serve(pipe);
    }
    void unwatch(int fd) { waiting.poller.remove(fd); }
    void make_ready(Pipe &pipe) {
        if (pipe.ready || pipe.fd < 0) return;
        ready_.push_back(pipe.shared_from_this());
        pipe.ready = true;
    }
    void begin_close(Pipe &pipe, double linger) {  // Event::Drained when all is sent, or after `linger` seconds
        const double deadline = now() + linger;
        pipe.deadline = pipe.closing && pipe.deadline < deadline ? pipe.deadline : deadline;
        pipe.closing = true;
        timed_[pipe.id] = pipe.shared_from_this();
        make_ready(pipe);
    }

    void forget_pipes() {  // when the loop is over: the lists may hold the last references to some
        inbox.take(taking_);
        taking_.clear();
        ready_.clear();
        timed_.clear();
        pipes_.clear();  // those of an engine that has failed are still attached
    }

    // One pass: take touched pipes, serve ready sockets, else sleep up to `timeout` seconds (negative: no limit).
    // Stops early for events.
    void step(double timeout) {
        take_touched();
        serve_ready();
        if (!timed_.empty()) timeout = look_at_clock(timeout);
        if (inbox.take_mail()) events.push_back(Event{EventKind::Mail, 0, 0});
        poll(events.empty() ? timeout : 0);
    }

    // Passes until there is an event, or `timeout` seconds are over (negative: no limit); one at least. A caller that
    // needs a lock to call again, as that of Python does, needs none for what arrives meanwhile.
    void run(double timeout) {
        const double end = timeout > 0 ? now() + timeout : 0;
        do {
            step(timeout);
            if (timeout > 0) timeout = std::max(0.0, end - now());
        } while (events.empty() && timeout != 0);
    }

  private:
    static constexpr int kTurn = 100;          // messages each way per socket and turn
    static constexpr double kRetry = 0.05;     // seconds; see stall
    static constexpr double kLongest = 60.0;   // seconds; of one sleep beside a timer

    void serve_ready() {
        for (size_t n = ready_.size(); n > 0; --n) {
            const std::shared_ptr<Pipe> pipe = std::move(ready_.front());
            ready_.pop_front();
            serve(*pipe);
        }
    }

    void take_touched() {
        const bool all = inbox.take(taking_);
        for (const auto &pipe : taking_) {
            count(pipe->touches);
            make_ready(*pipe);
        }
        if (all)
            for (const auto &pipe : pipes_) make_ready(*pipe.second);
        taking_.clear();
    }

    void poll(double timeout) {
        for (const uint64_t number : ready_.empty() ? waiting.wait(timeout) : waiting.wait(0)) {
            const auto found = pipes_.find(number);
            if (found != pipes_.end()) make_ready(*found->second);
            else events.push_back(Event{EventKind::Readable, number, 0});
        }
    }

    double look_at_clock(double timeout) {
        const double time = now();
        double next = time + (timeout < 0 || timeout > kLongest ? kLongest : timeout);
        for (auto it = timed_.begin(); it != timed_.end();) {
            Pipe &pipe = *it->second;
            if (pipe.retry_at <= time) {
                pipe.retry_at = INFINITY;
                make_ready(pipe);
            }
            if (pipe.closing && pipe.deadline <= time) tell_drained(pipe);
            double due = pipe.retry_at;
            if (pipe.closing && !pipe.drained_told && pipe.deadline < due) due = pipe.deadline;
            if (due == INFINITY) {
                it = timed_.erase(it);
                continue;
            }
            if (due < next) next = due;
            ++it;
        }
        return next > time ? next - time : 0;
    }

    void tell_drained(Pipe &pipe) {
        if (pipe.drained_told) return;
        pipe.drained_told = true;
        events.push_back(Event{EventKind::Drained, pipe.id, 0});
    }

    // One turn. ZMQ_FD is edge-triggered, and any call may consume it: so ZMQ_EVENTS is read last, and only a socket
    // that can do nothing is parked until its descriptor is readable or the hub side touches its pipe.
    void serve(Pipe &pipe) {
        pipe.ready = false;
        if (pipe.fd < 0 || pipe.drained_told) return;
        int error = 0;
        if (pipe.pending() > 0) pipe.owes_ring.store(true);
        const uint64_t sent = pipe.sent.load();
        const bool refused = send_some(pipe, error);
        if (!error && pipe.closing && pipe.pending() == 0) {
            tell_room(pipe);
            tell_drained(pipe);
            return;
        }
        int events_now = error ? 0 : wire_.events(pipe, error);
        if (!error && events_now & kPollIn && credit(pipe) > 0) {
            receive_some(pipe, error);
            if (!error) events_now = wire_.events(pipe, error);
        }
        if (error) {
            pipe.drained_told = true;  // it is not told again
            tell_room(pipe);
            events.push_back(Event{EventKind::Failed, pipe.id, error});
            return;
        }
        const bool has_pending = look_again(pipe.idle, [&] { return pipe.pending() > 0; });
        const bool has_credit = look_again(pipe.starved, [&] { return credit(pipe) > 0; });
        // not refused: the turn's budget is spent; what libzmq would refuse for good needs no POLLOUT
        bool writable = has_pending && (events_now & kPollOut || !refused);
        if (refused && writable) writable = !stall(pipe);
        else pipe.stalls = 0;
        if (writable || (has_credit && events_now & kPollIn)) make_ready(pipe);
        if (!writable || pipe.pending() <= pipe.out_low()) tell_room(pipe);
        if (pipe.watched.load()) publish(pipe, events_now & kPollOut, pipe.sent.load() != sent);
    }

    // Whether libzmq has room, or had and was filled by us. If it has no room any more, and we have sent nothing, its peers
    // have gone. Waiters are told after each turn: they may have looked within it, while too much was pending.
    void publish(Pipe &pipe, bool has_room, bool has_sent) {
        const bool filled = pipe.takes_more.load() && (has_sent || !pipe.had_room);
        const bool takes_more = has_room || filled;
        pipe.had_room = has_room;
        pipe.takes_more.store(takes_more);
        if (takes_more && pipe.can_send.ring(hub, NoticeKind::Writable, pipe.id)) count(pipe.rings);
    }

    // While sending goes on anyway, waiters for room are told only when there is much room: to wake one costs ten times
    // as much as a put of a thread that is awake.
    void tell_room(Pipe &pipe) {
        if (!pipe.owes_ring.load()) return;
        pipe.owes_ring.store(false);  // first: the waiter that is told looks at it
        if (pipe.pending() < pipe.out_max && !pipe.out_bytes.reached() && pipe.room.ring(hub, NoticeKind::Room, pipe.id)) count(pipe.rings);
    }

    // Whether there is work; if not, say in `flag` that this thread will not look, then look once more.
    template <typename Look>
    static bool look_again(sync::atomic<bool> &flag, Look look) {
        if (!look()) {
            flag.store(true);
            if (!look()) return false;
        }
        flag.store(false);
        return true;
    }

    // Whether to leave a message alone that is refused although the socket says POLLOUT. Once is a race. Twice: ROUTER
    // with MANDATORY and XPUB with NODROP say POLLOUT when some peer has room, even if this message's peer has
    // none. The descriptor tells when that changes, but any call may consume the edge, so there is a timer as well.
    bool stall(Pipe &pipe) {
        if (++pipe.stalls < 2) return false;
        pipe.retry_at = now() + kRetry;
        timed_[pipe.id] = pipe.shared_from_this();
        return true;
    }

    static size_t credit(const Pipe &pipe) {
        if (pipe.overflow != Overflow::Block) return SIZE_MAX;
        if (pipe.in_bytes.reached()) return 0;
        const size_t waiting = pipe.waiting();
        const size_t limit = pipe.in_max.load();
        return waiting < limit ? limit - waiting : 0;
    }

    static uint64_t byte_credit(const Pipe &pipe) {  // how many bytes more may be received
        return pipe.overflow == Overflow::Block ? pipe.in_bytes.left() : UINT64_MAX;
    }

    // Send pending messages, up to a turn's worth; true if libzmq refused one for now. `error`: the socket is gone.
    bool send_some(Pipe &pipe, int &error) {
        int done = 0;
        bool refused = false;
        raise_to(pipe.peak_pending, pipe.pending());
        while (done < kTurn) {
            if (pipe.out.front_empty()) {
                if (pipe.pending() == 0) break;
                sync::lock_guard lock(pipe.out_mutex);
                pipe.out.turn();
            }
            Message &message = pipe.out.front();
            if (message.lot == Lot::Gone) {
                count(pipe.settled);
                pipe.out.pop();
                continue;
            }
            const uint64_t bytes = message.size(api);  // before: a message that was sent is empty
            const int e = wire_.send(pipe, message);
            if (Wire::not_now(pipe, e) && message.lot == Lot::Stays) {
                refused = true;
                break;
            }
            if (e == kEterm || e == ENOTSOCK) {
                error = e;
                break;
            }
            ++done;
            // only now: until libzmq has it, it counts as pending; but before its sender is told
            count(pipe.settled);
            pipe.out_bytes.go(bytes);
            try {
                settle(pipe, message, e, bytes);
            } catch (...) {
                pipe.settled.store(pipe.settled.load() - 1);  // no memory: the loop ends, withdraw() gives what is left
                throw;
            }
            pipe.out.pop();
        }
        if (refused) give_up_once(pipe);
        if (done) {
            count(pipe.send_turns);
            raise_to(pipe.largest_send, uint64_t(done));
        }
        if (pipe.settled.load() >= pipe.flush_target) {
            pipe.flush_target = UINT64_MAX;
            events.push_back(Event{EventKind::Flushed, pipe.id, 0});
        }
        return refused;
    }

    // A message that stays is refused for now, so messages behind it that are tried but once are given up.
    void give_up_once(Pipe &pipe) {
        size_t i = 0;
        while (const uint64_t token = pipe.next_once(i)) {
            hub.send(Notice{NoticeKind::Outcome, pipe.id, token, EAGAIN, Message()});  // first: it may throw
            Message message;
            pipe.take_back(token, message);
            message.close(api, out_thread);
        }
    }

    // Report the outcome of a message, and free it.
    void settle(Pipe &pipe, Message &message, int error, uint64_t bytes) {
        const uint64_t token = message.token;
        if (message.lot == Lot::Once) pipe.tried_once();
        if (!error) {
            count(pipe.sent);
            count(pipe.sent_bytes, bytes);
            count(out_thread.freed, int64_t(message.count));
            message.count = 0;
            if (token) hub.send(Notice{NoticeKind::Outcome, pipe.id, token, 0, Message()});
            return;
        }
        if (!Wire::not_now(pipe, error)) count(pipe.refused);
        if (token) {
            message.close(api, out_thread);
            hub.send(Notice{NoticeKind::Outcome, pipe.id, token, error, Message()});
        } else {
            Notice notice{NoticeKind::Refused, pipe.id, 0, error, std::move(message)};
            try {
                hub.send(std::move(notice));
            } catch (...) {
                message = std::move(notice.message);
                throw;
            }
        }
    }

    void receive_some(Pipe &pipe, int &error) {
        size_t budget = credit(pipe);
        if (budget > size_t(kTurn)) budget = kTurn;
        arrived_.reserve(budget);  // each message that arrives must have a place
        uint64_t bytes = 0;
        while (arrived_.size() < budget && bytes < byte_credit(pipe) && wire_.receive(pipe, arrived_, error))
            bytes += arrived_.back().size(api);
        if (arrived_.empty()) return;
        count(pipe.received, uint64_t(arrived_.size()));
        count(pipe.received_bytes, bytes);
        count(pipe.receive_turns);
        raise_to(pipe.largest_receive, arrived_.size());
        pipe.deliver(arrived_);
        for (Message &dropped : arrived_) dropped.close(api, in_thread);  // without the lock
        arrived_.clear();
        raise_to(pipe.peak_waiting, pipe.waiting());
        if (pipe.message.ring(hub, NoticeKind::Message, pipe.id)) count(pipe.rings);
    }

    // --- any thread
    sync::atomic<uint64_t> last_number_{0};  // 0 is the signaler's
    // --- owning thread
    Wire wire_{*this};
    std::unordered_map<uint64_t, std::shared_ptr<Pipe>> pipes_;
    std::unordered_map<uint64_t, std::shared_ptr<Pipe>> timed_;  // pipes with a deadline or a retry
    std::deque<std::shared_ptr<Pipe>> ready_;                    // round-robin
    std::vector<std::shared_ptr<Pipe>> taking_;
    std::vector<Message> arrived_;
};

}  // namespace zgreen
