// Vectors whose first element lies on a cache line: a 64-byte load that straddles two lines costs twice.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace stillsky {

template <typename T>
struct CacheLineAllocator {
    using value_type = T;
    CacheLineAllocator() = default;
    template <typename U>
    CacheLineAllocator(CacheLineAllocator<U> const&) {}
    T* allocate(std::size_t n) {
        return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t(64)));
    }
    void deallocate(T* p, std::size_t) { ::operator delete(p, std::align_val_t(64)); }
    friend bool operator==(CacheLineAllocator const&, CacheLineAllocator const&) { return true; }
    friend bool operator!=(CacheLineAllocator const&, CacheLineAllocator const&) { return false; }
};

template <typename T>
using AlignedVector = std::vector<T, CacheLineAllocator<T>>;

}  // namespace stillsky
