#include "cache/object/object_store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cache/object/object_meta.h"

namespace penstock::cache {
namespace {

namespace fs = std::filesystem;
constexpr std::uint64_t kMiB = 1 << 20;

std::byte ByteAt(std::uint64_t id, std::uint64_t version, std::uint64_t offset) {
  return static_cast<std::byte>(pst_mix64(id * 31 + version + (offset >> 3) * 0x9e37) >>
                                (offset & 7) * 8);
}

// Serves what ByteAt() says, after a turn of the loop or at once, and counts.
class Source final : public ObjectSource {
 public:
  explicit Source(Loop* loop) : loop_(loop) {}
  void StartRead(SourceRead* read) override {
    requests++;
    bytes += read->length;
    EXPECT_LE(read->length, 8 * kMiB);
    inflight++;
    max_inflight = std::max(max_inflight, inflight);
    auto answer = [this, read] {
      inflight--;
      read->err = fail_at >= read->offset && fail_at < read->offset + read->length ? EIO : 0;
      for (std::uint64_t i = 0; read->err == 0 && i < read->length; i++)
        read->buffer[i] = sparse(read->offset + i)
                              ? std::byte{0}
                              : ByteAt(read->id.lo, read->version, read->offset + i);
      read->done(read);
    };
    if (hold) {
      held.push_back(std::move(answer));
    } else if (at_once) {
      answer();
    } else {
      loop_->Post(std::move(answer));
    }
  }
  std::uint32_t Parallelism(std::uint32_t) const override { return parallelism; }
  void Release() {
    hold = false;
    for (auto& answer : std::exchange(held, {})) loop_->Post(std::move(answer));
  }

  std::uint32_t parallelism = 3;
  std::uint64_t requests = 0, bytes = 0;
  int inflight = 0, max_inflight = 0;
  bool sparse(std::uint64_t at) const { return at >= zeros_from && at < zeros_to; }
  std::uint64_t zeros_from = 0, zeros_to = 0;
  std::uint64_t fail_at = UINT64_MAX;
  bool at_once = false, hold = false;
  std::deque<Loop::Task> held;

