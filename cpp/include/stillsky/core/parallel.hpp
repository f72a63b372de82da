// parallelFor: the one way to use several processors.
#pragma once

#include <functional>

namespace stillsky {

// Number of threads that parallelFor may use. Default: STILLSKY_NUM_THREADS from the environment if it is a positive
// number, else the number of processors this process may run on.
int getNumThreads();

// Set it; 0 restores the default. DomainError when negative.
void setNumThreads(int n);

// Call body(i) once for every i in [0, nBlocks), on up to getNumThreads() threads including the caller.
//
// Callers cut their work into blocks whose number does not depend on the thread count, and add partial sums in block
// order afterwards: results are then bit-identical for any number of threads. A nested call runs serially. The first
// exception thrown by a body is rethrown here when all threads have stopped. Works in a forked child.
void parallelFor(int nBlocks, std::function<void(int)> const& body);

}  // namespace stillsky
