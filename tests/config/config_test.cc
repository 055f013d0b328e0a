#include "cache/config/config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>

#include "cache/config/gen_config.h"

namespace penstock::cache {
namespace {

constexpr const char* kWhole = R"(version = 1
[sidecar]
socket = "/run/penstock/job.sock"
linger = "60s"
cpus = 2
[cache]
dir = "/mnt/nvme/penstock"
memory = "8GiB"
nvme = "500GiB"
[[mount]]
path = "/data/train"
origin = "az://account/container/prefix"
endpoint = "http://127.0.0.1:10000/account"
mode = "ro"
class = "dataset"
metadata_ttl = "60s"
uid = 1000
[mount.auth]
mode = "auto"
[[mount]]
path = "/data/train//nested/./"
origin = "file:///srv/data"
mode = "rw"
class = "checkpoint"
[mount.auth]
mode = "key"
)";

TEST(Config, TheContractsExample) {
  const auto config = ParseConfig(kWhole, "/tmp/job.toml");
  ASSERT_TRUE(config) << config.error()[0].ToString();
  EXPECT_EQ(config->sidecar.socket, "/run/penstock/job.sock");
  EXPECT_EQ(config->sidecar.linger_ns, 60'000'000'000);
  EXPECT_EQ(config->sidecar.cpus, 2u);
  EXPECT_EQ(config->sidecar.allow_uids, std::vector<std::uint32_t>{geteuid()});
  EXPECT_EQ(config->cache.dir, "/mnt/nvme/penstock");
  EXPECT_EQ(config->cache.memory_bytes, 8ull << 30);
  EXPECT_EQ(config->cache.nvme_bytes, 500ull << 30);
  ASSERT_EQ(config->mounts.size(), 2u);
  EXPECT_EQ(config->mounts[0].uid, 1000u);
  EXPECT_EQ(config->mounts[0].endpoint, "http://127.0.0.1:10000/account");
  EXPECT_EQ(config->mounts[1].path, "/data/train/nested");
  EXPECT_EQ(config->mounts[1].mode, MountMode::kReadWrite);
  EXPECT_EQ(config->mounts[1].data_class, MountDataClass::kCheckpoint);
  EXPECT_EQ(config->mounts[1].auth_mode, "key");
  EXPECT_FALSE(config->mounts[1].uid);
}

TEST(Config, IdentitiesAreNamedNotGiven) {
  const auto config = ParseConfig(
      "version = 1\n[[mount]]\npath = \"/d\"\norigin = \"az://a/c\"\n[mount.auth]\nmode = \"spn\"\n"
      "client_id = \"1-2\"\ntenant_id = \"contoso.onmicrosoft.com\"\n"
      "authority_host = \"https://login.microsoftonline.us\"\ncertificate_file = \"/s/app.pem\"\n",
      "/x.toml");
  ASSERT_TRUE(config) << config.error()[0].ToString();
  EXPECT_EQ(config->mounts[0].auth_mode, "spn");
  EXPECT_EQ(config->mounts[0].identity.client_id, "1-2");
  EXPECT_EQ(config->mounts[0].identity.tenant_id, "contoso.onmicrosoft.com");
  EXPECT_EQ(config->mounts[0].identity.authority_host, "https://login.microsoftonline.us");
  EXPECT_EQ(config->mounts[0].identity.certificate_file, "/s/app.pem");
}

TEST(Config, TheLeastThatIsNeeded) {
  const auto config =
      ParseConfig("version = 1\n[[mount]]\npath = \"/d\"\norigin = \"file:///s\"\n", "/x.toml");
  ASSERT_TRUE(config) << config.error()[0].ToString();
  EXPECT_FALSE(config->sidecar.socket.empty());
  EXPECT_FALSE(config->cache.dir.empty());
  EXPECT_TRUE(config->sidecar.admin_uids.empty());
  EXPECT_GE(config->cache.memory_bytes, 64ull << 20);
}

TEST(Config, ListsOfFoldersAndOfUsers) {
  const auto config = ParseConfig(
      "version = 1\n[sidecar]\nallow_uids = [7]\nadmin_uids = [8]\n[cache]\ndir = [\"/a\", \"/b/c\"]\n"
      "[[mount]]\npath = \"/d\"\norigin = \"file:///s\"\n",
      "/x.toml");
  ASSERT_TRUE(config) << config.error()[0].ToString();
  EXPECT_EQ(config->cache.dir, "/a");
  EXPECT_EQ(config->cache.more_dirs, std::vector<std::string>{"/b/c"});
  EXPECT_EQ(config->sidecar.admin_uids, std::vector<std::uint32_t>{8});
  EXPECT_EQ(config->sidecar.allow_uids, (std::vector<std::uint32_t>{geteuid(), 7}));
  const auto any = ParseConfig(
      "version = 1\n[sidecar]\nallow_uids = \"*\"\n[[mount]]\npath = \"/d\"\norigin = "
      "\"file:///s\"\n",
      "/x");
  ASSERT_TRUE(any);
  EXPECT_TRUE(any->sidecar.allow_any_uid);
}

struct Bad {
  const char* what;
  const char* text;  // `@` stands for a valid [[mount]]
  int line;
  const char* key;
  const char* says;  // must be in the message
};

std::string WithMount(const char* text) {
  std::string out;
  for (const char* p = text; *p != 0; ++p) {
    if (*p == '@')
      out += "[[mount]]\npath = \"/d\"\norigin = \"file:///s\"\n";
    else
      out += *p;
  }
  return out;
}

const Bad kBad[] = {
    {"syntax", "version = \n", 1, "", "not valid TOML"},
    {"twice the same key", "version = 1\nversion = 1\n@", 2, "", "not valid TOML"},
    {"no version", "@", 1, "version", "missing"},
    {"version", "version = 2\n@", 1, "version", "1 to 1"},
    {"version as text", "version = \"1\"\n@", 1, "version", "whole number"},
    {"unknown key", "versoin = 1\n@", 1, "versoin", "did you mean 'version'?"},
    {"unknown key in a table", "\n[cache]\nmemroy = \"1GiB\"\n@", 3, "cache.memroy",
     "did you mean 'memory'?"},
    {"unknown key far from all", "[cache]\nzzzzzzzzzz = 1\n@", 2, "cache.zzzzzzzzzz",
     "allowed here: dir, memory"},
    {"a table is no table", "cache = 7\n@", 1, "cache", "expected a table"},
    {"size without unit name", "[cache]\nmemory = \"8 gigs\"\n@", 2, "cache.memory", "8GiB"},
    {"size too small", "[cache]\nmemory = \"1KiB\"\n@", 2, "cache.memory", "out of range"},
    {"size negative", "[cache]\nnvme = -5\n@", 2, "cache.nvme", "is no size"},
    {"duration as number", "[sidecar]\nlinger = 60\n@", 2, "sidecar.linger", "60s"},
    {"duration nonsense", "[sidecar]\nlinger = \"soon\"\n@", 2, "sidecar.linger", "no duration"},
    {"cpus", "[sidecar]\ncpus = 0\n@", 2, "sidecar.cpus", "1 to 1024"},
    {"socket relative", "[sidecar]\nsocket = \"job.sock\"\n@", 2, "sidecar.socket", "absolute"},
    {"log level", "[sidecar]\nlog_level = \"loud\"\n@", 2, "sidecar.log_level", "\"debug\""},
    {"uids", "[sidecar]\nallow_uids = [\"root\"]\n@", 2, "sidecar.allow_uids", "[1000]"},
    {"dir relative", "[cache]\ndir = \"cache\"\n@", 2, "cache.dir", "absolute"},
    {"a dir twice", "[cache]\ndir = [\"/a\", \"/a/\"]\n@", 2, "cache.dir", "twice"},
    {"a relative dir in a list", "[cache]\ndir = [\"/a\", \"b\"]\n@", 2, "cache.dir", "absolute"},
    {"admins for all", "[sidecar]\nadmin_uids = \"*\"\n@", 2, "sidecar.admin_uids", "list of user ids"},
    {"az without container", "[[mount]]\npath = \"/d\"\norigin = \"az://account/\"\n", 3,
     "mount[0].origin", "no container"},
    {"dir list empty", "[cache]\ndir = []\n@", 2, "cache.dir", "empty"},
    {"hugepages", "[cache]\nhugepages = \"yes\"\n@", 2, "cache.hugepages", "\"auto\""},
    {"no mount", "version = 1\n", 1, "mount", "[[mount]]"},
    {"mount with single brackets", "[mount]\npath = \"/d\"\n", 1, "mount", "[[mount]]"},
    {"mount without path", "\n[[mount]]\norigin = \"file:///s\"\n", 2, "mount[0].path", "missing"},
    {"mount without origin", "\n[[mount]]\npath = \"/d\"\n", 2, "mount[0].origin", "missing"},
    {"path relative", "[[mount]]\npath = \"d\"\norigin = \"file:///s\"\n", 2, "mount[0].path",
     "absolute"},
    {"path with dots", "[[mount]]\npath = \"/d/../e\"\norigin = \"file:///s\"\n", 2,
     "mount[0].path", ".."},
    {"path is root", "[[mount]]\npath = \"/\"\norigin = \"file:///s\"\n", 2, "mount[0].path",
     "cannot be covered"},
    {"path with colon", "[[mount]]\npath = \"/a:b\"\norigin = \"file:///s\"\n", 2, "mount[0].path",
     "colon"},
    {"path twice", "@[[mount]]\npath = \"/d/\"\norigin = \"file:///t\"\n", 4, "mount[1].path",
     "line 1"},
    {"origin unknown", "[[mount]]\npath = \"/d\"\norigin = \"s3://bucket\"\n", 3, "mount[0].origin",
     "az://"},
    {"origin without scheme", "[[mount]]\npath = \"/d\"\norigin = \"/srv\"\n", 3, "mount[0].origin",
     "file:///"},
    {"folder is relative", "[[mount]]\npath = \"/d\"\norigin = \"file://srv\"\n", 3,
     "mount[0].origin", "absolute"},
    {"no container", "[[mount]]\npath = \"/d\"\norigin = \"az://account\"\n", 3, "mount[0].origin",
     "no container"},
    {"no container in abfss", "[[mount]]\npath = \"/d\"\norigin = \"abfss://account/x\"\n", 3,
     "mount[0].origin", "no container"},
    {"endpoint", "@endpoint = \"localhost:10000\"\n", 4, "mount[0].endpoint", "http://"},
    {"mode", "@mode = \"readonly\"\n", 4, "mount[0].mode", "\"ro\", \"rw\""},
    {"verify", "@verify = \"sha1\"\n", 4, "mount[0].verify", "\"md5\""},
    {"http_version", "@http_version = \"3\"\n", 4, "mount[0].http_version", "\"1.1\""},
    {"class", "@class = \"data\"\n", 4, "mount[0].class", "\"dataset\""},
    {"ttl", "@metadata_ttl = \"-1s\"\n", 4, "mount[0].metadata_ttl", "no duration"},
    {"uid", "@uid = -1\n", 4, "mount[0].uid", "whole number"},
    {"auth mode", "@[mount.auth]\nmode = \"password\"\n", 5, "mount[0].auth.mode", "\"msi\""},
    {"client id", "@[mount.auth]\nclient_id = \"a\\r\\nb\"\n", 5, "mount[0].auth.client_id",
     "letters, digits"},
    {"two identities", "@[mount.auth]\nclient_id = \"a\"\nobject_id = \"b\"\n", 4,
     "mount[0].auth.client_id", "only one"},
    {"authority", "@[mount.auth]\nauthority_host = \"login\"\n", 5, "mount[0].auth.authority_host",
     "https://login.microsoftonline.us"},
    {"a secret", "@[mount.auth]\nclient_secret = \"x\"\n", 5, "mount[0].auth.client_secret", ""},
    {"auth key", "@[mount.auth]\nmdoe = \"key\"\n", 5, "mount[0].auth.mdoe",
     "did you mean 'mode'?"},
    {"number where text is wanted", "@mode = 1\n", 4, "mount[0].mode", "string"},
};

TEST(Config, EveryErrorNamesFileLineKeyAndWhatIsAllowed) {
  for (const Bad& bad : kBad) {
    const auto config = ParseConfig(WithMount(bad.text), "/etc/job.toml");
    ASSERT_FALSE(config) << bad.what;
    const auto found = std::find_if(config.error().begin(), config.error().end(),
                                    [&](const ConfigError& error) { return error.key == bad.key; });
    const ConfigError& first = found == config.error().end() ? config.error()[0] : *found;
    const std::string text = first.ToString();
    EXPECT_EQ(first.line, bad.line) << bad.what << ": " << text;
    EXPECT_EQ(first.key, bad.key) << bad.what << ": " << text;
    EXPECT_NE(first.message.find(bad.says), std::string::npos) << bad.what << ": " << text;
    EXPECT_TRUE(text.starts_with("/etc/job.toml:" + std::to_string(bad.line) + ": ")) << text;
  }
}

TEST(Config, AllErrorsAtOnceInTheOrderOfTheFile) {
  const auto config = ParseConfig(
      WithMount("version = 1\n[cache]\nmemory = 1\nnvme = \"x\"\n[sidecar]\ncpus = 0\n@"), "f");
  ASSERT_FALSE(config);
  ASSERT_EQ(config.error().size(), 3u);
  EXPECT_EQ(config.error()[0].line, 3);
  EXPECT_EQ(config.error()[1].line, 4);
  EXPECT_EQ(config.error()[2].line, 6);
}

TEST(Config, SocketPathHasALimit) {
  const std::string socket = "/" + std::string(kSocketPathMax, 's');
  const auto config = ParseConfig(
      WithMount(("version = 1\n[sidecar]\nsocket = \"" + socket + "\"\n@").c_str()), "f");
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error()[0].key, "sidecar.socket");
  EXPECT_NE(config.error()[0].message.find("107"), std::string::npos);
}

TEST(Config, MountsHaveALimit) {
  std::string text = "version = 1\n";
  for (int i = 0; i < 65; ++i)
    text += "[[mount]]\npath = \"/d" + std::to_string(i) + "\"\norigin = \"file:///s\"\n";
  const auto config = ParseConfig(text, "f");
  ASSERT_FALSE(config);
  EXPECT_NE(config.error()[0].message.find("64"), std::string::npos);
}

TEST(Config, FilesThatCannotBeRead) {
  EXPECT_NE(LoadConfig("/nonexistent/job.toml").error()[0].message.find("gen-config"),
            std::string::npos);
  EXPECT_FALSE(LoadConfig("/tmp"));
  const auto endless = LoadConfig("/dev/zero");
  ASSERT_FALSE(endless);
  EXPECT_NE(endless.error()[0].message.find("larger"), std::string::npos);
}

TEST(Config, GeneratedConfigurationParses) {
  GenConfigOptions options;
  options.origin = "file:///with \"quotes\" and \\";
  const auto config = ParseConfig(GenerateConfig(options), "/tmp/gen.toml");
  ASSERT_TRUE(config) << config.error()[0].ToString();
  EXPECT_EQ(config->mounts[0].origin, options.origin);
  EXPECT_GT(config->cache.nvme_bytes, 0u);
}

}  // namespace
}  // namespace penstock::cache
