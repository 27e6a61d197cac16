// core.hpp from many threads at once: one owns the sockets, one is the hub, some are foreign producers and consumers.
//
//     hammer serialised|unserialised [--libzmq PATH] [--closing] [--seed N] [--rounds N] [--messages N] [--limit SECONDS]
//     hammer alternating [the same]
//
// Messages go from PUSH to PULL, over the scripted libzmq or over a real one (inproc). The hub side is serialised by one
// mutex, as the GIL does it; `unserialised`: all but the foreign producers' pushes. Every wait is for a wake-up, never
// for a time: one that lasts longer than the limit is a lost wake-up and ends the run with an error. What is checked:
// nothing is lost or doubled, every producer's order is kept, every token is answered once, every content is freed once.
// `alternating`: two threads only, one of which always waits for the other, so that no other wake-up hides a lost one.
// --closing: the sockets are closed in the middle, without linger; what was not sent must be handed back, all of it.

#include "scripted.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <random>
#include <thread>

using namespace zgreen;

static int limit_seconds = 20;

[[noreturn]] static void die(const std::string &why) {
    std::printf("FAIL %s\n0 passed, 1 failed\n", why.c_str());
    std::fflush(stdout);
    std::_Exit(1);
}
#define MUST(condition)                                                              \
    do {                                                                             \
        if (!(condition)) die(#condition " at line " + std::to_string(__LINE__));    \
    } while (0)

// ------------------------------------------------------------------------------------------------ descriptors

struct Fd {
    const int fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    Fd() = default;
    Fd(const Fd &) = delete;
    ~Fd() { ::close(fd); }
    void ring() const {
        const uint64_t one = 1;
        MUST(::write(fd, &one, sizeof one) == 8);
    }
    void wait(const char *who) const {  // for a ring, then take it
        pollfd poller{fd, POLLIN, 0};
        int n;
        while ((n = ::poll(&poller, 1, limit_seconds * 1000)) < 0 && errno == EINTR) {}
        if (n == 0) die(std::string("lost wake-up: ") + who);
        uint64_t rings;
        if (::read(fd, &rings, sizeof rings) < 0) MUST(errno == EAGAIN);
    }
};

// ------------------------------------------------------------------------------------------------ two libzmqs

constexpr int kHwm = 20;

class Network {
  public:
    virtual ~Network() = default;
    virtual Api api() = 0;
    // PUSH and PULL, connected; with their descriptors
    virtual void link(void *&push, int &push_fd, void *&pull, int &pull_fd) = 0;
    virtual void end() = 0;
};

class ScriptedNetwork : public Network {
  public:
    explicit ScriptedNetwork(unsigned seed) {
        // Never two refusals in a row where POLLOUT is said, or the sockets would only wait for their timers.
        scripted::faults.clear();
        scripted::faults.every(scripted::kSend, 97, seed % 2 ? EAGAIN : EINTR);
        scripted::faults.every(scripted::kRecv, 89, seed % 3 ? EINTR : EAGAIN);
        scripted::faults.every(scripted::kGetsockopt, 83, EINTR);
    }
    Api api() override { return scripted::api(); }
    void link(void *&push, int &push_fd, void *&pull, int &pull_fd) override {
        sockets_.push_back(std::make_unique<scripted::Socket>(scripted::kPush));
        sockets_.push_back(std::make_unique<scripted::Socket>(scripted::kPull));
        scripted::Socket &out = **(sockets_.end() - 2), &in = *sockets_.back();
        out.peer = &in;
        in.sender = &out;
        out.make_room(kHwm);
        push = &out;
        pull = &in;
        push_fd = out.fd;
        pull_fd = in.fd;
    }
    void end() override {
        sockets_.clear();
        MUST(scripted::handles.open() == 0);
        MUST(scripted::contents.load() == 0);
        MUST(scripted::violations.load() == 0);
    }

  private:
    std::vector<std::unique_ptr<scripted::Socket>> sockets_;
};

class RealNetwork : public Network {
  public:
    explicit RealNetwork(const std::string &path) {
        library_ = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (!library_) die(::dlerror());
        context_ = get<void *()>("zmq_ctx_new")();
    }
    Api api() override {
        return {get<int(Msg *)>("zmq_msg_init"), get<int(Msg *, size_t)>("zmq_msg_init_size"),
                get<int(Msg *, void *, size_t, void (*)(void *, void *), void *)>("zmq_msg_init_data"),
                get<void *(Msg *)>("zmq_msg_data"), get<size_t(const Msg *)>("zmq_msg_size"),
                get<int(const Msg *)>("zmq_msg_more"), get<int(Msg *, Msg *)>("zmq_msg_copy"),
                get<int(Msg *)>("zmq_msg_close"), get<int(Msg *, void *, int)>("zmq_msg_send"),
                get<int(Msg *, void *, int)>("zmq_msg_recv"), get<int(void *, int, void *, size_t *)>("zmq_getsockopt"),
                get<int()>("zmq_errno")};
    }
    void link(void *&push, int &push_fd, void *&pull, int &pull_fd) override {
        constexpr int kSndHwm = 23, kRcvHwm = 24, kLinger = 17, kFd = 14;
        const auto socket = get<void *(void *, int)>("zmq_socket");
        const auto set = get<int(void *, int, const void *, size_t)>("zmq_setsockopt");
        const auto get_option = get<int(void *, int, void *, size_t *)>("zmq_getsockopt");
        const std::string endpoint = "inproc://" + std::to_string(sockets_.size());
        const int hwm = kHwm / 2, linger = 0;
        for (const int kind : {scripted::kPull, scripted::kPush}) {
            void *made = socket(context_, kind);
            MUST(made);
            for (const int option : {kSndHwm, kRcvHwm}) MUST(set(made, option, &hwm, sizeof hwm) == 0);
            MUST(set(made, kLinger, &linger, sizeof linger) == 0);
            int fd;
            size_t size = sizeof fd;
            MUST(get_option(made, kFd, &fd, &size) == 0);
            const bool is_push = kind == scripted::kPush;
            const char *how = is_push ? "zmq_connect" : "zmq_bind";
            MUST((get<int(void *, const char *)>(how)(made, endpoint.c_str())) == 0);
            (is_push ? push : pull) = made;
            (is_push ? push_fd : pull_fd) = fd;
            sockets_.push_back(made);
        }
    }
    void end() override {
        for (void *socket : sockets_) MUST(get<int(void *)>("zmq_close")(socket) == 0);
        MUST(get<int(void *)>("zmq_ctx_term")(context_) == 0);
    }

  private:
    template <class Function>
    Function *get(const char *name) {
        void *address = ::dlsym(library_, name);
        if (!address) die(::dlerror());
        return reinterpret_cast<Function *>(address);
    }
    void *library_, *context_;
    std::vector<void *> sockets_;
};

// ------------------------------------------------------------------------------------------------ the hub side

constexpr int kLinks = 3, kForeignProducers = 3, kForeignConsumers = 2, kProducers = kForeignProducers + 1;
constexpr int kHubProducer = kForeignProducers;

struct Head {  // the first frame
    uint32_t producer, link, seq, frames;
};

struct Waiter {
    const Fd *fd;
    bool hub;
};

// As in the hub's own line: only the head may take its turn, the bell is the head's, who leaves sees to the next.
struct Line {
    Bell *bell = nullptr;
    std::function<bool()> ready;
    std::deque<Waiter *> waiters;
    std::atomic<int> length{0};  // for those who look without the mutex

    void join(Waiter &waiter) {
        waiters.push_back(&waiter);
        listen();
    }
    void leave(Waiter &waiter) {
        waiters.erase(std::find(waiters.begin(), waiters.end(), &waiter));
        listen();
        if (!waiters.empty() && ready()) waiters.front()->fd->ring();
    }
    bool is_head(const Waiter &waiter) const { return waiters.front() == &waiter; }

  private:
    void listen() {
        length.store(int(waiters.size()));
        if (waiters.empty()) bell->none();
        else if (waiters.front()->hub) bell->hub();
        else bell->foreign(waiters.front()->fd->fd);
    }
};

struct Link {
    std::shared_ptr<Pipe> out, in;
    Line putters, getters;
    bool closed = false;
    // --- under the mutex
    uint32_t put[kProducers] = {};  // so many of each producer were taken by the pipe
    uint32_t got[kProducers] = {};
    uint32_t back[kProducers] = {};  // so many were withdrawn
    uint32_t first_back[kProducers] = {};  // and which was the first of them
};

struct Options {
    bool serialised = true, closing = false, alternating = false;
    std::string libzmq;
    unsigned seed = 1, rounds = 1, messages = 400;
    double busy_wait = 0;  // of the owning thread
};

static std::unique_ptr<Network> make_network(const Options &options, unsigned seed) {
    if (options.libzmq.empty()) return std::make_unique<ScriptedNetwork>(seed);
    return std::make_unique<RealNetwork>(options.libzmq);
}

static void counts_meet(const Core &c) {
    MUST(c.out_hub.made + c.in_thread.made == c.out_hub.freed + c.out_thread.freed + c.in_thread.freed + c.in_hub.freed);
}

class Hammer {
  public:
    Hammer(const Options &options, unsigned seed)
        : options_(options), seed_(seed), messages_(options.messages), network_(make_network(options, seed)), api_(network_->api()),
          core_(std::make_unique<Core>(api_, own_fd_.fd, own_fd_.fd, hub_fd_.fd, options.busy_wait)),
          releases_(std::make_shared<Releases>(hub_fd_.fd)), outcomes_(kMaxTokens) {
        for (uint32_t i = 0; i < kLinks; ++i) {
            Link &link = links_[i];
            link.out = core_->make_pipe(scripted::kPush, 50, 50, Overflow::Block);
            link.in = core_->make_pipe(scripted::kPull, 50, 10 + 15 * i, Overflow::Block);
            link.putters.bell = &link.out->room;
            link.putters.ready = [&link] { return link.out->wakes(1) || !link.out->open.load(); };
            link.getters.bell = &link.in->message;
            link.getters.ready = [this, &link] { return link.in->waiting() > 0 || done_; };
        }
    }

    void run() {
        std::thread owner([this] { own(); });
        std::vector<std::thread> others;
        others.emplace_back([this] { be_hub(); });
        for (uint32_t i = 0; i < kForeignProducers; ++i) others.emplace_back([this, i] { produce(i); });
        for (uint32_t i = 0; i < kForeignConsumers; ++i) others.emplace_back([this, i] { consume(i); });
        ping();
        for (auto &thread : others) thread.join();
        command([this] { stop_ = true; });
        owner.join();
        check();
    }

    uint64_t pings() const { return pings_; }

  private:
    using Lock = std::unique_lock<std::mutex>;

    // ---- the owning thread

    void own() {
        for (Link &link : links_) {
            void *push, *pull;
            int push_fd, pull_fd;
            network_->link(push, push_fd, pull, pull_fd);
            MUST(core_->attach(link.out, push, push_fd) == 0);
            MUST(core_->attach(link.in, pull, pull_fd) == 0);
        }
        while (!stop_) {
            core_->step(-1);
            std::vector<Event> events;
            events.swap(core_->events);
            for (const Event &event : events) take(event);
        }
        for (Link &link : links_) {
            core_->detach(*link.out);
            core_->detach(*link.in);
        }
    }

    void take(const Event &event) {
        if (event.kind == EventKind::Mail) {
            std::vector<std::function<void()>> commands;
            {
                const Lock lock(gil_);
                commands.swap(commands_);
            }
            for (const auto &command : commands) command();
        } else if (event.kind == EventKind::Drained) {
            for (Link &link : links_)
                if (link.out->id == event.number) drained(link);
        } else {
            die("event " + std::to_string(int(event.kind)) + ", error " + std::to_string(event.error));
        }
    }

    void drained(Link &link) {
        core_->detach(*link.out);
        const Lock lock(gil_);
        Message message;
        while (link.out->withdraw(message)) {
            if (message.token) answer(message.token);
            if (message.count) {
                const Head head = look(message);
                // what is given back is the end of what was put, in order: `got` and `back` meet in check()
                if (link.back[head.producer] == 0) link.first_back[head.producer] = head.seq;
                MUST(head.seq == link.first_back[head.producer] + link.back[head.producer]);
                ++link.back[head.producer];
            }
            message.close(api_, core_->out_hub);
        }
        MUST(link.out->pending() == 0);
        MUST(options_.closing || std::all_of(link.back, link.back + kProducers, [](uint32_t n) { return n == 0; }));
        link.closed = true;
        for (const Waiter *waiter : link.putters.waiters) waiter->fd->ring();
        look_for_end();
    }

    // ---- commands

    void command(std::function<void()> what) {
        const Lock lock(gil_);
        commands_.push_back(std::move(what));
        core_->post_mail();
    }

    void ping() {  // the main thread; and it has the sockets closed
        std::minstd_rand random(seed_ * 7 + 1);
        const Fd answer;
        bool asked = false;
        for (;;) {
            if (seed_ % 3 || asked) {
                command([&answer] { answer.ring(); });
                answer.wait("a command");
                ++pings_;
            } else {  // nothing of ours shall hide that a wake-up was lost
                std::unique_lock<std::mutex> lock(gil_);
                if (!enough_.wait_for(lock, std::chrono::seconds(limit_seconds), [this] { return enough(); }))
                    die("lost wake-up: nothing goes on");
            }
            bool over, close;
            {
                const Lock lock(gil_);
                over = done_;
                close = enough();
            }
            if (over) return;
            if (close && !asked) {
                asked = true;
                close_all();
            }
            // Now and then nothing of ours shall wake the owning thread, nor its look at the mutex order the others' doings.
            if (random() % 4 == 0) ::usleep(unsigned(random() % (seed_ % 2 ? 300 : 10000)));
        }
    }

    bool enough() const {  // under the mutex: time to close
        return done_ || (options_.closing ? received_ > messages_ * kLinks : producing_ == 0);
    }

    void close_all() {
        for (Link &link : links_) {
            {
                const Lock lock(gil_);
                link.out->open.store(false);
                for (const Waiter *waiter : link.putters.waiters) waiter->fd->ring();
            }
            command([this, &link] { core_->begin_close(*link.out, options_.closing ? 0 : 1000); });
        }
    }

    // ---- messages

    Message make(uint32_t producer, uint32_t link, uint32_t seq) {
        const Head head{producer, link, seq, 1 + seq % 3};
        Message message;
        message.reserve(head.frames);
        for (uint32_t i = 0; i < head.frames; ++i) {
            Msg *frame = &message.frames()[i];
            if (i > 0 && seq % 32 < 3) {  // read in place, released by the hub
                auto *owner = new std::string(1000, char('a' + i));
                owners_.fetch_add(1);
                MUST(api_.msg_init_data(frame, owner->data(), owner->size(), Releases::free_content, releases_->hint(owner)) == 0);
            } else {
                const size_t size = i ? 1 + seq % 100 : sizeof head;
                MUST(api_.msg_init_size(frame, size) == 0);
                if (i) std::memset(api_.msg_data(frame), char('a' + i), size);
                else std::memcpy(api_.msg_data(frame), &head, sizeof head);
            }
            ++message.count;
        }
        core_->out_hub.add_made(message.count);
        if (seq % 16 == 0) {
            message.token = ++last_token_;
            MUST(message.token < kMaxTokens);
        }
        return message;
    }

    Head look(Message &message) {
        Head head;
        MUST(api_.msg_size(message.frames()) == sizeof head);
        std::memcpy(&head, api_.msg_data(message.frames()), sizeof head);
        MUST(message.count == head.frames);
        MUST(head.frames == 1 + head.seq % 3);
        for (uint32_t i = 1; i < head.frames; ++i) {
            Msg *frame = &message.frames()[i];
            const size_t size = head.seq % 32 < 3 ? 1000 : 1 + head.seq % 100;
            MUST(api_.msg_size(frame) == size);
            const char *text = static_cast<char *>(api_.msg_data(frame));
            MUST(text[0] == char('a' + i) && text[size - 1] == char('a' + i));
        }
        return head;
    }

    void answer(uint64_t token) { MUST(outcomes_[token].fetch_add(1) == 0); }

    // A push after which `message` is the pipe's or closed; false: too late. Under the mutex, or `unserialised`.
    bool push(Link &link, Message &message) {
        if (link.out->push(std::move(message))) return true;
        if (message.token) answer(message.token);
        message.close(api_, core_->out_hub);
        return false;
    }

    // One message to be got; under the mutex.
    bool pop(Link &link) {
        Message message;
        if (!link.in->pop(message)) return false;
        const Head head = look(message);
        MUST(&links_[head.link] == &link);
        MUST(head.seq == link.got[head.producer]);  // none lost, none doubled, order kept
        ++link.got[head.producer];
        ++received_;
        message.close(api_, core_->in_hub);
        if (options_.closing) enough_.notify_one();
        look_for_end();
        return true;
    }

    void look_for_end() {  // under the mutex
        if (done_ || producing_ > 0) return;
        uint64_t expected = 0;
        for (const Link &link : links_) {
            if (!link.closed) return;
            for (int i = 0; i < kProducers; ++i) expected += link.put[i] - link.back[i];
        }
        MUST(received_ <= expected);
        if (received_ < expected) return;
        done_ = true;
        for (const Link &link : links_)
            for (const Waiter *waiter : link.getters.waiters) waiter->fd->ring();
        hub_fd_.ring();
    }

    // ---- foreign threads

    template <class Attempt>
    void wait_turn(Lock &lock, Line &line, const Fd &fd, const char *who, Attempt attempt) {
        Waiter me{&fd, false};
        line.join(me);
        // the attempt comes after the bell is set: what happens in between rings
        while (!(line.is_head(me) && attempt())) {
            lock.unlock();
            fd.wait(who);
            lock.lock();
        }
        line.leave(me);
    }

    void produce(uint32_t me) {
        std::minstd_rand random(seed_ * 31 + me);
        const Fd fd;
        uint32_t next[kLinks] = {};
        bool over[kLinks] = {};
        for (uint32_t n = 0; n < messages_ * kLinks; ++n) {
            const uint32_t i = n % kLinks;
            if (!over[i]) over[i] = !put(me, i, next[i]++, fd);
            if (random() % 64 == 0) ::usleep(unsigned(random() % 200));
        }
        const Lock lock(gil_);
        for (uint32_t i = 0; i < kLinks; ++i) links_[i].put[me] = over[i] ? next[i] - 1 : next[i];
        --producing_;
        enough_.notify_one();
        look_for_end();
    }

    bool put(uint32_t me, uint32_t i, uint32_t seq, const Fd &fd) {  // false: closed
        Link &link = links_[i];
        if (!options_.serialised && link.putters.length.load() == 0 && link.out->has_room(0)) {
            Message message = make(me, i, seq);
            return push(link, message);
        }
        Lock lock(gil_);
        Message message = make(me, i, seq);
        if (link.putters.waiters.empty() && link.out->has_room(0)) return push(link, message);
        bool pushed = false;
        wait_turn(lock, link.putters, fd, "a producer", [&] {
            if (link.out->open.load() && !link.out->has_room(0)) return false;
            pushed = push(link, message);
            return true;
        });
        return pushed;
    }

    void consume(uint32_t me) {
        std::minstd_rand random(seed_ * 17 + me);
        const Fd fd;
        for (uint32_t i = me;; i = (i + 1) % kLinks) {
            Link &link = links_[i];
            Lock lock(gil_);
            if (done_) return;
            if (link.getters.waiters.empty() && pop(link)) continue;
            if (random() % 2) continue;  // not to wait always for the same
            wait_turn(lock, link.getters, fd, "a consumer", [&] { return pop(link) || done_; });
        }
    }

    // ---- the hub: its greenlets wait in the same lines; it sleeps on its own descriptor

    struct Greenlets {
        Waiter putter, getter;
        bool putting = false, getting = false;  // in the line
        uint32_t next = 0;
        bool over = false;
    };

    void be_hub() {
        std::minstd_rand random(seed_ * 13);
        Greenlets greenlets[kLinks];
        for (auto &g : greenlets) g.putter = g.getter = Waiter{&hub_fd_, true};
        bool finished = false;  // with putting
        for (;;) {
            bool progress = false;
            {
                Lock lock(gil_);
                take_notices();
                for (uint32_t i = 0; i < kLinks; ++i) {
                    progress |= hub_put(i, greenlets[i], random() % 8 == 0);
                    progress |= hub_get(i, greenlets[i], random() % 8 == 0);
                }
                if (!finished && std::all_of(greenlets, greenlets + kLinks, [](const Greenlets &g) { return g.over; })) {
                    finished = true;
                    for (uint32_t i = 0; i < kLinks; ++i) links_[i].put[kHubProducer] = greenlets[i].next;
                    --producing_;
                    enough_.notify_one();
                    look_for_end();
                }
                if (done_) {
                    for (uint32_t i = 0; i < kLinks; ++i)
                        if (greenlets[i].getting) links_[i].getters.leave(greenlets[i].getter);
                    return;
                }
            }
            if (!progress) hub_fd_.wait("the hub");
        }
    }

    void take_notices() {
        std::vector<Notice> notices;
        core_->hub.take(notices);
        for (Notice &notice : notices) {
            MUST(notice.kind != NoticeKind::Refused);
            if (notice.kind == NoticeKind::Outcome) {
                MUST(notice.error == 0);
                answer(notice.token);
            }
            for (Link &link : links_) {
                if (notice.kind == NoticeKind::Room && link.out->id == notice.pipe) link.out->room.answered();
                if (notice.kind == NoticeKind::Message && link.in->id == notice.pipe) link.in->message.answered();
            }
        }
        release();
    }

    void release() {
        while (void *owner = releases_->take()) {
            delete static_cast<std::string *>(owner);
            ++released_;
        }
    }

    bool hub_put(uint32_t i, Greenlets &g, bool killed) {  // one move; whether there may be another
        Link &link = links_[i];
        if (g.over) return false;
        if (!g.putting && !link.putters.waiters.empty()) {
            link.putters.join(g.putter);
            g.putting = true;
            return true;
        }
        const bool turn = !g.putting || link.putters.is_head(g.putter);
        if (!turn) return false;
        if (!link.out->open.load()) {
            g.over = true;
        } else if (link.out->has_room(0)) {
            Message message = make(kHubProducer, i, g.next);
            if (push(link, message)) ++g.next;
            g.over = g.next == messages_;
        } else if (!g.putting) {
            link.putters.join(g.putter);
            g.putting = true;
            return true;
        } else if (!killed) {
            return false;
        }
        if (g.putting) link.putters.leave(g.putter);
        g.putting = false;
        return true;
    }

    bool hub_get(uint32_t i, Greenlets &g, bool killed) {
        Link &link = links_[i];
        if (g.getting && !link.getters.is_head(g.getter)) return false;
        if (!g.getting && !link.getters.waiters.empty()) {
            link.getters.join(g.getter);
            g.getting = true;
            return true;
        }
        const bool got = pop(link);
        if (!got && !g.getting) {
            link.getters.join(g.getter);
            g.getting = true;
            return true;
        }
        if (!got && !killed) return false;
        if (g.getting) link.getters.leave(g.getter);
        g.getting = false;
        return true;
    }

    // ---- afterwards, one thread

    void check() {
        take_notices();
        uint64_t put = 0;
        for (Link &link : links_) {
            for (int i = 0; i < kProducers; ++i) {
                MUST(link.got[i] + link.back[i] == link.put[i]);
                MUST(link.back[i] == 0 || link.first_back[i] == link.got[i]);
                put += link.put[i];
            }
            MUST(link.out->sent.load() == link.in->received.load());
            MUST(link.putters.waiters.empty() && link.getters.waiters.empty());
            link.out.reset();
            link.in.reset();
        }
        MUST(options_.closing || put == uint64_t(messages_) * kLinks * kProducers);
        for (uint64_t token = 1; token <= last_token_; ++token) MUST(outcomes_[token].load() == 1);
        core_->step(0);
        counts_meet(*core_);
        core_.reset();
        network_->end();
        release();
        MUST(released_ == owners_.load());
    }

    static constexpr size_t kMaxTokens = 1 << 16;
    const Options &options_;
    const unsigned seed_;
    const uint32_t messages_;  // of each producer on each link
    const Fd own_fd_, hub_fd_;
    const std::unique_ptr<Network> network_;
    const Api api_;
    std::unique_ptr<Core> core_;
    const std::shared_ptr<Releases> releases_;
    std::vector<std::atomic<uint8_t>> outcomes_;  // by token
    std::atomic<uint64_t> last_token_{0}, owners_{0};
    std::mutex gil_;
    std::condition_variable enough_;
    // --- under gil_
    Link links_[kLinks];
    std::vector<std::function<void()>> commands_;
    int producing_ = kProducers;
    uint64_t received_ = 0;
    bool done_ = false;
    // --- one thread
    bool stop_ = false;      // the owning thread
    uint64_t pings_ = 0;     // main
    uint64_t released_ = 0;  // the hub
};

// ------------------------------------------------------------------------------------------------ alternating

// This thread asks one thing and waits for its effect, again and again: a message (or three, through a pipe that takes
// one at a time, so that each pop must wake the owning thread) or mail; told as the hub or as a foreign thread. The
// moment of asking moves over the moment at which the owning thread goes to sleep.
static uint64_t alternate(const Options &options, unsigned seed) {
    const std::unique_ptr<Network> network = make_network(options, seed);
    const Api api = network->api();
    const Fd own_fd, hub_fd, foreign_fd, mail_fd;
    auto core = std::make_unique<Core>(api, own_fd.fd, own_fd.fd, hub_fd.fd, options.busy_wait);
    auto out = core->make_pipe(scripted::kPush, 10, 10, Overflow::Block);
    auto in = core->make_pipe(scripted::kPull, 10, 1, Overflow::Block);
    std::atomic<bool> stop{false};
    std::thread owner([&] {
        void *push, *pull;
        int push_fd, pull_fd;
        network->link(push, push_fd, pull, pull_fd);
        MUST(core->attach(out, push, push_fd) == 0);
        MUST(core->attach(in, pull, pull_fd) == 0);
        while (!stop.load()) {
            core->step(-1);
            for (const Event &event : core->events) {
                MUST(event.kind == EventKind::Mail);
                mail_fd.ring();
            }
            core->events.clear();
        }
        core->detach(*out);
        core->detach(*in);
    });
    std::minstd_rand random(seed);
    std::atomic<unsigned> spun{0};
    const auto delay = [&](unsigned most) {
        for (unsigned n = unsigned(random() % most); n > 0; --n) spun.fetch_add(1, std::memory_order_relaxed);
    };
    uint32_t pushed = 0, popped = 0;
    const uint32_t turns = options.messages * 15;
    for (uint32_t turn = 0; turn < turns; ++turn) {
        delay(turn % 2 ? 100 : 4000);
        const unsigned what = unsigned(random() % 5);
        if (what == 4) {
            core->post_mail();
            mail_fd.wait("mail");
            continue;
        }
        const bool hub = what % 2;
        if (hub) in->message.hub();
        else in->message.foreign(foreign_fd.fd);
        for (const uint32_t end = pushed + (what < 2 ? 1 : 3); pushed < end; ++pushed) {
            Message message;
            MUST(api.msg_init_size(message.frames(), sizeof pushed) == 0);
            std::memcpy(api.msg_data(message.frames()), &pushed, sizeof pushed);
            message.count = 1;
            core->out_hub.add_made(1);
            MUST(out->push(std::move(message)));
        }
        while (popped < pushed) {
            if (hub) {
                delay(turn % 2 ? 100 : 2000);
                std::vector<Notice> notices;
                core->hub.take(notices);
                for (const Notice &notice : notices) MUST(notice.kind == NoticeKind::Message);
                if (!notices.empty()) in->message.answered();
            }
            Message message;
            if (!in->pop(message)) {
                if (hub) hub_fd.wait("the hub, for a message");
                else foreign_fd.wait("a message");
                continue;
            }
            uint32_t got;
            std::memcpy(&got, api.msg_data(message.frames()), sizeof got);
            message.close(api, core->in_hub);
            MUST(got == popped);
            ++popped;
        }
    }
    stop.store(true);
    core->post_mail();
    owner.join();
    out.reset();
    in.reset();
    core->step(0);
    counts_meet(*core);
    core.reset();
    network->end();
    return turns;
}

int main(int argc, char **argv) {
    Options options;
    for (int i = 1; i < argc; ++i) {
        const std::string name = argv[i];
        const auto value = [&]() -> std::string {
            if (++i >= argc) die(name + " needs a value");
            return argv[i];
        };
        if (name == "serialised") options.serialised = true;
        else if (name == "unserialised") options.serialised = false;
        else if (name == "alternating") options.alternating = true;
        else if (name == "--closing") options.closing = true;
        else if (name == "--looking") options.busy_wait = 200e-6;
        else if (name == "--libzmq") options.libzmq = value();
        else if (name == "--seed") options.seed = unsigned(std::stoul(value()));
        else if (name == "--rounds") options.rounds = unsigned(std::stoul(value()));
        else if (name == "--messages") options.messages = unsigned(std::stoul(value()));
        else if (name == "--limit") limit_seconds = std::stoi(value());
        else die("unknown: " + name);
    }
    for (unsigned round = 0; round < options.rounds; ++round) {
        const unsigned seed = options.seed + round;
        uint64_t turns;
        if (options.alternating) {
            turns = alternate(options, seed);
        } else {
            Hammer hammer(options, seed);
            hammer.run();
            turns = hammer.pings();
        }
        std::printf("ok   seed %u: %llu answers\n", seed, static_cast<unsigned long long>(turns));
        std::fflush(stdout);
    }
    std::printf("%u passed, 0 failed\n", options.rounds);
}
