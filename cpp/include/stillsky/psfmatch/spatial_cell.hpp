// Spatial cells: the region of an image cut into a grid, each cell holding its candidates (stars, as a rule) in order of
// merit, so that a fit can use the best few of every part of the image and replace those that turn out bad.
// Not thread-safe: one thread changes a cell set at a time.
#pragma once

#include <cstddef>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "stillsky/geom/box.hpp"

namespace stillsky {

enum class CandidateStatus { BAD = 0, GOOD = 1, UNKNOWN = 2 };

// An object at (xCenter, yCenter) in parent coordinates. Its id is unique in the process and counts from 1.
class SpatialCellCandidate {
public:
    SpatialCellCandidate(double xCenter, double yCenter);
    virtual ~SpatialCellCandidate();
    SpatialCellCandidate(SpatialCellCandidate const&) = delete;
    SpatialCellCandidate& operator=(SpatialCellCandidate const&) = delete;

    double xCenter() const { return xCenter_; }
    double yCenter() const { return yCenter_; }
    int id() const { return id_; }
    CandidateStatus status() const { return status_; }
    void setStatus(CandidateStatus status) { status_ = status; }
    // From a number; DomainError unless 0, 1 or 2.
    void setStatus(int status);
    bool isBad() const { return status_ == CandidateStatus::BAD; }

    // Merit, larger is better; a cell keeps its candidates in descending order of it, NaN last.
    virtual double getCandidateRating() const = 0;
    virtual std::string str() const;

private:
    double xCenter_, yCenter_;
    int id_;
    CandidateStatus status_ = CandidateStatus::UNKNOWN;
};

// A candidate with an image; width and height are common to all of them and 0 until set.
class SpatialCellImageCandidate : public SpatialCellCandidate {
public:
    using SpatialCellCandidate::SpatialCellCandidate;
    static int width();
    static int height();
    static void setWidth(int width);
    static void setHeight(int height);
    double chi2() const { return chi2_; }
    void setChi2(double chi2) { chi2_ = chi2; }
    std::string str() const override;

private:
    double chi2_ = std::numeric_limits<double>::max();
};

// What is done with each candidate of a cell (set).
class CandidateVisitor {
public:
    virtual ~CandidateVisitor();
    virtual void reset() {}  // called once at the start of a visit
    virtual void processCandidate(std::shared_ptr<SpatialCellCandidate> const& candidate) = 0;
};

using CandidateList = std::vector<std::shared_ptr<SpatialCellCandidate>>;

class SpatialCell;

// Walks a cell; with ignoreBad it skips the candidates that are BAD at the moment it advances, so that a visitor may
// mark the current one. Valid until candidates are inserted or removed.
class SpatialCellCandidateIterator {
public:
    SpatialCellCandidateIterator(SpatialCell const* cell, bool ignoreBad, bool atEnd);
    // NotFoundError at the end.
    std::shared_ptr<SpatialCellCandidate> const& operator*() const;
    SpatialCellCandidateIterator& operator++();
    bool operator==(SpatialCellCandidateIterator const& other) const { return index_ == other.index_; }
    bool operator!=(SpatialCellCandidateIterator const& other) const { return index_ != other.index_; }
    // Number of candidates, not BAD ones when ignoreBad, from `other` to this.
    int operator-(SpatialCellCandidateIterator const& other) const;

private:
    void skipBad();
    SpatialCell const* cell_;
    std::size_t index_;
    bool ignoreBad_;
};

class SpatialCell {
public:
    SpatialCell(std::string label, Box2I const& bbox, CandidateList candidates = {});

    std::string const& label() const { return label_; }
    Box2I const& bbox() const { return bbox_; }
    bool ignoreBad() const { return ignoreBad_; }
    void setIgnoreBad(bool ignoreBad) { ignoreBad_ = ignoreBad; }

    int size() const;    // not BAD ones; all when ignoreBad is false
    bool empty() const;  // no usable candidate
    // Before the first candidate that is not strictly better. NotFoundError for a null pointer.
    void insertCandidate(std::shared_ptr<SpatialCellCandidate> candidate);
    // NotFoundError if absent.
    void removeCandidate(std::shared_ptr<SpatialCellCandidate> const& candidate);
    // To be called when ratings have changed. Stable.
    void sortCandidates();
    // NotFoundError if absent, or a null pointer with noThrow.
    std::shared_ptr<SpatialCellCandidate> getCandidateById(int id, bool noThrow = false) const;
    CandidateList const& allCandidates() const { return candidates_; }
    // The first nMax candidates that are not BAD (all when nMax <= 0; BAD ones too unless ignoreBad).
    CandidateList activeCandidates(int nMax = -1) const;

    SpatialCellCandidateIterator begin() const { return begin(ignoreBad_); }
    SpatialCellCandidateIterator begin(bool ignoreBad) const { return {this, ignoreBad, false}; }
    SpatialCellCandidateIterator end() const { return end(ignoreBad_); }
    SpatialCellCandidateIterator end(bool ignoreBad) const { return {this, ignoreBad, true}; }

    // Calls the visitor for the first nMaxPerCell usable candidates (all when <= 0). One that the visitor marks BAD
    // counts, its replacement is reached by the next visit. One whose processing throws a std::exception does not count
    // when ignoreExceptions; otherwise the exception passes through.
    void visitCandidates(CandidateVisitor& visitor, int nMaxPerCell = -1, bool ignoreExceptions = false,
                         bool reset = true);
    // The same for every candidate, BAD ones too.
    void visitAllCandidates(CandidateVisitor& visitor, bool ignoreExceptions = false, bool reset = true);
    std::string str() const;

private:
    std::string label_;
    Box2I bbox_;
    CandidateList candidates_;
    bool ignoreBad_ = true;
};

// The grid of cells over `region`: nx = ceil(width/xSize), row by row, x fastest, labelled "Cell {ix}x{iy}". The last
// cell of each axis ends at the region's edge.
class SpatialCellSet {
public:
    // ySize 0 means xSize. ShapeError for a size that is not positive or an empty region.
    SpatialCellSet(Box2I const& region, int xSize, int ySize = 0);

    Box2I const& bbox() const { return region_; }
    std::vector<std::shared_ptr<SpatialCell>> const& cells() const { return cells_; }
    // Into the cell that contains the pixel of the candidate's centre; OutOfBoundsError when there is none.
    void insertCandidate(std::shared_ptr<SpatialCellCandidate> candidate);
    void sortCandidates();
    std::shared_ptr<SpatialCellCandidate> getCandidateById(int id, bool noThrow = false) const;
    void setIgnoreBad(bool ignoreBad);
    // The active candidates of every cell, in cell order.
    CandidateList activeCandidates(int nMaxPerCell = -1) const;
    CandidateList allCandidates() const;

    // Calls visitor.reset() once, then visits each cell in order.
    void visitCandidates(CandidateVisitor& visitor, int nMaxPerCell = -1, bool ignoreExceptions = false);
    void visitAllCandidates(CandidateVisitor& visitor, bool ignoreExceptions = false);
    std::string str() const;

private:
    Box2I region_;
    std::vector<std::shared_ptr<SpatialCell>> cells_;
};

}  // namespace stillsky
