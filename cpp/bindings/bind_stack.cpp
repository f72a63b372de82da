#include <memory>
#include <optional>
#include <tuple>

#include "bindings.hpp"
#include "numpy_view.hpp"
#include "stillsky/stack/mean_stack.hpp"
#include "stillsky/stack/statistics_stack.hpp"

namespace stillsky {
namespace {

using Planes = std::vector<py::object>;      // one array (or None) per image
using OptionalArray = std::optional<py::array>;
using MaskMap = std::vector<std::pair<MaskPixel, MaskPixel>>;

template <typename T>
View2<T> optionalView(OptionalArray const& array, const char* name) {
    return array ? viewOf<T>(*array, name) : View2<T>();
}

// Flags of planes whose bytes are in the other order; the arrays come in as if they were native.
bool flagAt(std::vector<bool> const& flags, std::size_t i) { return i < flags.size() && flags[i]; }

template <typename T>
View2<const T> planeAt(Planes const& planes, std::size_t i, const char* name) {
    if (i >= planes.size() || planes[i].is_none()) return View2<const T>();
    return viewOf<const T>(planes[i].cast<py::array>(), name);
}

template <typename T>
std::vector<StackInput<T>> inputsOf(Planes const& images, Planes const& masks, Planes const& variances,
                                    std::vector<std::vector<bool>> const& swap) {
    std::vector<StackInput<T>> inputs(images.size());
    const std::vector<bool> none;
    for (std::size_t i = 0; i < images.size(); ++i) {
        inputs[i].image = planeAt<T>(images, i, "images");
        inputs[i].mask = planeAt<MaskPixel>(masks, i, "masks");
        inputs[i].variance = planeAt<VariancePixel>(variances, i, "variances");
        inputs[i].swapImage = flagAt(swap.size() > 0 ? swap[0] : none, i);
        inputs[i].swapMask = flagAt(swap.size() > 1 ? swap[1] : none, i);
        inputs[i].swapVariance = flagAt(swap.size() > 2 ? swap[2] : none, i);
    }
    return inputs;
}

// Rows in a file: (descriptor, bytes before image, mask and variance, bytes from row to row), or None.
using FileRows = std::tuple<int, std::int64_t, std::int64_t, std::int64_t, std::int64_t>;
using Files = std::vector<std::optional<FileRows>>;

// Inputs in files are as large as the output.
template <typename T>
void addFiles(std::vector<StackInput<T>>& inputs, Files const& files, OptionalArray const& shaped) {
    for (std::size_t i = 0; i < files.size() && i < inputs.size(); ++i) {
        if (!files[i]) continue;
        if (!shaped) throw DomainError("outImage: wanted for images in files");
        const auto& f = *files[i];
        inputs[i].file = {std::get<0>(f), std::get<1>(f), std::get<2>(f), std::get<3>(f), std::get<4>(f)};
        inputs[i].image = View2<const T>(nullptr, static_cast<int>(shaped->shape(1)), static_cast<int>(shaped->shape(0)));
    }
}

// An OSError with the number of the input as `index`.
[[noreturn]] void raise(RowReadError const& failure) {
    py::object error = py::module_::import("builtins").attr("OSError")(failure.code, failure.reason);
    error.attr("index") = failure.index;
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.ptr())), error.ptr());
    throw py::error_already_set();
}

template <typename T>
StackOutput<T> outputOf(OptionalArray const& image, OptionalArray const& mask, OptionalArray const& variance,
                        OptionalArray const& kept, OptionalArray const& nImage) {
    StackOutput<T> out;
    out.image = optionalView<T>(image, "outImage");
    out.mask = optionalView<MaskPixel>(mask, "outMask");
    out.variance = optionalView<VariancePixel>(variance, "outVariance");
    out.kept = optionalView<std::uint16_t>(kept, "kept");
    out.nImage = optionalView<std::uint16_t>(nImage, "nImage");
    return out;
}

void pyStackStrips(Planes const& images, Planes const& masks, Planes const& variances,
                   std::vector<std::vector<bool>> const& swap, std::vector<double> const& weights, bool inverseVariance,
                   int flags, StatisticsControl const& control, MaskPixel clipped, MaskMap const& maskMap, bool isDouble,
                   OptionalArray const& outImage, OptionalArray const& outMask, OptionalArray const& outVariance,
                   OptionalArray const& kept, OptionalArray const& nImage, Files const& files) {
    StackOptions options;
    options.weights = weights;
    options.inverseVariance = inverseVariance;
    options.clipped = clipped;
    options.maskMap = maskMap;
    auto run = [&](auto zero) {
        using T = decltype(zero);
        auto inputs = inputsOf<T>(images, masks, variances, swap);
        addFiles(inputs, files, outImage);
        const auto out = outputOf<T>(outImage, outMask, outVariance, kept, nImage);
        py::gil_scoped_release release;
        stackStrips(inputs, flags, control, options, out);
    };
    try {
        if (isDouble) run(double());
        else run(float());
    } catch (RowReadError const& failure) {
        raise(failure);
    }
}

