#include "cache/admin/json.h"

#include <nlohmann/json.hpp>

namespace penstock::cache {

std::optional<Json> ParseJson(std::string_view text) {
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return std::nullopt;
  return json;
}

std::string JsonText(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

std::string JsonString(const Json& json, const char* key, std::string_view fallback) {
  if (!json.is_object()) return std::string(fallback);
  const auto it = json.find(key);
  if (it == json.end() || !it->is_string()) return std::string(fallback);
  return it->get_ref<const std::string&>();
}

bool JsonBool(const Json& json, const char* key) {
  if (!json.is_object()) return false;
  const auto it = json.find(key);
  return it != json.end() && it->is_boolean() && it->get<bool>();
}

std::uint64_t JsonNumber(const Json& json, const char* key, std::uint64_t fallback) {
  if (!json.is_object()) return fallback;
  const auto it = json.find(key);
  if (it == json.end() || !it->is_number_integer()) return fallback;
  if (it->is_number_unsigned()) return it->get<std::uint64_t>();
  return it->get<std::int64_t>() < 0 ? fallback
                                     : static_cast<std::uint64_t>(it->get<std::int64_t>());
}

std::vector<std::string> JsonStrings(const Json& json, const char* key) {
  std::vector<std::string> out;
  if (!json.is_object()) return out;
  const auto it = json.find(key);
  if (it == json.end() || !it->is_array()) return out;
  for (const Json& item : *it)
    if (item.is_string()) out.push_back(item.get_ref<const std::string&>());
  return out;
}

}  // namespace penstock::cache
