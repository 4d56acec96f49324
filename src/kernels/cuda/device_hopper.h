// hopper_grid.h under nvcc: one PTX instruction a function. Included by hopper_grid.h only.
#pragma once

namespace fathom::kernels::cuda_device {

template <typename T>
FATHOM_DEVICE uint32_t shared_address(SharedArray<T> array, int index) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(&array[index]));
}

// 16 aligned bytes of shared memory at a time.
FATHOM_DEVICE void load_piece(uint32_t (&words)[4], SharedArray<uint32_t> from, int index) {
  const uint4 piece = *reinterpret_cast<const uint4*>(&from[index]);
  words[0] = piece.x;
  words[1] = piece.y;
  words[2] = piece.z;
  words[3] = piece.w;
}

// Four aligned elements of global memory at a time.
FATHOM_DEVICE void load_wide(float (&values)[4], const float* from) {
  const float4 wide = *reinterpret_cast<const float4*>(from);
  values[0] = wide.x;
  values[1] = wide.y;
  values[2] = wide.z;
  values[3] = wide.w;
}
FATHOM_DEVICE void store_wide(float* to, const float (&values)[4]) {
  asm volatile("st.v4.f32 [%0], {%1,%2,%3,%4};" ::"l"(to), "f"(values[0]), "f"(values[1]), "f"(values[2]),
               "f"(values[3])
               : "memory");
}
FATHOM_DEVICE void store_wide(uint16_t* to, const uint16_t (&values)[4]) {
  asm volatile("st.v4.u16 [%0], {%1,%2,%3,%4};" ::"l"(to), "h"(values[0]), "h"(values[1]), "h"(values[2]),
               "h"(values[3])
               : "memory");
}

FATHOM_DEVICE void fence_async_proxy() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
FATHOM_DEVICE void fence_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
FATHOM_DEVICE void commit_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int kPending>
FATHOM_DEVICE void wait_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// Registers that a product reads or writes stay where they are up to here: the compiler does not know that
// the instruction goes on after its asm statement.
template <int kCount>
FATHOM_DEVICE void hold(float (&registers)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(registers[i])::"memory");
}
template <int kCount>
FATHOM_DEVICE void hold(int32_t (&registers)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+r"(registers[i])::"memory");
}
template <int kCount>
FATHOM_DEVICE void hold(uint32_t (&registers)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+r"(registers[i])::"memory");
}

// Operands 0 to n - 1 of an asm statement, and the n registers of d that they are.
#define FATHOM_PLACES_8 "%0,%1,%2,%3,%4,%5,%6,%7"
#define FATHOM_PLACES_16 \
  FATHOM_PLACES_8        \
  ",%8,%9,%10,%11,%12,%13,%14,%15"
#define FATHOM_PLACES_32 \
  FATHOM_PLACES_16       \
  ",%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define FATHOM_PLACES_64                                                                     \
  FATHOM_PLACES_32                                                                           \
  ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53" \
  ",%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define FATHOM_PLACES_96                                                                     \
  FATHOM_PLACES_64                                                                           \
  ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85" \
  ",%86,%87,%88,%89,%90,%91,%92,%93,%94,%95"
#define FATHOM_PLACES_128                                                                  \
  FATHOM_PLACES_96                                                                         \
  ",%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111,%112,%113" \
  ",%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"
#define FATHOM_SUMS_4(c, d, i) c(d[i]), c(d[i + 1]), c(d[i + 2]), c(d[i + 3])
#define FATHOM_SUMS_8(c, d, i) FATHOM_SUMS_4(c, d, i), FATHOM_SUMS_4(c, d, i + 4)
#define FATHOM_SUMS_16(c, d, i) FATHOM_SUMS_8(c, d, i), FATHOM_SUMS_8(c, d, i + 8)
#define FATHOM_SUMS_32(c, d, i) FATHOM_SUMS_16(c, d, i), FATHOM_SUMS_16(c, d, i + 16)
#define FATHOM_SUMS_64(c, d, i) FATHOM_SUMS_32(c, d, i), FATHOM_SUMS_32(c, d, i + 32)
#define FATHOM_SUMS_96(c, d, i) FATHOM_SUMS_64(c, d, i), FATHOM_SUMS_32(c, d, i + 64)
#define FATHOM_SUMS_128(c, d, i) FATHOM_SUMS_64(c, d, i), FATHOM_SUMS_64(c, d, i + 64)

// a, b and accumulate are the operands after d's.
#define FATHOM_PRODUCT(name, Sum, c, n, shape, a_b, accumulates, scales)                                   \
  FATHOM_DEVICE void name(Sum(&d)[n], const uint32_t(&a)[4], uint64_t b, bool accumulate) {                \
    asm volatile("{.reg .pred p; setp.ne.b32 p, " accumulates ", 0; wgmma.mma_async.sync.aligned." shape   \
                 " {" FATHOM_PLACES_##n "}, " a_b ", p" scales ";}"                                        \
                 : FATHOM_SUMS_##n(c, d, 0)                                                                \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(accumulate))); \
  }
#define FATHOM_FLOAT_PRODUCTS(n, columns, a_b, accumulates)                                           \
  FATHOM_PRODUCT(products_bf16, float, "+f", n, "m64n" columns "k16.f32.bf16.bf16", a_b, accumulates, \
                 ", 1, 1, 0")                                                                         \
  FATHOM_PRODUCT(products_fp16, float, "+f", n, "m64n" columns "k16.f32.f16.f16", a_b, accumulates,   \
                 ", 1, 1, 0")
#define FATHOM_INT8_PRODUCTS(n, columns, a_b, accumulates) \
  FATHOM_PRODUCT(products_int8, int32_t, "+r", n, "m64n" columns "k32.s32.s8.s8", a_b, accumulates, "")

FATHOM_FLOAT_PRODUCTS(8, "16", "{%8,%9,%10,%11}, %12", "%13")
FATHOM_FLOAT_PRODUCTS(16, "32", "{%16,%17,%18,%19}, %20", "%21")
FATHOM_FLOAT_PRODUCTS(32, "64", "{%32,%33,%34,%35}, %36", "%37")
FATHOM_FLOAT_PRODUCTS(64, "128", "{%64,%65,%66,%67}, %68", "%69")
FATHOM_FLOAT_PRODUCTS(96, "192", "{%96,%97,%98,%99}, %100", "%101")
FATHOM_INT8_PRODUCTS(32, "64", "{%32,%33,%34,%35}, %36", "%37")
FATHOM_INT8_PRODUCTS(64, "128", "{%64,%65,%66,%67}, %68", "%69")
FATHOM_INT8_PRODUCTS(128, "256", "{%128,%129,%130,%131}, %132", "%133")

#undef FATHOM_INT8_PRODUCTS
#undef FATHOM_FLOAT_PRODUCTS
#undef FATHOM_PRODUCT
#undef FATHOM_SUMS_128
#undef FATHOM_SUMS_96
#undef FATHOM_SUMS_64
#undef FATHOM_SUMS_32
#undef FATHOM_SUMS_16
#undef FATHOM_SUMS_8
#undef FATHOM_SUMS_4
#undef FATHOM_PLACES_128
#undef FATHOM_PLACES_96
#undef FATHOM_PLACES_64
#undef FATHOM_PLACES_32
#undef FATHOM_PLACES_16
#undef FATHOM_PLACES_8

}  // namespace fathom::kernels::cuda_device
