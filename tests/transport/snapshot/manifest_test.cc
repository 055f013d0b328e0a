// A snapshot's manifest: what is written is what is found, and nothing but a whole one is believed.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "transport/blob/az_list_xml.h"
#include "transport/origin/tree_plan.h"
#include "transport/snapshot/manifest.h"
#include "transport/snapshot/manifest_writer.h"
#include "transport/snapshot/snapshot_file.h"

namespace penstock::snapshot {
namespace {

using origin::ObjectInfo;
using origin::ObjectKind;

ObjectInfo File(const std::string& name, std::uint64_t size, const std::string& version,
                std::int64_t mtime_ns = 1'700'000'000'000'000'000) {
  return {name, ObjectKind::kFile, size, mtime_ns, version};
}

struct Made {
  std::vector<std::byte> bytes;
  Written written;
};

Made Make(const std::vector<ObjectInfo>& infos) {
  ManifestWriter writer;
  for (const ObjectInfo& info : infos) writer.Add(info);
  const int fd = memfd_create("manifest", 0);
  Made made;
  auto written = writer.Write(fd, "az://acct/cont/pre", "test 1", 1'700'000'001'000'000'000);
  EXPECT_TRUE(written.has_value());
  made.written = *written;
  made.bytes.resize(made.written.manifest_bytes);
  EXPECT_EQ(pread(fd, made.bytes.data(), made.bytes.size(), 0),
            static_cast<ssize_t>(made.bytes.size()));
  close(fd);
  return made;
}

std::vector<std::string> Names(const Manifest& manifest, const std::string& directory,
                               std::size_t page) {
  std::vector<std::string> names;
  std::string after;
  for (bool more = true; more;) {
    auto children = manifest.List(directory, after, page, &more);
    EXPECT_TRUE(children.has_value());
    if (!children) break;
    for (const ObjectInfo& child : *children) names.push_back(child.name);
    if (more) after = children->back().name;
  }
  return names;
}

TEST(ManifestTest, WhatIsWrittenIsFound) {
  std::mt19937_64 random(7);
  std::map<std::string, ObjectInfo> model;
  std::vector<ObjectInfo> infos;
  for (int i = 0; i < 20'000; ++i) {
    std::string name = "d" + std::to_string(random() % 40);
    if (random() % 3 == 0) name += "/s-" + std::to_string(random() % 9);
    name += "/f" + std::to_string(random() % 100'000) + (random() % 5 == 0 ? "-ü日" : "");
    const std::string version = random() % 4 == 0
                                    ? "v" + std::to_string(random() % 1000)
                                    : FormatHexVersion(0x8DC000000000000 + random() % 100'000'000);
    const ObjectInfo info = File(
        name, random() >> (random() % 60), version,
        static_cast<std::int64_t>(random() % 2'000'000'000) * (random() % 2 ? 1'000'000'000 : 1));
    if (model.emplace(name, info).second) infos.push_back(info);
  }
  const Made made = Make(infos);
  EXPECT_EQ(made.written.files, model.size());
  std::string why;
  auto manifest = Manifest::Open(made.bytes, &why);
  ASSERT_TRUE(manifest.has_value()) << why;
  EXPECT_EQ(manifest->info().digest, HexDigest(made.written.digest));
  EXPECT_EQ(manifest->info().origin, "az://acct/cont/pre");
  for (const auto& [name, info] : model) {
    const auto found = manifest->Find(name);
    ASSERT_TRUE(found && *found) << name;
    EXPECT_EQ((*found)->size, info.size);
    EXPECT_EQ((*found)->mtime_ns, info.mtime_ns) << name;
    EXPECT_EQ((*found)->version, info.version);
    const auto absent = manifest->Find(name + "x");
    EXPECT_TRUE(absent && !*absent);
  }
  // Each directory's children, in pages, are the model's.
  std::map<std::string, std::vector<std::string>> children;
  for (const auto& [name, info] : model) {
    std::string path = name;
    for (std::size_t slash = path.rfind('/'); slash != std::string::npos; slash = path.rfind('/')) {
      children[path.substr(0, slash)].push_back(path.substr(slash + 1));
      path.resize(slash);
    }
    children[""].push_back(path);
  }
  for (auto& [directory, names] : children) {
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    EXPECT_EQ(Names(*manifest, directory, 7), names) << directory;
    EXPECT_EQ(Names(*manifest, directory, 5000), names) << directory;
  }
  EXPECT_EQ(made.written.directories, children.size() - 1);
}

TEST(ManifestTest, DirectoriesWinAndEmptyOnesStay) {
  ObjectInfo empty{"empty", ObjectKind::kDirectory, 0, 5'000'000'000, ""};
  const Made made = Make({File("a", 3, "0x1"), File("a/b", 4, "0x2"), empty, File("a-c", 5, "0x3"),
                          File("../evil", 1, "0x4"), File("", 1, "0x5")});
  EXPECT_EQ(made.written.left_out, 2u);
  std::string why;
  auto manifest = Manifest::Open(made.bytes, &why);
  ASSERT_TRUE(manifest.has_value()) << why;
  EXPECT_EQ(Names(*manifest, "", 10), (std::vector<std::string>{"a", "a-c", "empty"}));
  EXPECT_EQ((*manifest->Find("a"))->kind, ObjectKind::kDirectory);
  EXPECT_EQ((*manifest->Find("empty"))->mtime_ns, 5'000'000'000);
  EXPECT_TRUE(Names(*manifest, "empty", 10).empty());
  bool more = false;
  EXPECT_EQ(manifest->List("a-c", "", 10, &more).error().code, Code::kNotDirectory);
  EXPECT_EQ(manifest->List("nothing", "", 10, &more).error().code, Code::kNotFound);
  EXPECT_EQ((*manifest->Find(""))->kind, ObjectKind::kDirectory);
}

TEST(ManifestTest, AnEmptyOneIsWhole) {
  const Made made = Make({});
  std::string why;
  auto manifest = Manifest::Open(made.bytes, &why);
  ASSERT_TRUE(manifest.has_value()) << why;
  EXPECT_TRUE(Names(*manifest, "", 10).empty());
  EXPECT_FALSE(*manifest->Find("x"));
}

TEST(ManifestTest, DamageAndTruncationAreRefused) {
  std::vector<ObjectInfo> infos;
  for (int i = 0; i < 300; ++i) infos.push_back(File("d/f" + std::to_string(i), 10, "0x8D1"));
  const Made made = Make(infos);
  std::string why;
  for (std::size_t at = 0; at < made.bytes.size(); ++at) {
    std::vector<std::byte> bytes = made.bytes;
    bytes[at] ^= std::byte{0x10};
    why.clear();
    ASSERT_FALSE(Manifest::Open(bytes, &why).has_value()) << at;
    ASSERT_FALSE(why.empty());
  }
  for (std::size_t size = 0; size < made.bytes.size(); ++size) {
    ASSERT_FALSE(Manifest::Open(std::span(made.bytes).first(size), &why).has_value()) << size;
  }
}

TEST(ManifestTest, CompactForNamesOfADataSet) {
  std::vector<ObjectInfo> infos;
  for (int folder = 0; folder < 200; ++folder) {
    for (int i = 0; i < 50; ++i) {
      char name[64];
      snprintf(name, sizeof name, "train/folder-%05d/sample-%06d.jpg", folder, folder * 50 + i);
      infos.push_back(File(name, 131'072 + static_cast<std::uint64_t>(i),
                           FormatHexVersion(0x8DC000000000000u +
                                            static_cast<std::uint64_t>(folder * 50 + i) * 7919)));
    }
  }
  const Made made = Make(infos);
  EXPECT_LT(made.bytes.size() / infos.size(), 32u);  // the names alone have 38 bytes
}

TEST(SnapshotFileTest, SaysWhatIsWrong) {
  std::string why;
  const origin::OriginConfig config;
  EXPECT_FALSE(SnapshotFile::Load("/does/not/exist", config, "/tmp", &why).has_value());
  EXPECT_NE(why.find("No such file"), std::string::npos) << why;
  EXPECT_FALSE(SnapshotFile::Load("file:///dev/null", config, "/tmp", &why).has_value());
  EXPECT_NE(why.find("no regular file"), std::string::npos) << why;
  EXPECT_FALSE(SnapshotFile::Load("/etc/passwd", config, "/tmp", &why).has_value());
  EXPECT_NE(why.find("no snapshot"), std::string::npos) << why;
}

TEST(PlanPrefixesTest, EachChildLiesUnderExactlyOne) {
  std::mt19937_64 random(11);
  for (int round = 0; round < 300; ++round) {
    std::vector<std::string> names;
    const std::size_t count = 1 + random() % 400;
    for (std::size_t i = 0; i < count; ++i) {
      std::string name;
      for (std::size_t length = 1 + random() % 6; length > 0; --length) {
        const char* parts[] = {"a", "b", "-", "é", "日", "本"};
        name += parts[random() % 6];
      }
      names.push_back(name);
    }
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    const std::vector<std::string_view> views(names.begin(), names.end());
    const std::size_t groups = 1 + random() % 40;
    const auto prefixes = origin::PlanPrefixes(views, groups);
    EXPECT_LE(prefixes.size(), 2 * groups);
    for (const std::string& name : names) {
      const auto under = std::count_if(prefixes.begin(), prefixes.end(), [&](const auto& prefix) {
        return (name + "/").starts_with(prefix);
      });
      EXPECT_EQ(under, 1) << "round " << round << ", name " << name;
    }
  }
  EXPECT_TRUE(origin::PlanPrefixes({}, 8).empty());
}

TEST(TreePageTest, PathsAreCutWhereTheyCannotBeWalked) {
  origin::ListPage page;
  const auto blob = [&](const std::string& name) {
    page.blobs.push_back({name, false, false, 7, 1, "v"});
  };
  for (const char* name : {"p/a", "p/a/b/c", "p/d//e", "p//f", "p/g/", "p/", "p/./x", "q"})
    blob(name);
  const auto tree = origin::MakeTreePage(page, "p/");
  std::vector<std::pair<std::string, ObjectKind>> seen;
  for (const auto& entry : tree.entries) seen.emplace_back(entry.name, entry.kind);
  EXPECT_EQ(seen, (std::vector<std::pair<std::string, ObjectKind>>{{"a", ObjectKind::kFile},
                                                                   {"a/b/c", ObjectKind::kFile},
                                                                   {"d", ObjectKind::kDirectory},
                                                                   {"g", ObjectKind::kDirectory}}));
  EXPECT_EQ(tree.skipped, 4u);
}

}  // namespace
}  // namespace penstock::snapshot
