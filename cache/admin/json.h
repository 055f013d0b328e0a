// JSON as the admin protocol uses it: parsed without exceptions, fields taken with a check of their
// type. A field that is missing or of another type gives the default.
//
// The library's whole header is for those who build or walk a document: they include
// <nlohmann/json.hpp> themselves. Its parser and serialiser are compiled in json.cc only.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::cache {

using Json = nlohmann::ordered_json;

std::optional<Json> ParseJson(std::string_view text);

// Bytes that are no UTF-8 (file names may be anything) are replaced.
std::string JsonText(const Json& json, int indent = -1);

std::string JsonString(const Json& json, const char* key, std::string_view fallback = "");
bool JsonBool(const Json& json, const char* key);
std::uint64_t JsonNumber(const Json& json, const char* key, std::uint64_t fallback = 0);
std::vector<std::string> JsonStrings(const Json& json, const char* key);

}  // namespace penstock::cache
