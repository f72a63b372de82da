"""Cells keep their candidates by merit, skip the bad ones, and may be filled and visited from Python."""

import gc
import math

import pytest

import stillsky
from stillsky.psfmatch import (
    CandidateVisitor,
    SpatialCell,
    SpatialCellCandidate,
    SpatialCellImageCandidate,
    SpatialCellSet,
)

BAD, GOOD, UNKNOWN = SpatialCellCandidate.BAD, SpatialCellCandidate.GOOD, SpatialCellCandidate.UNKNOWN


class Candidate(SpatialCellCandidate):
    def __init__(self, x, y, rating):
        super().__init__(x, y)
        self.rating = rating

    def getCandidateRating(self):
        return self.rating


class ImageCandidate(SpatialCellImageCandidate):
    def getCandidateRating(self):
        return 5.0


class Visitor(CandidateVisitor):
    def __init__(self, action=None):
        super().__init__()
        self.action = action
        self.nResets = 0
        self.seen = []

    def reset(self):
        self.nResets += 1
        self.seen = []

    def processCandidate(self, candidate):
        self.seen.append(candidate)
        if self.action:
            self.action(candidate)


def _cell(ratings):
    cell = SpatialCell("Test", (0, 0, 100, 100))
    for i, rating in enumerate(ratings):
        cell.insertCandidate(Candidate(i, i, rating))
    return cell


def testRegionOf501By501IsCutIntoSixLabelledCells():
    cells = SpatialCellSet((0, 0, 501, 501), 260, 200).cells
    boxes = [str(c).split(": bbox=")[1].split(", ignoreBad")[0] for c in cells]
    wanted = [
        (0, 0, 260, 200),
        (260, 0, 241, 200),
        (0, 200, 260, 200),
        (260, 200, 241, 200),
        (0, 400, 260, 101),
        (260, 400, 241, 101),
    ]
    assert boxes == [f"(corner=({x}, {y}), dimensions=({w}, {h}))" for x, y, w, h in wanted]
    assert [c.label for c in cells] == ["Cell 0x0", "Cell 1x0", "Cell 0x1", "Cell 1x1", "Cell 0x2", "Cell 1x2"]


def testInsertionOutsideAndBadCellSizesAreErrors():
    cellSet = SpatialCellSet((0, 0, 501, 501), 260, 200)
    with pytest.raises(IndexError):
        cellSet.insertCandidate(Candidate(501, 501, 0))
    with pytest.raises(stillsky.OutOfBoundsError):
        cellSet.insertCandidate(Candidate(math.nan, 1, 0))
    cellSet.insertCandidate(Candidate(500.4, 500.4, 0))
    for sizes in [(0,), (-1,), (10, -1)]:
        with pytest.raises(stillsky.ShapeError):
            SpatialCellSet((0, 0, 501, 501), *sizes)


def testVisitingAllSeesEightAndOnePerCellSeesThree():
    cellSet = SpatialCellSet((0, 0, 501, 501), 260, 200)
    for x in range(6):
        cellSet.insertCandidate(Candidate(x, 0, -x))
    cellSet.insertCandidate(Candidate(300, 1, 0))
    cellSet.insertCandidate(Candidate(500, 500, 0))
    visitor = Visitor()
    cellSet.visitCandidates(visitor)
    assert len(visitor.seen) == 8 and visitor.nResets == 1
    cellSet.visitCandidates(visitor, 1)
    assert len(visitor.seen) == 3 and visitor.nResets == 2
    assert cellSet.cells[0][0].xCenter == 0
    assert len(cellSet.activeCandidates(1)) == 3


def testMarkingOneOfFiveBadLeavesFourUnlessBadOnesCount():
    cell = _cell([5, 4, 3, 2, 1])
    assert len(cell) == 5
    cell[0].status = BAD
    assert len(cell) == 4 and cell.end() - cell.begin() == 4
    assert cell.end(False) - cell.begin(False) == 5
    cell.setIgnoreBad(False)
    assert len(cell) == 5 and cell.end() - cell.begin() == 5


def testMarkingBadInsideTheLoopStillVisitsAll():
    cell = _cell([5, 4, 3, 2, 1])
    visitor = Visitor(lambda c: c.setStatus(BAD))
    cell.visitCandidates(visitor)
    assert len(visitor.seen) == 5 and cell.empty()
    cell = _cell([5, 4, 3, 2, 1])
    seen = []
    for candidate in cell:
        candidate.status = BAD
        seen.append(candidate.rating)
    assert seen == [5, 4, 3, 2, 1]
    visitor = Visitor()
    cell.visitAllCandidates(visitor)
    assert len(visitor.seen) == 5


