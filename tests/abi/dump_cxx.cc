// The same program as C++.
#include "tests/abi/dump.c"  // NOLINT(bugprone-suspicious-include)
