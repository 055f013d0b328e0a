// How a tree is listed by many flat listings at once: the children of a directory are divided into
// groups by what their names begin with, and each group is one flat listing. A million blobs in
// 20,000 folders are then some 200 requests on 32 connections, where asking folder by folder takes
// 20,000.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::origin {

// Prefixes of paths below a directory, such that each child directory of `children` (names, sorted
// by bytes, without repeats) lies under exactly one of them. At most about 2 * `groups` prefixes:
// "name/" for each child while they are few, else common beginnings of names that divide them.
std::vector<std::string> PlanPrefixes(const std::vector<std::string_view>& children,
                                      std::size_t groups);

}  // namespace penstock::origin
