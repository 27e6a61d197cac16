// Messages as the native engine holds them, and the functions of libzmq. Part of core.hpp, which says which thread may
// touch what.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "core_sync.hpp"

namespace zgreen {

struct Msg {  // zmq_msg_t, whose size and alignment are part of libzmq's ABI
    alignas(void *) unsigned char bytes[64];
};

struct Api {
    int (*msg_init)(Msg *);
    int (*msg_init_size)(Msg *, size_t);
    int (*msg_init_data)(Msg *, void *, size_t, void (*)(void *, void *), void *);
    void *(*msg_data)(Msg *);
    size_t (*msg_size)(const Msg *);
    int (*msg_more)(const Msg *);
    int (*msg_copy)(Msg *, Msg *);
    int (*msg_close)(Msg *);
    int (*msg_send)(Msg *, void *, int);
    int (*msg_recv)(Msg *, void *, int);
    int (*getsockopt)(void *, int, void *, size_t *);
    int (*error)();
};

enum : int {
    kPair = 0, kReq = 3,
    kEvents = 15, kPollIn = 1, kPollOut = 2,
    kDontWait = 1, kSndMore = 2,
    kHausnumero = 156384712, kEfsm = kHausnumero + 51, kEterm = kHausnumero + 53,
};

// Every Msg that holds content is counted when it is made and when it is freed or given to libzmq. In the end the two
// numbers are equal. One such pair for each side and direction, so that the sides do not share a cache line.
struct Counts {
    alignas(64) sync::atomic<int64_t> made{0};
    sync::atomic<int64_t> freed{0};
    void add_made(int64_t n) { made.fetch_add(n, std::memory_order_relaxed); }
    void add_freed(int64_t n) { freed.fetch_add(n, std::memory_order_relaxed); }
};

// For a counter that one thread alone writes: no locked instruction.
template <typename T>
inline void count(sync::atomic<T> &counter, T n = 1) {
    counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_release);
}

// Likewise, for the largest value seen.
inline void raise_to(sync::atomic<uint64_t> &peak, uint64_t value) {
    if (value > peak.load(std::memory_order_relaxed)) peak.store(value, std::memory_order_release);
}

// How a message that libzmq refuses for now is treated: it stays pending, or it is tried but once and its sender told.
// Gone: it was given up, or taken back, and only its place in the queue is left.
enum class Lot : uint8_t { Stays, Once, Gone };

// One whole message: `count` frames, none of them shared. Moves by copying bytes, as libzmq's own queues do.
struct Message {
    uint64_t token = 0;  // names the reply that gets the outcome; 0: none
    uint32_t count = 0;
    Lot lot = Lot::Stays;
    Msg one;
    std::unique_ptr<Msg[]> many;

    Message() = default;
    Message(Message &&other) noexcept { *this = std::move(other); }
    Message &operator=(Message &&other) noexcept {
        token = other.token;
        count = other.count;
        lot = other.lot;
        if (!other.many) one = other.one;
        many = std::move(other.many);
        other.count = 0;
        return *this;
    }
    Msg *frames() { return many ? many.get() : &one; }
    void reserve(uint32_t frames_) {
        if (frames_ > 1) many.reset(new Msg[frames_]);
    }
    uint64_t size(const Api &api) {  // bytes, while it holds its content
        uint64_t bytes = 0;
        for (uint32_t i = 0; i < count; ++i) bytes += api.msg_size(&frames()[i]);
        return bytes;
    }
    void close(const Api &api, Counts &counts) {
        for (uint32_t i = 0; i < count; ++i) api.msg_close(&frames()[i]);
        counts.add_freed(count);
        count = 0;
    }
};

// First in, first out, in two vectors: pushing touches `back`, popping `front`, so that after a swap the two ends need
// no common lock. Keeps its memory while it is small.
class Fifo {
  public:
    bool empty() const { return head_ == front_.size() && back_.empty(); }
    bool front_empty() const { return head_ == front_.size(); }
    void push(Message &&message) { back_.push_back(std::move(message)); }
    void push_all(std::vector<Message> &messages) {  // all or, if there is no memory, none; leaves `messages` empty
        if (back_.empty() && messages.size() >= kSwap) {
            back_.swap(messages);
            return;
        }
        const size_t size = back_.size() + messages.size();
        if (size > back_.capacity()) back_.reserve(std::max(size, 2 * back_.capacity()));
        for (Message &message : messages) back_.push_back(std::move(message));
        messages.clear();
    }
    Message &front() { return front_[head_]; }
    void pop() {
        front_[head_].many.reset();
        if (++head_ == front_.size()) clear_front();  // here, not in turn(): what comes next may come much later
    }
    void turn() {  // only when front_empty()
        front_.swap(back_);
    }

    // --- while no other thread uses it
    size_t size() const { return front_.size() - head_ + back_.size(); }
    Message &at(size_t i) { return i < front_.size() - head_ ? front_[head_ + i] : back_[i - (front_.size() - head_)]; }
    size_t frames() const {  // of all messages
        size_t n = 0;
        for (size_t i = head_; i < front_.size(); ++i) n += front_[i].count;
        for (const Message &message : back_) n += message.count;
        return n;
    }

  private:
    void clear_front() {
        front_.clear();
        head_ = 0;
        if (front_.capacity() > kKeep) std::vector<Message>().swap(front_);
    }
    static constexpr size_t kKeep = 4096;
    static constexpr size_t kSwap = 16;  // from here up the vector itself changes hands
    std::vector<Message> front_, back_;
    size_t head_ = 0;
};

constexpr size_t kNoLimit = SIZE_MAX;  // the size of a queue without a limit: never reached

// A limit to the bytes of a queue, beside the one to its messages. One message is always let through, so there may be as
// many bytes as the limit and one message more. Nothing is counted where there is no limit.
class ByteLimit {
  public:
    explicit ByteLimit(size_t max) : max_(max) {}
    bool is_set() const { return max_ != kNoLimit; }
    size_t held() const {
        const uint64_t gone = gone_.load();  // first: so it never exceeds the bytes that have come
        return size_t(came_.load() - gone);
    }
    bool reached(uint64_t but = 0) const { return is_set() && held() - but >= max_; }
    uint64_t left() const {
        if (!is_set()) return UINT64_MAX;
        const uint64_t used = held();
        return used < max_ ? max_ - used : 0;
    }
    bool half_free() const { return !is_set() || held() <= max_ / 2; }
    void come(Message &message, const Api &api) {  // each has one writer at a time, as the counter of messages has
        if (is_set()) came_.store(came_.load() + message.size(api));
    }
    void go(Message &message, const Api &api) {
        if (is_set()) go(message.size(api));
    }
    void go(uint64_t bytes) {
        if (is_set()) gone_.store(gone_.load() + bytes);
    }
    void come_back(Message &message, const Api &api) {  // undo a go()
        if (is_set()) gone_.store(gone_.load() - message.size(api));
    }

  private:
    const size_t max_;
    sync::atomic<uint64_t> came_{0}, gone_{0};
};

}  // namespace zgreen
