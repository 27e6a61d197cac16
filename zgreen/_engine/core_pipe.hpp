// The messages of one socket between the two sides. Part of core.hpp, which explains "hub side" and "owning thread".

#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "core_inbox.hpp"
#include "core_message.hpp"
#include "core_sync.hpp"
#include "core_wakeup.hpp"

namespace zgreen {

enum class Overflow : uint8_t { Block, DropOldest, DropNewest };

// The parts that all pipes of one engine share.
struct Shared {
    Shared(const Api &api, int own_ring_fd, int hub_ring_fd) : api(api), hub(hub_ring_fd), inbox(own_ring_fd) {}
    const Api api;
    Counts out_hub, out_thread, in_thread, in_hub;  // of frames to send and received; by which side writes
    HubBox hub;
    Inbox inbox;
};

// Bounded both ways. A counter has one writing side, and what one side writes often has cache lines of its own: so a
// message costs the other side no cache miss, but for its own content.
class Pipe : public std::enable_shared_from_this<Pipe> {
  public:
    Pipe(Shared &shared, uint64_t id, int kind, size_t out_max, size_t in_max, Overflow overflow, size_t out_maxbytes,
         size_t in_maxbytes)
        : shared(shared), id(id), kind(kind), out_max(out_max), in_max(in_max), overflow(overflow),
          out_bytes(out_maxbytes), in_bytes(in_maxbytes) {}
    ~Pipe();
    Pipe(const Pipe &) = delete;
    Pipe &operator=(const Pipe &) = delete;

    // --- any thread
    // The number that has gone is read first, so it never exceeds the number that has come.
    size_t pending() const {  // libzmq has not taken it, nor refused it for good
        const uint64_t gone = settled.load();
        return size_t(pushed.load() - gone);
    }
    size_t waiting() const {  // received, and not got
        const uint64_t gone = taken.load();
        return size_t(delivered.load() - gone);
    }

    // Whether a message may be pushed because of `takes_more`.
    bool writable() const {
        return takes_more.load() && pending() < ahead.load();
    }

    size_t held() const { return out.frames() + in.frames() + returned.count + parts.size(); }  // when the owning thread has ended

    // --- hub side
    bool has_room(size_t reserved) {
        if (out_bytes.is_set() && (reserved || out_bytes.reached())) return false;  // a waiter may need any size
        return has_places(reserved);
    }
    // Whether the first waiter for room should look now; `reserved` places belong to the waiters. To wake one costs ten
    // times a put: so, while the owning thread makes more room and will ring, no waiter is woken for a little of it. With
    // so many waiters that each will put one message and wait again, that would gain nothing.
    bool wakes(size_t reserved) {
        if (finished.load() || out_bytes.reached()) return false;  // a push would fail; waiters are told of the end
        return has_places(out_low()) || ((!owes_ring.load() || reserved > out_low()) && has_places(0));
    }
    size_t places(size_t reserved);  // so many may be pushed
    bool push(Message &&message);  // false: too late, the message is still the caller's
    bool push_all(std::vector<Message> &messages);  // likewise; all or none
    bool push_once(Message &&message);              // likewise; libzmq takes it in the next turns, or refuses it
    bool pop(Message &message);
    void limit_waiting(size_t limit);  // receive no more while so many wait; block only
    // The message popped last; false: dropped, and still the caller's. `looked`: it was popped to be looked at only, so it
    // goes back unless another message has come meanwhile that leaves no place for it.
    bool put_back(Message &message);
    void finish() {                   // nothing is pushed from now on
        sync::lock_guard lock(out_mutex);
        finished.store(true);
        takes_more.store(false);
    }
    bool withdraw(Message &message);  // one that was not sent; after finish(), one thread

    size_t out_low() const { return out_max / 4; }  // so few pending, or more room than this, are worth a wake-up

    // --- set once
    Shared &shared;
    const uint64_t id;
    const int kind;
    const size_t out_max;
    sync::atomic<size_t> in_max;  // the hub side may change it, see limit_waiting
    const Overflow overflow;

    // --- as `pushed` and `settled`, and as `delivered` and `taken`
    ByteLimit out_bytes, in_bytes;

    // --- hub side writes
    alignas(64) sync::atomic<uint64_t> pushed{0};  // under out_mutex
    sync::atomic<uint64_t> settled_seen{0};        // `settled` as it was: enough to know that there is room
    sync::atomic<uint64_t> taken{0};               // serialised; with DropOldest by both sides, under in_mutex
    sync::atomic<bool> open{true};                 // puts are welcome
    sync::atomic<bool> watched{false};             // `takes_more` is to be kept
    sync::atomic<size_t> ahead{0};                 // so many messages may pend while it is true, see writable()
    size_t once = 0;                               // so many of `out` are tried but once; under out_mutex
    sync::mutex out_mutex;                         // over `out`'s back, and `finished`
    sync::mutex in_mutex;                          // over `in`'s back, and turning it; with DropOldest over all of it

