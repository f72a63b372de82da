#include "stillsky/psfmatch/spatial_cell.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <sstream>

#include "stillsky/core/errors.hpp"

namespace stillsky {
namespace {

std::atomic<int> lastCandidateId{0};
std::atomic<int> imageWidth{0}, imageHeight{0};

const char* statusName(CandidateStatus status) {
    switch (status) {
        case CandidateStatus::BAD:
            return "BAD";
        case CandidateStatus::GOOD:
            return "GOOD";
        default:
            return "UNKNOWN";
    }
}

// NaN would break the strict ordering of a cell: it counts as the worst rating.
double ratingOf(SpatialCellCandidate const& candidate) {
    const double rating = candidate.getCandidateRating();
    return std::isnan(rating) ? -std::numeric_limits<double>::infinity() : rating;
}

// One candidate; false when its exception was swallowed and it does not count.
bool processOne(CandidateVisitor& visitor, std::shared_ptr<SpatialCellCandidate> const& candidate,
                bool ignoreExceptions) {
    if (!ignoreExceptions) {
        visitor.processCandidate(candidate);
        return true;
    }
    try {
        visitor.processCandidate(candidate);
        return true;
    } catch (std::exception const&) {
        return false;
    }
}

}  // namespace

SpatialCellCandidate::SpatialCellCandidate(double xCenter, double yCenter)
        : xCenter_(xCenter), yCenter_(yCenter), id_(++lastCandidateId) {}

SpatialCellCandidate::~SpatialCellCandidate() = default;

void SpatialCellCandidate::setStatus(int status) {
    if (status < 0 || status > 2) {
        throw DomainError("SpatialCellCandidate.status: wanted BAD (0), GOOD (1) or UNKNOWN (2), got " +
                          std::to_string(status));
    }
    status_ = static_cast<CandidateStatus>(status);
}

std::string SpatialCellCandidate::str() const {
    std::ostringstream os;
    os << "center=(" << xCenter_ << "," << yCenter_ << "), status=" << statusName(status_)
       << ", rating=" << getCandidateRating();
    return os.str();
}

int SpatialCellImageCandidate::width() { return imageWidth; }
int SpatialCellImageCandidate::height() { return imageHeight; }
void SpatialCellImageCandidate::setWidth(int width) { imageWidth = width; }
void SpatialCellImageCandidate::setHeight(int height) { imageHeight = height; }

std::string SpatialCellImageCandidate::str() const {
    std::ostringstream os;
    os << SpatialCellCandidate::str() << ", size=(" << width() << ", " << height() << "), chi2=" << chi2_;
    return os.str();
}

CandidateVisitor::~CandidateVisitor() = default;

SpatialCellCandidateIterator::SpatialCellCandidateIterator(SpatialCell const* cell, bool ignoreBad, bool atEnd)
        : cell_(cell), index_(atEnd ? cell->allCandidates().size() : 0), ignoreBad_(ignoreBad) {
    skipBad();
}

void SpatialCellCandidateIterator::skipBad() {
    CandidateList const& all = cell_->allCandidates();
    while (ignoreBad_ && index_ < all.size() && all[index_]->isBad()) ++index_;
}

std::shared_ptr<SpatialCellCandidate> const& SpatialCellCandidateIterator::operator*() const {
    if (index_ >= cell_->allCandidates().size()) {
        throw NotFoundError("SpatialCellCandidateIterator: dereferenced at the end of cell " + cell_->label());
    }
    return cell_->allCandidates()[index_];
}

SpatialCellCandidateIterator& SpatialCellCandidateIterator::operator++() {
    if (index_ < cell_->allCandidates().size()) ++index_;
    skipBad();
    return *this;
}

int SpatialCellCandidateIterator::operator-(SpatialCellCandidateIterator const& other) const {
    CandidateList const& all = cell_->allCandidates();
    int n = 0;
    for (std::size_t i = other.index_; i < index_ && i < all.size(); ++i) n += !(ignoreBad_ && all[i]->isBad());
    return n;
}

SpatialCell::SpatialCell(std::string label, Box2I const& bbox, CandidateList candidates)
        : label_(std::move(label)), bbox_(bbox), candidates_(std::move(candidates)) {
    sortCandidates();
}

int SpatialCell::size() const { return end() - begin(); }

bool SpatialCell::empty() const { return begin() == end(); }

void SpatialCell::insertCandidate(std::shared_ptr<SpatialCellCandidate> candidate) {
    if (!candidate) throw NotFoundError("SpatialCell::insertCandidate: wanted a candidate, got none");
    const double rating = ratingOf(*candidate);
    auto place = candidates_.begin();
    while (place != candidates_.end() && ratingOf(**place) > rating) ++place;
    candidates_.insert(place, std::move(candidate));
}

void SpatialCell::removeCandidate(std::shared_ptr<SpatialCellCandidate> const& candidate) {
    auto place = std::find(candidates_.begin(), candidates_.end(), candidate);
    if (place == candidates_.end()) {
        throw NotFoundError("SpatialCell::removeCandidate: the candidate is not in cell " + label_);
    }
    candidates_.erase(place);
}

void SpatialCell::sortCandidates() {
    std::vector<std::pair<double, std::shared_ptr<SpatialCellCandidate>>> rated;
    for (auto& c : candidates_) rated.emplace_back(ratingOf(*c), c);  // each rating is asked for once
    std::stable_sort(rated.begin(), rated.end(), [](auto const& a, auto const& b) { return a.first > b.first; });
    for (std::size_t i = 0; i < rated.size(); ++i) candidates_[i] = rated[i].second;
}

std::shared_ptr<SpatialCellCandidate> SpatialCell::getCandidateById(int id, bool noThrow) const {
    for (auto const& c : candidates_) {
        if (c->id() == id && !(ignoreBad_ && c->isBad())) return c;
    }
    if (noThrow) return nullptr;
    throw NotFoundError("SpatialCell::getCandidateById: no candidate " + std::to_string(id) + " in cell " + label_);
}

CandidateList SpatialCell::activeCandidates(int nMax) const {
    CandidateList out;
    for (auto it = begin(), last = end(); it != last; ++it) {
        if (nMax > 0 && static_cast<int>(out.size()) == nMax) break;
        out.push_back(*it);
    }
    return out;
}

void SpatialCell::visitCandidates(CandidateVisitor& visitor, int nMaxPerCell, bool ignoreExceptions, bool reset) {
    if (reset) visitor.reset();
    int n = 0;
    for (auto it = begin(), last = end(); it != last; ++it) {
        if (nMaxPerCell > 0 && n == nMaxPerCell) return;
        n += processOne(visitor, *it, ignoreExceptions);
    }
}

void SpatialCell::visitAllCandidates(CandidateVisitor& visitor, bool ignoreExceptions, bool reset) {
    if (reset) visitor.reset();
    for (auto const& candidate : candidates_) processOne(visitor, candidate, ignoreExceptions);
}

std::string SpatialCell::str() const {
    std::ostringstream os;
    os << label_ << ": bbox=" << bbox_.str() << ", ignoreBad=" << (ignoreBad_ ? "True" : "False") << ", candidates=[";
    for (std::size_t i = 0; i < candidates_.size(); ++i) {
        os << (i == 0 ? "(" : ", (") << candidates_[i]->str() << ")";
    }
    os << "]";
    return os.str();
}

SpatialCellSet::SpatialCellSet(Box2I const& region, int xSize, int ySize) : region_(region) {
    if (ySize == 0) ySize = xSize;
    if (xSize <= 0 || ySize <= 0) {
        throw ShapeError("SpatialCellSet: wanted positive cell sizes, got " + std::to_string(xSize) + " x " +
                         std::to_string(ySize));
    }
    if (region.isEmpty()) throw ShapeError("SpatialCellSet: the region is empty");
    const int nx = (region.width() + xSize - 1) / xSize, ny = (region.height() + ySize - 1) / ySize;
    for (int iy = 0; iy < ny; ++iy) {
        const int y0 = region.minY() + iy * ySize;
        for (int ix = 0; ix < nx; ++ix) {
            const int x0 = region.minX() + ix * xSize;
            const Point2I last{std::min(x0 + xSize - 1, region.maxX()), std::min(y0 + ySize - 1, region.maxY())};
            cells_.push_back(std::make_shared<SpatialCell>("Cell " + std::to_string(ix) + "x" + std::to_string(iy),
                                                           Box2I::fromMinMax({x0, y0}, last)));
        }
    }
}

void SpatialCellSet::insertCandidate(std::shared_ptr<SpatialCellCandidate> candidate) {
    if (!candidate) throw NotFoundError("SpatialCellSet::insertCandidate: wanted a candidate, got none");
    const double x = candidate->xCenter(), y = candidate->yCenter();
    if (std::isfinite(x) && std::isfinite(y) && std::fabs(x) < 2e9 && std::fabs(y) < 2e9) {
        const Point2I pixel{positionToIndex(x), positionToIndex(y)};
        for (auto& cell : cells_) {
            if (cell->bbox().contains(pixel)) {
                cell->insertCandidate(std::move(candidate));
                return;
            }
        }
    }
    std::ostringstream os;
    os << "SpatialCellSet::insertCandidate: the centre (" << x << ", " << y << ") is outside " << region_.str();
    throw OutOfBoundsError(os.str());
}

void SpatialCellSet::sortCandidates() {
    for (auto& cell : cells_) cell->sortCandidates();
}

std::shared_ptr<SpatialCellCandidate> SpatialCellSet::getCandidateById(int id, bool noThrow) const {
    for (auto const& cell : cells_) {
        if (auto found = cell->getCandidateById(id, true)) return found;
    }
    if (noThrow) return nullptr;
    throw NotFoundError("SpatialCellSet::getCandidateById: no candidate " + std::to_string(id));
}

void SpatialCellSet::setIgnoreBad(bool ignoreBad) {
    for (auto& cell : cells_) cell->setIgnoreBad(ignoreBad);
}

CandidateList SpatialCellSet::activeCandidates(int nMaxPerCell) const {
    CandidateList out;
    for (auto const& cell : cells_) {
        const CandidateList part = cell->activeCandidates(nMaxPerCell);
        out.insert(out.end(), part.begin(), part.end());
    }
    return out;
}

CandidateList SpatialCellSet::allCandidates() const {
    CandidateList out;
    for (auto const& cell : cells_) {
        out.insert(out.end(), cell->allCandidates().begin(), cell->allCandidates().end());
    }
    return out;
}

void SpatialCellSet::visitCandidates(CandidateVisitor& visitor, int nMaxPerCell, bool ignoreExceptions) {
    visitor.reset();
    for (auto& cell : cells_) cell->visitCandidates(visitor, nMaxPerCell, ignoreExceptions, false);
}

void SpatialCellSet::visitAllCandidates(CandidateVisitor& visitor, bool ignoreExceptions) {
    visitor.reset();
    for (auto& cell : cells_) cell->visitAllCandidates(visitor, ignoreExceptions, false);
}

std::string SpatialCellSet::str() const {
    std::ostringstream os;
    os << "bbox=" << region_.str() << ", " << cells_.size() << " cells";
    for (auto const& cell : cells_) os << "\n" << cell->str();
    return os.str();
}

}  // namespace stillsky
