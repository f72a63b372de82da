#include <pybind11/native_enum.h>

#include "psfmatch_common.hpp"
#include "stillsky/math/solve.hpp"

namespace stillsky {

using InputArray = py::array_t<double, py::array::c_style | py::array::forcecast>;

void bindPsfmatchSolve(py::module_& m) {
    py::native_enum<SolvedBy>(m, "KernelSolvedBy", "enum.IntEnum")
            .value("NONE", SolvedBy::NONE)
            .value("CHOLESKY_LDLT", SolvedBy::CHOLESKY_LDLT)
            .value("CHOLESKY_LLT", SolvedBy::CHOLESKY_LLT)
            .value("LU", SolvedBy::LU)
            .value("EIGENVECTOR", SolvedBy::EIGENVECTOR)
            .value("QR", SolvedBy::QR)
            .finalize();
    py::native_enum<ConditionNumberType>(m, "ConditionNumberType", "enum.IntEnum")
            .value("EIGENVALUE", ConditionNumberType::EIGENVALUE)
            .value("SVD", ConditionNumberType::SVD)
            .finalize();

    py::class_<SymmetricSolver>(m, "SymmetricSolver",
                                "Factorisation of a symmetric matrix by the ladder LLT, LDLT, eigenvectors.\n\n"
                                "Parameters\n----------\nmatrix : array (n, n)\n    Both triangles filled.")
            .def(py::init([](InputArray const& matrix) { return SymmetricSolver(matrixOf(matrix, "matrix")); }),
                 py::arg("matrix"))
            .def(
                    "solve",
                    [](SymmetricSolver const& self, InputArray const& b) { return arrayOfVector(self.solve(vectorOf(b))); },
                    py::arg("b"), "Solution of M x = b; unknowns with a zero diagonal element are 0.")
            .def(
                    "inverse", [](SymmetricSolver const& self) { return arrayOfMatrix(self.inverse()); },
                    "Inverse of M, or its pseudo-inverse when eigenvalues were dropped.")
            .def_property_readonly("solvedBy", &SymmetricSolver::solvedBy)
            .def_property_readonly("nDropped", &SymmetricSolver::nDropped)
            .def_property_readonly("nFixed", &SymmetricSolver::nFixed)
            .def_property_readonly("reciprocalCondition", &SymmetricSolver::reciprocalCondition);

    m.def(
            "leastSquaresQr",
            [](InputArray const& design, InputArray const& y) {
                const DenseMatrix d = matrixOf(design, "design");
                if (y.size() != d.rows()) throw ShapeError("leastSquaresQr: y must have one value per row of design");
                DenseMatrix columns(d.cols(), d.rows());
                for (int i = 0; i < d.rows(); ++i) {
                    for (int j = 0; j < d.cols(); ++j) columns(j, i) = d(i, j);
                }
                return arrayOfVector(leastSquaresQr(columns.data(), d.rows(), d.rows(), d.cols(), y.data()));
            },
            py::arg("design"), py::arg("y"), "Least-squares solution of design @ x = y by column-pivoting QR.");
    m.def(
            "conditionNumber",
            [](InputArray const& matrix, ConditionNumberType type) { return conditionNumber(matrixOf(matrix, "matrix"), type); },
            py::arg("matrix"), py::arg("type") = ConditionNumberType::EIGENVALUE,
            "Condition number of a symmetric matrix: e_max/e_min with its sign, or the ratio of singular values.");
    m.def(
            "pseudoInverse",
            [](InputArray const& matrix, double maxCondition) {
                return arrayOfMatrix(pseudoInverse(matrixOf(matrix, "matrix"), maxCondition));
            },
            py::arg("matrix"), py::arg("maxCondition"),
            "Pseudo-inverse of a symmetric matrix without eigenvalues below e_max/maxCondition.");
}

}  // namespace stillsky
