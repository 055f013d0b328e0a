// az:// against a real Azurite.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/transport/origin/azurite.h"
#include "tests/transport/origin/op_runner.h"
#include "transport/blob/az_auth.h"
#include "transport/http/percent.h"

namespace penstock::origin {
namespace {

Azurite* server = nullptr;

class AzuriteEnvironment final : public testing::Environment {
 public:
  void SetUp() override {
    server = new Azurite;
    const std::string why = server->Start();
    ASSERT_EQ(why, "");
  }
  void TearDown() override {
    delete server;
    server = nullptr;
  }
};

const auto* const kEnvironment = testing::AddGlobalTestEnvironment(new AzuriteEnvironment);

void ClearVariables() {
  for (const char* name : {"AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCESS_KEY",
                           "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_CONNECTION_STRING",
                           "AZURE_STORAGE_AUTH_TYPE", "AZURE_STORAGE_BLOB_ENDPOINT"}) {
    unsetenv(name);
  }
}

class AzuriteTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(server, nullptr);
    ClearVariables();
    static int containers = 0;
    container_ = "c" + std::to_string(++containers) + "-test";
    writer_ = std::make_unique<BlobWriter>(server->endpoint(), container_);
    ASSERT_EQ(writer_->CreateContainer(), 201);
  }
  void TearDown() override { ClearVariables(); }

  OriginConfig Config(const std::string& prefix = "") const {
    OriginConfig config;
    config.url = std::string("az://") + kTestAccount + "/" + container_ + "/" + prefix;
    config.endpoint = server->endpoint();
    return config;
  }

  std::unique_ptr<Origin> Make(const OriginConfig& config) {
    std::string why;
    auto made = MakeOrigin(config, &why);
    EXPECT_TRUE(made) << why;
    return made ? *std::move(made) : nullptr;
  }

  std::unique_ptr<Origin> WithKey(const std::string& prefix = "") {
    setenv("AZURE_STORAGE_KEY", kTestKey, 1);
    return Make(Config(prefix));
  }

  std::string container_;
  std::unique_ptr<BlobWriter> writer_;
};

