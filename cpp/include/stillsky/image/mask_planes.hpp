// Standard mask planes and their bit numbers (the same as in Rubin's files). Python's MaskSchema starts from them.
#pragma once

#include "stillsky/image/image.hpp"

namespace stillsky {
namespace mask_planes {

constexpr MaskPixel BAD = 1 << 0;
constexpr MaskPixel SAT = 1 << 1;
constexpr MaskPixel INTRP = 1 << 2;
constexpr MaskPixel CR = 1 << 3;
constexpr MaskPixel EDGE = 1 << 4;
constexpr MaskPixel DETECTED = 1 << 5;
constexpr MaskPixel DETECTED_NEGATIVE = 1 << 6;
constexpr MaskPixel SUSPECT = 1 << 7;
constexpr MaskPixel NO_DATA = 1 << 8;
constexpr MaskPixel VIGNETTED = 1 << 9;
constexpr MaskPixel STREAK = 1 << 10;

}  // namespace mask_planes
}  // namespace stillsky
