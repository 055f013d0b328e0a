/* A host program: each case does what programs do to files and prints what it saw. The runner starts it
 * twice, on a plain directory and on the same data under a mount, and compares the output byte for byte.
 *   host CASE ROOT [plain|mount]
 * Nothing printed depends on the root's name, on inode numbers or on the file system's kind. */
#include "host.h"

const char* root;
int mounted;
const char* self;

static const struct {
  const char* name;
  void (*run)(void);
} cases[] = {{"dup", dup_case},
             {"locks", locks_case},
             {"ready", ready_case},
             {"map", map_case},
             {"grow", grow_case},
             {"turns", turns_case},
             {"above", above_case},
             {"above_cwd", above_cwd_case},
             {"handle", handle_case},
             {"unnamed", unnamed_case},
             {"inside", inside_case},
             {"daemon", daemon_case},
             {"copies", copies_case},
             {"aio", aio_case},
             {"attributes", attributes_case},
             {"names", names_case},
             {"stdio", stdio_case},
             {"stdin", stdin_case},
             {"cwd", cwd_case},
             {"links", links_case},
             {"walk", walk_case},
             {"fork", fork_case},
             {"clone", clone_case},
             {"exec", exec_case},
             {"spawn", spawn_case},
             {"rights", rights_case},
             {"sandbox", sandbox_case},
             {"raw", raw_case},
             {"stale", stale_case},
             {"library", library_case},
             {"read_stdin", read_stdin},
             {"odd", odd_case},
             {"streams", streams_case},
             {"maps", maps_case},
             {"async", async_case},
             {"ring", ring_case}};

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  self = argv[0];
  root = argv[2];
  mounted = argc > 3 && strcmp(argv[3], "mount") == 0;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    if (strcmp(argv[1], cases[i].name) != 0) continue;
    cases[i].run();
    return fflush(stdout) == 0 ? 0 : 1;
  }
  return 2;
}
