// Which programs are supervised: real ones of each kind, and files that lie about themselves.

#include "shim/supervise/program.h"

#include <elf.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <string>

namespace penstock {
namespace {

constexpr std::size_t kHeadBytes = 4096;  // as shim/calls/launch.cc reads

std::string Contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

ProgramKind KindOf(const std::string& program) {
  const int fd = memfd_create("program", MFD_CLOEXEC);
  EXPECT_EQ(write(fd, program.data(), program.size()), static_cast<ssize_t>(program.size()));
  // A copy of the head alone, so that a sanitizer sees a look behind it.
  const std::string head = program.substr(0, kHeadBytes);
  char* copy = new char[head.size()];
  std::memcpy(copy, head.data(), head.size());
  const ProgramKind kind = PstProgramKind(fd, copy, head.size());
  delete[] copy;
  close(fd);
  return kind;
}

std::string Loader() {
  const std::string shell = Contents("/proc/self/exe");
  ElfW(Ehdr) header;
  std::memcpy(&header, shell.data(), sizeof header);
  for (unsigned i = 0; i < header.e_phnum; i++) {
    ElfW(Phdr) segment;
    std::memcpy(&segment, shell.data() + header.e_phoff + i * sizeof segment, sizeof segment);
    if (segment.p_type == PT_INTERP) return shell.data() + segment.p_offset;
  }
  return "";
}

// A program as a linker could make it: header, segments, and what they hold behind.
struct Made {
  std::string bytes = std::string(sizeof(ElfW(Ehdr)), '\0');

  explicit Made(unsigned segments) {
    const std::string own = Contents("/proc/self/exe");
    ElfW(Ehdr) header;
    std::memcpy(&header, own.data(), sizeof header);
    header.e_phoff = sizeof header;
    header.e_phnum = static_cast<ElfW(Half)>(segments);
    header.e_shnum = 0;
    std::memcpy(bytes.data(), &header, sizeof header);
    bytes.resize(sizeof header + segments * sizeof(ElfW(Phdr)));
  }

  void Put(unsigned index, unsigned type, const std::string& data, std::size_t gap = 0) {
    ElfW(Phdr) segment{};
    bytes.resize(bytes.size() + gap);
    segment.p_type = type;
    segment.p_offset = bytes.size();
    segment.p_filesz = data.size();
    std::memcpy(bytes.data() + sizeof(ElfW(Ehdr)) + index * sizeof segment, &segment,
                sizeof segment);
    bytes += data;
  }
};

std::string Note(const std::string& name, unsigned type, const std::string& text) {
  const ElfW(Nhdr)
      note = {static_cast<ElfW(Word)>(name.size()), static_cast<ElfW(Word)>(text.size()), type};
  std::string bytes(reinterpret_cast<const char*>(&note), sizeof note);
  for (const std::string& part : {name, text})
    bytes += part + std::string((4 - part.size() % 4) % 4, '\0');
  return bytes;
}

const std::string kInterpreter("/lib64/ld-linux-x86-64.so.2\0", 28);
const std::string kGo("Go\0\0", 4);

TEST(Program, WhatIsOnThisMachine) {
  EXPECT_EQ(KindOf(Contents("/bin/sh")), ProgramKind::kLoads);
  EXPECT_EQ(KindOf(Contents("/proc/self/exe")), ProgramKind::kLoads);
  EXPECT_EQ(KindOf(Contents(Loader())), ProgramKind::kLoads)
      << "the loader loads the library into what it runs";
}

TEST(Program, ByWhatStandsInIt) {
  Made nothing(1);
  nothing.Put(0, PT_LOAD, "code");
  EXPECT_EQ(KindOf(nothing.bytes), ProgramKind::kRaw);
  for (const std::size_t gap : {0, 5000}) {  // within and behind the head
    Made dynamic(2), go(3), other(3);
    for (Made* each : {&dynamic, &go, &other}) each->Put(0, PT_INTERP, kInterpreter);
    dynamic.Put(1, PT_LOAD, "code", gap);
    go.Put(1, PT_NOTE, Note("GNU\0", 3, "build") + Note(kGo, 4, "an/id"), gap);
    other.Put(1, PT_NOTE, Note("GNU\0", 4, "build") + Note(kGo, 3, "no id"), gap);
    EXPECT_EQ(KindOf(dynamic.bytes), ProgramKind::kLoads);
    EXPECT_EQ(KindOf(go.bytes), ProgramKind::kRaw);
    EXPECT_EQ(KindOf(other.bytes), ProgramKind::kLoads);
  }
  std::string foreign = nothing.bytes;
  reinterpret_cast<ElfW(Ehdr)*>(foreign.data())->e_machine = EM_S390;
  EXPECT_EQ(KindOf(foreign), ProgramKind::kForeign);
  EXPECT_EQ(KindOf(nothing.bytes.substr(0, 40)), ProgramKind::kForeign);
}

// Headers that point anywhere, notes that claim any length: an answer, whatever it is, and no look
// beyond.
TEST(Program, FilesThatLie) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  Made go(2);
  go.Put(0, PT_INTERP, kInterpreter);
  go.Put(1, PT_NOTE, Note("GNU\0", 3, "build") + Note(kGo, 4, "an/id"));
  for (const std::string& program : {go.bytes, Contents("/bin/sh").substr(0, 20000)}) {
    for (int round = 0; round < 3000; round++) {
      std::string bytes = program;
      const std::size_t reach = std::min<std::size_t>(bytes.size(), 1024);
      for (int i = 0; i < 6; i++) {
        static constexpr unsigned char kEdges[] = {0, 1, 0x7f, 0x80, 0xff};
        bytes[random() % reach] = static_cast<char>(random() % 2 ? random() : kEdges[random() % 5]);
      }
      std::memcpy(bytes.data(), program.data(), 6);  // still ELF
      if (random() % 4 == 0) bytes.resize(random() % bytes.size());
      if (bytes.size() >= 6) KindOf(bytes);
    }
  }
}

}  // namespace
}  // namespace penstock
