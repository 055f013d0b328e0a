#include "transport/file/file_origin.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <string>
#include <thread>

#include "tests/transport/origin/op_runner.h"
#include "transport/base/random.h"
#include "transport/file/file_version.h"

namespace penstock::origin {
namespace {

namespace fs = std::filesystem;

// Every test runs on both twins.
enum class Twin { kUring, kThreads };

class FileOriginTest : public testing::TestWithParam<Twin> {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "penstock-file-origin-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    if (GetParam() == Twin::kThreads) setenv("PENSTOCK_NO_IO_URING", "1", 1);
    auto io = MakeFileIo();
    unsetenv("PENSTOCK_NO_IO_URING");
    if (GetParam() == Twin::kThreads) {
      ASSERT_STREQ(io->Name(), "threads");
    }
    origin_ = std::make_unique<FileOrigin>(folder_.string(), std::move(io));
  }
  void TearDown() override {
    origin_.reset();
    fs::remove_all(folder_);
  }

  void Write(const std::string& name, const std::string& bytes) {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
  }

  fs::path folder_;
  std::unique_ptr<FileOrigin> origin_;
};

INSTANTIATE_TEST_SUITE_P(Twins, FileOriginTest, testing::Values(Twin::kUring, Twin::kThreads),
                         [](const auto& twin) {
                           return twin.param == Twin::kUring ? "Uring" : "Threads";
                         });

TEST_P(FileOriginTest, StatOfFilesFoldersAndNothing) {
  Write("a/b.bin", "hello");
  const auto file = StatNow(*origin_, "a/b.bin");
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(file.info.kind, ObjectKind::kFile);
  EXPECT_EQ(file.info.size, 5u);
  EXPECT_FALSE(file.info.version.empty());
  EXPECT_GT(file.info.mtime_ns, 1'600'000'000 * kNsPerSecond);
  EXPECT_EQ(StatNow(*origin_, "a").info.kind, ObjectKind::kDirectory);
  EXPECT_EQ(StatNow(*origin_, "").info.kind, ObjectKind::kDirectory);
  EXPECT_EQ(StatNow(*origin_, "a/none").error.code, Code::kNotFound);
  EXPECT_EQ(StatNow(*origin_, "a/b.bin/x").error.code, Code::kNotDirectory);
  EXPECT_EQ(StatNow(*origin_, "../etc").error.code, Code::kInvalid);
  EXPECT_EQ(StatNow(*origin_, std::string(300, 'n')).error.code, Code::kNameTooLong);
}

TEST_P(FileOriginTest, ReadsRangesIntoScatteredBuffers) {
  const std::string bytes = PatternBytes(3'000'000);
  Write("big", bytes);
  for (const auto& [offset, size, piece] : {std::tuple{0u, 3'000'000u, 1u << 20},
                                            {1u, 2'999'998u, 65'536u},
                                            {2'999'999u, 1u, 1u},
                                            {12'345u, 700'000u, 999u},
                                            {3'000'000u, 0u, 1u}}) {
    const auto read = ReadNow(*origin_, "big", offset, size, "", piece);
    ASSERT_EQ(read.error.code, Code::kOk) << read.error.context;
    ASSERT_TRUE(read.bytes == bytes.substr(offset, size)) << offset << "+" << size;
    EXPECT_EQ(read.info.size, 3'000'000u);
  }
}

TEST_P(FileOriginTest, ReadsAboveTheStepSize) {
  const std::string bytes = PatternBytes(40u << 20);
  Write("huge", bytes);
  const auto read = ReadNow(*origin_, "huge", 5, bytes.size() - 5, "", 37u << 20);
  ASSERT_EQ(read.error.code, Code::kOk);
  EXPECT_TRUE(read.bytes == bytes.substr(5));
}

TEST_P(FileOriginTest, HolesAreZerosThatNobodyReads) {
  constexpr std::size_t kSize = (24u << 20) + 99;
  std::string bytes(kSize, '\0');
  Write("sparse", "");
  fs::resize_file(folder_ / "sparse", kSize);
  const int fd = open((folder_ / "sparse").c_str(), O_WRONLY);
  std::size_t written = 0;
  for (const std::size_t at :
       {std::size_t{0}, std::size_t{5'000'001}, std::size_t{17u << 20}, kSize - 70'000}) {
    const std::string piece = PatternBytes(70'000);
    ASSERT_EQ(pwrite(fd, piece.data(), piece.size(), static_cast<off_t>(at)),
              static_cast<ssize_t>(piece.size()));
    bytes.replace(at, piece.size(), piece);
    written += piece.size();
  }
  close(fd);
  const auto whole = ReadNow(*origin_, "sparse", 0, kSize, "", 333'333);
  ASSERT_EQ(whole.error.code, Code::kOk) << whole.error.context;
  EXPECT_TRUE(whole.bytes == bytes);
  EXPECT_LT(origin_->Stats().bytes_read, 4 * written) << "holes were read";
  for (const auto& [offset, size] : {std::pair<std::size_t, std::size_t>{4'999'000, 2000},
                                     {5'070'000, 10'000'000},
                                     {6'000'000, 1}}) {
    const auto part = ReadNow(*origin_, "sparse", offset, size, "", 4097);
    ASSERT_EQ(part.error.code, Code::kOk);
    EXPECT_TRUE(part.bytes == bytes.substr(offset, size)) << offset;
  }
}

TEST_P(FileOriginTest, VersionsMustMatch) {
  Write("f", "one");
  const std::string version = StatNow(*origin_, "f").info.version;
  EXPECT_EQ(ReadNow(*origin_, "f", 0, 3, version).bytes, "one");
  EXPECT_EQ(ReadNow(*origin_, "f", 0, 3).info.version, version);
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  Write("f", "two");
  EXPECT_EQ(ReadNow(*origin_, "f", 0, 3, version).error.code, Code::kVersionChanged);
  EXPECT_EQ(ReadNow(*origin_, "f", 0, 3).bytes, "two");
}

TEST_P(FileOriginTest, AReplacedFileIsAnotherVersionThoughSizeAndMtimeAgree) {
  Write("f", "one");
  const std::string version = StatNow(*origin_, "f").info.version;
  Write("g", "two");
  fs::last_write_time(folder_ / "g", fs::last_write_time(folder_ / "f"));
  fs::rename(folder_ / "g", folder_ / "f");
  EXPECT_EQ(ReadNow(*origin_, "f", 0, 3, version).error.code, Code::kVersionChanged);
}

TEST_P(FileOriginTest, RangesPastTheEndAreTruncated) {
  Write("f", "12345");
  EXPECT_EQ(ReadNow(*origin_, "f", 3, 3).error.code, Code::kTruncated);
  EXPECT_EQ(ReadNow(*origin_, "f", 6, 0).error.code, Code::kTruncated);
  EXPECT_EQ(ReadNow(*origin_, "f", ~0ull, 10).error.code, Code::kTruncated);
  EXPECT_EQ(ReadNow(*origin_, "f", 5, 0).error.code, Code::kOk);
}

TEST_P(FileOriginTest, FoldersAndSpecialFilesAreNotRead) {
  fs::create_directory(folder_ / "d");
  ASSERT_EQ(mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(ReadNow(*origin_, "d", 0, 1).error.code, Code::kIsDirectory);
  EXPECT_EQ(ReadNow(*origin_, "pipe", 0, 1).error.code, Code::kNotFound);
  EXPECT_EQ(StatNow(*origin_, "pipe").error.code, Code::kNotFound);
  EXPECT_EQ(ReadNow(*origin_, "none", 0, 1).error.code, Code::kNotFound);
}

TEST_P(FileOriginTest, FollowsSymbolicLinks) {
  Write("real/x", "linked");
  Write("real/y", "y");
  fs::create_symlink("real/x", folder_ / "inside");
  fs::create_symlink("real", folder_ / "dir");
  fs::path outside = folder_;
  outside += "-outside";
  std::ofstream(outside) << "out";
  fs::create_symlink(outside, folder_ / "outside");
  fs::create_symlink("nowhere", folder_ / "dangling");
  fs::create_symlink("loop", folder_ / "loop");

  EXPECT_EQ(ReadNow(*origin_, "inside", 0, 6).bytes, "linked");
  EXPECT_EQ(ReadNow(*origin_, "dir/y", 0, 1).bytes, "y");
  EXPECT_EQ(ReadNow(*origin_, "outside", 0, 3).bytes, "out");
  EXPECT_EQ(StatNow(*origin_, "dangling").error.code, Code::kNotFound);
  const auto list = ListNow(*origin_, "");
  EXPECT_EQ(list.entries.size(), 4u);  // real, inside, dir, outside
  EXPECT_EQ(list.skipped, 2u);         // dangling, loop
  ASSERT_NE(FindEntry(list, "dir"), nullptr);
  EXPECT_EQ(FindEntry(list, "dir")->kind, ObjectKind::kDirectory);
  EXPECT_EQ(FindEntry(list, "outside")->size, 3u);
  fs::remove(outside);
}

TEST_P(FileOriginTest, ListsWhatStatSees) {
  Write("d/file", "123");
  Write("d/\xff weird %2F name", "");
  fs::create_directory(folder_ / "d/sub");
  ASSERT_EQ(mkfifo((folder_ / "d/pipe").c_str(), 0600), 0);
  const auto list = ListNow(*origin_, "d");
  ASSERT_EQ(list.error.code, Code::kOk);
  EXPECT_EQ(list.entries.size(), 3u);
  EXPECT_EQ(list.skipped, 1u);
  for (const ObjectInfo& entry : list.entries) {
    const auto stat = StatNow(*origin_, "d/" + entry.name);
    ASSERT_TRUE(stat.ok()) << entry.name;
    EXPECT_EQ(stat.info.version, entry.version);
    EXPECT_EQ(stat.info.size, entry.size);
    EXPECT_EQ(stat.info.kind, entry.kind);
  }
  EXPECT_EQ(ListNow(*origin_, "none").error.code, Code::kNotFound);
  EXPECT_EQ(ListNow(*origin_, "d/file").error.code, Code::kNotDirectory);
  EXPECT_TRUE(ListNow(*origin_, "d/sub").entries.empty());
}

TEST_P(FileOriginTest, PagesOfALargeFolderHoldEveryNameOnce) {
  fs::create_directory(folder_ / "many");
  for (int i = 0; i < 12'000; ++i) {
    const int fd =
        open((folder_ / "many" / ("f" + std::to_string(i))).c_str(), O_CREAT | O_RDWR, 0600);
    ASSERT_GE(fd, 0);
    close(fd);
  }
  const auto list = ListNow(*origin_, "many");
  EXPECT_GE(list.pages, 3);
  std::set<std::string> names;
  for (const auto& entry : list.entries) EXPECT_TRUE(names.insert(entry.name).second) << entry.name;
  EXPECT_EQ(names.size(), 12'000u);
}

TEST_P(FileOriginTest, ListingsThatAreNeverFinishedKeepFewFoldersOpen) {
  fs::create_directory(folder_ / "many");
  for (int i = 0; i < 5'100; ++i) {
    close(open((folder_ / "many" / std::to_string(i)).c_str(), O_CREAT | O_RDWR, 0600));
  }
  const auto open_fds = [] {
    return std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator());
  };
  const auto before = open_fds();
  std::string marker;
  for (int i = 0; i < 40; ++i) {
    ListOp op;
    op.directory = "many";
    RunOp(&op, [&](ListOp* started) { origin_->List(started); });
    ASSERT_TRUE(op.ok());
    marker = op.next_marker;
  }
  EXPECT_LE(open_fds(), before + 16);
  ListOp rest;
  rest.directory = "many";
  rest.marker = marker;
  RunOp(&rest, [&](ListOp* started) { origin_->List(started); });
  EXPECT_EQ(rest.entries.size(), 100u);
  ListOp bad;
  bad.directory = "many";
  bad.marker = "x";
  RunOp(&bad, [&](ListOp* started) { origin_->List(started); });
  EXPECT_EQ(bad.error.code, Code::kInvalid);
}

TEST_P(FileOriginTest, APassedDeadlineEndsTheOperation) {
  Write("f", "12345");
  EXPECT_EQ(ReadNow(*origin_, "f", 0, 5, "", 5, -1).error.code, Code::kDeadline);
  StatOp stat;
  stat.name = "f";
  stat.deadline_ns = 1;
  RunOp(&stat, [&](StatOp* started) { origin_->Stat(started); });
  EXPECT_EQ(stat.error.code, Code::kDeadline);
}

// Passes calls on, and runs `interfere` before the fifth read.
class InterferingIo final : public FileIo {
 public:
  InterferingIo(std::unique_ptr<FileIo> under, std::function<void()> interfere)
      : under_(std::move(under)), interfere_(std::move(interfere)) {}
  void Submit(FileCall* call) override {
    if (call->kind == FileCall::Kind::kRead && ++reads_ == 5) interfere_();
    under_->Submit(call);
  }
  const char* Name() const override { return under_->Name(); }

 private:
  std::unique_ptr<FileIo> under_;
  std::function<void()> interfere_;
  int reads_ = 0;
};

TEST_P(FileOriginTest, AChangeBetweenTwoStepsOfAReadIsSeen) {
  constexpr std::size_t kSize = 64'000;  // ten steps of 64 buffers of 100 bytes
  const std::string first(kSize, 'a');
  const std::string second(kSize, 'b');
  const auto in_place = [&] {
    const int fd = open((folder_ / "f").c_str(), O_WRONLY);
    ASSERT_EQ(pwrite(fd, second.data(), kSize, 0), static_cast<ssize_t>(kSize));
    close(fd);
  };
  const auto by_rename = [&] {
    Write("f.new", second);
    fs::rename(folder_ / "f.new", folder_ / "f");
  };
  const auto shorter = [&] { fs::resize_file(folder_ / "f", 10); };
  const auto removed = [&] { fs::remove(folder_ / "f"); };
  for (const std::function<void()>& interfere :
       {std::function<void()>(in_place), std::function<void()>(by_rename),
        std::function<void()>(shorter), std::function<void()>(removed)}) {
    Write("f", first);
    FileOrigin origin(folder_.string(),
                      std::make_unique<InterferingIo>(MakePoolFileIo(1, "test"), interfere));
    const std::string version = StatNow(origin, "f").info.version;
    EXPECT_EQ(ReadNow(origin, "f", 0, kSize, version, 100).error.code, Code::kVersionChanged);
  }
  // Without a version it starts again and delivers the new one.
  for (const std::function<void()>& interfere :
       {std::function<void()>(in_place), std::function<void()>(by_rename)}) {
    Write("f", first);
    FileOrigin origin(folder_.string(),
                      std::make_unique<InterferingIo>(MakePoolFileIo(1, "test"), interfere));
    const auto read = ReadNow(origin, "f", 0, kSize, "", 100);
    ASSERT_EQ(read.error.code, Code::kOk) << read.error.context;
    EXPECT_TRUE(read.bytes == second);
  }
}

// A reader must see one version or an error, never a mix, while writers replace the file, by rename
// and in place.
TEST_P(FileOriginTest, NeverAMixUnderWriters) {
  constexpr std::size_t kSize = 300'000;
  Write("f", std::string(kSize, 'a'));
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    Random random(7);
    while (!stop) {
      const std::string bytes(kSize, static_cast<char>('a' + random.Below(26)));
      if (random.Below(2) == 0) {
        Write("f.new", bytes);
        fs::rename(folder_ / "f.new", folder_ / "f");
      } else {
        const int fd = open((folder_ / "f").c_str(), O_WRONLY);
        // One call: between two calls the file would really hold both.
        ASSERT_EQ(pwrite(fd, bytes.data(), kSize, 0), static_cast<ssize_t>(kSize));
        close(fd);
      }
      std::this_thread::sleep_for(std::chrono::microseconds(random.Below(60'000)));
    }
  });
  int whole = 0;
  for (int i = 0; i < 60; ++i) {
    const auto stat = StatNow(*origin_, "f");
    const auto read = ReadNow(*origin_, "f", 0, kSize, stat.info.version, 10'000);
    if (read.error.code != Code::kOk) {
      EXPECT_EQ(read.error.code, Code::kVersionChanged) << read.error.context;
      continue;
    }
    ++whole;
    const bool uniform = std::all_of(read.bytes.begin(), read.bytes.end(),
                                     [&](char c) { return c == read.bytes[0]; });
    ASSERT_TRUE(uniform);
  }
  stop = true;
  writer.join();
  EXPECT_GT(whole, 0);
}

TEST_P(FileOriginTest, CancelEndsAReadThatWaits) {
  Write("f", "12345");  // fresh: the read waits for the clock's tick
  std::string bytes(5, '\0');
  ReadOp op;
  op.name = "f";
  op.buffers = {std::as_writable_bytes(std::span(bytes))};
  RunOp(&op, [&](ReadOp* started) {
    origin_->Read(started);
    origin_->Cancel(started);
  });
  EXPECT_TRUE(op.error.code == Code::kCancelled || op.ok());
  origin_->Cancel(&op);  // over already: nothing happens
}

TEST_P(FileOriginTest, ManyReadsAtOnce) {
  const std::string bytes = PatternBytes(1 << 20);
  Write("f", bytes);
  constexpr int kReads = 600;  // more than the ring holds
  std::vector<ReadOp> ops(kReads);
  std::vector<std::string> results(kReads, std::string(1'000, '\0'));
  std::counting_semaphore<> finished(0);
  for (int i = 0; i < kReads; ++i) {
    ops[i].name = "f";
    ops[i].offset = static_cast<std::uint64_t>(i) * 1'000;
    ops[i].deadline_ns = InMs(20'000);
    ops[i].buffers = {std::as_writable_bytes(std::span(results[i]))};
    ops[i].user = &finished;
    ops[i].done = [](Op* op) { static_cast<std::counting_semaphore<>*>(op->user)->release(); };
    origin_->Read(&ops[i]);
  }
  for (int i = 0; i < kReads; ++i) finished.acquire();
  for (int i = 0; i < kReads; ++i) {
    ASSERT_TRUE(ops[i].ok()) << ops[i].error.context;
    ASSERT_TRUE(results[i] == bytes.substr(ops[i].offset, 1'000));
  }
  EXPECT_EQ(origin_->Stats().bytes_read, 600'000u);
}

TEST_P(FileOriginTest, ProbeSaysWhatIsWrong) {
  std::string explanation;
  EXPECT_TRUE(origin_->Probe(1'000, &explanation));
  FileOrigin missing((folder_ / "none").string(), MakePoolFileIo(1, "test"));
  const auto probe = missing.Probe(1'000, &explanation);
  ASSERT_FALSE(probe);
  EXPECT_EQ(probe.error().code, Code::kNotFound);
  EXPECT_NE(explanation.find("does not exist"), std::string::npos);
  Write("file", "");
  FileOrigin file((folder_ / "file").string(), MakePoolFileIo(1, "test"));
  EXPECT_EQ(file.Probe(1'000, &explanation).error().code, Code::kNotDirectory);
}

TEST(FileVersion, WhatIsLeftOfTheTickOfAChange) {
  constexpr std::int64_t kTick = 20 * kNsPerMs;
  const auto left = [](std::int64_t mtime_ms, std::int64_t ctime_ms, bool waited) {
    struct stat attributes{};
    const std::int64_t now_ns = 1'000 * kNsPerSecond;
    const auto at = [&](std::int64_t ms) {
      const std::int64_t ns = now_ns + ms * kNsPerMs;
      return timespec{ns / kNsPerSecond, ns % kNsPerSecond};
    };
    attributes.st_mtim = at(mtime_ms);
    attributes.st_ctim = at(ctime_ms);
    return TickLeftNs(attributes, now_ns, kTick, waited);
  };
  EXPECT_EQ(left(-1'000, -1'000, false), 0);
  EXPECT_EQ(left(-5, -5, false), 15 * kNsPerMs);
  EXPECT_EQ(left(-5, -5, true), 15 * kNsPerMs);
  EXPECT_EQ(left(3'000, 3'000, false), kTick) << "a server whose clock is ahead";
  EXPECT_EQ(left(3'000, 3'000, true), 0);
  EXPECT_EQ(left(3'000, -1'000, false), 0) << "somebody set the mtime ahead long ago";
  EXPECT_EQ(left(-1'000, -5, false), 15 * kNsPerMs);
}

TEST(FileUrl, Forms) {
  std::string why;
  EXPECT_EQ(ParseFileUrl("file:///a/b c%20", &why).value(), "/a/b c%20");
  EXPECT_EQ(ParseFileUrl("file:///a/b//", &why).value(), "/a/b");
  EXPECT_EQ(ParseFileUrl("file://localhost/a", &why).value(), "/a");
  EXPECT_EQ(ParseFileUrl("file:///", &why).value(), "/");
  for (const char* bad : {"file://a/b", "file:a", "file://", "a"}) {
    why.clear();
    EXPECT_FALSE(ParseFileUrl(bad, &why)) << bad;
    EXPECT_NE(why.find("three slashes"), std::string::npos);
  }
}

TEST(MakeOrigin, ChoosesByScheme) {
  std::string why;
  OriginConfig config;
  config.url = "file:///tmp";
  auto origin = MakeOrigin(config, &why);
  ASSERT_TRUE(origin);
  EXPECT_EQ((*origin)->Describe(), "file:///tmp");
  config.url = "s3://bucket";
  EXPECT_FALSE(MakeOrigin(config, &why));
  EXPECT_NE(why.find("s3://bucket"), std::string::npos);
}

TEST(FileIo, TheRingIsUsedWhereItIsAllowed) {
  auto ring = MakeUringFileIo();
  if (ring == nullptr) GTEST_SKIP() << "io_uring is forbidden here; the twin was tested";
  EXPECT_STREQ(MakeFileIo()->Name(), "io_uring");
}

}  // namespace
}  // namespace penstock::origin
