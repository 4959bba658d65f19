// Included ahead of mlx-c's sources when they are compiled, and ahead of its headers when bindings are made of them.

#if defined(__cplusplus) && !__has_include(<format>)
// The compiler is older than std::format (GCC before 13). mlx-c uses it with plain {} only.
#include <sstream>
#include <string>
#include <string_view>
namespace std {
template <typename... Values>
string format(string_view pattern, const Values&... values) {
  ostringstream out;
  auto put = [&](const auto& value) {
    auto hole = pattern.find("{}");
    out << pattern.substr(0, hole);
    if (hole == string_view::npos) {
      pattern = {};
    } else {
      out << value;
      pattern.remove_prefix(hole + 2);
    }
  };
  (put(values), ...);
  out << pattern;
  return out.str();
}
} // namespace std
#endif

#if !defined(__aarch64__)
// mlx-c has accessors of 16-bit floats on Arm only; mlx-rs calls them everywhere.
#include <stdint.h>
#define HAS_FLOAT16
#define HAS_BFLOAT16
#if defined(TALKIED_BINDINGS)
typedef _Float16 float16_t; // becomes the type that mlx-rs knows from Arm
#else
typedef uint16_t float16_t;
#endif
typedef uint16_t bfloat16_t;
#endif
