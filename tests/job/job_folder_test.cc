#include "cache/job/job_folder.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "cache/job/fd.h"

namespace penstock::cache {
namespace {

namespace fs = std::filesystem;

struct JobFolderTest : testing::Test {
  JobFolderTest() {
    char name[] = "/tmp/penstock-job-XXXXXX";
    root = ::mkdtemp(name);
    config.path = root + "/job.sock.d";
  }
  ~JobFolderTest() override {
    folder.reset();
    if (auto again = OpenJobFolder(config)) (*again)->Remove();
    fs::remove_all(root);
  }
  void Open() {
    auto opened = OpenJobFolder(config);
    ASSERT_TRUE(opened.has_value()) << opened.error().context;
    folder = std::move(*opened);
  }
  std::string root;
  JobFolderConfig config;
  std::unique_ptr<JobFolder> folder;
};

// The client's side of a table.
struct Mapping {
  explicit Mapping(int fd)
      : memory(::mmap(nullptr, PST_OPEN_FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) {
    EXPECT_NE(memory, MAP_FAILED);
  }
  ~Mapping() { ::munmap(memory, PST_OPEN_FILE_BYTES); }
  pst_slot& operator[](std::uint32_t slot) {
    return reinterpret_cast<pst_slot*>(static_cast<char*>(memory) + PST_SLOTS_OFFSET)[slot];
  }
  void* memory;
};

int Temporary(const char* text) {
  const int fd = ::memfd_create("kept", MFD_CLOEXEC);
  EXPECT_EQ(::write(fd, text, std::strlen(text)), static_cast<ssize_t>(std::strlen(text)));
  return fd;
}

ino_t InodeOf(int fd) {
  struct stat st;
  EXPECT_EQ(::fstat(fd, &st), 0);
  return st.st_ino;
}

TEST_F(JobFolderTest, ReservationsDescribeThemselvesAndRefuseEveryNativeUse) {
  Open();
  ASSERT_TRUE(folder->Join(1, 0, -1).has_value());
  auto slots = folder->Lease(1, 3);
  ASSERT_TRUE(slots.has_value());
  ASSERT_EQ(slots->size(), 3u);
  for (std::uint32_t slot : *slots) {
    const int fd = ::openat(folder->directory_fd(), std::to_string(slot).c_str(),
                            O_PATH | O_CLOEXEC | O_NOFOLLOW);
    ASSERT_GE(fd, 0) << std::strerror(errno);
    struct stat st;
    ASSERT_EQ(::fstat(fd, &st), 0);
    EXPECT_TRUE(S_ISSOCK(st.st_mode));
    EXPECT_EQ(st.st_mode & 07777, 0666u) << "another user must get ENXIO, not EACCES";
    char link[PATH_MAX] = {};
    const std::string self = "/proc/self/fd/" + std::to_string(fd);
    ASSERT_GT(::readlink(self.c_str(), link, sizeof link - 1), 0);
    EXPECT_EQ(std::string(link), config.path + "/" PST_OPEN_FILE_DIR "/" + std::to_string(slot));
    char byte;
    EXPECT_EQ(::read(fd, &byte, 1), -1);
    EXPECT_EQ(errno, EBADF);
    EXPECT_EQ(::open(self.c_str(), O_RDONLY), -1);
    EXPECT_EQ(errno, ENXIO);
    ::close(fd);
  }
}

TEST_F(JobFolderTest, TheFolderLetsOthersInButDoesNotListItself) {
  Open();
  struct stat st;
  ASSERT_EQ(::stat(config.path.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0711u);
  ASSERT_EQ(::stat((config.path + "/job").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0600u);
}

TEST_F(JobFolderTest, RefusesAFolderThatIsALinkOrAFile) {
  fs::create_directory(root + "/elsewhere");
  fs::create_directory_symlink(root + "/elsewhere", config.path);
  EXPECT_FALSE(OpenJobFolder(config).has_value());
  fs::remove(config.path);
  std::ofstream(config.path) << "x";
  EXPECT_FALSE(OpenJobFolder(config).has_value());
  fs::remove(config.path);
}

TEST_F(JobFolderTest, NoClientCanCutTheTableOff) {
  Open();
  auto table = folder->Join(1, 0, -1);
  ASSERT_TRUE(table.has_value());
  EXPECT_EQ(::ftruncate(*table, 0), -1);
  EXPECT_EQ(::ftruncate(*table, static_cast<off_t>(PST_OPEN_FILE_BYTES * 2)), -1);
  EXPECT_EQ(::fcntl(*table, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -1) << "nor seal it for others";
}

TEST_F(JobFolderTest, ARestartKeepsTheJobAdoptsItsTableAndLeavesOldNumbersAlone) {
  Open();
  const std::uint64_t job = folder->job();
  EXPECT_EQ(folder->starts(), 1u);
  auto table = folder->Join(1, 0, -1);
  ASSERT_TRUE(table.has_value());
  const int client_fd = ::fcntl(*table, F_DUPFD_CLOEXEC, 0);
  const auto old_slots = folder->Lease(1, 10);
  ASSERT_EQ(old_slots->size(), 10u);
  Mapping lines(client_fd);
  lines[(*old_slots)[0]].word = (5ull << PST_OFFSET_BITS) | 4096;
  lines[(*old_slots)[0]].state = PST_SLOT_OPEN;

  folder.reset();
  Open();
  EXPECT_EQ(folder->job(), job);
  EXPECT_EQ(folder->starts(), 2u);
  auto again = folder->Join(100, 1, client_fd);
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(InodeOf(*again), InodeOf(client_fd));
  auto state = folder->Slot(100, (*old_slots)[0]);
  ASSERT_TRUE(state.has_value());
  EXPECT_EQ(state->offset, 4096u);
  EXPECT_EQ(state->generation, 5u);
  const auto new_slots = folder->Lease(100, 10);
  for (std::uint32_t slot : *new_slots)
    EXPECT_EQ(std::count(old_slots->begin(), old_slots->end(), slot), 0) << slot;
  // Whoever comes now shares the old table; adopting it twice is once.
  EXPECT_EQ(InodeOf(*folder->Join(101, 0, -1)), InodeOf(client_fd));
  EXPECT_EQ(InodeOf(*folder->Join(102, 0, client_fd)), InodeOf(client_fd));
  EXPECT_EQ(folder->GetStats().tables, 2u);
  ::close(client_fd);
}

TEST_F(JobFolderTest, ATableThatCameTooLateIsUsedByItsOwnFamilyOnly) {
  Open();
  const int old_fd = ::fcntl(*folder->Join(1, 0, -1), F_DUPFD_CLOEXEC, 0);
  folder.reset();
  Open();
  const ino_t fresh = InodeOf(*folder->Join(10, 0, -1));
  EXPECT_NE(fresh, InodeOf(old_fd));
  EXPECT_EQ(InodeOf(*folder->Join(11, 0, old_fd)), InodeOf(old_fd));
  EXPECT_EQ(InodeOf(*folder->Join(12, 11, -1)), InodeOf(old_fd));
  EXPECT_EQ(InodeOf(*folder->Join(13, 0, -1)), fresh);
  ::close(old_fd);
}

TEST_F(JobFolderTest, ForeignTablesAreRefusedAndTheSessionGetsOurs) {
  Open();
  const ino_t ours = InodeOf(*folder->Join(1, 0, -1));
  const auto try_fd = [&](int fd) {
    EXPECT_FALSE(folder->Adopt(fd).has_value());
    static std::uint64_t next = 1000;
    auto joined = folder->Join(next++, 0, fd);
    ASSERT_TRUE(joined.has_value());
    EXPECT_EQ(InodeOf(*joined), ours);
    ::close(fd);
  };
  const auto make = [&](off_t size, int seals, std::uint64_t job) {
    const int fd = ::memfd_create("foreign", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    EXPECT_EQ(::ftruncate(fd, size), 0);
    pst_open_file_table header{};
    header.magic = PST_OPEN_FILE_MAGIC;
    header.major = PST_ABI_MAJOR;
    header.job = job;
    header.slot_count = PST_OPEN_FILE_SLOTS;
    EXPECT_EQ(::pwrite(fd, &header, sizeof header, 0), static_cast<ssize_t>(sizeof header));
    EXPECT_TRUE(seals == 0 || ::fcntl(fd, F_ADD_SEALS, seals) == 0);
    return fd;
  };
  constexpr int kAll = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  const off_t size = static_cast<off_t>(PST_OPEN_FILE_BYTES);
  try_fd(make(size, 0, folder->job()));
  try_fd(make(size, F_SEAL_SHRINK | F_SEAL_SEAL, folder->job()));
  try_fd(make(size, kAll | F_SEAL_WRITE, folder->job()));
  try_fd(make(size, kAll, folder->job() + 1));
  try_fd(make(size - 4096, kAll, folder->job()));
  try_fd(::open("/dev/null", O_RDWR));
  try_fd(::open(root.c_str(), O_RDONLY));
  const int good = make(size, kAll, folder->job());
  EXPECT_TRUE(folder->Adopt(good).has_value()) << "the checks above must be what refused";
  ::close(good);
}

TEST_F(JobFolderTest, ATornJobFileBeginsANewJob) {
  Open();
  const std::uint64_t job = folder->job();
  folder.reset();
  std::ofstream(config.path + "/job", std::ios::trunc) << "penstock-job 1\nid 00";
  Open();
  EXPECT_NE(folder->job(), job);
  EXPECT_EQ(folder->starts(), 1u);
}

TEST_F(JobFolderTest, AReusedSlotHasAGenerationNobodyBelievesIn) {
  Open();
  Mapping lines(*folder->Join(1, 0, -1));
  const std::uint32_t slot = folder->Lease(1, 1)->front();
  const std::uint32_t before = pst_word_generation(lines[slot].word);
  lines[slot].word += 77;
  lines[slot].state = PST_SLOT_OPEN;
  lines[slot].session = 1;
  folder->Release(1);
  ASSERT_TRUE(folder->Join(2, 0, -1).has_value());
  EXPECT_EQ(folder->Lease(2, 1)->front(), slot);
  std::uint64_t offset = 0;
  EXPECT_EQ(pst_slot_claim(&lines[slot], before, 100, 10, &offset), -1);
  EXPECT_EQ(lines[slot].state, PST_SLOT_FREE);
  EXPECT_EQ(pst_word_offset(lines[slot].word), 0u);
  EXPECT_EQ(lines[slot].session, 0u);
}

TEST_F(JobFolderTest, ADeadSessionsSharedSlotStaysForItsChildren) {
  Open();
  Mapping lines(*folder->Join(1, 0, -1));
  const auto slots = *folder->Lease(1, 2);
  for (std::uint32_t slot : slots) lines[slot].state = PST_SLOT_OPEN;
  lines[slots[1]].shared = 1;
  ASSERT_TRUE(folder->Join(2, 1, -1).has_value());
  folder->Release(1);
  EXPECT_EQ(folder->GetStats().slots_leased, 1u);
  const auto more = *folder->Lease(2, 4);
  EXPECT_EQ(std::count(more.begin(), more.end(), slots[1]), 0);
  EXPECT_EQ(std::count(more.begin(), more.end(), slots[0]), 1);
}

TEST_F(JobFolderTest, SharersGetTheSameOpenFileUntilTheSlotMovesOn) {
  Open();
  Mapping lines(*folder->Join(1, 0, -1));
  ASSERT_TRUE(folder->Join(2, 1, -1).has_value());
  const std::uint32_t slot = folder->Lease(1, 1)->front();
  const std::uint32_t generation = pst_word_generation(lines[slot].word);
  lines[slot].state = PST_SLOT_MATERIALIZED;
  const FileIdentity file{PST_NS_FILES, {1, 2}, 3};
  const FileIdentity other{PST_NS_FILES, {1, 2}, 4};

  EXPECT_EQ(folder->FileFor(2, slot, generation, file), -1);
  auto kept = folder->KeepFile(1, slot, generation, file, Temporary("one"));
  ASSERT_TRUE(kept.has_value());
  const std::string again = "/proc/self/fd/" + std::to_string(*kept);
  auto second = folder->KeepFile(2, slot, generation, file, ::open(again.c_str(), O_RDONLY));
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(*second, *kept) << "the first stays: its offset is what sharers see";
  auto foreign = folder->KeepFile(2, slot, generation, file, Temporary("two"));
  ASSERT_FALSE(foreign.has_value());
  EXPECT_EQ(foreign.error().code, Code::kVersionChanged);
  EXPECT_EQ(folder->FileFor(2, slot, generation, file), *kept);
  EXPECT_EQ(folder->FileFor(2, slot, generation, other), -1);
  EXPECT_EQ(folder->FileFor(2, slot, generation + 2, file), -1);
  EXPECT_FALSE(folder->KeepFile(1, slot, generation + 2, file, Temporary("x")).has_value());
  EXPECT_FALSE(folder->KeepFile(1, PST_OPEN_FILE_SLOTS, 0, file, Temporary("x")).has_value());
  EXPECT_FALSE(folder->KeepFile(99, slot, generation, file, Temporary("x")).has_value());
  EXPECT_FALSE(folder->KeepFile(1, slot, generation, file, -1).has_value());

  lines[slot].word |= 1ull << PST_OFFSET_BITS;  // frozen: the same open file
  EXPECT_EQ(folder->FileFor(2, slot, generation, file), *kept);
  lines[slot].word = static_cast<std::uint64_t>(generation + 2) << PST_OFFSET_BITS;
  EXPECT_EQ(folder->FileFor(2, slot, generation, file), -1);
  EXPECT_EQ(folder->GetStats().kept_files, 0u);
}

TEST_F(JobFolderTest, ALockDoesNotOutliveThoseWhoHaveTheFile) {
  Open();
  Mapping lines(*folder->Join(1, 0, -1));
  ASSERT_TRUE(folder->Join(2, 1, -1).has_value());
  const FileIdentity file{PST_NS_FILES, {1, 2}, 3};
  const std::string path = root + "/locked";
  std::ofstream(path) << "text";
  const auto slots = *folder->Lease(1, 3);
  const auto keep = [&](std::uint32_t slot) {
    lines[slot].state = PST_SLOT_MATERIALIZED;
    lines[slot].session = 1;
    lines[slot].shared = 1;
    return folder->KeepFile(1, slot, pst_word_generation(lines[slot].word), file,
                            ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  };
  const auto is_free = [&] {
    const Fd other(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    return ::flock(other.get(), LOCK_EX | LOCK_NB) == 0;
  };
  const auto unlock = [&](std::uint32_t slot, std::uint32_t more) {
    folder->Unlock(2, slot, pst_word_generation(lines[slot].word) + more);
  };

  auto kept = keep(slots[0]);
  ASSERT_TRUE(kept.has_value());
  unlock(slots[0], 0);
  EXPECT_EQ(folder->GetStats().kept_files, 1u) << "not locked: sharers may still come for it";
  ASSERT_EQ(::flock(*kept, LOCK_EX), 0);
  unlock(slots[0], 2);
  EXPECT_FALSE(is_free()) << "another open of the slot says nothing about this one";
  unlock(slots[0], 0);
  EXPECT_TRUE(is_free());

  kept = keep(slots[1]);
  ASSERT_TRUE(kept.has_value() && keep(slots[2]).has_value());
  ASSERT_EQ(::flock(*kept, LOCK_EX), 0);
  folder->Release(1);
  EXPECT_FALSE(is_free()) << "a child of the opener lives and may have it";
  folder->Release(2);
  EXPECT_TRUE(is_free());
  EXPECT_EQ(folder->GetStats().kept_files, 1u) << "the one without a lock";
}

TEST_F(JobFolderTest, KeptFilesGoWithTheirSlotAndAreBounded) {
  config.max_kept_files = 32;  // of which a session gets an eighth
  Open();
  Mapping lines(*folder->Join(1, 0, -1));
  const auto slots = *folder->Lease(1, 6);
  const FileIdentity file{PST_NS_FILES, {1, 2}, 3};
  int kept = 0;
  for (std::uint32_t slot : slots) {
    lines[slot].state = PST_SLOT_MATERIALIZED;
    kept += folder->KeepFile(1, slot, pst_word_generation(lines[slot].word), file, Temporary("x"))
                .has_value();
  }
  EXPECT_EQ(kept, 6) << "those taken longest ago make room";
  EXPECT_LE(folder->GetStats().kept_files, 4u);
  const auto found = [&](std::uint32_t slot) {
    return folder->FileFor(1, slot, pst_word_generation(lines[slot].word), file) >= 0;
  };
  EXPECT_FALSE(found(slots[0]) || found(slots[1]));
  EXPECT_TRUE(found(slots[4]) && found(slots[5]));
  // A sharer that comes too late gets no file with an offset of its own.
  lines[slots[0]].word |= 1ull << PST_OFFSET_BITS;
  auto late = folder->KeepFile(1, slots[0], pst_word_generation(lines[slots[0]].word), file,
                               Temporary("x"));
  ASSERT_FALSE(late.has_value());
  EXPECT_EQ(late.error().code, Code::kVersionChanged);
  lines[slots[5]].state = PST_SLOT_FREE;  // closed
  EXPECT_FALSE(found(slots[5]));
  folder->Release(1);
  EXPECT_EQ(folder->GetStats().kept_files, 0u);
}

TEST_F(JobFolderTest, RubbishInALineIsNotBelieved) {
  Open();
  Mapping lines(*folder->Join(1, 0, -1));
  const std::uint32_t slot = folder->Lease(1, 1)->front();
  std::memset(&lines[slot], 0xff, sizeof lines[slot]);
  EXPECT_FALSE(folder->Slot(1, slot).has_value());
  EXPECT_FALSE(folder->Slot(1, PST_OPEN_FILE_SLOTS).has_value());
  EXPECT_FALSE(folder->Slot(7, slot).has_value());
  folder->Release(1);
}

TEST_F(JobFolderTest, LeasesObeyTheLimitOfASession) {
  config.max_slots_per_session = 5;
  Open();
  ASSERT_TRUE(folder->Join(1, 0, -1).has_value());
  EXPECT_EQ(folder->Lease(1, 4)->size(), 4u);
  EXPECT_EQ(folder->Lease(1, 4)->size(), 1u);
  EXPECT_EQ(folder->Lease(1, 1)->size(), 0u);
  EXPECT_FALSE(folder->Lease(2, 1).has_value());
}

TEST_F(JobFolderTest, ShadowDirectoriesAreRealAndNamedByMountAndPath) {
  Open();
  const std::string odd = "a b/\xff\xfe/\n%2f";
  for (const std::string& path : {std::string(), std::string("train/0001"), odd}) {
    auto fd = folder->Directory(3, path);
    ASSERT_TRUE(fd.has_value()) << fd.error().context;
    struct stat st;
    ASSERT_EQ(::fstat(*fd, &st), 0);
    EXPECT_TRUE(S_ISDIR(st.st_mode));
    EXPECT_EQ(st.st_mode & 07777, 0555u);
    char link[PATH_MAX] = {};
    ASSERT_GT(::readlink(("/proc/self/fd/" + std::to_string(*fd)).c_str(), link, sizeof link - 1),
              0);
    EXPECT_EQ(std::string(link),
              config.path + "/" PST_SHADOW_DIR "/3" + (path.empty() ? "" : "/" + path));
    EXPECT_EQ(::fcntl(*fd, F_GETFD), FD_CLOEXEC);
    ::close(*fd);
  }
  const int again = *folder->Directory(3, "train/0001");
  ::close(again);
  // 3, train, 0001, "a b", the two odd names
  EXPECT_EQ(folder->GetStats().directories, 6u);
}

TEST_F(JobFolderTest, ShadowDirectoriesOfFoldersAboveAMount) {
  Open();
  auto fd = folder->Directory(3, "", 2);
  ASSERT_TRUE(fd.has_value()) << fd.error().context;
  char link[PATH_MAX] = {};
  ASSERT_GT(::readlink(("/proc/self/fd/" + std::to_string(*fd)).c_str(), link, sizeof link - 1), 0);
  EXPECT_EQ(std::string(link), config.path + "/" PST_SHADOW_DIR "/3^2");
  ::close(*fd);
  EXPECT_EQ(folder->Directory(3, "train", 1).error().code, Code::kInvalid);
  EXPECT_EQ(folder->Directory(3, "", UINT64_MAX).error().code, Code::kInvalid);
}

TEST_F(JobFolderTest, ShadowDirectoriesTakeTheLongestPathAndNothingUnclean) {
  Open();
  std::string longest;
  while (longest.size() + 256 < PST_PATH_MAX) longest += std::string(255, 'n') + "/";
  longest.pop_back();
  std::string deepest;
  while (deepest.size() + 2 < PST_PATH_MAX) deepest += "d/";
  deepest.pop_back();
  for (const std::string& path : {longest, deepest}) {
    auto fd = folder->Directory(0, path);
    ASSERT_TRUE(fd.has_value()) << fd.error().context << fd.error().errno_value;
    EXPECT_EQ(::fchdir(*fd), 0);
    EXPECT_EQ(::chdir("/"), 0);
    ::close(*fd);
  }
  for (const char* bad : {"/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b"}) {
    auto fd = folder->Directory(0, bad);
    ASSERT_FALSE(fd.has_value()) << bad;
    EXPECT_EQ(fd.error().code, Code::kInvalid) << bad;
  }
  EXPECT_EQ(folder->Directory(0, std::string(256, 'x')).error().code, Code::kNameTooLong);
  EXPECT_EQ(folder->Directory(0, std::string_view("a\0b", 3)).error().code, Code::kInvalid);
  EXPECT_EQ(folder->Directory(PST_MAX_MOUNTS, "a").error().code, Code::kInvalid);
}

TEST_F(JobFolderTest, WhatASessionTakesIsNeverMoreThanWhatItLeaves) {
  config.max_slots_per_session = PST_OPEN_FILE_SLOTS;
  Open();
  ASSERT_TRUE(folder->Join(1, 0, -1).has_value());
  ASSERT_TRUE(folder->Join(2, 0, -1).has_value());
  // Sockets are not made for a count alone: a lease that is asked for is a lease that is had.
  std::uint32_t held = 0;
  for (;;) {
    const auto got = static_cast<std::uint32_t>(folder->Lease(1, 4096)->size());
    if (got == 0) break;
    held += got;
  }
  EXPECT_EQ(held, PST_OPEN_FILE_SLOTS / 2);
  EXPECT_EQ(folder->Lease(2, 64)->size(), 64u);
}

TEST_F(JobFolderTest, ASessionKeepsAnEighthOfTheFilesAtMost) {
  config.max_kept_files = 32;
  Open();
  Mapping lines(*folder->Join(1, 0, -1));
  ASSERT_TRUE(folder->Join(2, 1, -1).has_value());
  const FileIdentity file{PST_NS_FILES, {1, 2}, 3};
  const auto keep = [&](std::uint64_t session) {
    const std::uint32_t slot = folder->Lease(session, 1)->front();
    lines[slot].state = PST_SLOT_OPEN;
    const std::uint32_t generation = folder->Slot(session, slot)->generation;
    return folder->KeepFile(session, slot, generation, file, ::open("/dev/null", O_RDONLY)).has_value();
  };
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(keep(1)) << i;
  EXPECT_FALSE(keep(1));
  EXPECT_TRUE(keep(2));
  folder->Release(2);
}

TEST_F(JobFolderTest, ShadowDirectoriesUsedLongestAgoMakeRoom) {
  config.max_directories = 20;
  Open();
  ::close(*folder->Directory(0, "stays/inner"));
  for (int i = 0; i < 500; ++i) {
    const auto fd = folder->Directory(0, "d" + std::to_string(i % 7) + "/e" + std::to_string(i));
    ASSERT_TRUE(fd.has_value()) << i << fd.error().context;
    struct stat st;
    ASSERT_EQ(::fstat(*fd, &st), 0);
    EXPECT_EQ(st.st_nlink == 0, false);
    ::close(*fd);
    ::close(*folder->Directory(0, "stays"));
    ASSERT_LE(folder->GetStats().directories, 21u) << i;
  }
  const std::string below = config.path + "/" PST_SHADOW_DIR "/0/";
  EXPECT_TRUE(fs::exists(below + "stays"));
  EXPECT_FALSE(fs::exists(below + "d0/e0"));
  EXPECT_TRUE(fs::exists(below + "d2/e499"));
  ::close(*folder->Directory(0, "d0/e0"));  // as good as new
  struct stat st;
  ASSERT_EQ(::stat((below + "d0").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0555u);
}

TEST_F(JobFolderTest, ShadowDirectoriesFollowNoLink) {
  Open();
  fs::create_directory(root + "/outside");
  ::close(*folder->Directory(0, "a"));
  ASSERT_EQ(::chmod((config.path + "/" PST_SHADOW_DIR "/0").c_str(), 0755), 0);
  ASSERT_EQ(
      ::symlink((root + "/outside").c_str(), (config.path + "/" PST_SHADOW_DIR "/0/link").c_str()),
      0);
  EXPECT_FALSE(folder->Directory(0, "link").has_value());
  EXPECT_FALSE(folder->Directory(0, "link/below").has_value());
  EXPECT_TRUE(fs::is_empty(root + "/outside"));
}

TEST_F(JobFolderTest, AnotherUserMayEnterButNotWrite) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to become another user";
  ::chmod(root.c_str(), 0755);
  Open();
  ASSERT_TRUE(folder->Join(1, 0, -1).has_value());
  const std::uint32_t slot = folder->Lease(1, 1)->front();
  const int dir = *folder->Directory(0, "a/b");
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(1);
    if (::fchdir(dir) != 0) ::_exit(2);
    if (::mkdir("x", 0777) == 0) ::_exit(3);
    const std::string name = std::to_string(slot);
    if (::openat(folder->directory_fd(), name.c_str(), O_PATH) < 0) ::_exit(4);
    if (::openat(folder->directory_fd(), ".", O_RDONLY) >= 0) ::_exit(5);
    if (::mknodat(folder->directory_fd(), "x", S_IFSOCK | 0600, 0) == 0) ::_exit(6);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0) << WEXITSTATUS(status);
  ::close(dir);
}

TEST_F(JobFolderTest, RemoveLeavesNothingBehind) {
  Open();
  ASSERT_TRUE(folder->Join(1, 0, -1).has_value());
  folder->Lease(1, 100);
  std::string deepest;
  while (deepest.size() + 2 < PST_PATH_MAX) deepest += "d/";
  deepest.pop_back();
  ::close(*folder->Directory(0, deepest));
  ::close(*folder->Directory(1, "x/y"));
  folder->Remove();
  EXPECT_FALSE(fs::exists(config.path));
}

}  // namespace
}  // namespace penstock::cache
