#include "transport/blob/az_credentials.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

namespace penstock::origin {
namespace {

using Kind = AzCredentials::Kind;

// Plain http to this machine: `auto` takes identities that are named, and looks for no others.
AzLocation Here(const std::string& endpoint = "http://127.0.0.1:10000/acct") {
  std::string why;
  return ParseAzUrl("az://acct/container", endpoint, &why).value();
}

AzCredentials Choose(const AzEnvironment& environment, const std::string& mode = "auto") {
  std::string why;
  auto chosen = ChooseCredentials(environment, AzAuth{mode, {}, ""}, Here(), &why);
  EXPECT_TRUE(chosen) << why;
  return chosen.value_or(AzCredentials{});
}

std::string WhyNot(const AzEnvironment& environment, const std::string& mode = "auto",
                   const AzLocation& location = Here()) {
  std::string why;
  EXPECT_FALSE(ChooseCredentials(environment, AzAuth{mode, {}, ""}, location, &why));
  return why;
}

constexpr const char* kConnection =
    "DefaultEndpointsProtocol=https;AccountName=acct;AccountKey=a2V5Mg==;EndpointSuffix=x.y";

TEST(AzCredentials, AutoTakesKeyThenSasThenConnectionStringThenNothing) {
  AzEnvironment environment;
  EXPECT_EQ(Choose(environment).kind, Kind::kAnonymous);
  environment.connection_string = kConnection;
  EXPECT_EQ(Choose(environment).kind, Kind::kSharedKey);
  EXPECT_EQ(Choose(environment).key, "key2");
  environment.sas = "?sv=1&sig=abc";
  EXPECT_EQ(Choose(environment).kind, Kind::kSas);
  EXPECT_EQ(Choose(environment).sas_query, "sv=1&sig=abc");
  environment.key = "a2V5\n";
  EXPECT_EQ(Choose(environment).kind, Kind::kSharedKey);
  EXPECT_EQ(Choose(environment).key, "key");
  EXPECT_EQ(Choose(environment).account, "acct");
}

TEST(AzCredentials, TheModeDecides) {
  AzEnvironment environment;
  environment.key = "a2V5";
  environment.sas = "sig=abc";
  EXPECT_EQ(Choose(environment, "sas").kind, Kind::kSas);
  EXPECT_EQ(Choose(environment, "key").kind, Kind::kSharedKey);
  EXPECT_EQ(Choose(environment, "anon").kind, Kind::kAnonymous);
  environment.auth_type = "SAS";
  EXPECT_EQ(Choose(environment).kind, Kind::kSas);
  EXPECT_EQ(Choose(environment, "key").kind, Kind::kSharedKey);
  environment.sas.clear();
  EXPECT_NE(WhyNot(environment).find("AZURE_STORAGE_SAS_TOKEN is not set"), std::string::npos);
  EXPECT_NE(WhyNot({}, "key").find("AZURE_STORAGE_KEY"), std::string::npos);
  EXPECT_NE(WhyNot({}, "magic").find("allowed are auto, key, sas, msi"), std::string::npos);
}

TEST(AzCredentials, BadOnesAreExplainedWithoutQuotingThem) {
  AzEnvironment environment;
  environment.key = "not base64 SECRET";
  EXPECT_EQ(WhyNot(environment).find("SECRET"), std::string::npos);
  environment.key.clear();
  environment.sas = "SECRET token";
  EXPECT_EQ(WhyNot(environment).find("SECRET"), std::string::npos);
  environment.sas.clear();
  environment.connection_string = "AccountName=other;AccountKey=U0VDUkVU";
  const std::string why = WhyNot(environment);
  EXPECT_NE(why.find("'other'"), std::string::npos);
  EXPECT_EQ(why.find("U0VDUkVU"), std::string::npos);
  environment.connection_string = "nonsense";
  EXPECT_NE(WhyNot(environment).find("connection string"), std::string::npos);
}

AzEnvironment WithPrincipal() {
  AzEnvironment environment;
  environment.identity.client_id = "app";
  environment.identity.tenant_id = "tenant";
  environment.identity.client_secret = "s";
  return environment;
}

TEST(AzCredentials, AutoTakesIdentitiesThatAreNamedAfterKeysAndInOrder) {
  AzEnvironment environment = WithPrincipal();
  EXPECT_EQ(Choose(environment).Describe(), "service principal with a secret, client_id app");
  environment.identity.federated_token_file = "/token";
  EXPECT_EQ(Choose(environment).Describe(), "service principal with a secret, client_id app");
  environment.identity.client_secret.clear();
  environment.identity.places.identity_endpoint = "http://127.0.0.1:1/";
  environment.identity.places.identity_header = "header";
  EXPECT_EQ(Choose(environment).Describe(), "workload identity, client_id app");
  environment.identity.federated_token_file.clear();
  EXPECT_EQ(Choose(environment).Describe(), "managed identity (App Service), client_id app");
  environment.key = "a2V5";
  EXPECT_EQ(Choose(environment).kind, Kind::kSharedKey);
  environment.key.clear();
  environment.auth_type = "workloadidentity";  // as BlobFuse2 writes it
  EXPECT_NE(WhyNot(environment).find("AZURE_FEDERATED_TOKEN_FILE"), std::string::npos);
}

TEST(AzCredentials, MountsOfOneIdentityShareItsToken) {
  const AzEnvironment environment = WithPrincipal();
  const AzCredentials one = Choose(environment, "spn");
  EXPECT_EQ(one.tokens, Choose(environment, "spn").tokens);
  AzEnvironment other = environment;
  other.identity.client_secret = "t";
  EXPECT_NE(one.tokens, Choose(other, "spn").tokens);
}

TEST(AzCredentials, ATokenNeverGoesOverPlainHttp) {
  const AzEnvironment environment = WithPrincipal();
  const AzLocation plain = Here("http://storage.example/acct");
  EXPECT_NE(WhyNot(environment, "spn", plain).find("https only"), std::string::npos);
  EXPECT_NE(WhyNot(environment, "msi", Here("http://127.0.0.1.example/acct")).find("https only"),
            std::string::npos);
  std::string why;
  EXPECT_EQ(ChooseCredentials(environment, AzAuth{}, plain, &why)->kind, Kind::kAnonymous);
}

TEST(AzCredentials, WhatAnIdentityLacksIsSaid) {
  EXPECT_NE(WhyNot({}, "spn").find("AZURE_CLIENT_SECRET"), std::string::npos);
  EXPECT_NE(WhyNot({}, "workload").find("AZURE_FEDERATED_TOKEN_FILE"), std::string::npos);
  AzEnvironment environment = WithPrincipal();
  environment.identity.tenant_id = "../tenant";
  EXPECT_NE(WhyNot(environment, "spn").find("tenant"), std::string::npos);
  environment.identity.tenant_id.clear();
  EXPECT_NE(WhyNot(environment, "spn").find("AZURE_TENANT_ID"), std::string::npos);
  environment = WithPrincipal();
  environment.identity.authority_host = "http://login.example";
  EXPECT_NE(WhyNot(environment, "spn").find("authority"), std::string::npos);
}

TEST(AzCredentials, UserDelegationSasIsASas) {
  AzEnvironment environment;
  environment.sas =
      "sp=rl&st=2026-01-01T00:00:00Z&se=2026-01-02T00:00:00Z&skoid=o&sktid=t&skt=a&ske=b&sks=b&"
      "skv=2023-11-03&spr=https&sv=2023-11-03&sr=c&sig=abc%3D";
  EXPECT_EQ(Choose(environment).kind, Kind::kSas);
  EXPECT_EQ(Choose(environment).sas_query, environment.sas);
  EXPECT_EQ(Choose(environment).Describe(), "SAS, AZURE_STORAGE_SAS_TOKEN");
}

TEST(ConnectionString, Parts) {
  std::string why;
  const auto parsed = ParseConnectionString(kConnection, &why).value();
  EXPECT_EQ(parsed.account, "acct");
  EXPECT_EQ(parsed.key, "a2V5Mg==");
  EXPECT_EQ(parsed.blob_endpoint, "https://acct.blob.x.y");
  const auto development = ParseConnectionString("UseDevelopmentStorage=true", &why).value();
  EXPECT_EQ(development.account, "devstoreaccount1");
  EXPECT_EQ(development.blob_endpoint, "http://127.0.0.1:10000/devstoreaccount1");
  const auto shared =
      ParseConnectionString("BlobEndpoint=http://h/a;SharedAccessSignature=sv=1&sig=x%3D;", &why)
          .value();
  EXPECT_EQ(shared.sas_query, "sv=1&sig=x%3D");
  EXPECT_EQ(shared.blob_endpoint, "http://h/a");
  EXPECT_FALSE(ParseConnectionString("", &why));
  EXPECT_FALSE(ParseConnectionString("AccountKey=abcd", &why));
}

TEST(AzEnvironment, ReadsTheNamesOfTheEcosystem) {
  setenv("AZURE_STORAGE_ACCOUNT", "a", 1);
  setenv("AZURE_STORAGE_ACCESS_KEY", "k2", 1);
  EXPECT_EQ(AzEnvironment::FromProcess().key, "k2");
  setenv("AZURE_STORAGE_KEY", "k1", 1);
  EXPECT_EQ(AzEnvironment::FromProcess().key, "k1");
  EXPECT_EQ(AzEnvironment::FromProcess().account, "a");
  for (const char* name :
       {"AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_KEY"}) {
    unsetenv(name);
  }
}

TEST(AzEnvironment, Endpoints) {
  AzEnvironment environment;
  EXPECT_EQ(EndpointFromEnvironment(environment, "acct"), "");
  environment.connection_string = kConnection;
  EXPECT_EQ(EndpointFromEnvironment(environment, "acct"), "https://acct.blob.x.y");
  EXPECT_EQ(EndpointFromEnvironment(environment, "other"), "");
  environment.identity.authority_host = "https://login.microsoftonline.us/";
  EXPECT_EQ(EndpointFromEnvironment(environment, "acct"), "https://acct.blob.x.y");
  EXPECT_EQ(EndpointFromEnvironment(environment, "other"),
            "https://other.blob.core.usgovcloudapi.net");
  environment.identity.authority_host = "login.chinacloudapi.cn";
  EXPECT_EQ(EndpointFromEnvironment(environment, "other"),
            "https://other.blob.core.chinacloudapi.cn");
  environment.blob_endpoint = "https://private";
  EXPECT_EQ(EndpointFromEnvironment(environment, "acct"), "https://private");
}

TEST(AzCredentials, SecretsAndDataInClearAreSaid) {
  EXPECT_EQ(PlainHttpRisk("https://account.blob.core.windows.net", Kind::kSas), "");
  for (const char* here : {"http://127.0.0.1:10000", "http://localhost:1", "http://[::1]:10000"})
    EXPECT_EQ(PlainHttpRisk(here, Kind::kSas), "") << here;
  EXPECT_NE(PlainHttpRisk("http://blob.example:10000", Kind::kSas).find("SAS"), std::string::npos);
  EXPECT_NE(PlainHttpRisk("http://10.0.0.1", Kind::kSharedKey), "");
  EXPECT_NE(PlainHttpRisk("http://[fd00::1]:80", Kind::kAnonymous), "");
}

}  // namespace
}  // namespace penstock::origin
