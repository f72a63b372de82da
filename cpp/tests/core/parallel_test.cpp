// parallelFor: every block once, nested, exceptions, concurrent callers, forked children, any number of threads.
#include "stillsky/core/parallel.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "check.hpp"
#include "stillsky/core/errors.hpp"

using namespace stillsky;

namespace {

void everyBlockRunsOnce() {
    for (int threads : {1, 2, 7}) {
        setNumThreads(threads);
        CHECK(getNumThreads() == threads);
        for (int n : {0, 1, 2, 5, 1000}) {
            std::vector<std::atomic<int>> count(static_cast<std::size_t>(n));
            parallelFor(n, [&](int i) { ++count[static_cast<std::size_t>(i)]; });
            for (auto const& c : count) CHECK(c == 1);
        }
    }
    setNumThreads(0);
    CHECK(getNumThreads() >= 1);
    CHECK_THROWS(setNumThreads(-1), DomainError);
}

void severalThreadsTakePart() {
    setNumThreads(4);
    std::atomic<int> inside{0}, most{0};
    parallelFor(4, [&](int) {
        const int now = ++inside;
        for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        --inside;
    });
    CHECK(most >= 2);
}

void nestedCallsRunSerially() {
    setNumThreads(4);
    std::atomic<int> sum{0}, moved{0};
    parallelFor(8, [&](int) {
        const std::thread::id self = std::this_thread::get_id();
        parallelFor(100, [&](int) {
            ++sum;
            if (std::this_thread::get_id() != self) ++moved;
        });
    });
    CHECK(sum == 800);
    CHECK(moved == 0);
}

void firstExceptionIsRethrown() {
    for (int threads : {1, 4}) {
        setNumThreads(threads);
        bool caught = false;
        try {
            parallelFor(1000, [](int i) {
                if (i == 17) throw NumericalError("block 17");
            });
        } catch (NumericalError const& e) {
            caught = std::string(e.what()) == "block 17";
        }
        CHECK(caught);
        std::atomic<int> sum{0};  // the pool works on after it
        parallelFor(100, [&](int) { ++sum; });
        CHECK(sum == 100);
    }
}

void callersOnSeveralThreads() {
    setNumThreads(3);
    std::atomic<long> sum{0};
    std::vector<std::thread> callers;
    for (int k = 0; k < 4; ++k) {
        callers.emplace_back([&] {
            for (int round = 0; round < 50; ++round) parallelFor(20, [&](int i) { sum += i; });
        });
    }
    for (auto& t : callers) t.join();
    CHECK(sum == 4L * 50 * 190);
}

void forkedChildWorks() {
    setNumThreads(3);
    parallelFor(10, [](int) {});  // the workers exist before the fork
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(5);  // a hang becomes a signal
        std::atomic<int> sum{0};
        for (int round = 0; round < 20; ++round) parallelFor(50, [&](int i) { sum += i; });
        _exit(sum == 20 * 1225 ? 0 : 1);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace

int main() {
    everyBlockRunsOnce();
    severalThreadsTakePart();
    nestedCallsRunSerially();
    firstExceptionIsRethrown();
    callersOnSeveralThreads();
    forkedChildWorks();
    return 0;
}
