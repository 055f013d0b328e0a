// The parts of the sources that the end-to-end tests do not reach: what must be refused.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "transport/base/clock.h"
#include "transport/base/environment.h"
#include "transport/identity/child.h"
#include "transport/identity/http_token_source.h"
#include "transport/identity/identity.h"
#include "transport/identity/managed_identity.h"
#include "transport/identity/secret_file.h"

namespace penstock::identity {
namespace {

namespace fs = std::filesystem;

class Folder : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "pst-identity-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string Write(const std::string& name, const std::string& text) const {
    const fs::path path = folder_ / name;
    std::ofstream(path) << text;
    return path.string();
  }

  fs::path folder_;
};

class ArcKey : public Folder {};

TEST_F(ArcKey, OnlyAKeyFileOfTheAgentsOwnFolderIsRead) {
  const std::string folder = folder_.string();
  const auto read = [&](const std::string& challenge) {
    std::string why;
    auto key = ReadArcKey(challenge, folder, &why);
    return key.value_or("");
  };
  Write("good.key", "the-key\n");
  Write("other.txt", "not-for-you");
  Write("large.key", std::string(4097, 'k'));
  Write("lines.key", "a\r\nX-Other: b");
  fs::create_directory(folder_ / "sub");
  Write("sub/deep.key", "deep");
  EXPECT_EQ(read("Basic realm=" + folder + "/good.key"), "the-key");
  EXPECT_EQ(read("Basic realm=\"" + folder + "/good.key\""), "the-key");
  EXPECT_EQ(read(folder + "/good.key"), "");
  EXPECT_EQ(read("Bearer realm=" + folder + "/good.key"), "");
  EXPECT_EQ(read("Basic realm=" + folder + "/other.txt"), "");
  EXPECT_EQ(read("Basic realm=" + folder + "/large.key"), "");
  EXPECT_EQ(read("Basic realm=" + folder + "/lines.key"), "");
  EXPECT_EQ(read("Basic realm=" + folder + "/sub/deep.key"), "");
  EXPECT_EQ(read("Basic realm=" + folder + "/sub/../good.key"), "");
  EXPECT_EQ(read("Basic realm=good.key"), "");
  EXPECT_EQ(read("Basic realm=" + folder + "/.key"), "");
  EXPECT_EQ(read("Basic realm=/etc/shadow"), "");
  EXPECT_EQ(read("Basic realm="), "");
  EXPECT_EQ(read(""), "");
}

class SecretFile : public Folder {};

TEST_F(SecretFile, IsARegularFileOfLimitedSize) {
  std::string why;
  EXPECT_EQ(ReadSecretLine(Write("a", "secret \r\n\n"), 100, &why), "secret");
  EXPECT_FALSE(ReadSecretLine(Write("empty", "\n"), 100, &why));
  EXPECT_FALSE(ReadSecretFile(Write("b", std::string(101, 'x')), 100, &why));
  EXPECT_FALSE(ReadSecretFile(folder_.string(), 100, &why));
  EXPECT_FALSE(ReadSecretFile((folder_ / "none").string(), 100, &why));
  const std::string pipe = (folder_ / "pipe").string();
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_FALSE(ReadSecretFile(pipe, 100, &why));  // and no wait for a writer
  EXPECT_NE(why.find("no regular file"), std::string::npos);
}

ChildOutput RunFor(const std::vector<std::string>& argv, std::int64_t timeout_ms = 20'000,
                   std::size_t max_bytes = 1 << 16) {
  const std::atomic<bool> cancelled{false};
  return RunChild(argv, {"PATH=/usr/bin:/bin"}, max_bytes,
                  SystemClock::Get().NowNs() + timeout_ms * kNsPerMs, cancelled, -1);
}

