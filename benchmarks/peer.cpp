// One program on the libzmq that pyzmq has loaded: the peer of every measured candidate, and a candidate itself.
//
//   peer zmq=<the library's file> mode=<mode> endpoint=<endpoint> key=value ...
//
// Peers bind, say "ready", and stay until their standard input ends, so that nothing is lost with them:
//   sink      PULL; counts until the message END, or so many as `ends` says, one from each sender; then reports
//   source    PUSH on `sockets` endpoints, as fast as it goes or `rate` messages per second; reports at the end of input
//   echo      ROUTER; sends back what comes; reports at the end of input
// Candidates connect, say "done", and report when their standard input ends (see candidates/_protocol.py):
//   push, pull, round_trip, busy_hub, idle
//
// pyzmq's wheels bring libzmq without its headers: what we call is declared here, after libzmq's documented ABI.

#include <dlfcn.h>
#include <pthread.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace {

// ---------------------------------------------------------------- libzmq

struct alignas(void*) zmq_msg_t {
    unsigned char opaque[64];
};

enum { PUSH = 8, PULL = 7, DEALER = 5, ROUTER = 6, DONTWAIT = 1, SNDMORE = 2, LINGER = 17, SNDHWM = 23, RCVHWM = 24 };
enum { MAX_SOCKETS = 2 };

struct {
    void* (*ctx_new)();
    int (*ctx_set)(void*, int, int);
    void* (*socket)(void*, int);
    int (*setsockopt)(void*, int, const void*, size_t);
    int (*bind)(void*, const char*);
    int (*connect)(void*, const char*);
    int (*msg_init)(zmq_msg_t*);
    int (*msg_init_size)(zmq_msg_t*, size_t);
    int (*msg_init_data)(zmq_msg_t*, void*, size_t, void (*)(void*, void*), void*);
    void* (*msg_data)(zmq_msg_t*);
    size_t (*msg_size)(const zmq_msg_t*);
    int (*msg_more)(const zmq_msg_t*);
    int (*msg_send)(zmq_msg_t*, void*, int);
    int (*msg_recv)(zmq_msg_t*, void*, int);
    int (*msg_close)(zmq_msg_t*);
    int (*get_errno)();
    const char* (*strerror)(int);
    void (*version)(int*, int*, int*);
} zmq;

[[noreturn]] void fail(const std::string& what) {
    std::fprintf(stderr, "peer: %s\n", what.c_str());
    std::_Exit(1);
}

template <class Function>
void find(void* library, const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    if (!function) fail(std::string("no ") + name);
}

void load(const std::string& file) {
    void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) fail(dlerror());
    find(library, "zmq_ctx_new", zmq.ctx_new);
    find(library, "zmq_ctx_set", zmq.ctx_set);
    find(library, "zmq_socket", zmq.socket);
    find(library, "zmq_setsockopt", zmq.setsockopt);
    find(library, "zmq_bind", zmq.bind);
    find(library, "zmq_connect", zmq.connect);
    find(library, "zmq_msg_init", zmq.msg_init);
    find(library, "zmq_msg_init_size", zmq.msg_init_size);
    find(library, "zmq_msg_init_data", zmq.msg_init_data);
    find(library, "zmq_msg_data", zmq.msg_data);
    find(library, "zmq_msg_size", zmq.msg_size);
    find(library, "zmq_msg_more", zmq.msg_more);
    find(library, "zmq_msg_send", zmq.msg_send);
    find(library, "zmq_msg_recv", zmq.msg_recv);
    find(library, "zmq_msg_close", zmq.msg_close);
    find(library, "zmq_errno", zmq.get_errno);
    find(library, "zmq_strerror", zmq.strerror);
    find(library, "zmq_version", zmq.version);
}

int check(int result, const char* what) {
    if (result < 0) fail(std::string(what) + ": " + zmq.strerror(zmq.get_errno()));
    return result;
}

// ---------------------------------------------------------------- arguments, time, words

std::map<std::string, std::string> arguments;

std::string text(const std::string& key) {
    auto found = arguments.find(key);
    if (found == arguments.end()) fail("no argument " + key);
    return found->second;
}

double number(const std::string& key, double fallback) {
    auto found = arguments.find(key);
    return found == arguments.end() ? fallback : std::atof(found->second.c_str());
}

