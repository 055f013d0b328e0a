// BlobFuse's configurations in, ours out, compared with files that a person has read. A difference
// is shown; PENSTOCK_GOLDEN_WRITE=1 writes the files anew.
#include "cache/migrate/import_config.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "cache/config/config.h"
#include "cache/migrate/yaml_values.h"

namespace penstock::cache {
namespace {

namespace fs = std::filesystem;

// No secret of the sources may come through, in whatever form.
constexpr const char* kSecretMark = "S3CRET";

std::string Slurp(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

void ExpectGolden(const fs::path& file, const std::string& text) {
  if (getenv("PENSTOCK_GOLDEN_WRITE") != nullptr) {
    std::ofstream(file, std::ios::binary) << text;
    return;
  }
  EXPECT_EQ(Slurp(file), text) << file;
}

std::string Report(const Imported& imported) {
  std::string out;
  for (const std::string& note : imported.notes) out += note + "\n";
  for (const std::string& variable : imported.environment) out += "needs " + variable + "\n";
  return out;
}

TEST(ImportConfig, Golden) {
  int files = 0;
  for (const auto& entry : fs::directory_iterator(PENSTOCK_GOLDEN)) {
    const fs::path source = entry.path();
    if (source.extension() != ".yaml" && source.extension() != ".cfg") continue;
    ++files;
    SCOPED_TRACE(source.filename().string());
    const auto imported = ImportBlobFuse(Slurp(source), source.filename().string(), {});
    fs::path golden = source;
    if (!imported) {
      ExpectGolden(golden.replace_extension(".error"), imported.error() + "\n");
      EXPECT_EQ(imported.error().find(kSecretMark), std::string::npos);
      continue;
    }
    ExpectGolden(golden.replace_extension(".toml"), imported->toml);
    ExpectGolden(golden.replace_extension(".notes"), Report(*imported));
    EXPECT_EQ(imported->toml.find(kSecretMark), std::string::npos);
    EXPECT_EQ(Report(*imported).find(kSecretMark), std::string::npos);
    const auto config = ParseConfig(imported->toml, "/job.toml");
    ASSERT_TRUE(config.has_value()) << config.error().front().ToString();
  }
  EXPECT_GE(files, 8);
}

// Every key of a source is either in the result or named: counted, so that none slips through.
TEST(ImportConfig, NamesEveryKeyItDoesNotKnow) {
  const auto imported = ImportBlobFuse(
      "azstorage:\n  account-name: acct\n  container: data\n  brand-new: 1\n"
      "other:\n  deep:\n    deeper: [a, b]\nread-only: true\n",
      "f", {"/data", ""});
  ASSERT_TRUE(imported.has_value()) << imported.error();
  ASSERT_EQ(imported->notes.size(), 3u);
  EXPECT_EQ(imported->notes[0], "f:4: azstorage.brand-new: not taken over: an unknown key");
  EXPECT_EQ(imported->notes[1], "f:7: other.deep.deeper[0]: not taken over: an unknown key");
  EXPECT_EQ(imported->notes[2], "f:7: other.deep.deeper[1]: not taken over: an unknown key");
}

TEST(ImportConfig, TakesTheAccountFromTheEnvironment) {
  const std::string text = "azstorage:\n  container: data\nread-only: true\n";
  EXPECT_FALSE(ImportBlobFuse(text, "f", {}).has_value());
  const auto imported = ImportBlobFuse(text, "f", {"/data", "acct"});
  ASSERT_TRUE(imported.has_value());
  EXPECT_NE(imported->toml.find("az://acct/data"), std::string::npos);
}

TEST(ImportUrl, ReadsAsAdlfsDoes) {
  struct Case {
    const char* url;
    const char* account;
    const char* origin;  // null: refused
  };
  const Case cases[] = {
      {"abfs://data@acct.dfs.core.windows.net/train", "",
       "abfs://data@acct.dfs.core.windows.net/train"},
      {"abfss://data@acct.dfs.core.windows.net/", "", "abfss://data@acct.dfs.core.windows.net/"},
      {"abfs://data/train/a", "acct", "az://acct/data/train/a"},
      {"az://data/train", "acct", "az://acct/data/train"},
      {"az://data", "acct", "az://acct/data"},
      {"abfs://data/train", "", nullptr},
      {"az://data/train", "", nullptr},
      {"https://acct.blob.core.windows.net/data", "", "https://acct.blob.core.windows.net/data"},
      {"https://acct.blob.core.windows.net/data?sig=S3CRET", "", nullptr},
      {"s3://bucket/key", "", nullptr},
      {"://", "", nullptr},
      {"az://", "acct", nullptr},
  };
  for (const Case& one : cases) {
    const auto imported = ImportUrl(one.url, {"", one.account});
    if (one.origin == nullptr) {
      ASSERT_FALSE(imported.has_value()) << one.url;
      EXPECT_EQ(imported.error().find(kSecretMark), std::string::npos);
      continue;
    }
    ASSERT_TRUE(imported.has_value()) << one.url << ": " << imported.error();
    const auto config = ParseConfig(imported->toml, "/job.toml");
    ASSERT_TRUE(config.has_value());
    EXPECT_EQ(config->mounts[0].origin, one.origin);
    EXPECT_EQ(config->mounts[0].path, "/mnt/data");
  }
}

TEST(ReadYaml, PlacesAndKinds) {
  const auto values = ReadYaml("a: 1\nb:\n  c: 'x y'\n  d:\n  e: [p, {q: r}]\nf: &n s\ng: *n\n");
  ASSERT_TRUE(values.has_value()) << values.error().message;
  std::string all;
  for (const YamlValue& value : *values)
    all += value.key + "=" + value.value + "@" + std::to_string(value.line) +
           (value.is_null ? "0" : "") + (value.is_alias ? "*" : "") + " ";
  EXPECT_EQ(all, "a=1@1 b.c=x y@3 b.d=@40 b.e[0]=p@5 b.e[1].q=r@5 f=s@6 g=@7* ");
}

TEST(ReadYaml, BoundsWhatItTakes) {
  const auto refused = [](const std::string& text) { return !ReadYaml(text).has_value(); };
  EXPECT_TRUE(refused(std::string(kYamlMaxBytes + 1, ' ')));
  EXPECT_TRUE(refused(std::string(100'000, '[')));
  EXPECT_TRUE(refused(std::string(100'000, '{')));
  EXPECT_TRUE(refused(std::string(kYamlMaxKeyBytes + 1, 'k') + ": v"));
  std::string many = "[";
  for (std::size_t i = 0; i < kYamlMaxValues + 1; ++i) many += "a,";
  EXPECT_TRUE(refused(many + "]"));
  EXPECT_TRUE(refused("? [a]\n: b\n"));
  EXPECT_TRUE(refused("a: b: c"));
  EXPECT_TRUE(refused("\"open"));
  // Each level is ten of the one below: 10^9 values, if anybody followed.
  std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 9; ++i) {
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int j = 0; j < 10; ++j) bomb += "*a" + std::to_string(i - 1) + ",";
    bomb += "]\n";
  }
  const auto started = std::chrono::steady_clock::now();
  const auto values = ReadYaml(bomb);
  ASSERT_TRUE(values.has_value());
  EXPECT_EQ(values->size(), 90u);
  EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::seconds(5));
}

}  // namespace
}  // namespace penstock::cache
