// Wide characters on streams. libc gives a stream other functions with its first wide character,
// which read the descriptor by calls inside libc: a covered stream's file becomes real before that.

#include <stdarg.h>
#include <stdio.h>
#include <wchar.h>

#include "shim/calls/covered_stream.h"
#include "shim/calls/support.h"

namespace penstock {
namespace {

PST_INLINE FILE* Ready(FILE* stream) {
  if (PST_UNLIKELY(g_config.active)) CoveredStreamWiden(stream);
  return stream;
}

}  // namespace
}  // namespace penstock

using namespace penstock;

PST_EXPORT int fwide(FILE* stream, int mode) {
  return real.fwide(mode > 0 ? Ready(stream) : stream, mode);
}

PST_EXPORT wint_t fgetwc(FILE* stream) { return real.fgetwc(Ready(stream)); }
PST_EXPORT wint_t fgetwc_unlocked(FILE* stream) { return real.fgetwc_unlocked(Ready(stream)); }
PST_EXPORT wint_t ungetwc(wint_t wide, FILE* stream) { return real.ungetwc(wide, Ready(stream)); }
PST_EXPORT wint_t fputwc(wchar_t wide, FILE* stream) { return real.fputwc(wide, Ready(stream)); }
PST_EXPORT wint_t fputwc_unlocked(wchar_t wide, FILE* stream) {
  return real.fputwc_unlocked(wide, Ready(stream));
}
PST_EXPORT int fputws(const wchar_t* text, FILE* stream) {
  return real.fputws(text, Ready(stream));
}
PST_EXPORT int fputws_unlocked(const wchar_t* text, FILE* stream) {
  return real.fputws_unlocked(text, Ready(stream));
}
PST_EXPORT wchar_t* fgetws(wchar_t* to, int count, FILE* stream) {
  return real.fgetws(to, count, Ready(stream));
}
PST_EXPORT wchar_t* fgetws_unlocked(wchar_t* to, int count, FILE* stream) {
  return real.fgetws_unlocked(to, count, Ready(stream));
}
PST_EXPORT wchar_t* __fgetws_chk(wchar_t* to, size_t room, int count, FILE* stream) {
  return real.__fgetws_chk(to, room, count, Ready(stream));
}
PST_EXPORT wchar_t* __fgetws_unlocked_chk(wchar_t* to, size_t room, int count, FILE* stream) {
  return real.__fgetws_unlocked_chk(to, room, count, Ready(stream));
}

// libc's header may give one of these names another one's symbol.
#define PST_WIDE_LIST(name)                                                                     \
  PST_EXPORT int Wide_##name(FILE* stream, const wchar_t* format, va_list list) __asm__(#name); \
  int Wide_##name(FILE* stream, const wchar_t* format, va_list list) {                          \
    return real.name(Ready(stream), format, list);                                              \
  }
PST_WIDE_LIST(vfwscanf)
PST_WIDE_LIST(__isoc99_vfwscanf)
PST_WIDE_LIST(__isoc23_vfwscanf)
PST_WIDE_LIST(vfwprintf)

#define PST_WIDE_VARIADIC(name, with_list)                                             \
  PST_EXPORT int Wide_##name(FILE* stream, const wchar_t* format, ...) __asm__(#name); \
  int Wide_##name(FILE* stream, const wchar_t* format, ...) {                          \
    va_list list;                                                                      \
    va_start(list, format);                                                            \
    const int result = real.with_list(Ready(stream), format, list);                    \
    va_end(list);                                                                      \
    return result;                                                                     \
  }
PST_WIDE_VARIADIC(fwscanf, vfwscanf)
PST_WIDE_VARIADIC(__isoc99_fwscanf, __isoc99_vfwscanf)
PST_WIDE_VARIADIC(__isoc23_fwscanf, __isoc23_vfwscanf)
PST_WIDE_VARIADIC(fwprintf, vfwprintf)

PST_EXPORT int __vfwprintf_chk(FILE* stream, int level, const wchar_t* format, va_list list) {
  return real.__vfwprintf_chk(Ready(stream), level, format, list);
}

PST_EXPORT int __fwprintf_chk(FILE* stream, int level, const wchar_t* format, ...) {
  va_list list;
  va_start(list, format);
  const int result = real.__vfwprintf_chk(Ready(stream), level, format, list);
  va_end(list);
  return result;
}