    // --- owning thread writes, seldom
    alignas(64) sync::atomic<bool> finished{false};  // under out_mutex: it will not look at `out` again
    sync::atomic<bool> idle{true};                   // nothing to send; a push clears it, and touches
    sync::atomic<bool> starved{false};               // no credit; a pop clears it, and touches
    sync::atomic<bool> owes_ring{false};  // it sends, or is about to, and will tell of room; a push sets it, too
    sync::atomic<bool> takes_more{false};  // libzmq had room, or was filled by us: see Core::publish
    Bell room, message, can_send;          // `can_send` is for writable()

    // --- owning thread writes, often
    alignas(64) sync::atomic<uint64_t> settled{0};  // sent or refused, or, after `finished`, withdrawn
    sync::atomic<uint64_t> delivered{0};
    sync::atomic<uint64_t> sent{0}, received{0}, refused{0};
    sync::atomic<uint64_t> dropped{0};  // by put_back, too, under in_mutex
    sync::atomic<uint64_t> sent_bytes{0}, received_bytes{0};
    // for statistics alone, once a turn at most: see _api.py's Pipe
    sync::atomic<uint64_t> peak_pending{0}, peak_waiting{0}, send_turns{0}, receive_turns{0};
    sync::atomic<uint64_t> largest_send{0}, largest_receive{0}, rings{0}, touches{0};

    // --- owning thread
    void *socket = nullptr;
    int fd = -1;
    bool ready = false;
    bool closing = false;
    bool drained_told = false;
    bool had_room = false;               // libzmq's POLLOUT at the end of the last turn
    double deadline = INFINITY;          // of closing
    double retry_at = INFINITY;          // see Core::stall
    uint64_t flush_target = UINT64_MAX;  // tell when so many were sent or refused
    void deliver(std::vector<Message> &arrived);  // messages that the policy drops stay in `arrived`
    // The message of that token, which is pending; its place in the queue stays, so that flush_target does.
    bool take_back(uint64_t token, Message &message);
    void tried_once() {
        sync::lock_guard lock(out_mutex);
        --once;
    }
    uint64_t next_once(size_t &i);       // the token of the first message from number i on that is tried but once; or 0
    int stalls = 0;                      // sends in a row refused although POLLOUT was there
    std::vector<Msg> parts;              // of a message that has not arrived whole

    alignas(64) Fifo out;  // the front is the owning thread's; after `finished` the hub side's
    Fifo in;               // the front is the hub side's
    Message returned;      // the oldest of all that wait, if there is one; as the front of `in`
    uint64_t delivered_at_pop = 0;  // of DropOldest: `delivered` as the last message was popped; under in_mutex

    void touch() { shared.inbox.touch(shared_from_this()); }  // hub side: have the owning thread look
    bool take_front(Message &message);                        // of `in`; see in_mutex

