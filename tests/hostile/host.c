/* The host program of the hostile cases: each does what few programs do, and prints what it saw.
 * The runner starts it twice, on a plain directory that is mounted read-only and on the same data
 * under a mount of Penstock's, and compares the output byte for byte. hostile_host list | CASE ROOT
 * [plain|mount] */
#include "tests/hostile/host.h"

const char* root;
int mounted;
const char* self;

static const struct hostile_case* const families[] = {
    errno_cases,   flag_cases,   directory_cases, walk_cases, number_cases,
    process_cases, spawn_cases,  sharing_cases,   link_cases, thread_cases,
    signal_cases,  loader_cases, stream_cases};

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  self = argv[0];
  root = argc > 2 ? argv[2] : "";
  mounted = argc > 3 && strcmp(argv[3], "mount") == 0;
  for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
    for (const struct hostile_case* c = families[i]; c->name != NULL; c++) {
      if (strcmp(argv[1], "list") == 0) {
        if (c->run != NULL && c->name[0] != '_') puts(c->name);
      } else if (strcmp(argv[1], c->name) == 0) {
        c->run();
        return fflush(stdout) == 0 ? 0 : 1;
      }
    }
  }
  return strcmp(argv[1], "list") == 0 ? 0 : 2;
}
