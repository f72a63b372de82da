#include "stillsky/psfmatch/regularize.hpp"

#include <algorithm>

#include "stillsky/core/errors.hpp"

namespace stillsky {
namespace {

// Row o-1: the o-th forward difference.
constexpr double FORWARD[3][4] = {{-1, 1, 0, 0}, {-1, 2, -1, 0}, {-1, 3, -3, 1}};

void checkSize(int width, int height, double borderPenalty) {
    if (width < 1 || height < 1) {
        throw DomainError("kernel size: wanted at least 1x1, got " + std::to_string(width) + "x" + std::to_string(height));
    }
    if (!(borderPenalty >= 0)) {
        throw DomainError("borderPenalty: wanted >= 0, got " + std::to_string(borderPenalty));
    }
}

void checkOrders(std::vector<int> const& orders) {
    if (orders.empty()) throw DomainError("forwardOrders: wanted at least one order of 1, 2, 3, got none");
    for (int order : orders) {
        if (order < 1 || order > 3) throw DomainError("forwardOrders: wanted 1, 2 or 3, got " + std::to_string(order));
    }
}

Matrix squareMatrix(int width, int height, bool background) {
    const int n = width * height + (background ? 1 : 0);
    return Matrix(n, n);
}

// Add the forward difference of pixel i along one axis; nothing where no further pixel exists.
// Returns false in that case.
bool addForward(Matrix& b, int i, int distance, int stride, int order) {
    const int q = std::min(distance, order);
    for (int t = 0; q > 0 && t <= q; ++t) b(i + t * stride, i) += FORWARD[q - 1][t];
    return q > 0;
}

void addTo(Matrix& sum, Matrix const& m) {
    for (int y = 0; y < sum.height(); ++y) {
        for (int x = 0; x < sum.width(); ++x) sum(x, y) += m(x, y);
    }
}

struct Tap {
    int dx, dy;
    double value;
};

// Stencils of the older builder, relative to the pixel.
std::vector<Tap> olderStencil(int order, int difference) {
    if (difference == 0) {
        switch (order) {
            case 0: return {{0, 0, -2}, {0, 1, 1}, {1, 0, 1}};
            case 1: return {{0, 0, -2}, {0, 1, 2}, {1, 0, 2}, {0, 2, -1}, {2, 0, -1}};
            default: return {{0, 0, -2}, {0, 1, 3}, {1, 0, 3}, {0, 2, -3}, {2, 0, -3}, {0, 3, 1}, {3, 0, 1}};
        }
    }
    switch (order) {
        case 0: return {{-1, 0, -1}, {0, -1, -1}, {0, 1, 1}, {1, 0, 1}};
        case 1: return {{0, 0, -4}, {-1, 0, 1}, {1, 0, 1}, {0, -1, 1}, {0, 1, 1}};
        default:
            return {{-2, 0, -1}, {0, -2, -1}, {-1, 0, 2}, {0, -1, 2}, {0, 1, -2}, {1, 0, -2}, {0, 2, 1}, {2, 0, 1}};
    }
}

int wrapped(int i, int n) { return ((i % n) + n) % n; }

}  // namespace

Matrix makeCentralDifferenceMatrix(int width, int height, int stencil, double borderPenalty, bool fitForBackground) {
    checkSize(width, height, borderPenalty);
    if (stencil != 5 && stencil != 9) throw DomainError("stencil: wanted 5 or 9, got " + std::to_string(stencil));
    const double side = stencil == 5 ? 1.0 : 4.0 / 6.0, corner = stencil == 5 ? 0.0 : 1.0 / 6.0;
    Matrix b = squareMatrix(width, height, fitForBackground);
    for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
            const int i = x + y * width;
            if (x == 0 || y == 0 || x == width - 1 || y == height - 1) {
                b(i, i) = borderPenalty;
                continue;
            }
            b(i, i) = stencil == 5 ? -4.0 : -20.0 / 6.0;
            for (int sign : {-1, 1}) {
                b(i + sign, i) = b(i + sign * width, i) = side;
                b(i + sign * (width + 1), i) = b(i + sign * (width - 1), i) = corner;
            }
        }
    }
    return b;
}

