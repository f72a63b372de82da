#include "stillsky/core/config.hpp"

namespace stillsky {

const char* version() { return STILLSKY_VERSION; }

const char* simdTargets() {
#if STILLSKY_HAS_SIMD
    return "baseline, x86-64-v3, x86-64-v4";
#else
    return "baseline";
#endif
}

}  // namespace stillsky
