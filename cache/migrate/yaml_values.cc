#include "cache/migrate/yaml_values.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <sstream>

namespace penstock::cache {
namespace {

// A limit was passed; thrown through the parser, which knows no other way to be stopped.
struct Stop {
  YamlProblem problem;
};

// Flattens the parser's events: nothing is built that an alias could multiply.
class Flattener final : public YAML::EventHandler {
 public:
  std::vector<YamlValue> Take() { return std::move(values_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { Value(mark, "", true, false); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { Value(mark, "", false, true); }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                const std::string& value) override {
    Value(mark, value, false, false);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    Push(mark, Level::kSequence);
  }
  void OnSequenceEnd() override { Pop(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    Push(mark, Level::kMap);
  }
  void OnMapEnd() override { Pop(); }

 private:
  struct Level {
    enum Kind { kMap, kSequence } kind;
    std::size_t prefix;     // of path_, the level's own name
    bool at_key = true;     // kMap: what comes next is a key
    std::size_t index = 0;  // kSequence: of what comes next
  };

  static int LineOf(const YAML::Mark& mark) { return mark.line + 1; }

  // The name of what comes next goes onto path_; false if that is a key and no value.
  void Value(const YAML::Mark& mark, const std::string& text, bool is_null, bool is_alias) {
    if (!levels_.empty() && levels_.back().kind == Level::kMap && levels_.back().at_key) {
      if (text.size() > kYamlMaxKeyBytes)
        throw Stop{{LineOf(mark), fmt::format("a key of more than {} bytes", kYamlMaxKeyBytes)}};
      path_.resize(levels_.back().prefix);
      if (!path_.empty()) path_ += '.';
      path_ += text;
      levels_.back().at_key = false;
      key_line_ = LineOf(mark);
      return;
    }
    BeginItem();
    if (values_.size() >= kYamlMaxValues)
      throw Stop{{LineOf(mark), fmt::format("more than {} values", kYamlMaxValues)}};
    // What is missing lies, for the parser, where the next thing begins.
    const int line = is_null && !levels_.empty() && levels_.back().kind == Level::kMap
                         ? key_line_
                         : LineOf(mark);
    values_.push_back({path_, text, line, is_null, is_alias});
    EndItem();
  }

  void BeginItem() {
    if (levels_.empty() || levels_.back().kind == Level::kMap) return;
    path_.resize(levels_.back().prefix);
    path_ += fmt::format("[{}]", levels_.back().index);
  }

  void EndItem() {
    if (levels_.empty()) return;
    ++levels_.back().index;
    levels_.back().at_key = true;
  }

  void Push(const YAML::Mark& mark, Level::Kind kind) {
    if (levels_.size() >= kYamlMaxDepth)
      throw Stop{{LineOf(mark), fmt::format("nested more than {} deep", kYamlMaxDepth)}};
    if (!levels_.empty() && levels_.back().kind == Level::kMap && levels_.back().at_key)
      throw Stop{{LineOf(mark), "a list or a map is used as a key"}};
    BeginItem();
    levels_.push_back({kind, path_.size()});
  }

  void Pop() {
    path_.resize(levels_.back().prefix);
    levels_.pop_back();
    EndItem();
  }

  std::vector<Level> levels_;
  std::string path_;
  int key_line_ = 0;
  std::vector<YamlValue> values_;
};

}  // namespace

std::expected<std::vector<YamlValue>, YamlProblem> ReadYaml(std::string_view text) {
  if (text.size() > kYamlMaxBytes)
    return std::unexpected(YamlProblem{0, fmt::format("more than {} bytes", kYamlMaxBytes)});
  std::istringstream stream{std::string(text)};
  Flattener values;
  try {
    YAML::Parser parser(stream);
    parser.HandleNextDocument(values);
  } catch (const Stop& stop) {
    return std::unexpected(stop.problem);
  } catch (const YAML::Exception& error) {
    return std::unexpected(YamlProblem{error.mark.line + 1, error.msg});
  }
  return values.Take();
}

}  // namespace penstock::cache
