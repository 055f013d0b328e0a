// A bare keep-alive client over libcurl's multi interface: the ceiling that ours is compared with.
//
//   wire_bare REQUESTS CONCURRENCY [ROUNDS]
//
// REQUESTS is a file of lines: URL, then headers, separated by tabs. They are sent in order, CONCURRENCY
// at a time, over HTTP/1.1 connections that are kept (WIRE_HTTP=2: HTTP/2 over TLS); bodies are thrown
// away (WIRE_COPY=1: copied into memory, as a client does that keeps them). WIRE_CA names the trusted
// certificates. Prints one line of JSON; a status other than 200 and 206 ends it.
#include <curl/curl.h>
#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace {

struct Request {
  std::string url;
  curl_slist* headers = nullptr;
};

struct Slot {
  CURL* handle = nullptr;
  double begin = 0;
  std::size_t received = 0;
  std::vector<char>* sink = nullptr;
};

double Now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

double CpuSeconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

[[noreturn]] void Die(const std::string& what) {
  std::fprintf(stderr, "wire_bare: %s\n", what.c_str());
  std::exit(1);
}

std::vector<Request> ReadRequests(const char* path) {
  std::ifstream in(path);
  std::vector<Request> requests;
  std::string line;
  while (std::getline(in, line)) {
    std::stringstream fields(line);
    Request request;
    std::string field;
    std::getline(fields, request.url, '\t');
    while (std::getline(fields, field, '\t')) {
      request.headers = curl_slist_append(request.headers, field.c_str());
    }
    requests.push_back(request);
  }
  if (requests.empty()) Die(std::string("no requests in ") + path);
  return requests;
}

constexpr std::size_t kSinkBytes = 256u << 20;  // beyond every cache

std::size_t TakeBody(char* data, std::size_t size, std::size_t count, void* user) {
  auto* slot = static_cast<Slot*>(user);
  const std::size_t bytes = size * count;
  if (slot->sink != nullptr) {
    static std::size_t at = 0;
    if (at + bytes > kSinkBytes) at = 0;
    std::memcpy(slot->sink->data() + at, data, bytes);
    at += bytes;
  }
  slot->received += bytes;
  return bytes;
}

CURL* MakeHandle(Slot* slot) {
  CURL* handle = curl_easy_init();
  const char* http = std::getenv("WIRE_HTTP");
  const bool http2 = http != nullptr && std::string(http) == "2";
  curl_easy_setopt(handle, CURLOPT_HTTP_VERSION,
                   static_cast<long>(http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
  if (http2) curl_easy_setopt(handle, CURLOPT_PIPEWAIT, 1L);
  if (const char* ca = std::getenv("WIRE_CA")) curl_easy_setopt(handle, CURLOPT_CAINFO, ca);
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_BUFFERSIZE, 256l << 10);
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, &TakeBody);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, slot);
  return handle;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) Die("wire_bare REQUESTS CONCURRENCY [ROUNDS]");
  curl_global_init(CURL_GLOBAL_DEFAULT);
  const std::vector<Request> requests = ReadRequests(argv[1]);
  const auto concurrency = static_cast<std::size_t>(std::max(1, std::atoi(argv[2])));
  const std::size_t total = requests.size() * static_cast<std::size_t>(argc > 3 ? std::atoi(argv[3]) : 1);
  std::vector<char> sink(std::getenv("WIRE_COPY") != nullptr ? kSinkBytes : 0, 1);
  CURLM* multi = curl_multi_init();
  curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, static_cast<long>(concurrency));
  std::vector<Slot> slots(concurrency);
  std::vector<double> latencies;
  std::size_t next = 0, over = 0, bytes = 0, connects = 0;
  const auto start = [&](Slot* slot) {
    if (next == total) return;
    const Request& request = requests[next++ % requests.size()];
    curl_easy_setopt(slot->handle, CURLOPT_URL, request.url.c_str());
    curl_easy_setopt(slot->handle, CURLOPT_HTTPHEADER, request.headers);
    slot->begin = Now();
    slot->received = 0;
    curl_multi_add_handle(multi, slot->handle);
  };
  const double cpu_before = CpuSeconds();
  const double begin = Now();
  for (Slot& slot : slots) {
    slot.sink = sink.empty() ? nullptr : &sink;
    slot.handle = MakeHandle(&slot);
    curl_easy_setopt(slot.handle, CURLOPT_PRIVATE, &slot);
    start(&slot);
  }
  while (over < total) {
    int running = 0;
    curl_multi_perform(multi, &running);
    int left = 0;
    bool any = false;
    while (const CURLMsg* message = curl_multi_info_read(multi, &left)) {
      if (message->data.result != CURLE_OK) Die(curl_easy_strerror(message->data.result));
      CURL* handle = message->easy_handle;
      Slot* slot = nullptr;
      long status = 0, opened = 0;
      curl_easy_getinfo(handle, CURLINFO_PRIVATE, &slot);
      curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
      curl_easy_getinfo(handle, CURLINFO_NUM_CONNECTS, &opened);
      if (status != 200 && status != 206) Die("status " + std::to_string(status));
      curl_multi_remove_handle(multi, handle);
      latencies.push_back(Now() - slot->begin);
      bytes += slot->received;
      connects += static_cast<std::size_t>(opened);
      ++over;
      any = true;
      start(slot);
    }
    if (!any) curl_multi_poll(multi, nullptr, 0, 1000, nullptr);
  }
  const double seconds = Now() - begin;
  std::sort(latencies.begin(), latencies.end());
  std::printf(
      "{\"seconds\": %.6f, \"cpu_seconds\": %.6f, \"bytes\": %zu, \"requests\": %zu, "
      "\"connects\": %zu, \"p50_ms\": %.3f, \"p99_ms\": %.3f}\n",
      seconds, CpuSeconds() - cpu_before, bytes, over, connects, latencies[latencies.size() / 2] * 1e3,
      latencies[latencies.size() * 99 / 100] * 1e3);
  for (Slot& slot : slots) curl_easy_cleanup(slot.handle);
  curl_multi_cleanup(multi);
  return 0;
}
