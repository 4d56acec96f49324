// hopper_grid.h as plain C++, over emulated_grid.h. Included by hopper_grid.h only.
//
// With threads forward, a product takes place when it is issued, so that one which is issued before its
// copies or their barrier reads the old bytes; backward, when it is waited for, so that whatever was written
// to its operands in the meantime shows. (Asynchronous copies are the other way round.) The right operand
// must have been written by copies whose threads called fence_async_proxy() after they had waited for them.
#pragma once

namespace fathom::kernels::cuda_emulated {

// Of products; an address in shared memory, as descriptors have it.
uint32_t address_in_shared(const void* data);

template <typename T>
uint32_t shared_address(SharedArray<T> array, int index) {
  return address_in_shared(&array[index]);
}

inline void load_piece(uint32_t (&words)[4], SharedArray<uint32_t> from, int index) {
  FATHOM_CHECK(address_in_shared(&from[index]) % 16 == 0, "16 bytes at word {}", index);
  for (int i = 0; i < 4; ++i) words[i] = from[index + i];
}

template <typename T>
void check_wide(const T* data) {
  FATHOM_CHECK(reinterpret_cast<uintptr_t>(data) % (4 * sizeof(T)) == 0, "four elements at {}",
               static_cast<const void*>(data));
}
inline void load_wide(float (&values)[4], const float* from) {
  check_wide(from);
  std::memcpy(values, from, sizeof(values));
}
template <typename T>
void store_wide(T* to, const T (&values)[4]) {
  check_wide(to);
  std::memcpy(to, values, sizeof(values));
}

void fence_async_proxy();
void fence_products();
void commit_products();
void wait_for_products(int pending_groups);
template <int kPending>
void wait_products() {
  wait_for_products(kPending);
}
template <typename T, int kCount>
void hold(T (&)[kCount]) {}

enum class ProductType : uint8_t { kBFloat16, kFloat16, kInt8 };
// What a thread brings to a product.
struct ThreadProduct {
  void* d = nullptr;            // [columns / 2] float or int32_t
  const uint32_t* a = nullptr;  // [4]
  uint64_t b = 0;
  int columns = 0;
  ProductType type = ProductType::kBFloat16;
  bool accumulate = false;
};
void issue_product(const ThreadProduct& product);

template <int kSums>
void products_bf16(float (&d)[kSums], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
  issue_product({d, a, b, 2 * kSums, ProductType::kBFloat16, accumulate});
}
template <int kSums>
void products_fp16(float (&d)[kSums], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
  issue_product({d, a, b, 2 * kSums, ProductType::kFloat16, accumulate});
}
template <int kSums>
void products_int8(int32_t (&d)[kSums], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
  issue_product({d, a, b, 2 * kSums, ProductType::kInt8, accumulate});
}

// For emulated_grid.cc: a block begins; bytes of it were copied by the current thread; all its threads are at
// a barrier; all have ended.
void begin_products_block(int threads, size_t shared_bytes);
void note_copy(const void* to, int bytes);
void check_products_at_barrier();
void check_products_at_end();

}  // namespace fathom::kernels::cuda_emulated