TEST(Child, OutputStatusAndFailures) {
  const ChildOutput good = RunFor({"/bin/sh", "-c", "echo out; echo err >&2; exit 3"});
  EXPECT_EQ(good.end, ChildOutput::End::kExited);
  EXPECT_EQ(good.status, 3);
  EXPECT_EQ(good.out, "out\n");
  EXPECT_EQ(good.err, "err\n");
  EXPECT_EQ(RunFor({"/no/such/program"}).end, ChildOutput::End::kNotStarted);
  EXPECT_EQ(RunFor({"/bin/sh", "-c", "kill -9 $$"}).end, ChildOutput::End::kKilled);
  EXPECT_EQ(RunFor({"/bin/sh", "-c", "yes"}, 20'000, 1'000).end, ChildOutput::End::kTooMuch);
  EXPECT_EQ(RunFor({"/bin/sh", "-c", "head -c 100000 /dev/zero >&2; echo ok"}, 20'000).err.size(),
            8u << 10);
}

TEST(Child, TheDeadlineEndsItAndItsChildren) {
  const std::int64_t begin_ns = SystemClock::Get().NowNs();
  EXPECT_EQ(RunFor({"/bin/sh", "-c", "sleep 60 & sleep 60"}, 100).end, ChildOutput::End::kDeadline);
  // One that leaves a child behind which holds its output is not waited for.
  EXPECT_EQ(RunFor({"/bin/sh", "-c", "sleep 5 & echo ok"}).out, "ok\n");
  EXPECT_LT(SystemClock::Get().NowNs() - begin_ns, 4 * kNsPerSecond);
}

TEST(Urls, PlainAndLoopback) {
  for (const char* good : {"https://login.microsoftonline.com", "http://127.0.0.1:40342/a?b=c"}) {
    EXPECT_TRUE(IsPlainUrl(good)) << good;
  }
  for (const char* bad :
       {"", "login.microsoftonline.com", "ftp://x", "http://", "http:///x", "https://a b",
        "https://user:secret@host", "https://host\r\nX: y", "https://host#x"}) {
    EXPECT_FALSE(IsPlainUrl(bad)) << bad;
  }
  EXPECT_TRUE(IsLoopbackUrl("http://127.0.0.1:80/x"));
  EXPECT_TRUE(IsLoopbackUrl("http://localhost"));
  EXPECT_TRUE(IsLoopbackUrl("http://[::1]:80"));
  EXPECT_FALSE(IsLoopbackUrl("http://127.0.0.1.example"));
  EXPECT_FALSE(IsLoopbackUrl("http://localhost.example"));
}

TEST(Clouds, AuthoritiesAndSuffixes) {
  EXPECT_EQ(AuthorityOfSuffix("core.windows.net"), "https://login.microsoftonline.com");
  EXPECT_EQ(AuthorityOfSuffix("core.usgovcloudapi.net"), "https://login.microsoftonline.us");
  EXPECT_EQ(AuthorityOfSuffix("core.chinacloudapi.cn"), "https://login.partner.microsoftonline.cn");
  EXPECT_EQ(AuthorityOfSuffix("private.example"), "");
  IdentityEnvironment environment;
  environment.client_id = "app";
  environment.tenant_id = "t";
  environment.client_secret = "s";
  std::string why;
  const auto authority = [&](std::string_view suffix) {
    return (*ChooseIdentity(IdentityMode::kPrincipal, {}, environment, suffix, "", true, &why))
        ->credentials.authority_host;
  };
  EXPECT_EQ(authority("core.usgovcloudapi.net"), "https://login.microsoftonline.us");
  EXPECT_EQ(authority(""), "https://login.microsoftonline.com");
  environment.authority_host = "https://login.example/";
  EXPECT_EQ(authority("core.usgovcloudapi.net"), "https://login.example");
}

TEST(HideSecrets, TheyLeaveTheEnvironmentAndStayReadable) {
  setenv("AZURE_CLIENT_SECRET", "a-secret", 1);
  setenv("HTTPS_PROXY", "http://u:p@127.0.0.1:1", 1);
  HideSecrets();
  EXPECT_EQ(std::getenv("AZURE_CLIENT_SECRET"), nullptr);
  EXPECT_EQ(Environment("AZURE_CLIENT_SECRET"), "a-secret");
  EXPECT_EQ(IdentityEnvironment::FromProcess().client_secret, "a-secret");
  EXPECT_STREQ(std::getenv("HTTPS_PROXY"), "http://u:p@127.0.0.1:1");
  setenv("AZURE_CLIENT_SECRET", "newer", 1);
  EXPECT_EQ(Environment("AZURE_CLIENT_SECRET"), "newer");
  unsetenv("AZURE_CLIENT_SECRET");
  unsetenv("HTTPS_PROXY");
}

}  // namespace
}  // namespace penstock::identity
