#include "transport/blob/az_list_xml.h"

#include <gtest/gtest.h>

#include <string>

namespace penstock::origin {
namespace {

std::string Page(const std::string& blobs, const std::string& marker = "") {
  return "\xEF\xBB\xBF<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults "
         "ServiceEndpoint=\"https://a/\" ContainerName=\"c\"><Prefix>d/</Prefix><Blobs>" +
         blobs + "</Blobs><NextMarker>" + marker + "</NextMarker></EnumerationResults>";
}

std::string Blob(const std::string& name, const std::string& extra = "",
                 const std::string& attribute = "") {
  return "<Blob><Name" + attribute + ">" + name +
         "</Name><Properties><Last-Modified>Sun, 06 Nov 1994 08:49:37 GMT</Last-Modified>"
         "<Etag>0x1</Etag><Content-Length>7</Content-Length></Properties>" +
         extra + "</Blob>";
}

std::string Prefix(const std::string& name) {
  return "<BlobPrefix><Name>" + name + "</Name></BlobPrefix>";
}

ListPage Parse(std::string xml) {
  auto page = ParseListXml(xml);
  EXPECT_TRUE(page) << page.error().context;
  return page.value_or(ListPage{});
}

Code WhyNot(std::string xml) {
  const auto page = ParseListXml(xml);
  return page ? Code::kOk : page.error().code;
}

DirectoryPage Directory(const std::string& blobs) {
  return MakeDirectoryPage(Parse(Page(blobs)), "d/");
}

TEST(ListXml, BlobsPrefixesAndTheMarker) {
  const auto page = Parse(Page(Blob("d/a") + Prefix("d/sub/"), "2!next"));
  ASSERT_EQ(page.blobs.size(), 2u);
  EXPECT_EQ(page.blobs[0].name, "d/a");
  EXPECT_EQ(page.blobs[0].size, 7u);
  EXPECT_EQ(page.blobs[0].version, "0x1");
  EXPECT_EQ(page.blobs[0].mtime_ns, 784'111'777'000'000'000);
  EXPECT_FALSE(page.blobs[0].is_prefix);
  EXPECT_TRUE(page.blobs[1].is_prefix);
  EXPECT_EQ(page.next_marker, "2!next");
  EXPECT_EQ(Parse(Page("")).next_marker, "");
}

TEST(ListXml, NamesInAllEncodings) {
  const auto page =
      Parse(Page(Blob("d/a&amp;b &lt;c&gt; &#x41; \xC3\xA4") +
                 Blob("d/x%01y%2525", "", " Encoded=\"true\"") + Blob("d/%41") + Blob(" ")));
  ASSERT_EQ(page.blobs.size(), 4u);
  EXPECT_EQ(page.blobs[0].name, "d/a&b <c> A \xC3\xA4");
  EXPECT_EQ(page.blobs[1].name, "d/x\x01y%25");
  EXPECT_EQ(page.blobs[2].name, "d/%41");
  EXPECT_EQ(page.blobs[3].name, " ");
}

TEST(ListXml, WhatIsNotWholeIsRefused) {
  EXPECT_EQ(WhyNot(""), Code::kCorrupt);
  EXPECT_EQ(WhyNot("no xml"), Code::kCorrupt);
  EXPECT_EQ(WhyNot("<Error><Code>x</Code></Error>"), Code::kCorrupt);
  EXPECT_EQ(WhyNot(Page("<Blob></Blob>")), Code::kCorrupt);
  EXPECT_EQ(WhyNot(Page("<Blob><Name>d/a</Name></Blob>")), Code::kCorrupt);
  EXPECT_EQ(WhyNot(Page(Blob("d/%4", "", " Encoded=\"true\""))), Code::kCorrupt);
  EXPECT_EQ(WhyNot(Page("<BlobPrefix/>")), Code::kCorrupt);
  EXPECT_EQ(WhyNot("<EnumerationResults><Blobs></Blobs></EnumerationResults>"), Code::kCorrupt);
  // Cut anywhere, it is refused and never a shorter listing.
  const std::string whole = Page(Blob("d/a") + Blob("d/b"), "m");
  for (std::size_t size = 0; size + 1 < whole.size(); ++size) {
    EXPECT_EQ(WhyNot(whole.substr(0, size)), Code::kCorrupt) << size;
  }
  EXPECT_EQ(WhyNot(whole), Code::kOk);
}

TEST(ListXml, EntitiesAreNotExpanded) {
  const std::string bomb = "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;\">]>" +
                           Page(Blob("d/&b;")).substr(3);
  std::string xml = bomb;
  const auto page = ParseListXml(xml);
  if (page) {
    EXPECT_EQ(page->blobs.at(0).name, "d/&b;");
  }
}

TEST(DirectoryPage, ComponentsBelowThePrefix) {
  const auto page = Directory(Blob("d/a") + Prefix("d/sub/"));
  ASSERT_EQ(page.entries.size(), 2u);
  EXPECT_TRUE(page.is_there);
  EXPECT_EQ(page.entries[0].name, "a");
  EXPECT_EQ(page.entries[0].kind, ObjectKind::kFile);
  EXPECT_EQ(page.entries[0].version, "0x1");
  EXPECT_EQ(page.entries[1].name, "sub");
  EXPECT_EQ(page.entries[1].kind, ObjectKind::kDirectory);
  EXPECT_EQ(page.entries[1].size, 0u);
  EXPECT_EQ(page.entries[1].version, "");
}

TEST(DirectoryPage, NamesThatAreNoPathsAreCounted) {
  const auto page =
      Directory(Blob("d/.") + Blob("d/..") + Prefix("d//") + Prefix("d/../") +
                Blob("d/a%00b", "", " Encoded=\"true\"") + Blob("elsewhere") + Blob("d/ok"));
  EXPECT_EQ(page.entries.size(), 1u);
  EXPECT_EQ(page.skipped, 6u);
}

TEST(DirectoryPage, ItsOwnMarkerIsNoEntry) {
  const auto page = Directory(Blob("d/"));
  EXPECT_TRUE(page.entries.empty());
  EXPECT_EQ(page.skipped, 0u);
  EXPECT_TRUE(page.is_there);
  EXPECT_FALSE(Directory("").is_there);
}

TEST(DirectoryPage, TheDirectoryWinsOverTheBlobOfItsName) {
  const std::string folder = "<Metadata><hdi_isfolder>true</hdi_isfolder></Metadata>";
  for (const std::string& blobs : {Blob("d/x") + Prefix("d/x/"), Prefix("d/x/") + Blob("d/x"),
                                   Blob("d/x") + Blob("d/x-y") + Prefix("d/x/")}) {
    const auto page = Directory(blobs);
    EXPECT_EQ(page.skipped, 1u);
    ASSERT_GE(page.entries.size(), 1u);
    int directories = 0;
    for (const auto& entry : page.entries) {
      if (entry.name != "x") continue;
      EXPECT_EQ(entry.kind, ObjectKind::kDirectory);
      ++directories;
    }
    EXPECT_EQ(directories, 1);
  }
  // A marker and its prefix are one directory, with the marker's time.
  for (const std::string& blobs :
       {Blob("d/x", folder) + Prefix("d/x/"), Prefix("d/x/") + Blob("d/x", folder)}) {
    const auto page = Directory(blobs);
    ASSERT_EQ(page.entries.size(), 1u);
    EXPECT_EQ(page.skipped, 0u);
    EXPECT_EQ(page.entries[0].kind, ObjectKind::kDirectory);
    EXPECT_NE(page.entries[0].mtime_ns, 0);
  }
}

}  // namespace
}  // namespace penstock::origin
