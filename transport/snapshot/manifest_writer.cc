#include "transport/snapshot/manifest_writer.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "transport/base/crc32c.h"
#include "transport/base/limits.h"
#include "transport/origin/names.h"
#include "transport/snapshot/varint.h"

namespace penstock::snapshot {
namespace {

constexpr std::size_t kTextPieceBytes = 1u << 20;
constexpr std::size_t kWriteBytes = 1u << 20;

// What goes to the file goes into the digest.
class Output {
 public:
  explicit Output(int fd) : fd_(fd), digest_(EVP_MD_CTX_new(), &EVP_MD_CTX_free) {
    ok_ = digest_ != nullptr && EVP_DigestInit_ex(digest_.get(), EVP_sha256(), nullptr) == 1;
  }

  void Append(const void* data, std::size_t bytes) {
    buffer_.append(static_cast<const char*>(data), bytes);
    at_ += bytes;
    if (buffer_.size() >= kWriteBytes) Flush();
  }
  std::uint64_t at() const { return at_; }

  Digest Finish() {
    Flush();
    Digest digest{};
    unsigned length = 0;
    ok_ = ok_ && EVP_DigestFinal_ex(digest_.get(), digest.data(), &length) == 1 &&
          length == digest.size();
    WriteOut(reinterpret_cast<const char*>(digest.data()), digest.size());
    return digest;
  }
  Result<void> Outcome() const {
    if (ok_) return {};
    if (errno_ != 0) return std::unexpected(ErrnoError(errno_, "writing a manifest"));
    return Fail(Code::kInternal, "computing a manifest's digest");
  }

 private:
  void Flush() {
    ok_ = ok_ && EVP_DigestUpdate(digest_.get(), buffer_.data(), buffer_.size()) == 1;
    WriteOut(buffer_.data(), buffer_.size());
    buffer_.clear();
  }
  void WriteOut(const char* data, std::size_t bytes) {
    while (ok_ && bytes > 0) {
      const ssize_t n = write(fd_, data, bytes);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) {
        ok_ = false;
        errno_ = n < 0 ? errno : EIO;
        return;
      }
      data += n;
      bytes -= static_cast<std::size_t>(n);
    }
  }

  const int fd_;
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> digest_;
  std::string buffer_;
  std::uint64_t at_ = 0;
  bool ok_ = false;
  int errno_ = 0;
};

// Entries as they come in order, cut into blocks.
class Blocks {
 public:
  explicit Blocks(Output* output) : output_(output) {}

  void Add(std::string_view key, const origin::ObjectInfo& info) {
    AppendEntry(key, info, &before_, &entries_);
    ++count_;
    if (entries_.size() >= kBlockTargetBytes) Close();
  }
  void Close() {
    if (count_ == 0) return;
    offsets_.push_back(output_->at());
    const BlockHead head{static_cast<std::uint32_t>(entries_.size()), count_,
                         Crc32c(std::as_bytes(std::span(entries_)))};
    output_->Append(&head, sizeof head);
    output_->Append(entries_.data(), entries_.size());
    entries_.clear();
    before_ = {};
    count_ = 0;
  }
  const std::vector<std::uint64_t>& offsets() const { return offsets_; }

 private:
  Output* const output_;
  std::string entries_;
  std::uint32_t count_ = 0;
  struct Before before_;
  std::vector<std::uint64_t> offsets_;
};

void AppendText(std::string_view text, std::string* out) {
  AppendVarint(text.size(), out);
  out->append(text);
}

}  // namespace

std::string_view ManifestWriter::Keep(std::string_view text) {
  if (text.empty()) return {};
  if (texts_.empty() || texts_.back().capacity() - texts_.back().size() < text.size()) {
    texts_.emplace_back().reserve(std::max(kTextPieceBytes, text.size()));
  }
  std::string& piece = texts_.back();
  const std::size_t at = piece.size();
  piece.append(text);  // within its capacity
  return std::string_view(piece).substr(at);
}

void ManifestWriter::AddParents(std::string_view path) {
  for (std::size_t slash = path.rfind('/'); slash != std::string_view::npos;
       slash = path.rfind('/')) {
    path = path.substr(0, slash);
    if (path == last_parent_) return;
    Entry entry;
    entry.key = Keep(KeyOfPath(path));
    entry.directory = true;
    entries_.push_back(entry);
  }
}

void ManifestWriter::Add(const origin::ObjectInfo& info) {
  if (info.name.empty() || !origin::CheckName(info.name) ||
      info.version.size() > kVersionMaxBytes) {
    ++left_out_;
    return;
  }
  Entry entry;
  entry.key = Keep(KeyOfPath(info.name));
  entry.directory = info.kind == origin::ObjectKind::kDirectory;
  entry.mtime_ns = info.mtime_ns;
  if (!entry.directory) {
    entry.size = info.size;
    entry.version = Keep(info.version);
  }
  entries_.push_back(entry);
  AddParents(info.name);
  const std::size_t slash = info.name.rfind('/');
  last_parent_ = slash == std::string::npos ? "" : info.name.substr(0, slash);
}

// Of one name the first is kept: a directory before a file, one with a time before one without.
bool ManifestWriter::Before(const Entry& a, const Entry& b) {
  if (const int order = a.key.compare(b.key); order != 0) return order < 0;
  if (a.directory != b.directory) return a.directory;
  return a.mtime_ns > b.mtime_ns;
}

Result<Written> ManifestWriter::Write(int fd, std::string_view origin, std::string_view writer,
                                      std::int64_t created_ns) {
  std::sort(entries_.begin(), entries_.end(), &ManifestWriter::Before);
  Written written;
  written.left_out = left_out_;
  Output output(fd);
  Head head{};
  memcpy(head.magic, kHeadMagic, sizeof head.magic);
  head.format = kFormat;
  output.Append(&head, sizeof head);
  Blocks blocks(&output);
  const Entry* last = nullptr;
  origin::ObjectInfo info;
  for (const Entry& entry : entries_) {
    if (last != nullptr && last->key == entry.key) continue;
    last = &entry;
    info.kind = entry.directory ? origin::ObjectKind::kDirectory : origin::ObjectKind::kFile;
    info.size = entry.size;
    info.mtime_ns = entry.mtime_ns;
    info.version = entry.version;
    blocks.Add(entry.key, info);
    ++(entry.directory ? written.directories : written.files);
    written.bytes += entry.size;
  }
  blocks.Close();
  Foot foot{};
  foot.index_at = output.at();
  foot.blocks = blocks.offsets().size();
  output.Append(blocks.offsets().data(), blocks.offsets().size() * sizeof(std::uint64_t));
  std::string meta;
  AppendText(origin, &meta);
  AppendText(writer, &meta);
  foot.meta_at = output.at();
  foot.meta_bytes = meta.size();
  output.Append(meta.data(), meta.size());
  foot.files = written.files;
  foot.directories = written.directories;
  foot.bytes = written.bytes;
  foot.created_ns = created_ns;
  memcpy(foot.magic, kFootMagic, sizeof foot.magic);
  output.Append(&foot, offsetof(Foot, digest));
  written.digest = output.Finish();
  written.manifest_bytes = output.at() + kDigestBytes;
  if (auto outcome = output.Outcome(); !outcome) return std::unexpected(outcome.error());
  return written;
}

}  // namespace penstock::snapshot
