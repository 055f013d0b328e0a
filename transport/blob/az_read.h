// Reading a range of a blob: one GET straight into the operation's buffers, and for a slow one a
// second GET beside it (a hedge). Internal to AzOrigin.
//
// The first complete and right answer wins. The hedge has a buffer of its own; its bytes reach the
// operation's buffers after the first request has left the wire, so that those of two answers never
// mix. A hedge that fails changes nothing: the first request goes on, with its retries.
//
// Thread safety: as AzTask.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "transport/blob/az_task.h"
#include "transport/blob/body_check.h"

namespace penstock::origin {

// What an answer to a GET of a range has to be.
struct WantedRange {
  std::uint64_t offset = 0;
  std::uint64_t size = 0;      // of a head: no more than the blob has, once an answer tells
  std::string version;  // "" accepts any

  bool IsRightVersion(const HttpExchange& answer) const;
  // What was asked for and nothing else; a server that ignores ranges may send the whole, if that
  // is it.
  bool IsRightRange(const HttpExchange& answer) const;
  // The blob is too short for what was asked: no other try will find more.
  bool EndsBefore(const HttpExchange& answer) const;
};

// GET of a range, straight into the operation's buffers; HEAD for a range of no bytes.
class AzReadTask final : public AzTask {
 public:
  AzReadTask(AzOrigin* origin, ReadOp* op, std::string name);

 private:
  class Hedge;

  AzRequest Request() const override;
  void BeforeSend() override;
  bool OnHeaders() override;
  bool OnBody(std::span<const char> bytes) override;
  void OnAlarm() override;
  void OnAnswer() override;
  void Rewind() override;
  void OnEnd() override;

  void OnHedgeWon();
  void FitToBlob();
  void TakeBytes(std::span<const char> bytes);
  void FillInfo(const HttpExchange& answer);

  ReadOp* read_;
  const std::string name_;    // in the container
  std::uint64_t asked_ = 0;   // bytes in the buffers
  WantedRange wanted_;
  BodyCheck check_;
  std::uint64_t filled_ = 0;  // bytes delivered by this try
  std::size_t buffer_ = 0;
  std::size_t buffer_filled_ = 0;
  std::unique_ptr<Hedge> hedge_;
};

}  // namespace penstock::origin
