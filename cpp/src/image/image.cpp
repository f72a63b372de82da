#include "stillsky/image/image.hpp"

#include <algorithm>

namespace stillsky {
namespace {

template <typename T>
void copyRows(View2<const T> from, View2<T> to) {
    for (int y = 0; y < from.height; ++y) std::copy_n(from.row(y), from.width, to.row(y));
}

}  // namespace

template <typename T>
MaskedImage<T>::MaskedImage(MaskedView<const T> const& view) : MaskedImage(view.bbox()) {
    copyRows<T>(view.image, image_.view());
    copyRows<MaskPixel>(view.mask, mask_.view());
    copyRows<VariancePixel>(view.variance, variance_.view());
}

template class MaskedImage<float>;
template class MaskedImage<double>;

}  // namespace stillsky
