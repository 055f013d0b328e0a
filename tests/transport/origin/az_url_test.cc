#include "transport/blob/az_url.h"

#include <gtest/gtest.h>

#include <string>

namespace penstock::origin {
namespace {

AzLocation Parse(const std::string& url, const std::string& endpoint = "") {
  std::string why;
  auto location = ParseAzUrl(url, endpoint, &why);
  EXPECT_TRUE(location) << url << ": " << why;
  return location.value_or(AzLocation{});
}

std::string WhyNot(const std::string& url, const std::string& endpoint = "") {
  std::string why;
  const auto location = ParseAzUrl(url, endpoint, &why);
  EXPECT_FALSE(location) << url;
  if (!location) {
    EXPECT_EQ(location.error().code, Code::kInvalid);
  }
  EXPECT_FALSE(why.empty()) << url;
  return why;
}

TEST(AzUrl, AzForm) {
  const auto location = Parse("az://acct/data/a b%20/c+d");
  EXPECT_EQ(location.account, "acct");
  EXPECT_EQ(location.container, "data");
  EXPECT_EQ(location.prefix, "a b%20/c+d");  // nothing is decoded
  EXPECT_EQ(location.origin, "https://acct.blob.core.windows.net");
  EXPECT_EQ(location.base_path, "");
  EXPECT_EQ(location.Describe(), "az://acct/data/a b%20/c+d");
  EXPECT_EQ(Parse("az://acct/data").prefix, "");
  EXPECT_EQ(Parse("az://acct/data/").prefix, "");
  EXPECT_EQ(Parse("az://acct/data/p/").prefix, "p");
  EXPECT_EQ(Parse("az://acct/$web/p").container, "$web");
}

TEST(AzUrl, DfsForms) {
  for (const char* url :
       {"abfss://data@acct.dfs.core.windows.net/p/q", "abfs://data@acct.dfs.core.windows.net/p/q",
        "wasbs://data@acct.blob.core.windows.net/p/q"}) {
    const auto location = Parse(url);
    EXPECT_EQ(location.account, "acct");
    EXPECT_EQ(location.container, "data");
    EXPECT_EQ(location.prefix, "p/q");
    EXPECT_EQ(location.origin, "https://acct.blob.core.windows.net");
  }
  EXPECT_EQ(Parse("abfss://data@acct.dfs.core.chinacloudapi.cn").origin,
            "https://acct.blob.core.chinacloudapi.cn");
}

TEST(AzUrl, HttpsForms) {
  const auto location = Parse("https://acct.blob.core.windows.net/data/a%20b/c%2Bd");
  EXPECT_EQ(location.account, "acct");
  EXPECT_EQ(location.container, "data");
  EXPECT_EQ(location.prefix, "a b/c+d");
  EXPECT_EQ(Parse("https://acct.dfs.core.windows.net/data").origin,
            "https://acct.blob.core.windows.net");
  const auto emulator = Parse("http://127.0.0.1:10000/devstoreaccount1/data/p");
  EXPECT_EQ(emulator.account, "devstoreaccount1");
  EXPECT_EQ(emulator.origin, "http://127.0.0.1:10000");
  EXPECT_EQ(emulator.base_path, "/devstoreaccount1");
  EXPECT_EQ(emulator.container, "data");
  EXPECT_EQ(emulator.prefix, "p");
}

TEST(AzUrl, EndpointsOverride) {
  const auto location = Parse("az://acct/data/p", "http://127.0.0.1:10000/acct/");
  EXPECT_EQ(location.origin, "http://127.0.0.1:10000");
  EXPECT_EQ(location.base_path, "/acct");
  const auto host = Parse("abfss://data@acct.dfs.core.windows.net/p", "https://private.example");
  EXPECT_EQ(host.origin, "https://private.example");
  EXPECT_EQ(host.base_path, "");
  for (const char* bad : {"127.0.0.1:10000/acct", "ftp://x", "https://", "https://h/a?sig=x",
                          "https://user@h/a", "https://h /a"}) {
    EXPECT_NE(WhyNot("az://acct/data", bad).find("endpoint"), std::string::npos) << bad;
  }
}

TEST(AzUrl, WrongOnesAreExplained) {
  EXPECT_NE(WhyNot("az://onlyone").find("az://ACCOUNT/onlyone"), std::string::npos);
  EXPECT_NE(WhyNot("az://my-data/train")
                .find("If 'my-data' is the container, write "
                      "az://ACCOUNT/my-data/train"),
            std::string::npos);
  WhyNot("az://");
  WhyNot("az:///c/p");
  WhyNot("az://acct/UPPER");
  WhyNot("az://acct/a--b");
  WhyNot("az://acct/data/a//b");
  WhyNot("az://acct/data/a/../b");
  WhyNot("abfss://acct.dfs.core.windows.net/data");
  WhyNot("abfss://data@host/p");
  const std::string without = WhyNot("abfs://data/p/q");
  EXPECT_NE(without.find("which storage account 'data' is a container of"), std::string::npos) << without;
  EXPECT_NE(without.find("abfss://data@ACCOUNT.dfs.core.windows.net/p/q"), std::string::npos) << without;
  EXPECT_NE(without.find("az://ACCOUNT/data/p/q"), std::string::npos) << without;
  WhyNot("https://acct.blob.core.windows.net/data?sv=1&sig=x");
  WhyNot("https://acct.blob.core.windows.net/data/100%");
  WhyNot("https://acct.blob.core.windows.net/");
  WhyNot("s3://bucket/x");
  EXPECT_EQ(WhyNot("https://acct.blob.core.windows.net/data?sig=SECRET").find("SECRET"),
            std::string::npos);
}

TEST(AzUrl, SecretsInAddressesAreNotRepeated) {
  for (const char* url :
       {"az://acct/data?sv=1&sig=SECRET", "az://acct/data/p?sv=1&sig=SECRET",
        "az://acct/UPPER?sig=SECRET", "abfss://data@acct.dfs.core.windows.net/p?sv=1&sig=SECRET",
        "https://me:SECRET@acct.blob.core.windows.net/data"}) {
    EXPECT_EQ(WhyNot(url).find("SECRET"), std::string::npos) << url;
  }
  for (const char* endpoint : {"https://acct.blob.core.windows.net/?sv=1&sig=SECRET",
                               "https://me:SECRET@acct.blob.core.windows.net"}) {
    EXPECT_EQ(WhyNot("az://acct/data", endpoint).find("SECRET"), std::string::npos) << endpoint;
  }
  EXPECT_EQ(Parse("az://acct/data/what?/p").prefix, "what?/p");  // a name may have one
}

TEST(AzUrl, OtherReading) {
  const auto location = Parse("az://training/set1/imagenet");
  EXPECT_EQ(
      OtherReading(location, "myacct"),
      "If 'training' is a container of the account 'myacct' that the environment names, write "
      "az://myacct/training/set1/imagenet");
  EXPECT_EQ(OtherReading(location, "training"), "");
  EXPECT_NE(OtherReading(location, "").find("az://ACCOUNT/training/set1/imagenet"),
            std::string::npos);
}

}  // namespace
}  // namespace penstock::origin