int64_t nanoseconds(clockid_t id) {
    timespec t;
    clock_gettime(id, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int64_t now() { return nanoseconds(CLOCK_MONOTONIC); }  // Python's time.monotonic_ns()

void say(const char* line) {
    std::puts(line);
    std::fflush(stdout);
}

void wait_for_the_end() {
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
}

// A window of time: how much of the busiest thread's time it took says whether this program was the bottleneck.
struct Window {
    clockid_t app;  // the thread that calls libzmq; all other CPU is that of libzmq's own thread
    std::atomic<int64_t> started{0}, process{0}, thread{0};  // the reporter below reads them from its own

    Window() { pthread_getcpuclockid(pthread_self(), &app); }

    void begin(int64_t at) {
        started = at;
        process = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
        thread = nanoseconds(app);
    }

    // The figures of the time since `begin`, as JSON; *total* is what was counted since the start.
    std::string figures(int64_t total, int64_t count, std::vector<int64_t> latencies = {}) const {
        double seconds = (now() - started) / 1e9;
        double all = (nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - process) / 1e9;
        double own = (nanoseconds(app) - thread) / 1e9;
        char line[300];
        int length = std::snprintf(
            line, sizeof line, "{\"total\": %lld, \"count\": %lld, \"seconds\": %.9f, \"cpu\": %.9f, \"busy\": %.4f",
            (long long)total, (long long)count, seconds, all, std::max(own, all - own) / seconds);
        if (!latencies.empty()) {
            std::sort(latencies.begin(), latencies.end());
            std::snprintf(line + length, sizeof line - length, ", \"p50_us\": %.3f, \"p99_us\": %.3f",
                          latencies[latencies.size() / 2] / 1e3, latencies[latencies.size() * 99 / 100] / 1e3);
        }
        return std::string(line) + "}";
    }
};

// ---------------------------------------------------------------- sockets and messages

void* context;

void* open_socket(int kind) {
    int hwm = (int)number("hwm", 1000), linger = 0;
    void* socket = zmq.socket(context, kind);
    if (!socket) fail("zmq_socket");
    check(zmq.setsockopt(socket, SNDHWM, &hwm, sizeof hwm), "SNDHWM");
    check(zmq.setsockopt(socket, RCVHWM, &hwm, sizeof hwm), "RCVHWM");
    check(zmq.setsockopt(socket, LINGER, &linger, sizeof linger), "LINGER");
    return socket;
}

void* bound(int kind, const std::string& endpoint) {
    void* socket = open_socket(kind);
    check(zmq.bind(socket, endpoint.c_str()), endpoint.c_str());
    return socket;
}

void* connected(int kind, const std::string& endpoint) {
    void* socket = open_socket(kind);
    check(zmq.connect(socket, endpoint.c_str()), endpoint.c_str());
    return socket;
}

void keep(void*, void*) {}  // a message's data that nobody has to free

// What is sent: `frames` frames of `size` bytes. Big ones are not copied, as no careful C program would.
class Payload {
public:
    Payload() : size_((size_t)number("size", 100)), frames_((int)number("frames", 1)), data_(size_, 'x') {}

    // False where libzmq refuses for now, which only the first frame of a message can be.
    bool send(void* socket, int flags = 0) {
        for (int frame = 1; frame <= frames_; ++frame) {
            zmq_msg_t message;
            make(&message);
            if (zmq.msg_send(&message, socket, flags | (frame < frames_ ? SNDMORE : 0)) < 0) {
                if (zmq.get_errno() != EAGAIN) fail("zmq_msg_send");
                zmq.msg_close(&message);
                return false;
            }
        }
        return true;
    }

    void stamp() {
        int64_t time = now();
        std::memcpy(data_.data(), &time, sizeof time);
    }

private:
    void make(zmq_msg_t* message) {
        if (size_ >= 65536) {
            check(zmq.msg_init_data(message, data_.data(), size_, keep, nullptr), "zmq_msg_init_data");
        } else {
            check(zmq.msg_init_size(message, size_), "zmq_msg_init_size");
            std::memcpy(zmq.msg_data(message), data_.data(), size_);
        }
    }

    size_t size_;
    int frames_;
    std::vector<char> data_;
};

void send_end(void* socket) {
    zmq_msg_t message;
    zmq.msg_init_size(&message, 3);
    std::memcpy(zmq.msg_data(&message), "END", 3);
    check(zmq.msg_send(&message, socket, 0), "zmq_msg_send");
}

// Receive all frames of one message; *stamp* is what the last one says, *end* whether it is END.
void receive(void* socket, int64_t* stamp, bool* end) {
    for (;;) {
        zmq_msg_t message;
        zmq.msg_init(&message);
        check(zmq.msg_recv(&message, socket, 0), "zmq_msg_recv");
        bool more = zmq.msg_more(&message);
        size_t size = zmq.msg_size(&message);
        if (!more) {
            *end = size == 3 && !std::memcmp(zmq.msg_data(&message), "END", 3);
            if (size >= sizeof *stamp) std::memcpy(stamp, zmq.msg_data(&message), sizeof *stamp);
        }
        zmq.msg_close(&message);
        if (!more) return;
    }
}

void spin(int64_t time, clockid_t id) {
    for (int64_t end = nanoseconds(id) + time; nanoseconds(id) < end;) {
    }
}

// ---------------------------------------------------------------- peers

// Report and leave when the standard input ends, whatever the main thread waits for.
std::thread report_at_the_end(const Window* window, const std::atomic<int64_t>* count) {
    return std::thread([=] {
        wait_for_the_end();
        say(window->figures(*count, *count).c_str());
        std::_Exit(0);
    });
}

void sink() {
    const bool stamped = number("stamped", 0);
    const int64_t warm = (int64_t)(number("warm", 0) * 1e9), pause = (int64_t)number("pause_ns", 0);
    std::vector<int64_t> latencies;
    void* socket = bound(PULL, text("endpoint"));
    say("ready");
    Window window;
    int64_t total = 0, count = 0, stamp = 0, first = 0, ends = (int64_t)number("ends", 1);
    for (bool end = false, warmed = false;;) {
        receive(socket, &stamp, &end);
        if (end && --ends == 0) break;
        if (end) continue;
        int64_t at = now();
        if (!total++) window.begin(first = at);
        ++count;
        if (stamped) latencies.push_back(at - stamp);
        if (pause) spin(pause, CLOCK_MONOTONIC);
        if (!warmed && at - first >= warm) {  // what came before was start-up
            warmed = true;
            count = 0;
            latencies.clear();
            window.begin(at);
        }
    }
    say(window.figures(total, count, latencies).c_str());
    wait_for_the_end();
}

void source() {
    const int sockets = (int)number("sockets", 1);
    const double rate = number("rate", 0);
    const std::string endpoint = text("endpoint");
    Payload payload;
    std::vector<void*> all;
    if (number("idle", 0)) {  // one more endpoint, on which nothing is ever sent, and the busy ones have numbers
        bound(PUSH, endpoint + ".idle");
        for (int i = 0; i < sockets; ++i) all.push_back(bound(PUSH, endpoint + "." + std::to_string(i)));
    } else {
        all.push_back(bound(PUSH, endpoint));
    }
    Window window;
    window.begin(now());
    std::atomic<int64_t> count{0};
    std::thread reporter = report_at_the_end(&window, &count);
    say("ready");
    if (all.empty()) reporter.join();
    for (void* socket : all) payload.send(socket);  // each returns when its receiver has connected
    window.begin(now());
    if (!rate) {
        for (;;) {
            payload.send(all[0]);
            ++count;
        }
    }
    const int64_t started = now();
    for (int64_t turn = 0;; ++turn) {
        int64_t early = started + (int64_t)(turn * 1e9 / rate) - now();
        if (early > 0) {
            timespec t = {early / 1000000000, early % 1000000000};
            nanosleep(&t, nullptr);
        }
        if (payload.send(all[turn % all.size()], DONTWAIT)) ++count;  // a receiver that does not keep up gets less
    }
}

void echo() {
    void* socket = bound(ROUTER, text("endpoint"));
    Window window;
    window.begin(now());
    std::atomic<int64_t> count{0};
    std::thread reporter = report_at_the_end(&window, &count);
    say("ready");
    for (;;) {
        zmq_msg_t frame;
        zmq.msg_init(&frame);
        check(zmq.msg_recv(&frame, socket, 0), "zmq_msg_recv");
        if (!count) window.begin(now());
        bool more = zmq.msg_more(&frame);
        check(zmq.msg_send(&frame, socket, more ? SNDMORE : 0), "zmq_msg_send");
        if (!more) ++count;
    }
}

// ---------------------------------------------------------------- candidates

// Bytes, from /proc; 0 where there is none.
int64_t memory(const char* name) {
    char line[256];
    long long kib = 0;
    if (std::FILE* file = std::fopen("/proc/self/status", "r")) {
        while (std::fgets(line, sizeof line, file)) {
            if (!std::strncmp(line, name, std::strlen(name))) kib = std::atoll(line + std::strlen(name));
        }
        std::fclose(file);
    }
    return kib * 1024;
}

int64_t resident() { return memory("VmRSS:"); }

// CPU from the first message until the peer has counted the last, as candidates/_meter.py has it.
struct Sending {
    int64_t memory_before = resident(), cpu = nanoseconds(CLOCK_PROCESS_CPUTIME_ID), sent = 0;
    int64_t deadline = now() + (int64_t)((number("warm", 0) + number("seconds", 1)) * 1e9);

    void finish(void* socket) const {
        send_end(socket);
        say("done");
        wait_for_the_end();
        std::printf("{\"sent\": %lld, \"cpu\": %.9f, \"peak\": %lld}\n", (long long)sent,
                    (nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - cpu) / 1e9, (long long)(memory("VmHWM:") - memory_before));
    }
};

void push() {
    const int64_t limit = (int64_t)number("messages", 0);
    Payload payload;
    void* socket = connected(PUSH, text("endpoint"));
    Sending sending;
    for (; limit ? sending.sent < limit : now() < sending.deadline; ++sending.sent) payload.send(socket);
    sending.finish(socket);
}

void busy_hub() {
    const int64_t work = (int64_t)(number("work_us", 0) * 1000);
    Payload payload;
    void* socket = connected(PUSH, text("endpoint"));
    Sending sending;
    for (; now() < sending.deadline; ++sending.sent) {
        spin(work, CLOCK_THREAD_CPUTIME_ID);
        payload.stamp();
        payload.send(socket);
    }
    sending.finish(socket);
}

// Receive for `seconds` from `warm` after the first message; `reply` says whether each is answered at once.
void receive_for_a_while(void* socket, bool reply) {
    const int64_t warm = (int64_t)(number("warm", 0) * 1e9), length = (int64_t)(number("seconds", 1) * 1e9);
    Payload payload;
    std::vector<int64_t> latencies;
    Window window;
    int64_t first = 0, count = 0, stamp = 0, at = 0;
    bool end = false, warmed = false;
    do {
        receive(socket, &stamp, &end);
        at = now();
        if (!first) first = at;
        ++count;
        if (reply) {
            latencies.push_back(at - stamp);
            payload.stamp();
            payload.send(socket);
        }
        if (!warmed && at - first >= warm) {
            warmed = true;
            count = 0;
            latencies.clear();
            window.begin(at);
        }
    } while (!warmed || at - window.started < length);
    std::string figures = window.figures(count, count, latencies);
    say("done");
    wait_for_the_end();
    say(figures.c_str());
}

void round_trip() {
    void* socket = connected(DEALER, text("endpoint"));
    Payload payload;
    for (int i = 0; i < (int)number("in_flight", 1); ++i) {
        payload.stamp();
        payload.send(socket);
    }
    receive_for_a_while(socket, true);
}

int64_t switches() {
    rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nvcsw + usage.ru_nivcsw;
}

// Open `channels` sockets to the endpoint where nothing is sent, and wait.
void idle() {
    const int channels = (int)number("channels", 1);
    const std::string endpoint = text("endpoint") + ".idle";
    connected(PULL, endpoint);
    int64_t before = resident();
    for (int i = 1; i < channels; ++i) connected(PULL, endpoint);
    usleep((useconds_t)(number("settle", 0) * 1e6));
    double bytes = channels > 1 ? double(resident() - before) / (channels - 1) : 0;
    int64_t cpu = nanoseconds(CLOCK_PROCESS_CPUTIME_ID), counted = switches();
    usleep((useconds_t)(number("seconds", 1) * 1e6));
    double spent = (nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - cpu) / 1e9;
    counted = switches() - counted;
    say("done");
    wait_for_the_end();
    std::printf("{\"bytes_per_channel\": %.0f, \"cpu\": %.9f, \"switches\": %lld}\n", bytes, spent, (long long)counted);
}

void version() {
    int major, minor, patch;
    zmq.version(&major, &minor, &patch);
    std::printf("%d.%d.%d\n", major, minor, patch);
}

}  // namespace

int main(int count, char** values) {
    for (int i = 1; i < count; ++i) {
        char* equals = std::strchr(values[i], '=');
        if (equals) arguments[std::string(values[i], equals - values[i])] = equals + 1;
    }
    load(text("zmq"));
    rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    context = zmq.ctx_new();
    zmq.ctx_set(context, MAX_SOCKETS, 10000);
    const std::map<std::string, void (*)()> modes = {
        {"sink", sink}, {"source", source}, {"echo", echo}, {"push", push}, {"busy_hub", busy_hub},
        {"pull", [] { receive_for_a_while(connected(PULL, text("endpoint")), false); }},
        {"round_trip", round_trip}, {"idle", idle}, {"version", version},
        // what zgreen does with many messages at once: libzmq has no call for that
        {"push_many", push},
        {"pull_many", [] { receive_for_a_while(connected(PULL, text("endpoint")), false); }},
    };
    auto mode = modes.find(text("mode"));
    if (mode == modes.end()) fail("no such mode: " + mode->first);
    mode->second();
    std::fflush(stdout);
    std::_Exit(0);  // whatever still runs: all has been counted
}