Matrix makeForwardDifferenceMatrix(int width, int height, std::vector<int> const& orders, double borderPenalty,
                                   bool fitForBackground) {
    checkSize(width, height, borderPenalty);
    checkOrders(orders);
    Matrix b = squareMatrix(width, height, fitForBackground);
    for (int order : orders) {
        for (int y = 0; y < height; ++y) {
            for (int x = 0; x < width; ++x) {
                const int i = x + y * width;
                if (!addForward(b, i, width - 1 - x, 1, order)) b(i, i) += borderPenalty;
                if (!addForward(b, i, height - 1 - y, width, order)) b(i, i) += borderPenalty;
            }
        }
    }
    return b;
}

Matrix makeNormalMatrix(Matrix const& b) {
    const int n = b.width();
    Matrix h(n, n);
    for (int r = 0; r < b.height(); ++r) {
        // Rows hold a few numbers only: O(n) scan, O(non-zero^2) products.
        std::vector<int> nonZero;
        for (int i = 0; i < n; ++i) {
            if (b(i, r) != 0.0) nonZero.push_back(i);
        }
        for (int i : nonZero) {
            for (int j : nonZero) h(i, j) += b(i, r) * b(j, r);
        }
    }
    return h;
}

Matrix makeRegularizationMatrix(RegularizationControl const& control) {
    const int w = control.width, h = control.height;
    if (control.type == "centralDifference") {
        return makeNormalMatrix(makeCentralDifferenceMatrix(w, h, control.centralStencil, control.borderPenalty,
                                                            control.fitForBackground));
    }
    if (control.type != "forwardDifference") {
        throw DomainError("regularizationType: wanted 'centralDifference' or 'forwardDifference', got '" +
                          control.type + "'");
    }
    if (control.sumBeforeSquaring) {
        return makeNormalMatrix(makeForwardDifferenceMatrix(w, h, control.forwardOrders, control.borderPenalty,
                                                            control.fitForBackground));
    }
    checkSize(w, h, control.borderPenalty);
    checkOrders(control.forwardOrders);
    Matrix sum = squareMatrix(w, h, control.fitForBackground);
    for (int order : control.forwardOrders) {
        for (bool alongX : {true, false}) {
            Matrix d = squareMatrix(w, h, control.fitForBackground);
            for (int i = 0; i < w * h; ++i) {
                addForward(d, i, alongX ? w - 1 - i % w : h - 1 - i / w, alongX ? 1 : w, order);
            }
            addTo(sum, makeNormalMatrix(d));
        }
    }
    for (int i = 0; i < w * h; ++i) {
        if (i % w == w - 1 || i / w == h - 1) sum(i, i) += control.borderPenalty * control.borderPenalty;
    }
    return sum;
}

Matrix makeFiniteDifferenceRegularization(int width, int height, int order, int boundary, int difference) {
    checkSize(width, height, 0.0);
    if (order < 0 || order > 2) throw DomainError("order: wanted 0, 1 or 2, got " + std::to_string(order));
    if (boundary < 0 || boundary > 2) throw DomainError("boundary: wanted 0, 1 or 2, got " + std::to_string(boundary));
    if (difference < 0 || difference > 1) {
        throw DomainError("difference: wanted 0 (forward) or 1 (central), got " + std::to_string(difference));
    }
    Matrix b = squareMatrix(width, height, true);
    for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
            const int i = x + y * width;
            int used = order;
            if (boundary == 2) {
                const int distance = std::min({x, y, width - 1 - x, height - 1 - y});
                if (distance == 0) {
                    b(i, i) = 1.0;
                    continue;
                }
                used = std::min(order, distance);
            }
            for (Tap const& tap : olderStencil(used, difference)) {
                int u = x + tap.dx, v = y + tap.dy;
                if (boundary == 0) {
                    if (u < 0 || u >= width || v < 0 || v >= height) continue;
                } else {
                    u = wrapped(u, width);
                    v = wrapped(v, height);
                }
                b(u + v * width, i) += tap.value;
            }
        }
    }
    return makeNormalMatrix(b);
}

}  // namespace stillsky