 private:
  Loop* loop_;
};

struct Question : EngineOp {
  Question(std::uint64_t key, std::uint64_t size, std::uint64_t from = 0, std::uint64_t count = 0) {
    kind = EngineOpKind::kMaterialize;
    id = {key, 99};
    path = "dir/file " + std::to_string(key);
    attr.size = size;
    attr.version = 5;
    attr.kind = PST_KIND_FILE;
    version = 5;
    offset = from;
    length = count;
    done = [](EngineOp* op) {
      auto* self = static_cast<Question*>(op);
      EXPECT_FALSE(self->answered) << "done twice";
      self->answered = true;
      if (self->on_done) self->on_done();
    };
  }
  ~Question() { CloseFd(); }
  Question(const Question&) = delete;
  Question& operator=(const Question&) = delete;
  void CloseFd() {
    if (fd >= 0) ::close(fd);
    fd = -1;
  }
  bool answered = false;
  std::function<void()> on_done;
};

class ObjectStoreTest : public testing::TestWithParam<bool> {
 protected:
  ObjectStoreTest() {
    char name[] = "/tmp/penstock-object-XXXXXX";
    root = ::mkdtemp(name);
    config.dir = root + "/cache";
    config.max_bytes = 64 * kMiB;
    config.reserve_bytes = 0;
    config.origins = {"file:///origin"};
  }
  ~ObjectStoreTest() override {
    store.reset();
    fs::remove_all(root);
  }
  void Open() {
    auto made = MakeObjectStore(loop.get(), config);
    ASSERT_TRUE(made.has_value());
    store = std::move(*made);
  }
  void Reopen() {
    store.reset();
    Open();
  }
  // Runs the loop until `question` is answered.
  void Wait(Question& question) {
    if (question.answered) return;
    question.on_done = [this] { loop->Stop(); };
    const auto timer = loop->After(20'000'000'000, [this] { loop->Stop(); });
    loop->Run();
    loop->CancelTimer(timer);
    ASSERT_TRUE(question.answered);
  }
  void RunFor(std::int64_t ms) {
    loop->After(ms * 1'000'000, [this] { loop->Stop(); });
    loop->Run();
  }
  void Ask(Question& question) {
    store->Materialize(&question, &source);
    Wait(question);
  }
  static void ExpectBytes(const Question& question, std::uint64_t from, std::uint64_t count) {
    ASSERT_EQ(question.err, 0);
    ASSERT_GE(question.fd, 0);
    std::vector<std::byte> bytes(count);
    ASSERT_EQ(::pread(question.fd, bytes.data(), count, static_cast<off_t>(from)),
              static_cast<ssize_t>(count));
    for (std::uint64_t i = 0; i < count; i++)
      ASSERT_EQ(bytes[i], ByteAt(question.id.lo, 5, from + i)) << from + i;
  }
  std::string FileOf(std::uint64_t key, const char* suffix = "") const {
    for (const auto& entry : fs::recursive_directory_iterator(config.dir)) {
      const std::string name = entry.path().filename();
      char text[17];
      std::snprintf(text, sizeof text, "%016lx", static_cast<unsigned long>(key));
      if (name.substr(0, 32).ends_with(text) && name.ends_with(suffix) &&
          (*suffix != '\0' || !name.ends_with(".meta")))
        return entry.path();
    }
    return "";
  }

  std::string root;
  ObjectStoreConfig config;
  std::unique_ptr<Loop> loop = MakeLoop(GetParam());
  Source source{loop.get()};
  std::unique_ptr<ObjectStore> store;
};

INSTANTIATE_TEST_SUITE_P(Loops, ObjectStoreTest, testing::Values(true, false),
                         [](const auto& param) { return param.param ? "uring" : "epoll"; });

TEST_P(ObjectStoreTest, AWholeFileArrivesInParallelPieces) {
  Open();
  const std::uint64_t size = 21 * kMiB + 12345;
  Question whole(1, size);
  Ask(whole);
  ExpectBytes(whole, 0, size);
  EXPECT_EQ(source.bytes, size);
  EXPECT_GE(source.max_inflight, 4);
  struct stat st;
  ASSERT_EQ(::fstat(whole.fd, &st), 0);
  EXPECT_EQ(static_cast<std::uint64_t>(st.st_size), size);
  Question again(1, size);
  Ask(again);
  EXPECT_EQ(source.bytes, size) << "fetched once";
  EXPECT_EQ(store->Stats().hits, 1u);
  EXPECT_EQ(store->Stats().bytes, size);
}

TEST_P(ObjectStoreTest, AsManyPiecesAreUnderWayAsTheOriginIsWorth) {
  Open();
  for (const std::uint32_t parallelism : {1u, 7u, 64u}) {
    source.parallelism = parallelism;
    source.max_inflight = 0;
    source.hold = true;
    Question whole(parallelism, 96 * kMiB);
    config.max_bytes = 1024 * kMiB;
    Reopen();
    store->Materialize(&whole, &source);
    EXPECT_EQ(source.inflight, parallelism == 1 ? 6 : parallelism == 7 ? 14 : 16);
    source.Release();
    Wait(whole);
    EXPECT_EQ(whole.err, 0);
  }
}

TEST_P(ObjectStoreTest, ZerosTakeNoRoomAndAreCheckedLikeAllBytes) {
  config.max_bytes = 1024 * kMiB;
  Open();
  const std::uint64_t size = 100 * kMiB + 777;
  source.zeros_from = 3 * kMiB + 100'000;
  source.zeros_to = 97 * kMiB + 5;
  const auto check = [&](const Question& question) {
    ASSERT_EQ(question.err, 0);
    std::vector<std::byte> bytes(size);
    ASSERT_EQ(::pread(question.fd, bytes.data(), size, 0), static_cast<ssize_t>(size));
    for (std::uint64_t i = 0; i < size; i++)
      ASSERT_EQ(bytes[i], source.sparse(i) ? std::byte{0} : ByteAt(1, 5, i)) << i;
  };
  Question whole(1, size);
  Ask(whole);
  check(whole);
  EXPECT_LE(store->Stats().bytes, 12 * kMiB);
  struct stat st;
  ASSERT_EQ(::fstat(whole.fd, &st), 0);
  EXPECT_LE(static_cast<std::uint64_t>(st.st_blocks) * 512, 12 * kMiB);
  whole.CloseFd();
  Reopen();
  Question again(1, size);
  Ask(again);
  check(again);
  EXPECT_EQ(source.bytes, size) << "found on disk";
  again.CloseFd();
  store.reset();
  // A hole where bytes were is no less an error than other bytes.
  const std::string file = FileOf(1);
  ::chmod(file.c_str(), 0600);
  fs::resize_file(file, 0);
  fs::resize_file(file, size);
  Open();
  Question third(1, size);
  Ask(third);
  check(third);
  EXPECT_EQ(store->Stats().corrupt, 1u);
}

TEST_P(ObjectStoreTest, OnlyTheRangesThatAreNeededAreFetched) {
  Open();
  const std::uint64_t size = 1ull << 40;  // opening a shard never downloads it
  Question part(1, size, 5 * kMiB + 1, 100);
  Ask(part);
  ExpectBytes(part, 5 * kMiB, PST_RANGE_BYTES);
  EXPECT_EQ(source.bytes, PST_RANGE_BYTES);
  Question more(1, size, 5 * kMiB, 3 * PST_RANGE_BYTES);
  Ask(more);
  ExpectBytes(more, 5 * kMiB, 3 * PST_RANGE_BYTES);
  EXPECT_EQ(source.bytes, 3 * PST_RANGE_BYTES) << "what was there is not fetched again";
  Question tail(1, size, size - 10, 1 << 30);
  Ask(tail);
  ExpectBytes(tail, size - 10, 10);
  EXPECT_EQ(fs::file_size(FileOf(1)), size);
}

TEST_P(ObjectStoreTest, WhoComesBackFindsTheSameInodeReadOnly) {
  Open();
  Question first(1, 8 * kMiB, 0, 1), second(1, 8 * kMiB, 4 * kMiB, 1);
  Ask(first);
  Ask(second);
  struct stat a, b;
  ::fstat(first.fd, &a);
  ::fstat(second.fd, &b);
  EXPECT_EQ(a.st_ino, b.st_ino);
  EXPECT_EQ(::fcntl(first.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
  EXPECT_EQ(a.st_mode & 07777, 0444u) << "another user that holds it opens it again by /dev/fd/N";
  char byte = 'x';
  EXPECT_EQ(::pwrite(first.fd, &byte, 1, 0), -1);
  EXPECT_EQ(::lseek(first.fd, 100, SEEK_SET), 100);
  EXPECT_EQ(::lseek(second.fd, 0, SEEK_CUR), 0) << "each has an offset of its own";
  // An mmap of the first sees what was filled for the second.
  void* map = ::mmap(nullptr, 8 * kMiB, PROT_READ, MAP_SHARED, first.fd, 0);
  ASSERT_NE(map, MAP_FAILED);
  EXPECT_EQ(static_cast<std::byte*>(map)[4 * kMiB], ByteAt(1, 5, 4 * kMiB));
  ::munmap(map, 8 * kMiB);
}

TEST_P(ObjectStoreTest, OtherUsersReachObjectsByTheirDescriptorsAlone) {
  fs::create_directories(config.dir + "/objects");
  fs::permissions(config.dir + "/objects", fs::perms::all);  // as a careless umask left it
  const mode_t before = ::umask(0077);
  Open();
  Question asked(1, 8 * kMiB, 0, 1);
  Ask(asked);
  ::umask(before);
  struct stat folder, data, meta;
  ASSERT_EQ(::stat((config.dir + "/objects").c_str(), &folder), 0);
  ASSERT_EQ(::stat(FileOf(1).c_str(), &data), 0);
  ASSERT_EQ(::stat(FileOf(1, ".meta").c_str(), &meta), 0);
  EXPECT_EQ(folder.st_mode & 07777, 0700u);
  EXPECT_EQ(data.st_mode & 07777, 0444u);
  EXPECT_EQ(meta.st_mode & 07777, 0400u);
}

TEST_P(ObjectStoreTest, ConcurrentQuestionsShareOneFetch) {
  Open();
  source.hold = true;
  std::deque<Question> questions;
  for (int i = 0; i < 20; i++) {
    questions.emplace_back(1, 2 * kMiB, static_cast<std::uint64_t>(i % 4) * PST_RANGE_BYTES,
                           PST_RANGE_BYTES * 2);
    store->Materialize(&questions.back(), &source);
  }
  source.Release();
  for (Question& question : questions) {
    Wait(question);
    ExpectBytes(question, question.offset, question.length);
  }
  EXPECT_EQ(source.bytes, 5 * PST_RANGE_BYTES);
}

TEST_P(ObjectStoreTest, AnEmptyFileNeedsNothing) {
  Open();
  Question empty(1, 0);
  Ask(empty);
  EXPECT_EQ(empty.err, 0);
  struct stat st;
  ASSERT_EQ(::fstat(empty.fd, &st), 0);
  EXPECT_EQ(st.st_size, 0);
  EXPECT_EQ(source.requests, 0u);
}

TEST_P(ObjectStoreTest, AFailedFetchFailsOnlyWhoNeedsIt) {
  for (const bool at_once : {false, true}) {
    source.at_once = at_once;
    source.fail_at = 5 * kMiB;
    Open();
    Question bad(1, 12 * kMiB), good(1, 12 * kMiB, 0, kMiB);
    store->Materialize(&bad, &source);
    store->Materialize(&good, &source);
    Wait(bad);
    Wait(good);
    EXPECT_EQ(bad.err, EIO);
    EXPECT_EQ(bad.fd, -1);
    ExpectBytes(good, 0, kMiB);
    source.fail_at = UINT64_MAX;
    Question retry(1, 12 * kMiB);
    Ask(retry);
    ExpectBytes(retry, 0, 12 * kMiB);
    store.reset();
    fs::remove_all(config.dir);
  }
}

TEST_P(ObjectStoreTest, CancelAndDeadlineEndAWaitAndTheFetchGoesOn) {
  Open();
  source.hold = true;
  Question cancelled(1, kMiB), late(1, kMiB), patient(1, kMiB);
  late.deadline_ns = MonotonicNs() + 20'000'000;
  for (Question* question : {&cancelled, &late, &patient}) store->Materialize(question, &source);
  store->Cancel(&cancelled);
  Wait(cancelled);
  EXPECT_EQ(cancelled.err, ECANCELED);
  Wait(late);
  EXPECT_EQ(late.err, EIO);
  source.Release();
  Wait(patient);
  ExpectBytes(patient, 0, kMiB);
  EXPECT_EQ(source.requests, 1u);
  store->Cancel(&patient);  // over: nothing happens
}

TEST_P(ObjectStoreTest, FileWritesThatAreUnderWayOutliveTheStore) {
  Open();
  source.at_once = true;  // its bytes are on their way to the disk when Materialize returns
  Question question(1, 24 * kMiB);
  store->Materialize(&question, &source);
  store->Cancel(&question);
  ASSERT_TRUE(question.answered);
  store.reset();
  // What the store gave back is somebody else's by now.
  std::vector<std::vector<char>> others;
  for (std::size_t bytes = 16; bytes <= 4096; bytes += 8)
    for (int i = 0; i < 8; i++) others.emplace_back(bytes, '\x5a');
  RunFor(200);
  Question again(1, 24 * kMiB);
  Open();
  store->Materialize(&again, &source);
  Wait(again);
  EXPECT_EQ(again.err, 0);
}

TEST_P(ObjectStoreTest, ARestartFindsItWarmAndChecksIt) {
  Open();
  Question first(1, 9 * kMiB, 0, 6 * kMiB);
  Ask(first);
  first.CloseFd();
  Reopen();
  Question again(1, 9 * kMiB, 0, 6 * kMiB);
  Ask(again);
  ExpectBytes(again, 0, 6 * kMiB);
  EXPECT_EQ(source.bytes, 6 * kMiB);
  Question rest(1, 9 * kMiB);
  Ask(rest);
  ExpectBytes(rest, 0, 9 * kMiB);
  EXPECT_EQ(source.bytes, 9 * kMiB);
  EXPECT_EQ(store->Stats().corrupt, 0u);
}

TEST_P(ObjectStoreTest, AFlippedBitIsNeverGivenOut) {
  Open();
  {
    Question first(1, 6 * kMiB);
    Ask(first);
  }
  store.reset();
  const std::string file = FileOf(1);
  ::chmod(file.c_str(), 0600);
  {
    std::fstream flip(file, std::ios::in | std::ios::out | std::ios::binary);
    flip.seekg(5 * kMiB + 77);
    const char was = static_cast<char>(flip.get());
    flip.seekp(5 * kMiB + 77);
    flip.put(static_cast<char>(was ^ 4));
  }
  Open();
  Question intact(1, 6 * kMiB, 0, kMiB);
  Ask(intact);
  ExpectBytes(intact, 0, kMiB);
  EXPECT_EQ(store->Stats().corrupt, 0u) << "only what is asked for is read back";
  Question again(1, 6 * kMiB);
  Ask(again);
  ExpectBytes(again, 0, 6 * kMiB);
  EXPECT_EQ(store->Stats().corrupt, 1u);
}

TEST_P(ObjectStoreTest, TornOrForeignFilesAreUnknown) {
  const auto damage = [&](int how) {
    const std::string data = FileOf(1), meta = FileOf(1, ".meta");
    ::chmod(data.c_str(), 0600);
    ::chmod(meta.c_str(), 0600);
    switch (how) {
      case 0:
        fs::remove(meta);
        break;
      case 1:
        fs::resize_file(meta, 100);
        break;
      case 2:
        fs::resize_file(data, 1 * kMiB);
        break;
      case 3: {
        std::fstream f(meta, std::ios::in | std::ios::out);
        f.seekp(140);
        f.put('!');
      } break;
      case 4:
        fs::resize_file(meta, kMetaHeaderBytes);
        break;  // records lost
      case 5:
        fs::remove(data);
        fs::create_directory(data);
        break;
      case 6:
        fs::remove(data);
        fs::create_symlink("/etc/passwd", data);
        break;
      case 7: {
        std::fstream f(meta, std::ios::in | std::ios::out);
        f.seekp(kMetaHeaderBytes + 3);
        f.put('!');
      } break;
      default:
        break;
    }
  };
  for (int how = 0; how < 8; how++) {
    Open();
    {
      Question first(1, 2 * kMiB);
      Ask(first);
    }
    store.reset();
    damage(how);
    Open();
    Question again(1, 2 * kMiB);
    Ask(again);
    ExpectBytes(again, 0, 2 * kMiB);
    again.CloseFd();
    store.reset();
    fs::remove_all(config.dir);
  }
}

TEST_P(ObjectStoreTest, AnotherOriginsObjectIsNotTakenForOurs) {
  Open();
  Question first(1, kMiB);
  Ask(first);
  config.origins = {"file:///elsewhere"};
  Reopen();
  Question other(1, kMiB);
  Ask(other);
  EXPECT_EQ(source.bytes, 2 * kMiB);
}

TEST_P(ObjectStoreTest, LimitsAreObeyedOldestFirst) {
  config.max_bytes = 16 * kMiB;
  Open();
  for (std::uint64_t key = 1; key <= 8; key++) {
    Question question(key, 4 * kMiB);
    Ask(question);
    ExpectBytes(question, 0, 4 * kMiB);
    EXPECT_LE(store->Stats().bytes, config.max_bytes);
  }
  EXPECT_EQ(store->Stats().dropped, 4u);
  EXPECT_EQ(FileOf(4), "");
  EXPECT_NE(FileOf(5), "");
  const std::uint64_t before = source.bytes;
  Question kept(8, 4 * kMiB);
  Ask(kept);
  EXPECT_EQ(source.bytes, before);
}

TEST_P(ObjectStoreTest, WhatAProgramHasOpenOrMappedIsNotDropped) {
  config.max_bytes = 8 * kMiB;
  config.fallback_bytes = 0;
  Open();
  Question held(1, 4 * kMiB);
  Ask(held);
  void* map = ::mmap(nullptr, 4 * kMiB, PROT_READ, MAP_SHARED, held.fd, 0);
  ASSERT_NE(map, MAP_FAILED);
  held.CloseFd();  // the mapping alone holds it
  for (std::uint64_t key = 2; key <= 4; key++) {
    Question question(key, 4 * kMiB);
    Ask(question);
    EXPECT_EQ(question.err, 0) << key;
  }
  EXPECT_NE(FileOf(1), "");
  EXPECT_EQ(static_cast<std::byte*>(map)[4 * kMiB - 1], ByteAt(1, 5, 4 * kMiB - 1));
  Question other(5, 4 * kMiB), third(6, 4 * kMiB);
  Ask(other);
  EXPECT_EQ(other.err, 0);
  Ask(third);
  EXPECT_EQ(third.err, ENOSPC) << "all is open";
  ::munmap(map, 4 * kMiB);
  Question now(7, 4 * kMiB);
  Ask(now);
  EXPECT_EQ(now.err, 0);
  EXPECT_EQ(FileOf(1), "");
}

TEST_P(ObjectStoreTest, LargerThanTheTierIsNoSpaceAtOnce) {
  Open();
  Question huge(1, 65 * kMiB);
  Ask(huge);
  EXPECT_EQ(huge.err, ENOSPC);
  EXPECT_EQ(source.requests, 0u);
  Question part(1, 65 * kMiB, 0, kMiB);
  Ask(part);
  EXPECT_EQ(part.err, 0);
}

TEST_P(ObjectStoreTest, FilesAreBounded) {
  config.max_files = 3;
  Open();
  for (std::uint64_t key = 1; key <= 6; key++) {
    Question question(key, 100);
    Ask(question);
    EXPECT_EQ(question.err, 0);
  }
  EXPECT_LE(store->Stats().objects, 3u);
}

TEST_P(ObjectStoreTest, MoreObjectsThanDescriptorsAndThanFilesAllowed) {
  for (const std::uint64_t max_files : {1'000'000, 100}) {
    config.max_files = max_files;
    for (int start = 0; start < 2; start++) {
      Open();
      RunFor(600);  // what the start before left is found: older than all
      for (std::uint64_t key = 1; key <= 300; key++) {
        const std::string meta = start == 1 && key % 7 == 0 ? FileOf(key, ".meta") : "";
        if (!meta.empty()) fs::remove(meta);
        Question question(key, 100 + key);
        Ask(question);
        ExpectBytes(question, 0, 100 + key);
      }
      store.reset();
    }
  }
}

TEST_P(ObjectStoreTest, AnUnusableFolderLeadsToMemory) {
  std::ofstream(root + "/file") << "x";
  config.dir = root + "/file/cache";
  config.fallback_bytes = 8 * kMiB;
  Open();
  Question question(1, 4 * kMiB), large(2, 9 * kMiB);
  Ask(question);
  ExpectBytes(question, 0, 4 * kMiB);
  EXPECT_EQ(store->Stats().memory_objects, 1u);
  char byte = 'x';
  EXPECT_EQ(::pwrite(question.fd, &byte, 1, 0), -1);
  Ask(large);
  EXPECT_EQ(large.err, ENOSPC);
  for (std::uint64_t key = 3; key < 6; key++) {  // the memory, too, is used again
    Question next(key, 4 * kMiB);
    Ask(next);
    EXPECT_EQ(next.err, 0);
    EXPECT_LE(store->Stats().bytes, 8 * kMiB);
  }
}

TEST_P(ObjectStoreTest, AFullDiskLeadsToMemory) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to mount a small disk";
  fs::create_directory(root + "/small");
  if (::system(("mount -t tmpfs -o size=3m tmpfs " + root + "/small 2>/dev/null").c_str()) != 0)
    GTEST_SKIP() << "may not mount";
  config.dir = root + "/small/cache";
  Open();
  Question question(1, 6 * kMiB), small(2, kMiB);
  Ask(question);
  ExpectBytes(question, 0, 6 * kMiB);
  EXPECT_EQ(store->Stats().memory_objects, 1u);
  Ask(small);
  ExpectBytes(small, 0, kMiB);
  small.CloseFd();
  store.reset();
  EXPECT_EQ(::system(("umount " + root + "/small").c_str()), 0);
}

TEST_P(ObjectStoreTest, TwoSidecarsOfOneFolderDoNotMeet) {
  Open();
  auto other = MakeObjectStore(loop.get(), config);
  Question mine(1, kMiB), theirs(1, kMiB);
  Ask(mine);
  (*other)->Materialize(&theirs, &source);
  Wait(theirs);
  ExpectBytes(theirs, 0, kMiB);
  struct stat a, b;
  ::fstat(mine.fd, &a);
  ::fstat(theirs.fd, &b);
  EXPECT_NE(a.st_ino, b.st_ino);
}

TEST_P(ObjectStoreTest, AStartFindsOldBytesAndKeepsTheLimit) {
  config.max_bytes = 40 * kMiB;
  Open();
  for (std::uint64_t key = 1; key <= 8; key++) {
    Question question(key, 4 * kMiB);
    Ask(question);
  }
  store.reset();
  const std::string orphan = FileOf(3, ".meta");
  fs::remove(orphan);
  config.max_bytes = 16 * kMiB;
  Open();
  RunFor(1500);
  EXPECT_LE(store->Stats().bytes, config.max_bytes);
  EXPECT_EQ(FileOf(3), "") << "half an object is removed";
  EXPECT_GE(store->Stats().objects, 3u);
}

TEST_P(ObjectStoreTest, ASidecarKilledWhileItFillsLeavesNothingWrong) {
  constexpr std::uint64_t kSize = 24 * kMiB;
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 6; round++) {
    const pid_t child = ::fork();
    if (child == 0) {
      auto own_loop = MakeLoop(GetParam());
      Source own_source(own_loop.get());
      auto made = MakeObjectStore(own_loop.get(), config);
      Question question(1, kSize);
      (*made)->Materialize(&question, &own_source);
      own_loop->Run();
      ::_exit(0);
    }
    ::usleep(static_cast<useconds_t>(1000 * (1 + random() % 60)));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    // Whatever is there is taken over, and what is given out is right.
    Open();
    Question part(1, kSize, random() % kSize, 2 * kMiB);
    Ask(part);
    ExpectBytes(part, part.offset, std::min<std::uint64_t>(kSize - part.offset, 2 * kMiB));
    // At most the object whose file was just being made, which is then made anew.
    EXPECT_LE(store->Stats().corrupt, 1u);
    store.reset();
  }
  Open();
  Question whole(1, kSize);
  Ask(whole);
  ExpectBytes(whole, 0, kSize);
}

TEST_P(ObjectStoreTest, RandomQuestionsAgainstTheContent) {
  config.max_bytes = 24 * kMiB;
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  Open();
  int given = 0;
  for (int round = 0; round < 12; round++) {
    std::deque<Question> questions;
    for (int i = 0; i < 10; i++) {
      const std::uint64_t key = 1 + random() % 5;
      const std::uint64_t size = key * 3 * kMiB + key * 1001;
      const std::uint64_t from = random() % size;
      questions.emplace_back(key, size, from, 1 + random() % (6 * kMiB));
      source.at_once = random() % 2 == 0;
      store->Materialize(&questions.back(), &source);
      if (random() % 8 == 0 && !questions.back().answered) store->Cancel(&questions.back());
    }
    for (Question& question : questions) {
      Wait(question);
      if (question.err == ECANCELED) continue;
      // All five files are larger than the tier, and open ones stay: then the answer is ENOSPC.
      if (question.err == ENOSPC) continue;
      given++;
      const std::uint64_t to = std::min(question.attr.size, question.offset + question.length);
      ExpectBytes(question, question.offset,
                  std::min<std::uint64_t>(to - question.offset, 300'000));
    }
    if (round % 4 == 3) {
      RunFor(5);  // fetches of cancelled questions end
      while (source.inflight > 0) RunFor(5);
      RunFor(50);
      Reopen();
    }
  }
  EXPECT_GT(given, 40);
}

}  // namespace
}  // namespace penstock::cache
