// Descriptors that wait to be fetched: an operation that ends in a file hands out a ticket in
// shared memory, and the client exchanges it on its socket (shim/abi/handshake.h).
//
// A ticket is good once, for the session that it was made for, and for kTicketNs. The expiry timer
// runs only while there are tickets.
//
// Thread safety: core thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <unordered_map>

#include "cache/base/loop.h"
#include "cache/job/fd.h"
#include "transport/base/random.h"

namespace penstock::cache {

inline constexpr std::int64_t kTicketNs = 10'000'000'000;
inline constexpr std::size_t kMaxTicketsEach = 256;  // of one session

class Tickets {
 public:
  Tickets(Loop* loop, std::size_t limit);
  ~Tickets();

  // 0 if there are too many, of this session or in all; the descriptor is then closed.
  std::uint64_t Add(std::uint64_t session, Fd fd);
  // Invalid if it is unknown, expired or another session's.
  Fd Take(std::uint64_t session, std::uint64_t ticket);
  // Closes all of a session.
  void Drop(std::uint64_t session);
  std::size_t size() const { return tickets_.size(); }

 private:
  struct Ticket {
    std::uint64_t session = 0;
    Fd fd;
  };
  struct Expiry {
    std::int64_t at_ns = 0;
    std::uint64_t ticket = 0;
  };
  void Expire();
  void Gone(std::uint64_t session);

  Loop* loop_;
  std::size_t limit_;
  Random random_;
  std::unordered_map<std::uint64_t, Ticket> tickets_;
  std::unordered_map<std::uint64_t, std::size_t> count_of_;  // by session; no zeros
  std::deque<Expiry> expiries_;  // in order; those of taken tickets stay until their time
  Loop::TimerId timer_ = 0;
};

}  // namespace penstock::cache