py::tuple pyCollapse(py::array const& image, OptionalArray const& mask, OptionalArray const& variance, int flags, char axis,
                     StatisticsControl const& control) {
    auto run = [&](auto zero) {
        using T = decltype(zero);
        StatisticsSamples<T> s;
        s.image = viewOf<const T>(image, "image");
        s.mask = optionalView<const MaskPixel>(mask, "mask");
        s.variance = optionalView<const VariancePixel>(variance, "variance");
        MaskedImage<T> out;
        {
            py::gil_scoped_release release;
            out = statisticsStack(s, flags, axis, control);
        }
        return py::tuple(py::make_tuple(arrayOf(out.image().view()), arrayOf(out.variance().view())));
    };
    return py::isinstance<py::array_t<double>>(image) ? run(double()) : run(float());
}

// The running mean of float or double images, behind one name.
class PyMeanStack {
public:
    PyMeanStack(int width, int height, bool isDouble, StatisticsControl const& control, bool inverseVariance,
                MaskMap const& maskMap) {
        StackOptions options;
        options.inverseVariance = inverseVariance;
        options.maskMap = maskMap;
        if (isDouble) double_ = std::make_unique<MeanStack<double>>(width, height, control, options);
        else float_ = std::make_unique<MeanStack<float>>(width, height, control, options);
    }

    void add(py::object const& image, py::object const& mask, py::object const& variance, std::vector<bool> const& swap,
             double weight) {
        visit([&](auto& stack, auto zero) {
            const auto inputs = inputsOf<decltype(zero)>({image}, {mask}, {variance},
                                                         {{flagAt(swap, 0)}, {flagAt(swap, 1)}, {flagAt(swap, 2)}});
            py::gil_scoped_release release;
            stack.add(inputs[0], weight);
        });
    }
    void fill(OptionalArray const& image, OptionalArray const& mask, OptionalArray const& variance, OptionalArray const& kept,
              OptionalArray const& nImage) {
        visit([&](auto& stack, auto zero) {
            const auto out = outputOf<decltype(zero)>(image, mask, variance, kept, nImage);
            py::gil_scoped_release release;
            stack.fill(out);
        });
    }
    void reset() {
        visit([](auto& stack, auto) { stack.reset(); });
    }

private:
    template <typename F>
    void visit(F const& f) {
        if (double_) f(*double_, double());
        else f(*float_, float());
    }
    std::unique_ptr<MeanStack<float>> float_;
    std::unique_ptr<MeanStack<double>> double_;
};

}  // namespace

void bindStack(py::module_& m) {
    m.def("stackStrips", &pyStackStrips, py::arg("images"), py::arg("masks"), py::arg("variances"), py::arg("swap"),
          py::arg("weights"), py::arg("inverseVariance"), py::arg("flags"), py::arg("control"), py::arg("clipped"),
          py::arg("maskMap"), py::arg("isDouble"), py::arg("outImage"), py::arg("outMask"), py::arg("outVariance"),
          py::arg("kept"), py::arg("nImage"), py::arg("files"));
    m.def("collapse", &pyCollapse, py::arg("image"), py::arg("mask"), py::arg("variance"), py::arg("flags"), py::arg("axis"),
          py::arg("control"));
    py::class_<PyMeanStack>(m, "MeanStack", "Running mean; Python's AccumulatorMeanStack wraps it.")
            .def(py::init<int, int, bool, StatisticsControl const&, bool, MaskMap const&>(), py::arg("width"),
                 py::arg("height"), py::arg("isDouble"), py::arg("control"), py::arg("inverseVariance"), py::arg("maskMap"))
            .def("add", &PyMeanStack::add, py::arg("image"), py::arg("mask"), py::arg("variance"), py::arg("swap"),
                 py::arg("weight"))
            .def("fill", &PyMeanStack::fill, py::arg("image"), py::arg("mask"), py::arg("variance"), py::arg("kept"),
                 py::arg("nImage"))
            .def("reset", &PyMeanStack::reset);
}

}  // namespace stillsky
