// An origin whose names come from a snapshot's manifest: List and Stat are answered from it without
// a request, a name that it does not have is absent, and reads go to the real origin, held to the
// version that the manifest names: one that has changed since gives kVersionChanged.
//
// Thread safety: as Origin says. `done` of Stat and List is called inline.
#pragma once

#include <memory>
#include <string>

#include "transport/origin/origin.h"
#include "transport/snapshot/snapshot_file.h"

namespace penstock::snapshot {

class SnapshotOrigin final : public origin::Origin {
 public:
  SnapshotOrigin(std::unique_ptr<origin::Origin> real, std::unique_ptr<SnapshotFile> file);

  void Stat(origin::StatOp* op) override;
  void Read(origin::ReadOp* op) override { real_->Read(op); }
  void List(origin::ListOp* op) override;
  void Cancel(origin::Op* op) override { real_->Cancel(op); }
  void Hurry(origin::ReadOp* op) override { real_->Hurry(op); }
  origin::OriginStats Stats() const override { return real_->Stats(); }
  std::uint32_t Concurrency() const override { return real_->Concurrency(); }
  bool ListsInOrder() const override { return true; }
  void StartProbe(origin::ProbeOp* op) override { real_->StartProbe(op); }
  origin::RequestCounts Requests() const override { return real_->Requests(); }
  std::string Risk() const override { return real_->Risk(); }
  std::string Describe() const override { return real_->Describe(); }
  std::string DescribeCredentials() const override { return real_->DescribeCredentials(); }

  const ManifestInfo& info() const { return file_->manifest().info(); }

 private:
  std::unique_ptr<SnapshotFile> file_;
  std::unique_ptr<origin::Origin> real_;
};

}  // namespace penstock::snapshot
