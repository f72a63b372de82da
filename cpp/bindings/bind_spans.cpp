// Span sets, and footprint sets packed into arrays: spans (n, 3) of (y, x0, x1), the first span of every footprint,
// peaks, the first peak of every footprint. Python builds its Footprint objects from those.
#include <cstdint>

#include "bindings.hpp"
#include "numpy_view.hpp"
#include "stillsky/spans/cosmic_rays.hpp"
#include "stillsky/spans/footprint.hpp"

namespace stillsky {
namespace {

using SpanArray = py::array_t<std::int32_t, py::array::c_style | py::array::forcecast>;
using OffsetArray = py::array_t<std::int64_t, py::array::c_style | py::array::forcecast>;
using PeakArray = py::array_t<Peak, py::array::c_style | py::array::forcecast>;
using Box = std::array<int, 4>;  // x0, y0, width, height

Box2I boxOf(Box const& b) { return Box2I({b[0], b[1]}, {b[2], b[3]}); }
Box tupleOf(Box2I const& b) { return {b.minX(), b.minY(), b.width(), b.height()}; }

Stencil stencilOf(std::string const& name) {
    if (name == "circle") return Stencil::CIRCLE;
    if (name == "box") return Stencil::BOX;
    if (name == "manhattan") return Stencil::MANHATTAN;
    throw DomainError("stencil: wanted 'circle', 'box' or 'manhattan', got '" + name + "'");
}

std::vector<Span> spansOf(SpanArray const& array, std::int64_t begin, std::int64_t end) {
    if (array.ndim() != 2 || array.shape(1) != 3) throw ShapeError("spans: wanted an array of shape (n, 3): y, x0, x1");
    std::vector<Span> out;
    out.reserve(static_cast<std::size_t>(end - begin));
    for (std::int64_t i = begin; i < end; ++i) out.push_back({array.at(i, 0), array.at(i, 1), array.at(i, 2)});
    return out;
}

void fillSpans(std::vector<Span> const& spans, std::int32_t* out) {
    for (Span s : spans) {
        *out++ = s.y;
        *out++ = s.x0;
        *out++ = s.x1;
    }
}

py::array_t<std::int32_t> arrayOfSpans(std::vector<Span> const& spans) {
    py::array_t<std::int32_t> out({static_cast<py::ssize_t>(spans.size()), static_cast<py::ssize_t>(3)});
    fillSpans(spans, out.mutable_data());
    return out;
}


py::tuple pack(FootprintSet const& set) {
    const py::ssize_t n = static_cast<py::ssize_t>(set.size());
    OffsetArray spanOffsets(n + 1), peakOffsets(n + 1);
    std::int64_t nSpans = 0, nPeaks = 0;
    for (py::ssize_t i = 0; i <= n; ++i) {
        spanOffsets.mutable_at(i) = nSpans;
        peakOffsets.mutable_at(i) = nPeaks;
        if (i < n) {
            nSpans += static_cast<std::int64_t>(set[i].spans.size());
            nPeaks += static_cast<std::int64_t>(set[i].peaks.size());
        }
    }
    py::array_t<std::int32_t> spans({static_cast<py::ssize_t>(nSpans), static_cast<py::ssize_t>(3)});
    py::array_t<Peak> peaks(static_cast<py::ssize_t>(nPeaks));
    for (py::ssize_t i = 0; i < n; ++i) {
        fillSpans(set[i].spans.spans(), spans.mutable_data() + 3 * spanOffsets.at(i));
        std::copy(set[i].peaks.begin(), set[i].peaks.end(), peaks.mutable_data() + peakOffsets.at(i));
    }
    return py::make_tuple(spans, spanOffsets, peaks, peakOffsets);
}

FootprintSet unpack(py::tuple const& packed, Box2I const& region) {
    const SpanArray spans = packed[0].cast<SpanArray>();
    const OffsetArray spanOffsets = packed[1].cast<OffsetArray>();
    const PeakArray peaks = packed[2].cast<PeakArray>();
    const OffsetArray peakOffsets = packed[3].cast<OffsetArray>();
    std::vector<Footprint> out(static_cast<std::size_t>(spanOffsets.size() - 1));
    for (std::size_t i = 0; i < out.size(); ++i) {
        const py::ssize_t k = static_cast<py::ssize_t>(i);
        out[i].spans = SpanSet(spansOf(spans, spanOffsets.at(k), spanOffsets.at(k + 1)));
        out[i].peaks.assign(peaks.data() + peakOffsets.at(k), peaks.data() + peakOffsets.at(k + 1));
        out[i].region = region;
    }
    return FootprintSet(std::move(out), region);
}

template <typename T>
py::tuple detectOf(py::array const& image, py::object const& variance, DetectionControl const& control, Point2I xy0) {
    const View2<const T> pixels = viewOf<const T>(image, "image");
    View2<const VariancePixel> var;
    if (!variance.is_none()) var = viewOf<const VariancePixel>(py::reinterpret_borrow<py::array>(variance), "variance");
    Detection found;
    {
        py::gil_scoped_release release;
        found = detectFootprints<T>(pixels, var, control, xy0);
    }
    return py::make_tuple(pack(found.positive), pack(found.negative));
}

template <typename T>
py::tuple peaksOf(py::tuple const& packed, Box const& region, py::array const& image, bool positive,
                  DetectionControl const& control, Point2I xy0) {
    FootprintSet set = unpack(packed, boxOf(region));
    const View2<const T> pixels = viewOf<const T>(image, "image");
    {
        py::gil_scoped_release release;
        findFootprintPeaks<T>(set, pixels, positive, control, xy0);
    }
    return pack(set);
}

template <typename T>
py::list cosmicRaysOf(py::array const& image, py::array const& variance, py::object const& mask,
                      CosmicRayControl const& control, Point2I xy0) {
    const View2<T> pixels = viewOf<T>(image, "image");
    const View2<const VariancePixel> var = viewOf<const VariancePixel>(variance, "variance");
    View2<const MaskPixel> bits;
    if (!mask.is_none()) bits = viewOf<const MaskPixel>(py::reinterpret_borrow<py::array>(mask), "mask");
    std::vector<SpanSet> found;
    {
        py::gil_scoped_release release;
        found = findCosmicRays<T>(pixels, var, bits, control, xy0);
    }
    py::list out;
    for (SpanSet const& group : found) out.append(group);
    return out;
}

bool isDouble(py::array const& image) { return py::isinstance<py::array_t<double>>(image); }

template <typename T>
void setImageOf(SpanSet const& self, py::array const& image, double value, Point2I xy0, bool clip) {
    self.setImage<T>(viewOf<T>(image, "image"), static_cast<T>(value), xy0, clip);
}

template <typename T>
py::array flattenOf(SpanSet const& self, py::array const& image, Point2I xy0) {
    const std::vector<T> values = self.flatten<T>(viewOf<const T>(image, "image"), xy0);
    return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

template <typename T>
void unflattenOf(SpanSet const& self, py::array const& image, py::array const& values, Point2I xy0) {
    const auto list = values.cast<py::array_t<T, py::array::c_style | py::array::forcecast>>();
    self.unflatten<T>(viewOf<T>(image, "image"), std::vector<T>(list.data(), list.data() + list.size()), xy0);
}

// The image's dtype decides the instantiation.
template <typename F, typename D, typename I>
auto byDtype(py::array const& image, F const& ifFloat, D const& ifDouble, I const& ifInt) {
    if (py::isinstance<py::array_t<double>>(image)) return ifDouble();
    if (py::isinstance<py::array_t<std::int32_t>>(image)) return ifInt();
    return ifFloat();
}

using XY = std::pair<int, int>;

void bindSpanSetBuilders(py::class_<SpanSet>& cls) {
    cls.def(py::init([](SpanArray const& spans) { return SpanSet(spansOf(spans, 0, spans.shape(0))); }))
            .def_static("fromBox", [](Box const& box) { return SpanSet::fromBox(boxOf(box)); })
            .def_static("fromShape", [](int r, std::string const& stencil, XY const& offset) {
                return SpanSet::fromShape(r, stencilOf(stencil), pointOf(offset));
            })
            .def_static("fromMask", [](py::array const& mask, MaskPixel bits, XY const& xy0) {
                return SpanSet::fromMask(viewOf<const MaskPixel>(mask, "mask"), bits, pointOf(xy0));
            })
            .def_static("fromBool", [](py::array_t<unsigned char> const& array, XY const& xy0) {
                return SpanSet::fromBool(viewOf<const unsigned char>(array, "array"), pointOf(xy0));
            })
            .def_static("fromEllipse", [](double a, double b, double theta, double x, double y) {
                return SpanSet::fromEllipse(a, b, theta, {x, y});
            })
            .def_static("fromPolygon", [](std::vector<std::pair<double, double>> const& vertices) {
                std::vector<Point2D> points;
                for (auto const& v : vertices) points.push_back({v.first, v.second});
                return SpanSet::fromPolygon(points);
            })
            .def(py::pickle([](SpanSet const& self) { return py::make_tuple(arrayOfSpans(self.spans())); },
                            [](py::tuple const& state) {
                                const SpanArray spans = state[0].cast<SpanArray>();
                                return SpanSet(spansOf(spans, 0, spans.shape(0)));
                            }));
}

void bindSpanSetAlgebra(py::class_<SpanSet>& cls) {
    cls.def_property_readonly("spans", [](SpanSet const& self) { return arrayOfSpans(self.spans()); })
            .def_property_readonly("area", &SpanSet::area)
            .def_property_readonly("bbox", [](SpanSet const& self) { return tupleOf(self.bbox()); })
            .def_property_readonly("centroid",
                                   [](SpanSet const& self) { return std::make_pair(self.centroid().x, self.centroid().y); })
            .def_property_readonly("shape", &SpanSet::shape)
            .def("__len__", &SpanSet::size)
            .def("__eq__", [](SpanSet const& a, SpanSet const& b) { return a == b; })
            .def("containsPoint", [](SpanSet const& self, int x, int y) { return self.contains(Point2I{x, y}); })
            .def("contains", [](SpanSet const& self, SpanSet const& other) { return self.contains(other); })
            .def("overlaps", &SpanSet::overlaps)
            .def("union", &SpanSet::unionWith)
            .def("intersect", &SpanSet::intersect)
            .def("difference", &SpanSet::difference)
            .def("symmetricDifference", &SpanSet::symmetricDifference)
            .def("dilated", [](SpanSet const& self, SpanSet const& element) { return self.dilated(element); })
            .def("eroded", [](SpanSet const& self, SpanSet const& element) { return self.eroded(element); })
            .def("shifted", &SpanSet::shifted)
            .def("clipped", [](SpanSet const& self, Box const& box) { return self.clipped(boxOf(box)); })
            .def("split", &SpanSet::split)
            .def("isContiguous", &SpanSet::isContiguous)
            .def("edgePixels", &SpanSet::edgePixels)
            .def("transformed",
                 [](SpanSet const& self, py::function const& forward, py::function const& inverse) {
                     auto wrap = [](py::function const& f) {
                         return [f](Point2D p) {
                             const auto q = f(p.x, p.y).cast<std::pair<double, double>>();
                             return Point2D{q.first, q.second};
                         };
                     };
                     return self.transformed(wrap(forward), wrap(inverse));
                 });
}

void bindSpanSetPixels(py::class_<SpanSet>& cls) {
    cls.def("setMask",
            [](SpanSet const& self, py::array const& mask, MaskPixel bits, XY const& xy0) {
                self.setMask(viewOf<MaskPixel>(mask, "mask"), bits, pointOf(xy0));
            })
            .def("clearMask",
                 [](SpanSet const& self, py::array const& mask, MaskPixel bits, XY const& xy0) {
                     self.clearMask(viewOf<MaskPixel>(mask, "mask"), bits, pointOf(xy0));
                 })
            .def("setImage",
                 [](SpanSet const& self, py::array const& image, double value, XY const& xy0, bool clip) {
                     const Point2I at = pointOf(xy0);
                     byDtype(image, [&] { setImageOf<float>(self, image, value, at, clip); },
                             [&] { setImageOf<double>(self, image, value, at, clip); },
                             [&] { setImageOf<MaskPixel>(self, image, value, at, clip); });
                 })
            .def("flatten",
                 [](SpanSet const& self, py::array const& image, XY const& xy0) {
                     const Point2I at = pointOf(xy0);
                     return byDtype(image, [&] { return flattenOf<float>(self, image, at); },
                                    [&] { return flattenOf<double>(self, image, at); },
                                    [&] { return flattenOf<MaskPixel>(self, image, at); });
                 })
            .def("unflatten", [](SpanSet const& self, py::array const& image, py::array const& values, XY const& xy0) {
                const Point2I at = pointOf(xy0);
                byDtype(image, [&] { unflattenOf<float>(self, image, values, at); },
                        [&] { unflattenOf<double>(self, image, values, at); },
                        [&] { unflattenOf<MaskPixel>(self, image, values, at); });
            });
}

void bindDetection(py::module_& m) {
    PYBIND11_NUMPY_DTYPE_EX(Peak, id, "id", ix, "i_x", iy, "i_y", fx, "f_x", fy, "f_y", value, "peakValue",
                            significance, "significance");
    py::class_<DetectionControl>(m, "DetectionControl")
            .def(py::init<>())
            .def_readwrite("threshold", &DetectionControl::threshold)
            .def_readwrite("pixelStdev", &DetectionControl::pixelStdev)
            .def_readwrite("positive", &DetectionControl::positive)
            .def_readwrite("negative", &DetectionControl::negative)
            .def_readwrite("includeMultiplier", &DetectionControl::includeMultiplier)
            .def_readwrite("minPixels", &DetectionControl::minPixels)
            .def_readwrite("setPeaks", &DetectionControl::setPeaks)
            .def_readwrite("edgePeaks", &DetectionControl::edgePeaks)
            .def_readwrite("onePeakPerPlateau", &DetectionControl::onePeakPerPlateau)
            .def_readwrite("negativeByDepth", &DetectionControl::negativeByDepth);
    m.def("detectFootprints", [](py::array const& image, py::object const& variance, DetectionControl const& control,
                                 XY const& xy0) {
        return isDouble(image) ? detectOf<double>(image, variance, control, pointOf(xy0))
                               : detectOf<float>(image, variance, control, pointOf(xy0));
    });
    m.def("findCosmicRays",
          [](py::array const& image, py::array const& variance, py::object const& mask, XY const& xy0, double minSigma,
             double minTotal, double noiseFactor, std::array<double, 4> const& contrast, int iterations,
             long long maxPixels, int badBits, int interpolatedBits) {
              CosmicRayControl control;
              control.minSigma = minSigma;
              control.minTotal = minTotal;
              control.noiseFactor = noiseFactor;
              control.contrast = contrast;
              control.iterations = iterations;
              control.maxPixels = maxPixels;
              control.badBits = badBits;
              control.interpolatedBits = interpolatedBits;
              return isDouble(image) ? cosmicRaysOf<double>(image, variance, mask, control, pointOf(xy0))
                                     : cosmicRaysOf<float>(image, variance, mask, control, pointOf(xy0));
          },
          py::arg("image"), py::arg("variance"), py::arg("mask"), py::arg("xy0"), py::arg("minSigma"),
          py::arg("minTotal"), py::arg("noiseFactor"), py::arg("contrast"), py::arg("iterations"),
          py::arg("maxPixels"), py::arg("badBits"), py::arg("interpolatedBits"));
    m.def("detectBits", [](py::array const& mask, MaskPixel bits, int minPixels, XY const& xy0) {
        return pack(detectBits(viewOf<const MaskPixel>(mask, "mask"), bits, minPixels, pointOf(xy0)));
    });
    m.def("findFootprintPeaks", [](py::tuple const& packed, Box const& region, py::array const& image, bool positive,
                                   DetectionControl const& control, XY const& xy0) {
        return isDouble(image) ? peaksOf<double>(packed, region, image, positive, control, pointOf(xy0))
                               : peaksOf<float>(packed, region, image, positive, control, pointOf(xy0));
    });
    m.def("mergeFootprints", [](py::tuple const& a, py::tuple const& b, Box const& region, int growA, int growB,
                                bool isotropic, bool byDepth) {
        const FootprintSet first = unpack(a, boxOf(region)), second = unpack(b, boxOf(region));
        FootprintSet out;
        {
            py::gil_scoped_release release;
            out = first.merged(second, growA, growB, isotropic, byDepth ? PeakOrder::DEPTH : PeakOrder::DESCENDING);
        }
        return pack(out);
    });
    m.def("footprintIdImage", [](py::tuple const& packed, Box const& region) {
        const Image<int> ids = unpack(packed, boxOf(region)).idImage();
        return arrayOf(ids.view());
    });
    m.def("growMask", [](py::array const& mask, MaskPixel bits, int radius, std::string const& stencil) {
        const View2<MaskPixel> view = viewOf<MaskPixel>(mask, "mask");
        const Stencil shape = stencilOf(stencil);
        py::gil_scoped_release release;
        growMask(view, bits, radius, shape);
    });
}

}  // namespace

void bindSpans(py::module_& m) {
    py::class_<SpanSet> cls(m, "SpanSet");
    bindSpanSetBuilders(cls);
    bindSpanSetAlgebra(cls);
    bindSpanSetPixels(cls);
    bindDetection(m);
}

}  // namespace stillsky
