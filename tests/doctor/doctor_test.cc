#include "cache/doctor/doctor.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "shim/abi/handshake.h"

namespace penstock::cache {
namespace {

namespace fs = std::filesystem;

struct DoctorTest : testing::Test {
  DoctorTest() {
    char name[] = "/tmp/penstock-doctor-XXXXXX";
    root = ::mkdtemp(name);
    fs::create_directory(root + "/data");
    config.socket = root + "/job.sock";
    config.cache_dirs = {root + "/cache"};
    config.memory_bytes = 64 << 20;
    config.nvme_bytes = 64 << 20;
    config.mounts = {{"/data/train", "file://" + root + "/data", "", "auto", false}};
  }
  ~DoctorTest() override { fs::remove_all(root); }

  const Check& Find(const std::string& name) {
    checks = RunDoctor(config);
    const auto it =
        std::find_if(checks.begin(), checks.end(), [&](const Check& c) { return c.name == name; });
    static const Check kMissing{"missing", Verdict::kFail, "", ""};
    EXPECT_NE(it, checks.end()) << name;
    return it == checks.end() ? kMissing : *it;
  }
  std::string root;
  DoctorConfig config;
  std::vector<Check> checks;
};

// Listens at `path` and answers the first hello with `welcome`, or hangs up without one.
std::thread Listen(const std::string& path, const pst_welcome* welcome) {
  const int listener = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  EXPECT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(::listen(listener, 4), 0);
  return std::thread([listener, welcome] {
    const int fd = ::accept(listener, nullptr, nullptr);
    pst_hello hello{};
    EXPECT_EQ(::recv(fd, &hello, sizeof hello, 0), static_cast<ssize_t>(sizeof hello));
    EXPECT_EQ(hello.role, PST_ROLE_ADMIN);
    EXPECT_TRUE(welcome == nullptr || ::send(fd, welcome, sizeof *welcome, 0) > 0);
    ::close(fd);
    ::close(listener);
  });
}

TEST_F(DoctorTest, AUsableMachineHasNothingThatFails) {
  const auto all = RunDoctor(config);
  for (const Check& check : all) {
    EXPECT_NE(check.verdict, Verdict::kFail) << check.name << ": " << check.finding;
    EXPECT_FALSE(check.finding.empty()) << check.name;
    EXPECT_TRUE(check.verdict == Verdict::kOk || !check.remedy.empty()) << check.name;
  }
  for (const char* name : {"kernel", "io-uring", "memory-files", "huge-pages", "open-files",
                           "locked-memory", "memory", "socket-folder", "cache-dir", "sidecar",
                           "origin", "seccomp", "static-programs", "namespaces", "clock", "preload"})
    EXPECT_TRUE(std::any_of(all.begin(), all.end(), [&](const Check& c) { return c.name == name; }))
        << name;
}

TEST_F(DoctorTest, JsonAndTextSayTheSame) {
  config.mounts[0].path = "/data/\xff odd";
  const auto all = RunDoctor(config);
  const auto document = nlohmann::json::parse(DoctorJson(all));
  ASSERT_EQ(document["checks"].size(), all.size());
  EXPECT_EQ(document["verdict"], VerdictName(WorstOf(all)));
  const std::string text = DoctorText(all);
  for (const Check& check : all) EXPECT_NE(text.find(check.finding), text.npos);
}

TEST_F(DoctorTest, AMissingOriginFails) {
  config.mounts[0].origin = "file://" + root + "/nowhere";
  EXPECT_EQ(Find("origin").verdict, Verdict::kFail);
  config.mounts[0].origin = "gopher://x";
  EXPECT_EQ(Find("origin").verdict, Verdict::kFail);
}

TEST_F(DoctorTest, AnUnreachableBlobServerFailsInTimeAndTellsNoSecret) {
  ::setenv("AZURE_STORAGE_ACCOUNT", "account", 1);
  ::setenv("AZURE_STORAGE_KEY", "c2VjcmV0LW9mLXRoZS10ZXN0", 1);
  config.mounts[0].origin = "az://account/container";
  config.mounts[0].endpoint = "http://127.0.0.1:1/account";
  config.origin_timeout_ms = 2000;
  EXPECT_EQ(Find("origin").verdict, Verdict::kFail);
  const auto named = Find("credentials");
  EXPECT_EQ(named.verdict, Verdict::kOk);
  EXPECT_NE(named.finding.find("AZURE_STORAGE_KEY"), named.finding.npos);
  EXPECT_EQ(DoctorText(checks).find("c2VjcmV0"), std::string::npos);
  EXPECT_EQ(DoctorJson(checks).find("c2VjcmV0"), std::string::npos);
  ::unsetenv("AZURE_STORAGE_KEY");
  ::unsetenv("AZURE_STORAGE_ACCOUNT");
  EXPECT_EQ(Find("credentials").verdict, Verdict::kWarn);
}

TEST_F(DoctorTest, SocketFolderAndPathLength) {
  EXPECT_EQ(Find("socket-folder").verdict, Verdict::kOk);
  config.socket = root + "/" + std::string(120, 's');
  EXPECT_EQ(Find("socket-folder").verdict, Verdict::kFail);
  config.socket = root + "/missing/job.sock";
  EXPECT_EQ(Find("socket-folder").verdict, Verdict::kFail);
}

TEST_F(DoctorTest, CacheFolder) {
  EXPECT_NE(Find("cache-dir").finding.find("will be made"), std::string::npos);
  config.nvme_bytes = 1ull << 60;
  EXPECT_EQ(Find("cache-dir").verdict, Verdict::kWarn);
  std::ofstream(root + "/cache") << "x";
  EXPECT_EQ(Find("cache-dir").verdict, Verdict::kWarn);
  config.cache_dirs = {root + "/a/b/c"};
  EXPECT_EQ(Find("cache-dir").verdict, Verdict::kWarn);
  config.cache_dirs = {"/dev/shm"};
  EXPECT_EQ(Find("cache-dir").verdict, Verdict::kWarn) << "tmpfs is memory";
  // Nothing is left behind by trying.
  for (const auto& entry : fs::directory_iterator("/dev/shm"))
    EXPECT_EQ(entry.path().string().find("penstock-doctor"), std::string::npos);
}

TEST_F(DoctorTest, MoreMemoryThanThereIsFails) {
  config.memory_bytes = 1ull << 50;
  EXPECT_EQ(Find("memory").verdict, Verdict::kFail);
}

TEST_F(DoctorTest, WhatAnswersAtTheSocket) {
  EXPECT_EQ(Find("sidecar").verdict, Verdict::kWarn) << "nobody there";
  pst_welcome good{};
  good.magic = PST_HELLO_MAGIC;
  good.major = PST_ABI_MAJOR;
  good.minor = PST_ABI_MINOR;
  pst_welcome other = good, refused = good, rubbish = good;
  other.major = PST_ABI_MAJOR + 1;
  other.err = EPROTO;
  refused.err = EACCES;
  rubbish.magic = 7;
  const auto verdict_of = [&](const pst_welcome* welcome, const char* words) {
    fs::remove(config.socket);
    std::thread server = Listen(config.socket, welcome);
    const Check check = Find("sidecar");
    server.join();
    EXPECT_NE(check.finding.find(words), std::string::npos) << check.finding;
    return check.verdict;
  };
  EXPECT_EQ(verdict_of(&good, "answers at"), Verdict::kOk);
  EXPECT_EQ(verdict_of(&other, "speaks version"), Verdict::kFail);
  EXPECT_EQ(verdict_of(&refused, "does not let uid"), Verdict::kFail);
  EXPECT_EQ(verdict_of(&rubbish, "does not answer as a sidecar"), Verdict::kFail);
  EXPECT_EQ(verdict_of(nullptr, "does not answer as a sidecar"), Verdict::kFail);
}

TEST_F(DoctorTest, PreloadedLibraries) {
  ::setenv("LD_PRELOAD", "/opt/libpenstock.so:/usr/lib/libasan.so.8", 1);
  EXPECT_NE(Find("preload").remedy.find("verify_asan_link_order=0"), std::string::npos);
  ::setenv("LD_PRELOAD", "/opt/libpenstock.so", 1);
  EXPECT_EQ(Find("preload").verdict, Verdict::kOk);
  ::unsetenv("LD_PRELOAD");
  config.shim_path = root + "/libpenstock.so";
  EXPECT_EQ(Find("shim").verdict, Verdict::kFail);
}

}  // namespace
}  // namespace penstock::cache