  private:
    bool has_places(size_t reserved);
    void wake_if_idle();
    void deliver_or_drop(std::vector<Message> &arrived, size_t i);  // under in_mutex
    bool pop_from_front(Message &message);
    void vacate(size_t i, Message &message);  // under out_mutex
    void ask_for_more();
    size_t low() const { return in_max.load() / 2; }  // new credit is worth a wake-up from here down
};

inline bool Pipe::has_places(size_t reserved) {
    if (!open.load()) return false;
    const uint64_t limit = out_max > reserved ? out_max - reserved : 0;
    const uint64_t seen = settled_seen.load(std::memory_order_relaxed);
    if (pushed.load() - seen < limit) return true;
    settled_seen.store(settled.load(), std::memory_order_relaxed);
    return pending() < limit;
}

inline bool Pipe::push_once(Message &&message) {
    {
        sync::lock_guard lock(out_mutex);
        if (finished.load(std::memory_order_relaxed)) return false;
        message.lot = Lot::Once;
        out_bytes.come(message, shared.api);
        out.push(std::move(message));  // first: it may throw
        pushed.store(pushed.load(std::memory_order_relaxed) + 1);
        ++once;
    }
    if (idle.load() && idle.exchange(false)) owes_ring.store(true);
    touch();  // in any case: the owning thread may have parked the socket with a refused message before this one
    return true;
}

inline size_t Pipe::places(size_t reserved) {
    if (out_bytes.is_set()) return has_room(reserved) ? 1 : 0;
    if (!open.load()) return 0;
    const uint64_t limit = out_max > reserved ? out_max - reserved : 0;
    const size_t used = pending();
    return used < limit ? size_t(limit - used) : 0;
}

inline bool Pipe::push(Message &&message) {
    {
        sync::lock_guard lock(out_mutex);
        if (finished.load(std::memory_order_relaxed)) return false;
        out_bytes.come(message, shared.api);
        out.push(std::move(message));  // first: it may throw
        pushed.store(pushed.load(std::memory_order_relaxed) + 1);
    }
    wake_if_idle();
    return true;
}

inline bool Pipe::push_all(std::vector<Message> &messages) {
    {
        sync::lock_guard lock(out_mutex);
        if (finished.load(std::memory_order_relaxed)) return false;
        const size_t n = messages.size();
        for (Message &message : messages) out_bytes.come(message, shared.api);
        out.push_all(messages);  // first: it may throw
        pushed.store(pushed.load(std::memory_order_relaxed) + n);
    }
    wake_if_idle();
    return true;
}

inline void Pipe::wake_if_idle() {
    if (idle.load() && idle.exchange(false)) {
        owes_ring.store(true);  // before: the turn that this asks for pays it
        touch();
    }
}

inline void Pipe::deliver(std::vector<Message> &arrived) {
    sync::lock_guard lock(in_mutex);
    if (overflow != Overflow::Block) {
        for (size_t i = 0, n = arrived.size(); i < n; ++i) deliver_or_drop(arrived, i);
        return;
    }
    for (Message &message : arrived) in_bytes.come(message, shared.api);
    const size_t n = arrived.size();  // never more than there was credit for
    in.push_all(arrived);
    delivered.store(delivered.load() + n);
}

inline void Pipe::deliver_or_drop(std::vector<Message> &arrived, size_t i) {
    const bool full = waiting() >= in_max.load() || in_bytes.reached();
    if (full && overflow == Overflow::DropNewest) {
        count(dropped);
        return;
    }
    const uint64_t bytes = in_bytes.is_set() ? arrived[i].size(shared.api) : 0;
    in_bytes.come(arrived[i], shared.api);
    in.push(std::move(arrived[i]));
    delivered.store(delivered.load() + 1);
    if (!full) return;
    count(dropped);
    take_front(arrived[i]);
    while (in_bytes.reached(bytes)) {  // many small ones for a large one
        arrived.emplace_back();
        count(dropped);
        take_front(arrived.back());
    }
}

inline bool Pipe::pop(Message &message) {
    if (!pop_from_front(message)) return false;
    ask_for_more();
    return true;
}

// Have the owning thread, which had no credit, use the new one if that is worth a wake-up.
inline void Pipe::ask_for_more() {
    if (starved.load() && waiting() <= low() && in_bytes.half_free() && starved.exchange(false)) touch();
}

inline void Pipe::limit_waiting(size_t limit) {
    in_max.store(limit);  // before the look: the owning thread says "starved", and then looks at the limit
    ask_for_more();
}

inline bool Pipe::pop_from_front(Message &message) {
    if (overflow == Overflow::DropOldest) {
        sync::lock_guard lock(in_mutex);
        delivered_at_pop = delivered.load();
        return take_front(message);
    }
    if (in.front_empty()) {
        if (waiting() == 0) return false;
        sync::lock_guard lock(in_mutex);
        in.turn();
    }
    return take_front(message);
}

inline bool Pipe::take_front(Message &message) {
    if (returned.count) {
        message = std::move(returned);
    } else {
        if (in.front_empty()) in.turn();
        if (in.front_empty()) return false;
        message = std::move(in.front());
        in.pop();
    }
    taken.store(taken.load(std::memory_order_relaxed) + 1);
    in_bytes.go(message, shared.api);
    return true;
}

// For a caller without memory for the message that it popped. The room may have been used meanwhile: then there is one
// message more than the limit for now, or, with DropOldest, this message, which is the oldest, is dropped.
inline bool Pipe::put_back(Message &message) {
    sync::lock_guard lock(in_mutex);
    const bool came = delivered.load() != delivered_at_pop;  // else all of it was there together
    if (overflow == Overflow::DropOldest && came && (waiting() >= in_max.load() || in_bytes.reached())) {
        count(dropped);
        return false;
    }
    in_bytes.come_back(message, shared.api);
    returned = std::move(message);
    taken.store(taken.load(std::memory_order_relaxed) - 1);
    return true;
}

inline bool Pipe::withdraw(Message &message) {
    do {
        if (out.front_empty()) out.turn();
        if (out.front_empty()) return false;
        message = std::move(out.front());
        out.pop();
        settled.store(settled.load() + 1);
        out_bytes.go(message, shared.api);
    } while (message.lot == Lot::Gone);
    return true;
}

inline bool Pipe::take_back(uint64_t token, Message &message) {
    sync::lock_guard lock(out_mutex);
    for (size_t i = 0; i < out.size(); ++i) {
        if (out.at(i).token == token) {
            vacate(i, message);
            return true;
        }
    }
    return false;
}

inline uint64_t Pipe::next_once(size_t &i) {
    sync::lock_guard lock(out_mutex);
    if (once == 0) return 0;
    while (i < out.size() && out.at(i).lot != Lot::Once) ++i;
    return i < out.size() ? out.at(i).token : 0;
}

inline void Pipe::vacate(size_t i, Message &message) {
    Message &place = out.at(i);
    if (place.lot == Lot::Once) --once;
    message = std::move(place);
    out_bytes.go(message, shared.api);
    place.lot = Lot::Gone;
    place.token = 0;
}

inline Pipe::~Pipe() {
    Message message;
    while (withdraw(message)) message.close(shared.api, shared.out_hub);
    while (take_front(message)) message.close(shared.api, shared.in_hub);
    for (Msg &part : parts) shared.api.msg_close(&part);
    shared.in_hub.add_freed(int64_t(parts.size()));
}

}  // namespace zgreen
