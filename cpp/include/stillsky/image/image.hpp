// Images that own their pixels, for C++ programs. In Python NumPy owns them and C++ sees views only.
#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "stillsky/core/view.hpp"
#include "stillsky/geom/box.hpp"

namespace stillsky {

using MaskPixel = std::int32_t;
using VariancePixel = float;

// Width x height pixels, row by row, with the parent coordinates xy0 of the first one.
template <typename T>
class Image {
public:
    Image() = default;
    explicit Image(Box2I const& bbox, T fill = T())
            : bbox_(bbox), pixels_(static_cast<std::size_t>(bbox.area()), fill) {}
    Image(int width, int height, T fill = T()) : Image(Box2I({0, 0}, {width, height}), fill) {}

    Box2I const& bbox() const { return bbox_; }
    Point2I xy0() const { return bbox_.min(); }
    void setXY0(Point2I xy0) { bbox_ = Box2I(xy0, bbox_.dimensions()); }
    int width() const { return bbox_.width(); }
    int height() const { return bbox_.height(); }

    View2<T> view() { return View2<T>(pixels_.data(), width(), height()); }
    View2<const T> view() const { return View2<const T>(pixels_.data(), width(), height()); }
    // Local indices: 0 <= x < width, 0 <= y < height; not checked.
    T& operator()(int x, int y) { return pixels_[static_cast<std::size_t>(y) * width() + x]; }
    T const& operator()(int x, int y) const { return pixels_[static_cast<std::size_t>(y) * width() + x]; }

private:
    Box2I bbox_;
    std::vector<T> pixels_;
};

// Borrowed image, mask and variance planes of equal size. T is the image's pixel type; `const T` makes all three
// planes read-only.
template <typename T>
struct MaskedView {
    using Mask = std::conditional_t<std::is_const<T>::value, const MaskPixel, MaskPixel>;
    using Variance = std::conditional_t<std::is_const<T>::value, const VariancePixel, VariancePixel>;

    View2<T> image;
    View2<Mask> mask;
    View2<Variance> variance;
    Point2I xy0;  // parent coordinates of the first pixel

    MaskedView() = default;
    // ShapeError when the three planes differ in size.
    MaskedView(View2<T> image_, View2<Mask> mask_, View2<Variance> variance_, Point2I xy0_ = Point2I())
            : image(image_), mask(mask_), variance(variance_), xy0(xy0_) {
        if (mask.width != image.width || mask.height != image.height || variance.width != image.width ||
            variance.height != image.height) {
            throw ShapeError("MaskedView: image, mask and variance must have equal dimensions");
        }
    }
    template <typename U, typename = std::enable_if_t<std::is_same<T, const U>::value>>
    MaskedView(MaskedView<U> const& other)
            : image(other.image), mask(other.mask), variance(other.variance), xy0(other.xy0) {}

    int width() const { return image.width; }
    int height() const { return image.height; }
    Box2I bbox() const { return Box2I(xy0, {width(), height()}); }
    // The part inside `box` (parent coordinates). ShapeError when the box is not contained.
    MaskedView sub(Box2I const& box) const {
        const int x = box.minX() - xy0.x, y = box.minY() - xy0.y;
        return MaskedView(image.sub(x, y, box.width(), box.height()), mask.sub(x, y, box.width(), box.height()),
                          variance.sub(x, y, box.width(), box.height()), box.min());
    }
};

// Image, mask (0) and variance (0) planes that own their pixels.
template <typename T>
class MaskedImage {
public:
    MaskedImage() = default;
    explicit MaskedImage(Box2I const& bbox) : image_(bbox), mask_(bbox), variance_(bbox) {}
    MaskedImage(int width, int height) : MaskedImage(Box2I({0, 0}, {width, height})) {}
    // A deep copy of borrowed planes.
    explicit MaskedImage(MaskedView<const T> const& view);

    Box2I const& bbox() const { return image_.bbox(); }
    Point2I xy0() const { return image_.xy0(); }
    void setXY0(Point2I xy0) {
        image_.setXY0(xy0);
        mask_.setXY0(xy0);
        variance_.setXY0(xy0);
    }
    int width() const { return image_.width(); }
    int height() const { return image_.height(); }

    Image<T>& image() { return image_; }
    Image<T> const& image() const { return image_; }
    Image<MaskPixel>& mask() { return mask_; }
    Image<MaskPixel> const& mask() const { return mask_; }
    Image<VariancePixel>& variance() { return variance_; }
    Image<VariancePixel> const& variance() const { return variance_; }

    MaskedView<T> view() { return MaskedView<T>(image_.view(), mask_.view(), variance_.view(), xy0()); }
    MaskedView<const T> view() const {
        return MaskedView<const T>(image_.view(), mask_.view(), variance_.view(), xy0());
    }

private:
    Image<T> image_;
    Image<MaskPixel> mask_;
    Image<VariancePixel> variance_;
};

// Filler of pixels for which there is no data: image NaN (0 for integers), variance +inf; the mask gets the NO_DATA
// bit of the caller's mask planes.
template <typename T>
constexpr T noDataImagePixel() {
    return std::numeric_limits<T>::has_quiet_NaN ? std::numeric_limits<T>::quiet_NaN() : T(0);
}
constexpr VariancePixel noDataVariancePixel() { return std::numeric_limits<VariancePixel>::infinity(); }

}  // namespace stillsky
