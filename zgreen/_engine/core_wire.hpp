// One message to or from libzmq, whole. Part of core.hpp, which says which thread may touch what.

#pragma once

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "core_message.hpp"
#include "core_pipe.hpp"

namespace zgreen {

// The calls on the socket of a pipe. The owning thread alone; it holds no lock then.
class Wire {
  public:
    explicit Wire(Shared &shared) : api_(shared.api), received_(shared.in_thread) {}

    int events(const Pipe &pipe, int &error) {
        int value = 0;
        size_t size = sizeof value;
        while (api_.getsockopt(pipe.socket, kEvents, &value, &size) < 0) {
            const int e = api_.error();
            if (e == EINTR) continue;
            error = e;
            return 0;
        }
        return value;
    }

    // Whether such an error of send() means "not now": libzmq has nothing of the message. A REQ says EFSM while it waits
    // for a reply.
    static bool not_now(const Pipe &pipe, int error) {
        return error == EAGAIN || (error == kEfsm && pipe.kind == kReq);
    }

    // 0: libzmq has it, all of it. Otherwise it is refused, for now or for good.
    int send(Pipe &pipe, Message &message) {
        const uint32_t last = message.count - 1;
        Msg *frames = message.frames();
        if (last == 0) return send_frame(pipe, frames[0], kDontWait);
        return send_parts(pipe, message, last);
    }

    // One whole message onto `into`, which has a place for it; false if there is none now.
    bool receive(Pipe &pipe, std::vector<Message> &into, int &error) {
        for (;;) {
            Msg part;
            api_.msg_init(&part);
            if (api_.msg_recv(&part, pipe.socket, kDontWait) < 0) {
                const int e = api_.error();
                api_.msg_close(&part);
                if (e == EINTR) continue;
                if (e != EAGAIN && e != kEfsm) error = e;  // EFSM: a REP that owes a reply, a REQ without a request
                return false;
            }
            count(received_.made, int64_t(1));
            const bool more = api_.msg_more(&part) != 0;
            if (!more && pipe.parts.empty()) {
                Message message;
                message.one = part;
                message.count = 1;
                into.push_back(std::move(message));
                return true;
            }
            try {
                pipe.parts.push_back(part);
            } catch (...) {
                api_.msg_close(&part);
                count(received_.freed, int64_t(1));
                throw;
            }
            if (more) continue;
            Message message;
            message.reserve(uint32_t(pipe.parts.size()));
            std::memcpy(static_cast<void *>(message.frames()), pipe.parts.data(), pipe.parts.size() * sizeof(Msg));
            message.count = uint32_t(pipe.parts.size());
            pipe.parts.clear();
            into.push_back(std::move(message));
            return true;
        }
    }

  private:
    int send_frame(Pipe &pipe, Msg &frame, int flags) {
        while (api_.msg_send(&frame, pipe.socket, flags) < 0) {
            const int e = api_.error();
            if (e == EINTR) continue;
            return e;
        }
        return 0;
    }

    // The peer may go between two frames: then libzmq has thrown the first frames away. So all but the last are sent as
    // copies (which share large content), and the message is whole until libzmq has the last.
    int send_parts(Pipe &pipe, Message &message, uint32_t last) {
        Msg *frames = message.frames();
        for (uint32_t i = 0; i < last; ++i) {
            const int e = send_copy(pipe, frames[i], kDontWait | kSndMore);
            if (e) return i ? interrupted(pipe, message, i, last, e) : e;
        }
        const int e = send_frame(pipe, frames[last], kDontWait);
        if (e) return interrupted(pipe, message, last, last, e);
        for (uint32_t i = 0; i < last; ++i) api_.msg_close(&frames[i]);
        return 0;
    }

    int send_copy(Pipe &pipe, Msg &frame, int flags) {
        Msg copy;
        api_.msg_init(&copy);
        if (api_.msg_copy(&copy, &frame) < 0) return api_.error();
        const int e = send_frame(pipe, copy, flags);
        if (e) api_.msg_close(&copy);
        return e;
    }

    // Frame `at`, not the first, was refused. PUSH, DEALER and REQ swallow the rest of that message. They must
    // be given that rest, or they would swallow frames of the next message; PAIR does not.
    int interrupted(Pipe &pipe, Message &message, uint32_t at, uint32_t last, int error) {
        if (not_now(pipe, error) && pipe.kind != kPair)
            for (uint32_t i = at + 1; i <= last; ++i)
                send_copy(pipe, message.frames()[i], i == last ? kDontWait : kDontWait | kSndMore);
        return error;
    }

    const Api &api_;
    Counts &received_;
};

}  // namespace zgreen
