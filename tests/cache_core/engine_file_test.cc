// The engine over a real folder.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "tests/cache_core/engine_fixture.h"

namespace penstock::cache {
namespace {

class FolderTest : public EngineTest {
 protected:
  void SetUp() override {
    char name[] = "/tmp/penstock-engine-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    origin::OriginConfig config;
    config.url = "file://" + folder_;
    std::string explanation;
    auto made = origin::MakeOrigin(config, &explanation);
    ASSERT_TRUE(made.has_value()) << explanation;
    folder_origin_ = std::move(*made);
    Build(folder_origin_.get(), 64, 50'000'000);
  }
  void TearDown() override {
    EngineTest::TearDown();
    folder_origin_.reset();
    std::filesystem::remove_all(folder_);
  }
  void Write(const std::string& name, const std::string& bytes) {
    const std::filesystem::path path = std::filesystem::path(folder_) / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  }
  std::string ReadAll(const std::string& name) {
    const pst_attr attr = AttrOf(name);
    std::string all;
    for (std::uint32_t range = 0; all.size() < attr.size; ++range) {
      EngineOp op = Fetch(name, range * 65536ull, 65536);
      Run({&op});
      EXPECT_EQ(op.err, 0);
      const auto bytes = Bytes(name, op.version, range);
      if (!bytes) return all + "<missing>";
      all += *bytes;
    }
    return all;
  }

  std::string folder_;
  std::unique_ptr<origin::Origin> folder_origin_;
};

TEST_F(FolderTest, FilesOfManySizesComeBackWhole) {
  for (const std::uint64_t size : {1ull, 4095ull, 65536ull, 65537ull, 1048576ull, 1048577ull, 9'000'001ull}) {
    const std::string name = "a/b/" + std::to_string(size);
    Write(name, Pattern(size, size));
  }
  for (const std::uint64_t size : {1ull, 4095ull, 65536ull, 65537ull, 1048576ull, 1048577ull, 9'000'001ull}) {
    EXPECT_TRUE(ReadAll("a/b/" + std::to_string(size)) == Pattern(size, size)) << size;
  }
}

TEST_F(FolderTest, ListingsAndAbsentNames) {
  for (int i = 0; i < 300; ++i) Write("many/file" + std::to_string(i), "x");
  Write("many/sub/deep", "y");
  EngineOp list = Op(EngineOpKind::kList, "many");
  Run({&list});
  EXPECT_EQ(list.err, 0);
  EXPECT_EQ(AttrOf("many/sub").kind, PST_KIND_DIRECTORY);
  EXPECT_EQ(AttrOf("many/none").err, ENOENT);
  EXPECT_EQ(AttrOf("many/file1/below").err, ENOTDIR);
  EXPECT_EQ(AttrOf("nowhere/at/all").err, ENOENT);
}

TEST_F(FolderTest, AnOverwrittenFileIsEstaleForTheOldVersionAndNewAfterTheTtl) {
  Write("f", Pattern(3'000'000, 1));
  EngineOp first = Fetch("f", 0, 100);
  Run({&first});
  ASSERT_EQ(first.err, 0);
  Write("f", Pattern(3'000'000, 2));
  EngineOp rest = first;
  rest.offset = 2'000'000;
  Run({&rest});
  EXPECT_EQ(rest.err, ESTALE);
  TurnFor(120'000'000);
  EXPECT_TRUE(ReadAll("f") == Pattern(3'000'000, 2));
}

TEST_F(FolderTest, AnUnreadableFileIsPermissionDenied) {
  if (geteuid() == 0) GTEST_SKIP() << "root may read everything";
  Write("secret", "x");
  ASSERT_EQ(chmod((folder_ + "/secret").c_str(), 0), 0);
  EngineOp op = Fetch("secret", 0, 1);
  Run({&op});
  EXPECT_EQ(op.err, EACCES);
}

}  // namespace
}  // namespace penstock::cache
