// Directory streams: what readdir gives of large folders, and to threads that share one stream.
// run_names.sh makes the mounts.

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <map>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "tests/shim/check.h"

namespace {

// The folder of SharedByThreads: made before anything is known of its parent.
constexpr unsigned kNames = 500;
void MakeShared() {
  const std::string folder = g_plain + "/b/shared";
  CHECK(mkdir(folder.c_str(), 0755) == 0);
  for (unsigned i = 0; i < kNames; ++i)
    close(open((folder + "/" + std::to_string(i)).c_str(), O_CREAT | O_WRONLY, 0644));
}

// A folder of several pages with names of all lengths: each entry as the kernel gives it, in order,
// and found again by its position.
void ManyEntries() {
  const std::string folder = g_plain + "/b/many";
  std::set<std::string> want = {".", ".."};
  CHECK(mkdir(folder.c_str(), 0755) == 0);
  for (size_t i = 0; i < 800; ++i) {
    std::string name = std::to_string(i) + "-";
    name.resize(std::max(name.size(), i % 256), static_cast<char>('a' + i % 26));
    want.insert(name);
    if (i % 7 == 0) {
      CHECK(mkdir((folder + "/" + name).c_str(), 0755) == 0);
    } else {
      close(open((folder + "/" + name).c_str(), O_CREAT | O_WRONLY, 0644));
    }
  }
  DIR* dir = opendir((g_covered + "/b/many").c_str());
  CHECK(dir != nullptr);
  if (dir == nullptr) return;
  std::set<std::string> seen;
  std::vector<std::pair<long, std::string>> places;
  for (long before = telldir(dir); const dirent* entry = readdir(dir); before = telldir(dir)) {
    const dirent copy = *entry;  // as programs do: the whole struct
    const std::string name = entry->d_name;
    CHECK(name == copy.d_name && copy.d_off == telldir(dir), "%s: %ld", name.c_str(), telldir(dir));
    CHECK(copy.d_reclen >= offsetof(dirent, d_name) + name.size() + 1 && copy.d_reclen % 8 == 0);
    const bool folder_entry = name == "." || name == ".." || std::stol(name) % 7 == 0;
    CHECK(copy.d_type == (folder_entry ? DT_DIR : DT_REG) && copy.d_ino != 0, "%s", name.c_str());
    CHECK(seen.insert(name).second, "%s twice", name.c_str());
    places.emplace_back(before, name);
  }
  CHECK(seen == want, "%zu entries instead of %zu", seen.size(), want.size());
  for (size_t i = 0; i < places.size(); i += 37) {
    seekdir(dir, places[i].first);
    for (size_t k = i; k < i + 3 && k < places.size(); ++k) {
      const dirent* entry = readdir(dir);
      CHECK(entry != nullptr && places[k].second == entry->d_name);
    }
  }
  rewinddir(dir);
  const dirent* first = readdir(dir);
  CHECK(first != nullptr && strcmp(first->d_name, ".") == 0);
  CHECK(closedir(dir) == 0);
}

// Runs `work(number)` in some threads that start at one moment.
template <class Work>
void Together(unsigned threads, Work work) {
  std::atomic<unsigned> ready{0};
  std::vector<std::thread> running;
  for (unsigned i = 0; i < threads; ++i) {
    running.emplace_back([&, i] {
      ready.fetch_add(1);
      while (ready.load() < threads) {
      }
      work(i);
    });
  }
  for (std::thread& thread : running) thread.join();
}

// Threads that share a stream get each entry once, also while the one that opened it reads too. The
// folder is one page, so that an entry stays as it is.
void SharedByThreads() {
  constexpr unsigned kThreads = 4, kRounds = 200;
  for (unsigned round = 0; round < kRounds && g_failures == 0; ++round) {
    std::atomic<DIR*> opened{nullptr};
    std::atomic<bool> tried{false};
    std::vector<std::string> seen[kThreads];
    Together(kThreads, [&](unsigned number) {
      if (number == 0) opened = opendir((g_covered + "/b/shared").c_str());
      if (number == 0) tried = true;
      while (!tried.load()) {
      }
      DIR* dir = opened.load();
      CHECK(dir != nullptr);
      if (dir == nullptr) return;
      // The others come in when the owner is on its way, each round at another place.
      const unsigned before = number == 0 ? 0 : round % 97;
      for (volatile unsigned wait = 0; wait < before * 100;) wait = wait + 1;
      while (const dirent* entry = readdir(dir)) seen[number].emplace_back(entry->d_name);
    });
    if (opened.load() == nullptr) return;
    std::map<std::string, unsigned> times;
    for (const std::vector<std::string>& names : seen)
      for (const std::string& name : names) ++times[name];
    CHECK(times.size() == kNames + 2, "round %u: %zu names", round, times.size());
    for (const auto& [name, count] : times)
      CHECK(count == 1, "round %u: %s %u times", round, name.c_str(), count);
    CHECK(readdir(opened) == nullptr && telldir(opened) == kNames + 2, "%ld", telldir(opened));
    CHECK(closedir(opened) == 0);
  }
}

// Opened by one thread and used by another, again and again; and by a child whose parent's other
// thread opened it.
void HandedOver() {
  DIR* dir = nullptr;
  std::thread([&] { dir = opendir((g_covered + "/b/shared").c_str()); }).join();
  CHECK(dir != nullptr);
  if (dir == nullptr) return;
  std::set<std::string> seen;
  for (const dirent* entry = nullptr;;) {
    std::thread([&] { entry = seen.size() < 100 ? readdir(dir) : nullptr; }).join();
    if (entry == nullptr) entry = readdir(dir);
    if (entry == nullptr) break;
    CHECK(seen.insert(entry->d_name).second, "%s twice", entry->d_name);
  }
  CHECK(seen.size() == 502, "%zu", seen.size());
  rewinddir(dir);
  CHECK(readdir(dir) != nullptr && closedir(dir) == 0);

  std::thread([&] {
    dir = opendir((g_covered + "/b/shared").c_str());
    CHECK(readdir(dir) != nullptr);
  }).join();
  const pid_t pid = fork();
  if (pid == 0) {
    unsigned left = 0;
    while (readdir(dir) != nullptr) ++left;
    _exit(left == 501 ? 0 : 1);
  }
  int status = -1;
  CHECK(waitpid(pid, &status, 0) == pid && status == 0, "%x", status);
  CHECK(closedir(dir) == 0);
}

// readdir_r copies while it holds the stream: right for many pages too.
void CopiedForThreads() {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  constexpr unsigned kThreads = 4;
  for (unsigned round = 0; round < 20 && g_failures == 0; ++round) {
    DIR* dir = opendir((g_covered + "/b/many").c_str());
    CHECK(dir != nullptr);
    if (dir == nullptr) return;
    std::vector<std::string> seen[kThreads];
    Together(kThreads, [&](unsigned number) {
      dirent entry, *given = nullptr;
      while (readdir_r(dir, &entry, &given) == 0 && given != nullptr)
        seen[number].emplace_back(entry.d_name);
    });
    std::multiset<std::string> all;
    for (const std::vector<std::string>& names : seen) all.insert(names.begin(), names.end());
    CHECK(all.size() == 802 && std::set<std::string>(all.begin(), all.end()).size() == 802, "%zu",
          all.size());
    CHECK(closedir(dir) == 0);
  }
#pragma GCC diagnostic pop
}

}  // namespace

int main(int argc, char** argv) {
  Folders(argc, argv);
  MakeShared();
  ManyEntries();
  SharedByThreads();
  HandedOver();
  CopiedForThreads();
  return g_failures == 0 ? 0 : 1;
}
