// Warping: resample an image, its mask and its variance onto another pixel grid.
#pragma once

#include <string>

#include "stillsky/image/image.hpp"
#include "stillsky/image/mask_planes.hpp"
#include "stillsky/warp/mapping.hpp"
#include "stillsky/warp/warping_kernel.hpp"

namespace stillsky {

// Options of a warp. Setters check: a mask kernel may not reach beyond the image kernel on any side (DomainError).
class WarpingControl {
public:
    // Stillsky: area factor from centred differences, exact zeros, NaN source pixels filled in or flagged.
    // Reference: Rubin's numbers. Differences to the left and previous pixel, round-off weights of 1e-17 spread the
    // mask, kernel cache at bin centres (nearest entry), one NaN poisons every pixel its kernel reaches.
    enum class Model { Stillsky, Reference };

    explicit WarpingControl(std::string const& warpingKernelName = "lanczos3",
                            std::string const& maskWarpingKernelName = "", int cacheSize = 0, int interpLength = 0,
                            MaskPixel growFullMask = 0, Model model = Model::Stillsky);

    WarpingKernel const& warpingKernel() const { return kernel_; }
    WarpingKernel const& maskWarpingKernel() const { return maskKernel_; }
    bool hasMaskWarpingKernel() const { return hasMaskKernel_; }
    std::string const& warpingKernelName() const { return kernel_.name(); }
    std::string maskWarpingKernelName() const { return hasMaskKernel_ ? maskKernel_.name() : std::string(); }
    void setWarpingKernelName(std::string const& name);
    void setMaskWarpingKernelName(std::string const& name);  // "": the image kernel decides alone

    // Number of tabulated offsets per pixel, interpolated linearly (0: no table). Float pixels always use 4096,
    // where the error, 3e-8, is below float rounding; more are never made. Bin edges, so offset 0 is exact.
    int cacheSize() const { return cacheSize_; }
    void setCacheSize(int n);
    // Source positions are computed on a grid of this spacing and interpolated linearly; 0: at every pixel.
    int interpLength() const { return interpLength_; }
    void setInterpLength(int n);

    // Planes that spread by the whole image kernel although a narrower mask kernel is set.
    MaskPixel growFullMask = 0;
    Model model = Model::Stillsky;
    // Multiply values by the ratio of pixel areas, which conserves surface brightness. Off for PSF images.
    bool scaleByArea = true;
    // Bits for pixels without data, and for those filled in from an incomplete kernel.
    MaskPixel noDataMask = mask_planes::NO_DATA;
    MaskPixel interpolatedMask = mask_planes::INTRP;

    friend bool operator==(WarpingControl const& a, WarpingControl const& b);

private:
    WarpingKernel kernel_, maskKernel_;
    bool hasMaskKernel_ = false;
    int cacheSize_ = 0, interpLength_ = 0;
};

// What pixels without source get. The mask value of `PadPixel` is used as it is.
template <typename T>
struct PadPixel {
    T image = noDataImagePixel<T>();
    MaskPixel mask = mask_planes::NO_DATA;
    VariancePixel variance = noDataVariancePixel();
};

// Fill every pixel of `dest` from `src` through `mapping` (destination -> source, parent coordinates).
//
// For a pixel with source position q, anchor n = floor(q) and kernel weights k:
//   image = (A/W) sum k I,  variance = (A/W)^2 sum k^2 V,  W = sum k,  A = |det dq/dp|,
//   mask  = (B & growFullMask) | b  with B, b the OR over the taps of the image and of the mask kernel with k != 0
//   (without a mask kernel: B).
// Pixels whose kernel leaves the source get `pad`. Source pixels that are not finite, or whose variance is NaN, are
// left out: if the remaining weight is at least half, the sums are renormalised and control.interpolatedMask set;
// otherwise image and variance of `pad` and control.noDataMask. Positions within 1e-7 of a pixel centre count as on it.
//
// Returns the number of pixels with data. A source smaller than the kernel: everything is padded, 0.
// DomainError when source and destination share memory. Bit-identical for any number of threads.
// Cost (lanczos3, float, AVX-512): about 10 ns per pixel and core for the three planes. Instantiated for float, double.
template <typename T>
long long warpMaskedImage(MaskedView<T> const& dest, MaskedView<const T> const& src, InverseMapping const& mapping,
                          WarpingControl const& control, PadPixel<T> const& pad = PadPixel<T>());

// The image plane alone. destXY0, srcXY0: parent coordinates of the first pixels.
template <typename T>
long long warpImage(View2<T> dest, Point2I destXY0, View2<const T> src, Point2I srcXY0, InverseMapping const& mapping,
                    WarpingControl const& control, T pad = noDataImagePixel<T>());

}  // namespace stillsky
