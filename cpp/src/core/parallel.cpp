#include "stillsky/core/parallel.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

#include "stillsky/core/errors.hpp"

namespace stillsky {
namespace {

int defaultNumThreads() {
    if (const char* text = std::getenv("STILLSKY_NUM_THREADS")) {
        const int n = std::atoi(text);
        if (n > 0) return n;
    }
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0) return CPU_COUNT(&set);
#endif
    const unsigned n = std::thread::hardware_concurrency();
    return n > 0 ? static_cast<int>(n) : 1;
}

std::atomic<int> requestedThreads{0};
thread_local bool insideParallelFor = false;

// One parallelFor call: threads take block numbers until none is left.
struct Job {
    std::function<void(int)> const* body;
    int nBlocks;
    std::atomic<int> next{0};
    std::atomic<bool> failed{false};
    std::exception_ptr error;
    std::mutex errorMutex;

    void work() {
        insideParallelFor = true;
        for (int i = next++; i < nBlocks && !failed; i = next++) {
            try {
                (*body)(i);
            } catch (...) {
                std::lock_guard<std::mutex> lock(errorMutex);
                if (!error) error = std::current_exception();
                failed = true;
            }
        }
        insideParallelFor = false;
    }
};

// Workers sleep between jobs. The pool is deliberately never destroyed: no join at exit, none in a forked child.
class Pool {
public:
    void run(Job& job, int nHelpers) {
        std::unique_lock<std::mutex> lock(mutex_);
        while (static_cast<int>(workers_.size()) < nHelpers) {
            workers_.emplace_back([this] { loop(); });
        }
        job_ = &job;
        wanted_ = nHelpers;
        wake_.notify_all();
        lock.unlock();
        job.work();
        lock.lock();
        wanted_ = 0;  // workers that have not started yet have nothing left to do
        done_.wait(lock, [this] { return active_ == 0; });
        job_ = nullptr;
    }

private:
    void loop() {
        std::unique_lock<std::mutex> lock(mutex_);
        for (;;) {
            wake_.wait(lock, [this] { return wanted_ > 0; });
            --wanted_;
            ++active_;
            Job* job = job_;
            lock.unlock();
            job->work();
            lock.lock();
            if (--active_ == 0) done_.notify_all();
        }
    }

    std::mutex mutex_;
    std::condition_variable wake_, done_;
    std::vector<std::thread> workers_;
    Job* job_ = nullptr;
    int wanted_ = 0;
    int active_ = 0;
};

Pool* pool = nullptr;
std::mutex* runMutex = nullptr;  // one job at a time; a second caller works alone meanwhile
std::once_flag poolOnce;

void makePool() {
    pool = new Pool;
    runMutex = new std::mutex;
}

void createPool() {
    makePool();
#if defined(__unix__) || defined(__APPLE__)
    pthread_atfork(nullptr, nullptr, makePool);  // the child has no workers: forget them and start anew
#endif
}

}  // namespace

int getNumThreads() {
    const int n = requestedThreads;
    if (n > 0) return n;
    static const int byDefault = defaultNumThreads();
    return byDefault;
}

void setNumThreads(int n) {
    if (n < 0) throw DomainError("setNumThreads: wanted a number >= 0, got " + std::to_string(n));
    requestedThreads = n;
}

void parallelFor(int nBlocks, std::function<void(int)> const& body) {
    const int nThreads = insideParallelFor ? 1 : std::min(getNumThreads(), nBlocks);
    if (nThreads > 1) {
        std::call_once(poolOnce, createPool);
        std::unique_lock<std::mutex> running(*runMutex, std::try_to_lock);
        if (running.owns_lock()) {
            Job job;
            job.body = &body;
            job.nBlocks = nBlocks;
            pool->run(job, nThreads - 1);
            if (job.error) std::rethrow_exception(job.error);
            return;
        }
    }
    for (int i = 0; i < nBlocks; ++i) body(i);
}

}  // namespace stillsky
