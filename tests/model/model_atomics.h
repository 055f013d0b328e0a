// Puts the memory model under shim/abi: include before any of its headers.
#pragma once

#include "tests/model/memory_model.h"

namespace penstock::model {

template <typename T>
T LoadOf(const T* from, bool acquire) {
  return static_cast<T>(TheMemory().Load(from, static_cast<std::uint64_t>(*from), acquire));
}
template <typename T, typename V>
void StoreTo(T* to, V value, bool release) {
  TheMemory().Store(to, static_cast<std::uint64_t>(*to),
                    static_cast<std::uint64_t>(static_cast<T>(value)), release);
}
template <typename T, typename V>
bool ExchangeAt(T* at, T* expected, V desired) {
  std::uint64_t wanted = *expected;
  const bool done =
      TheMemory().CompareExchange(at, static_cast<std::uint64_t>(*at), &wanted,
                                  static_cast<std::uint64_t>(static_cast<T>(desired)));
  *expected = static_cast<T>(wanted);
  return done;
}

}  // namespace penstock::model

#define PST_ATOMICS_DEFINED
#define PST_LOAD_RELAXED(p) ::penstock::model::LoadOf((p), false)
#define PST_LOAD_ACQUIRE(p) ::penstock::model::LoadOf((p), true)
#define PST_STORE_RELAXED(p, v) ::penstock::model::StoreTo((p), (v), false)
#define PST_STORE_RELEASE(p, v) ::penstock::model::StoreTo((p), (v), true)
#define PST_FENCE_ACQUIRE() ::penstock::model::TheMemory().AcquireFence()
#define PST_FENCE_RELEASE() ::penstock::model::TheMemory().ReleaseFence()
#define PST_CAS(p, expected, desired) ::penstock::model::ExchangeAt((p), (expected), (desired))
#define PST_BUCKET_SPINS 2
