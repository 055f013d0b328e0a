// What a program does that a guest in it must survive: becoming another user, jumping out of a tree walk,
// forking beside a thread in the middle of something, folders that look like ours, shadows that are removed.

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "shim/abi/open_file.h"
#include "tests/shim/check.h"

namespace {

// Runs `body` in a child that has `seconds` for it. What it failed at counts.
template <class Body>
void InChild(unsigned seconds, const char* what, Body body) {
  fflush(nullptr);
  const pid_t pid = fork();
  if (pid == 0) {
    alarm(seconds);
    body();
    fflush(nullptr);
    _exit(g_failures == 0 ? 0 : 1);
  }
  int status = 0;
  CHECK(waitpid(pid, &status, 0) == pid && status == 0, "%s: status %x", what, static_cast<unsigned>(status));
}

// Files without an owner of their own are the program's, whoever that is by now.
void AnotherUser() {
  if (getuid() != 0) {
    printf("not root: becoming another user is not tried\n");
    return;
  }
  const std::string name = g_covered + "/hello";
  struct stat info;
  CHECK(stat(name.c_str(), &info) == 0 && info.st_uid == 0 && info.st_gid == 0);
  InChild(20, "setresuid", [&] {
    CHECK(stat(name.c_str(), &info) == 0 && info.st_uid == 0);
    CHECK(access(name.c_str(), R_OK) == 0);
    CHECK(setresgid(4321, 4321, 4321) == 0 && setresuid(1234, 1234, 1234) == 0);
    CHECK(stat(name.c_str(), &info) == 0 && info.st_uid == 1234 && info.st_gid == 4321, "%u:%u", info.st_uid,
          info.st_gid);
    CHECK(access(name.c_str(), R_OK) == 0);
    CHECK(access(name.c_str(), X_OK) == -1 && errno == EACCES);
  });
  InChild(20, "raw setuid", [&] {
    CHECK(stat(name.c_str(), &info) == 0 && info.st_uid == 0);
    CHECK(syscall(SYS_setuid, 1234) == 0);
    CHECK(stat(name.c_str(), &info) == 0 && info.st_uid == 1234, "%u", info.st_uid);
  });
}

jmp_buf g_out;
int JumpOut(const char*, const struct stat*, int, struct FTW*) { longjmp(g_out, 1); }

long Faults() {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

// A walk whose callback never returns leaves behind what libc's would: nothing that other calls need.
void JumpOutOfWalks() {
  static int jumps;
  for (jumps = 0; jumps < 200; ++jumps) {
    if (setjmp(g_out) == 0) nftw((g_covered + "/sub").c_str(), JumpOut, 4, FTW_PHYS);
  }
  // Names that must be rewritten take memory from a pool. When that is empty each costs a mapping.
  const std::string name = g_covered + "/sub/../hello";
  struct stat info;
  CHECK(stat(name.c_str(), &info) == 0);
  const long before = Faults();
  for (int i = 0; i < 1000; ++i) stat(name.c_str(), &info);
  CHECK(Faults() - before < 500, "%ld faults", Faults() - before);
}

// A child goes on with a stream that a thread of its parent was reading at that very moment.
void ForkBesideReaddir() {
  int want = 0;
  DIR* dir = opendir((g_covered + "/many").c_str());
  while (readdir(dir) != nullptr) ++want;
  rewinddir(dir);
  std::atomic<bool> stop{false}, runs{false};
  DIR* shared = nullptr;
  std::thread reader([&] {
    shared = opendir((g_covered + "/many").c_str());
    for (runs = true; !stop; rewinddir(shared))
      while (readdir(shared) != nullptr) {
      }
  });
  while (!runs) usleep(100);
  for (int i = 0; i < 40; ++i) {
    InChild(20, "readdir", [&] {
      int count = 0;
      errno = 0;
      while (readdir(shared) != nullptr) ++count;
      CHECK(errno == 0 && count <= want, "%d of %d", count, want);
      rewinddir(shared);
      for (count = 0; readdir(shared) != nullptr;) ++count;
      CHECK(errno == 0 && count == want, "%d of %d", count, want);
    });
  }
  stop = true;
  reader.join();
  closedir(shared);
  closedir(dir);
}

// A folder that is named like one of ours is the program's own.
void LookAlike() {
  const int home = open(".", O_RDONLY | O_DIRECTORY);
  char top[] = "/tmp/penstock-look-XXXXXX";
  CHECK(mkdtemp(top) != nullptr);
  const std::string outer = std::string(top) + "/" PST_SHADOW_DIR, folder = outer + "/0";
  CHECK(mkdir(outer.c_str(), 0700) == 0 && mkdir(folder.c_str(), 0700) == 0);
  CHECK(chdir(folder.c_str()) == 0);
  char where[4096];
  CHECK(getcwd(where, sizeof where) != nullptr && folder == where, "%s", where);
  const int fd = open("made", O_CREAT | O_WRONLY, 0600);
  CHECK(fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0);
  CHECK(access("hello", F_OK) == -1 && errno == ENOENT);
  CHECK(access((folder + "/made").c_str(), R_OK) == 0 && unlink("made") == 0);
  // What another process has there, too.
  int ends[2];
  CHECK(pipe(ends) == 0);
  const pid_t pid = fork();
  if (pid == 0) {
    char byte;
    close(ends[1]);
    _exit(read(ends[0], &byte, 1) == 0 ? 0 : 1);
  }
  const ssize_t n = readlink(("/proc/" + std::to_string(pid) + "/cwd").c_str(), where, sizeof where);
  CHECK(n > 0 && folder == std::string(where, static_cast<size_t>(n)), "%.*s", static_cast<int>(n), where);
  close(ends[0]);
  close(ends[1]);
  waitpid(pid, nullptr, 0);
  CHECK(fchdir(home) == 0 && rmdir(folder.c_str()) == 0 && rmdir(outer.c_str()) == 0 && rmdir(top) == 0);
  close(home);
}

// A directory that the program holds stays ours in the next program, also when its shadow was removed.
void RemovedShadow(const char* self) {
  const char* socket = getenv("PENSTOCK_SOCKET");
  const int fd = open((g_covered + "/sub").c_str(), O_RDONLY | O_DIRECTORY);
  CHECK(fd >= 0 && socket != nullptr);
  const std::string shadow = std::string(socket) + PST_JOB_FOLDER_SUFFIX "/" PST_SHADOW_DIR "/0/sub";
  (void)rmdir((shadow + "/deep").c_str());
  CHECK(rmdir(shadow.c_str()) == 0, "%s", shadow.c_str());
  fflush(nullptr);
  const pid_t pid = fork();
  if (pid == 0) {
    execl(self, self, "inherited", std::to_string(fd).c_str(), static_cast<char*>(nullptr));
    _exit(9);
  }
  int status = 0;
  CHECK(waitpid(pid, &status, 0) == pid && status == 0, "status %x", static_cast<unsigned>(status));
  close(fd);
}

int Inherited(int fd) {
  struct stat info;
  if (fstatat(fd, "r", &info, 0) != 0 || info.st_size != 65536) return 1;
  const int file = openat(fd, "deep/big", O_RDONLY);
  char bytes[16];
  return file >= 0 && read(file, bytes, sizeof bytes) == sizeof bytes ? 0 : 2;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && strcmp(argv[1], "inherited") == 0) return Inherited(atoi(argv[2]));
  Folders(argc, argv);
  AnotherUser();
  JumpOutOfWalks();
  ForkBesideReaddir();
  LookAlike();
  RemovedShadow(argv[0]);
  return g_failures == 0 ? 0 : 1;
}
