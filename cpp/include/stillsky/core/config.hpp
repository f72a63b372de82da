// Version string and the few compiler-dependent words used by hot loops.
#pragma once

namespace stillsky {

// "major.minor.patch", the same as stillsky.__version__ in Python.
const char* version();

// The instruction sets that this build dispatches between at run time, e.g. "baseline, x86-64-v3, x86-64-v4";
// "baseline" alone where the build has no dispatch.
const char* simdTargets();

}  // namespace stillsky

// Placed before a hot leaf function: the compiler emits it for three x86-64 levels and the loader chooses.
// Inlined helpers are compiled for each level too; functions that are called, not inlined, are not.
#if defined(STILLSKY_USE_SIMD) && defined(__x86_64__) && defined(__ELF__) && defined(__GNUC__) && \
        !defined(__clang__) && __GNUC__ >= 12
#define STILLSKY_SIMD __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#define STILLSKY_HAS_SIMD 1
#else
#define STILLSKY_SIMD
#define STILLSKY_HAS_SIMD 0
#endif

#if defined(__GNUC__)
#define STILLSKY_RESTRICT __restrict__
#define STILLSKY_INLINE inline __attribute__((always_inline))
#else
#define STILLSKY_RESTRICT
#define STILLSKY_INLINE inline
#endif
