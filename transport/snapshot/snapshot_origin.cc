#include "transport/snapshot/snapshot_origin.h"

#include <utility>

#include "transport/base/limits.h"
#include "transport/origin/names.h"

namespace penstock::snapshot {
namespace {

constexpr std::uint64_t kEntriesOfBlock = 64;  // about

void End(origin::Op* op, Error error) {
  op->error = error;
  op->done(op);
}
constexpr Error kFine{Code::kOk, false, 0, ""};

}  // namespace

SnapshotOrigin::SnapshotOrigin(std::unique_ptr<origin::Origin> real,
                               std::unique_ptr<SnapshotFile> file)
    : file_(std::move(file)), real_(std::move(real)) {}

void SnapshotOrigin::Stat(origin::StatOp* op) {
  if (auto valid = origin::CheckName(op->name); !valid) return End(op, valid.error());
  auto found = file_->manifest().Find(op->name);
  file_->NoteBlocks(1);
  if (!found) return End(op, found.error());
  if (!*found) return End(op, {Code::kNotFound, false, 0, "looking a name up in a snapshot"});
  op->info = **std::move(found);
  op->info.name = op->name;
  End(op, kFine);
}

void SnapshotOrigin::List(origin::ListOp* op) {
  if (op->recursive) return End(op, {Code::kInvalid, false, 0, "listing a snapshot as one"});
  if (auto valid = origin::CheckName(op->directory); !valid) return End(op, valid.error());
  bool more = false;
  auto entries = file_->manifest().List(op->directory, op->marker, limits::kListPageEntries, &more);
  if (!entries) return End(op, entries.error());
  file_->NoteBlocks(1 + entries->size() / kEntriesOfBlock);
  op->entries = *std::move(entries);
  op->next_marker = more ? op->entries.back().name : std::string();
  End(op, kFine);
}

}  // namespace penstock::snapshot
