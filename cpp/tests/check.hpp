// A few macros for plain test executables: no framework to download.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstdlib>

#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            std::fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
            std::exit(1);                                                           \
        }                                                                           \
    } while (false)

// |a - b| <= tolerance; NaN never passes.
#define CHECK_CLOSE(a, b, tolerance)                                                          \
    do {                                                                                      \
        const double checkA_ = (a), checkB_ = (b);                                            \
        if (!(std::fabs(checkA_ - checkB_) <= (tolerance))) {                                 \
            std::fprintf(stderr, "%s:%d: failed: %s = %.17g, wanted %.17g within %g\n", __FILE__, \
                         __LINE__, #a, checkA_, checkB_, static_cast<double>(tolerance));     \
            std::exit(1);                                                                     \
        }                                                                                     \
    } while (false)

#define CHECK_THROWS(expression, ExceptionType)                                                    \
    do {                                                                                           \
        bool thrown_ = false;                                                                      \
        try {                                                                                      \
            (void)(expression);                                                                    \
        } catch (ExceptionType const&) {                                                           \
            thrown_ = true;                                                                        \
        }                                                                                          \
        if (!thrown_) {                                                                            \
            std::fprintf(stderr, "%s:%d: %s did not throw " #ExceptionType "\n", __FILE__, __LINE__, \
                         #expression);                                                             \
            std::exit(1);                                                                          \
        }                                                                                          \
    } while (false)