TEST_F(AzuriteTest, StatOfBlobsDirectoriesAndNothing) {
  ASSERT_EQ(writer_->Put("data/a/b.bin", "hello"), 201);
  const auto origin = WithKey("data");
  const auto blob = StatNow(*origin, "a/b.bin");
  ASSERT_TRUE(blob.ok()) << blob.error.context;
  EXPECT_EQ(blob.info.kind, ObjectKind::kFile);
  EXPECT_EQ(blob.info.size, 5u);
  EXPECT_FALSE(blob.info.version.empty());
  EXPECT_EQ(blob.info.version.find('"'), std::string::npos);
  EXPECT_GT(blob.info.mtime_ns, 1'600'000'000 * kNsPerSecond);
  EXPECT_EQ(StatNow(*origin, "a").info.kind, ObjectKind::kDirectory);
  EXPECT_EQ(StatNow(*origin, "").info.kind, ObjectKind::kDirectory);
  EXPECT_EQ(StatNow(*origin, "a/none").error.code, Code::kNotFound);
  EXPECT_EQ(StatNow(*origin, "a/b").error.code, Code::kNotFound);  // a prefix, but of no component
  EXPECT_EQ(StatNow(*origin, "a/../a").error.code, Code::kInvalid);
  EXPECT_EQ(StatNow(*origin, "\xff").error.code, Code::kNotFound);
  EXPECT_EQ(StatNow(*origin, std::string(1'100, 'x')).error.code, Code::kNameTooLong);
}

TEST_F(AzuriteTest, ReadsRanges) {
  const std::string bytes = PatternBytes(3'000'000);
  ASSERT_EQ(writer_->Put("big", bytes), 201);
  const auto origin = WithKey();
  for (const auto& [offset, size, piece] : {std::tuple{0u, 3'000'000u, 1u << 20},
                                            {1u, 2'999'998u, 65'536u},
                                            {2'999'999u, 1u, 1u},
                                            {12'345u, 700'000u, 999u},
                                            {3'000'000u, 0u, 1u},
                                            {0u, 0u, 1u}}) {
    const auto read = ReadNow(*origin, "big", offset, size, "", piece);
    ASSERT_EQ(read.error.code, Code::kOk) << read.error.context << " " << offset << "+" << size;
    EXPECT_TRUE(read.bytes == bytes.substr(offset, size)) << offset << "+" << size;
    EXPECT_EQ(read.info.size, 3'000'000u);
    EXPECT_FALSE(read.info.version.empty());
  }
  EXPECT_EQ(ReadNow(*origin, "big", 3'000'001, 5).error.code, Code::kTruncated);
  EXPECT_EQ(ReadNow(*origin, "big", 2'999'999, 5).error.code, Code::kTruncated);
  EXPECT_EQ(ReadNow(*origin, "big", 3'000'001, 0).error.code, Code::kTruncated);
  EXPECT_EQ(ReadNow(*origin, "none", 0, 5).error.code, Code::kNotFound);
}

TEST_F(AzuriteTest, EmptyBlobs) {
  ASSERT_EQ(writer_->Put("empty", ""), 201);
  const auto origin = WithKey();
  EXPECT_EQ(StatNow(*origin, "empty").info.size, 0u);
  EXPECT_EQ(ReadNow(*origin, "empty", 0, 0).error.code, Code::kOk);
  EXPECT_EQ(ReadNow(*origin, "empty", 0, 1).error.code, Code::kTruncated);
}

TEST_F(AzuriteTest, AReplacedBlobIsAnotherVersion) {
  ASSERT_EQ(writer_->Put("f", "one"), 201);
  const auto origin = WithKey();
  const std::string version = StatNow(*origin, "f").info.version;
  EXPECT_EQ(ReadNow(*origin, "f", 0, 3, version).bytes, "one");
  ASSERT_EQ(writer_->Put("f", "two"), 201);
  EXPECT_EQ(ReadNow(*origin, "f", 0, 3, version).error.code, Code::kVersionChanged);
  EXPECT_EQ(ReadNow(*origin, "f", 0, 0, version).error.code, Code::kVersionChanged);
  const auto now = ReadNow(*origin, "f", 0, 3);
  EXPECT_EQ(now.bytes, "two");
  EXPECT_NE(now.info.version, version);
}

// Every kind of name that people have: it must be found by Stat, Read and List alike.
TEST_F(AzuriteTest, NamesOfAllKinds) {
  std::string longest;
  while (longest.size() < 1'024 - 4) longest += "0123456789abcde/";
  longest.resize(1'024 - 4);
  std::vector<std::string> names = {"with space",
                                    "per%cent",
                                    "%41",
                                    "plus+plus",
                                    "and&and=x",
                                    "hash#tag",
                                    "question?mark",
                                    "semi;colon,comma",
                                    "quote'\"x",
                                    "br(a)[c]{k}",
                                    "tilde~dash-under_",
                                    "caret^pipe|tick`",
                                    "<angle>",
                                    "at@dollar$star*",
                                    "colon:x",
                                    "a..b",
                                    "...",
                                    ".hidden",
                                    "\xC3\xA4\xC3\xB6\xC3\xBC",
                                    "\xE6\x97\xA5\xE6\x9C\xAC",
                                    "\xF0\x9F\x98\x80.bin",
                                    "e\xCC\x81",
                                    "UPPER",
                                    longest,
                                    "lead/ space",
                                    "trail /x",
                                    std::string(250, 'y')};
  const std::string prefix = "p+q %20&";
  for (const auto& name : names) {
    const std::string full = name == longest ? "p/" + name : prefix + "/" + name;
    ASSERT_EQ(writer_->Put(full, "<" + name.substr(0, 30) + ">"), 201) << full;
  }
  const auto origin = WithKey(prefix);
  const auto root = ListNow(*origin, "");
  ASSERT_EQ(root.error.code, Code::kOk) << root.error.context;
  for (const auto& name : names) {
    if (name == longest) continue;
    const auto stat = StatNow(*origin, name);
    EXPECT_TRUE(stat.ok()) << name << ": " << stat.error.context;
    const std::string content = "<" + name.substr(0, 30) + ">";
    EXPECT_EQ(ReadNow(*origin, name, 0, content.size()).bytes, content) << name;
    const std::string first = name.substr(0, name.find('/'));
    EXPECT_NE(FindEntry(root, first), nullptr) << name;
    if (name.find('/') != std::string::npos) {
      const auto sub = ListNow(*origin, first);
      EXPECT_EQ(sub.entries.size(), 1u) << name;
    }
  }
  const auto all = WithKey();
  const std::string full = "p/" + longest;
  EXPECT_EQ(StatNow(*all, full).info.size, 32u);
  const auto parent = ListNow(*all, full.substr(0, full.rfind('/')));
  ASSERT_EQ(parent.entries.size(), 1u);
  EXPECT_EQ(parent.entries[0].name, full.substr(full.rfind('/') + 1));
}

TEST_F(AzuriteTest, ListsWhatStatSees) {
  ASSERT_EQ(writer_->Put("d/file", "123"), 201);
  ASSERT_EQ(writer_->Put("d/sub/x", "1"), 201);
  ASSERT_EQ(writer_->Put("d/sub/y", "1"), 201);
  ASSERT_EQ(writer_->Put("d2/other", "1"), 201);
  const auto origin = WithKey();
  const auto list = ListNow(*origin, "d");
  ASSERT_EQ(list.error.code, Code::kOk) << list.error.context;
  ASSERT_EQ(list.entries.size(), 2u);
  EXPECT_EQ(list.skipped, 0u);
  const ObjectInfo* file = FindEntry(list, "file");
  ASSERT_NE(file, nullptr);
  const auto stat = StatNow(*origin, "d/file");
  EXPECT_EQ(file->version, stat.info.version);
  EXPECT_EQ(file->size, 3u);
  EXPECT_EQ(file->mtime_ns, stat.info.mtime_ns);
  EXPECT_EQ(ReadNow(*origin, "d/file", 0, 3, file->version).bytes, "123");
  ASSERT_NE(FindEntry(list, "sub"), nullptr);
  EXPECT_EQ(FindEntry(list, "sub")->kind, ObjectKind::kDirectory);
  EXPECT_EQ(ListNow(*origin, "").entries.size(), 2u);
  EXPECT_EQ(ListNow(*origin, "none").error.code, Code::kNotFound);
  EXPECT_EQ(ListNow(*origin, "d/file").error.code, Code::kNotDirectory);
}

TEST_F(AzuriteTest, DirectoryMarkers) {
  ASSERT_EQ(writer_->Put("empty", "", {{"x-ms-meta-hdi_isfolder", "true"}}), 201);
  ASSERT_EQ(writer_->Put("full", "", {{"x-ms-meta-hdi_isfolder", "true"}}), 201);
  ASSERT_EQ(writer_->Put("full/x", "1"), 201);
  ASSERT_EQ(writer_->Put("both", "file"), 201);
  ASSERT_EQ(writer_->Put("both/x", "1"), 201);
  const auto origin = WithKey();
  EXPECT_EQ(StatNow(*origin, "empty").info.kind, ObjectKind::kDirectory);
  EXPECT_EQ(StatNow(*origin, "full").info.kind, ObjectKind::kDirectory);
  const auto empty = ListNow(*origin, "empty");
  EXPECT_EQ(empty.error.code, Code::kOk);
  EXPECT_TRUE(empty.entries.empty());
  EXPECT_EQ(ListNow(*origin, "full").entries.size(), 1u);
  EXPECT_EQ(ReadNow(*origin, "empty", 0, 1).error.code, Code::kIsDirectory);
  const auto root = ListNow(*origin, "");
  ASSERT_EQ(root.entries.size(), 3u);
  for (const auto& entry : root.entries) {
    EXPECT_EQ(entry.kind, ObjectKind::kDirectory) << entry.name;
  }
  EXPECT_EQ(root.skipped, 1u);  // the blob "both"
  EXPECT_EQ(ReadNow(*origin, "both", 0, 4).bytes, "file");
}

TEST_F(AzuriteTest, NamesThatAreNoPathsAreLeftOutAndCounted) {
  for (const char* name : {"ok", "a//b", "trailing/", "trailing/x"}) {
    ASSERT_EQ(writer_->Put(name, "1"), 201) << name;
  }
  const auto origin = WithKey();
  const auto root = ListNow(*origin, "");
  EXPECT_EQ(root.entries.size(), 3u);  // ok, a, trailing
  const auto a = ListNow(*origin, "a");
  EXPECT_EQ(a.error.code, Code::kOk);
  EXPECT_TRUE(a.entries.empty());
  EXPECT_EQ(a.skipped, 1u);
  const auto trailing = ListNow(*origin, "trailing");
  EXPECT_EQ(trailing.entries.size(), 1u);  // its own marker is not an entry
  EXPECT_EQ(trailing.skipped, 0u);
}

TEST_F(AzuriteTest, PagesOfALargeDirectory) {
  std::vector<std::thread> writers;
  for (int part = 0; part < 4; ++part) {
    writers.emplace_back([this, part] {
      BlobWriter writer(server->endpoint(), container_);
      for (int i = part; i < 5'020; i += 4) {
        ASSERT_EQ(writer.Put("many/f" + std::to_string(i), ""), 201);
      }
    });
  }
  for (auto& thread : writers) thread.join();
  const auto origin = WithKey();
  const auto list = ListNow(*origin, "many");
  ASSERT_EQ(list.error.code, Code::kOk) << list.error.context;
  EXPECT_EQ(list.pages, 2);
  std::set<std::string> names;
  for (const auto& entry : list.entries) EXPECT_TRUE(names.insert(entry.name).second);
  EXPECT_EQ(names.size(), 5'020u);
}

TEST_F(AzuriteTest, ConnectionsAreKeptAlive) {
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(writer_->Put("f" + std::to_string(i), PatternBytes(10'000, i)), 201);
  }
  const auto origin = WithKey();
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 20; ++i) {
      const auto read = ReadNow(*origin, "f" + std::to_string(i), 0, 10'000);
      ASSERT_TRUE(read.bytes == PatternBytes(10'000, i));
    }
  }
  // On a slow machine a read may get a second request beside it, over a connection of its own.
  const OriginStats stats = origin->Stats();
  EXPECT_EQ(stats.requests, 100u + stats.hedges);
  EXPECT_LE(stats.connects, 1u + stats.hedges);
  EXPECT_GE(stats.bytes_read, 1'000'000u);
  EXPECT_LE(stats.bytes_read, 1'000'000u + stats.hedges * 10'000u);
}

TEST_F(AzuriteTest, NoMoreConnectionsThanAllowed) {
  const std::string bytes = PatternBytes(100'000);
  ASSERT_EQ(writer_->Put("f", bytes), 201);
  OriginConfig config = Config();
  config.max_connections = 4;
  setenv("AZURE_STORAGE_KEY", kTestKey, 1);
  const auto origin = Make(config);
  constexpr int kReads = 200;
  std::vector<ReadOp> ops(kReads);
  std::vector<std::string> results(kReads, std::string(500, '\0'));
  std::counting_semaphore<> finished(0);
  for (int i = 0; i < kReads; ++i) {
    ops[i].name = "f";
    ops[i].offset = static_cast<std::uint64_t>(i) * 500;
    ops[i].deadline_ns = InMs(20'000);
    ops[i].buffers = {std::as_writable_bytes(std::span(results[i]))};
    ops[i].user = &finished;
    ops[i].done = [](Op* op) { static_cast<std::counting_semaphore<>*>(op->user)->release(); };
    origin->Read(&ops[i]);
  }
  for (int i = 0; i < kReads; ++i) finished.acquire();
  for (int i = 0; i < kReads; ++i) {
    ASSERT_TRUE(ops[i].ok()) << ops[i].error.context;
    ASSERT_TRUE(results[i] == bytes.substr(ops[i].offset, 500));
  }
  EXPECT_LE(origin->Stats().connects, 4u);
}

TEST_F(AzuriteTest, EveryWayToSignIn) {
  ASSERT_EQ(writer_->Put("d/f+ f", "12345"), 201);
  const auto works = [&](const OriginConfig& config) {
    const auto origin = Make(config);
    if (origin == nullptr) return false;
    std::string why;
    const bool probed = origin->Probe(10'000, &why).has_value();
    EXPECT_TRUE(probed) << why;
    return probed && ReadNow(*origin, "d/f+ f", 0, 5).bytes == "12345" &&
           ListNow(*origin, "d").entries.size() == 1;
  };
  setenv("AZURE_STORAGE_ACCESS_KEY", kTestKey, 1);
  EXPECT_TRUE(works(Config()));
  ClearVariables();

  const std::string connection = std::string("AccountName=") + kTestAccount +
                                 ";AccountKey=" + kTestKey + ";BlobEndpoint=" + server->endpoint() +
                                 ";";
  setenv("AZURE_STORAGE_CONNECTION_STRING", connection.c_str(), 1);
  OriginConfig without_endpoint = Config();
  without_endpoint.endpoint.clear();
  EXPECT_TRUE(works(without_endpoint));
  ClearVariables();

  // An account SAS, signed as the service's documentation says.
  const std::string expiry = "2099-01-01T00:00:00Z";
  const std::string to_sign =
      std::string(kTestAccount) + "\nrl\nb\nsco\n\n" + expiry + "\n\n\n2021-12-02\n\n";
  const std::string signature = HmacSha256Base64(DecodeBase64(kTestKey).value(), to_sign);
  std::string sas = "?sv=2021-12-02&ss=b&srt=sco&sp=rl&se=2099-01-01T00%3A00%3A00Z&sig=";
  AppendPercentEncoded(signature, false, &sas);
  setenv("AZURE_STORAGE_SAS_TOKEN", sas.c_str(), 1);
  EXPECT_TRUE(works(Config()));
  const std::string shared =
      "BlobEndpoint=" + server->endpoint() + ";SharedAccessSignature=" + sas.substr(1);
  ClearVariables();
  setenv("AZURE_STORAGE_CONNECTION_STRING", shared.c_str(), 1);
  EXPECT_TRUE(works(without_endpoint));
  ClearVariables();

  BlobWriter open_writer(server->endpoint(), container_ + "-open");
  ASSERT_EQ(open_writer.CreateContainer(true), 201);
  ASSERT_EQ(open_writer.Put("d/f+ f", "12345"), 201);
  OriginConfig open = Config();
  open.url = std::string("az://") + kTestAccount + "/" + container_ + "-open";
  EXPECT_TRUE(works(open));
  OriginConfig by_url = open;
  by_url.endpoint.clear();
  by_url.url = server->endpoint() + "/" + container_ + "-open/d%20x/../";
  std::string why;
  EXPECT_FALSE(MakeOrigin(by_url, &why));
  by_url.url = server->endpoint() + "/" + container_ + "-open";
  EXPECT_TRUE(works(by_url));
}

TEST_F(AzuriteTest, RefusedAccessIsPermissionAndOneLineInTheLog) {
  ASSERT_EQ(writer_->Put("f", "12345"), 201);
  setenv("AZURE_STORAGE_KEY", EncodeBase64("another key").c_str(), 1);
  const auto origin = Make(Config());
  testing::internal::CaptureStderr();
  EXPECT_EQ(ReadNow(*origin, "f", 0, 5).error.code, Code::kPermission);
  EXPECT_EQ(ReadNow(*origin, "f", 0, 5).error.code, Code::kPermission);
  EXPECT_EQ(StatNow(*origin, "f").error.code, Code::kPermission);
  EXPECT_EQ(ListNow(*origin, "").error.code, Code::kPermission);
  const std::string logged = testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::count(logged.begin(), logged.end(), '\n'), 1) << logged;
  EXPECT_NE(logged.find("AuthorizationFailure"), std::string::npos) << logged;
  EXPECT_NE(logged.find(origin->Describe()), std::string::npos) << logged;
  EXPECT_EQ(origin->Stats().retries, 0u);
  std::string why;
  EXPECT_EQ(origin->Probe(5'000, &why).error().code, Code::kPermission);
  EXPECT_NE(why.find("AZURE_STORAGE_KEY"), std::string::npos) << why;
}

TEST_F(AzuriteTest, AMissingContainerIsSaidWithTheOtherReading) {
  OriginConfig config = Config();
  config.url = "az://pstaccount/training/set";
  setenv("AZURE_STORAGE_KEY", kTestKey, 1);
  setenv("AZURE_STORAGE_ACCOUNT", "myaccount", 1);
  const auto origin = Make(config);
  std::string why;
  const auto probe = origin->Probe(10'000, &why);
  ASSERT_FALSE(probe);
  EXPECT_EQ(probe.error().code, Code::kNotFound);
  EXPECT_NE(why.find("container 'training' does not exist"), std::string::npos) << why;
  EXPECT_NE(why.find("az://myaccount/pstaccount/training/set"), std::string::npos) << why;
  testing::internal::CaptureStderr();
  const auto another = Make(config);
  EXPECT_EQ(StatNow(*another, "x").error.code, Code::kNotFound);
  EXPECT_EQ(ListNow(*another, "").error.code, Code::kNotFound);
  EXPECT_EQ(ReadNow(*another, "x", 0, 1).error.code, Code::kNotFound);
  const std::string logged = testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::count(logged.begin(), logged.end(), '\n'), 1) << logged;
  EXPECT_NE(logged.find("container 'training' does not exist"), std::string::npos) << logged;
}

// TLS is always verified, against the system's authorities or the file that the configuration
// names.
TEST_F(AzuriteTest, Tls) {
  namespace fs = std::filesystem;
  std::string folder = (fs::temp_directory_path() / "penstock-tls-XXXXXX").string();
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const auto right = MakeCertificate(folder, "right", "IP:127.0.0.1");
  const auto wrong = MakeCertificate(folder, "wrong", "DNS:elsewhere.example");
  ASSERT_FALSE(right.key.empty());
  setenv("AZURE_STORAGE_KEY", kTestKey, 1);
  OriginConfig config = Config();
  std::string why;
  {
    Azurite tls_server;
    ASSERT_EQ(tls_server.Start(right), "");
    config.endpoint = tls_server.endpoint();
    ASSERT_TRUE(config.endpoint.starts_with("https://"));
    BlobWriter writer(config.endpoint, container_, right.certificate);
    ASSERT_EQ(writer.CreateContainer(), 201);
    ASSERT_EQ(writer.Put("f", "12345"), 201);
    EXPECT_FALSE(Make(config)->Probe(10'000, &why));
    EXPECT_NE(why.find("certificate is not trusted"), std::string::npos) << why;
    config.ca_file = wrong.certificate;
    EXPECT_FALSE(Make(config)->Probe(10'000, &why));
    config.ca_file = folder + "/none.crt";
    EXPECT_FALSE(Make(config)->Probe(10'000, &why));
    EXPECT_NE(why.find("trusted certificates cannot be read"), std::string::npos) << why;
    config.ca_file = right.certificate;
    const auto origin = Make(config);
    EXPECT_TRUE(origin->Probe(10'000, &why)) << why;
    EXPECT_EQ(ReadNow(*origin, "f", 0, 5).bytes, "12345");
    EXPECT_EQ(origin->Stats().connects, 1u);
  }
  {
    Azurite misnamed;  // its certificate is trusted, but for another host
    ASSERT_EQ(misnamed.Start(wrong), "");
    config.endpoint = misnamed.endpoint();
    config.ca_file = wrong.certificate;
    const auto origin = Make(config);
    EXPECT_FALSE(origin->Probe(10'000, &why));
    EXPECT_NE(why.find("certificate is not trusted"), std::string::npos) << why;
    EXPECT_EQ(origin->Stats().retries, 0u);
  }
  fs::remove_all(folder);
}

TEST_F(AzuriteTest, CancelAndDeadline) {
  ASSERT_EQ(writer_->Put("f", PatternBytes(1'000'000)), 201);
  const auto origin = WithKey();
  EXPECT_EQ(ReadNow(*origin, "f", 0, 5, "", 5, 0).error.code, Code::kDeadline);
  std::string bytes(1'000'000, '\0');
  ReadOp op;
  op.name = "f";
  op.buffers = {std::as_writable_bytes(std::span(bytes))};
  RunOp(&op, [&](ReadOp* started) {
    origin->Read(started);
    origin->Cancel(started);
  });
  EXPECT_TRUE(op.ok() || op.error.code == Code::kCancelled);
  origin->Cancel(&op);  // over already: nothing happens
}

}  // namespace
}  // namespace penstock::origin