def testResortingAfterARatingChangeGivesDescendingOrder():
    cell = _cell([5, 4, 3, 2, 1])
    for candidate, rating in zip(list(cell), [1, 9, 4, 7, 2]):
        candidate.rating = rating
    cell.sortCandidates()
    assert [c.rating for c in cell] == [9, 7, 4, 2, 1]


def testEqualRatingsPutTheNewcomerFirstAndNanLast():
    cell = SpatialCell("Test", (0, 0, 10, 10))
    first, second, lost = Candidate(1, 1, 3), Candidate(2, 2, 3), Candidate(3, 3, math.nan)
    for candidate in (lost, first, second):
        cell.insertCandidate(candidate)
    assert [c.xCenter for c in cell] == [2, 1, 3]
    cell.insertCandidate(Candidate(4, 4, -1e300))
    assert cell[-1].xCenter == 3


def testACandidateMarkedBadCountsTowardTheMaximumInThisPass():
    cell = _cell([3, 2, 1])
    visitor = Visitor(lambda c: c.setStatus(BAD) if c.rating == 3 else None)
    cell.visitCandidates(visitor, 2)
    assert [c.rating for c in visitor.seen] == [3, 2]
    cell.visitCandidates(visitor, 2)
    assert [c.rating for c in visitor.seen] == [2, 1]


def testExceptionsPassThroughOrAreNotCounted():
    def fail(candidate):
        if candidate.rating == 3:
            raise ValueError("cannot")

    cell = _cell([3, 2, 1])
    with pytest.raises(ValueError, match="cannot"):
        cell.visitCandidates(Visitor(fail), 1)
    visitor = Visitor(fail)
    cell.visitCandidates(visitor, 1, True)
    assert [c.rating for c in visitor.seen] == [3, 2]


def testLookUpsAndIndices():
    cell = _cell([3, 2, 1])
    candidate = cell[1]
    assert cell.getCandidateById(candidate.id) is candidate
    assert cell.getCandidateById(-1, True) is None
    with pytest.raises(stillsky.NotFoundError):
        cell.getCandidateById(-1)
    with pytest.raises(IndexError):
        cell[3]
    with pytest.raises(stillsky.NotFoundError):
        cell.end().deref()
    cell.removeCandidate(candidate)
    with pytest.raises(stillsky.NotFoundError):
        cell.removeCandidate(candidate)
    it = cell.begin()
    assert it.deref().rating == 3
    it.advance()
    assert it.deref().rating == 1
    it.advance()
    assert it == cell.end()


def testStatusAndIds():
    a, b = Candidate(1, 2, 3), Candidate(1, 2, 3)
    assert b.id == a.id + 1 and a.status == UNKNOWN
    a.status = GOOD
    assert not a.isBad()
    for wrong in (-1, 3):
        with pytest.raises(stillsky.DomainError):
            a.setStatus(wrong)
    assert a.status == GOOD


def testImageCandidatesShareTheirSizeAndStartWithTheLargestChi2():
    candidate = ImageCandidate(1.5, 2.5)
    assert candidate.chi2 == pytest.approx(1.797e308, rel=1e-3)
    candidate.setWidth(11)
    SpatialCellImageCandidate.setHeight(13)
    candidate.chi2 = 2.0
    assert (ImageCandidate.getWidth(), candidate.getHeight()) == (11, 13)
    assert str(candidate) == "center=(1.5,2.5), status=UNKNOWN, rating=5, size=(11, 13), chi2=2"


def testStringForms():
    cellSet = SpatialCellSet((0, 0, 20, 10), 10)
    cellSet.insertCandidate(Candidate(1, 2, 3))
    assert str(cellSet).splitlines() == [
        "bbox=(corner=(0, 0), dimensions=(20, 10)), 2 cells",
        "Cell 0x0: bbox=(corner=(0, 0), dimensions=(10, 10)), ignoreBad=True, "
        "candidates=[(center=(1,2), status=UNKNOWN, rating=3)]",
        "Cell 1x0: bbox=(corner=(10, 0), dimensions=(10, 10)), ignoreBad=True, candidates=[]",
    ]


def testPythonCandidatesOutliveTheirLocalNames():
    cell = SpatialCell("Test", (0, 0, 10, 10), [Candidate(i, i, i) for i in range(5)])
    gc.collect()
    assert [c.rating for c in cell] == [4, 3, 2, 1, 0]
    assert all(type(c) is Candidate for c in cell)
