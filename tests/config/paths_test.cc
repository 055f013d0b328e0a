#include <gtest/gtest.h>
#include <stdlib.h>

#include "cache/config/config.h"

namespace penstock::cache {
namespace {

TEST(Paths, Normalise) {
  EXPECT_EQ(NormalisePath("/a//b/./c/"), "/a/b/c");
  EXPECT_EQ(NormalisePath("/"), "/");
  EXPECT_EQ(NormalisePath("//"), "/");
  EXPECT_EQ(NormalisePath("/a/..b/..."), "/a/..b/...");
  EXPECT_FALSE(NormalisePath(""));
  EXPECT_FALSE(NormalisePath("a/b"));
  EXPECT_FALSE(NormalisePath("/a/../b"));
  EXPECT_FALSE(NormalisePath(std::string_view("/a\0b", 4)));
}

TEST(Paths, LongestMountWins) {
  std::vector<MountConfig> mounts(3);
  mounts[0].path = "/data";
  mounts[1].path = "/data/train/deep";
  mounts[2].path = "/data/train";
  EXPECT_FALSE(MatchMount(mounts, "/dat"));
  EXPECT_FALSE(MatchMount(mounts, "/database"));
  EXPECT_EQ(MatchMount(mounts, "/data")->rest, "");
  EXPECT_EQ(MatchMount(mounts, "/data/x")->mount, 0u);
  EXPECT_EQ(MatchMount(mounts, "/data/train/a")->mount, 2u);
  EXPECT_EQ(MatchMount(mounts, "/data/train/a")->rest, "a");
  EXPECT_EQ(MatchMount(mounts, "/data/train/deep/b/c")->mount, 1u);
  EXPECT_EQ(MatchMount(mounts, "/data/train/deeper")->mount, 2u);
}

TEST(Paths, DefaultSocketIsShortAndDependsOnTheFile) {
  const std::string one = DefaultSocketPath("/home/a/job.toml");
  EXPECT_EQ(one, DefaultSocketPath("/home/a/job.toml"));
  EXPECT_NE(one, DefaultSocketPath("/home/b/job.toml"));
  EXPECT_LE(one.size(), kSocketPathMax);
}

}  // namespace
}  // namespace penstock::cache
