// exp for arguments <= 0, the same bits on every x86-64 machine, C library and GPU. The C library's exp picks
// a variant by CPU; a last bit that differs there could draw another token.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define FATHOM_HOST_DEVICE __host__ __device__
#else
#define FATHOM_HOST_DEVICE
#endif

namespace fathom {

// Precondition: x <= 0, not NaN; -infinity gives 0. Within 2 units in the last place of e^x down to e^-708,
// below that 0. x = k ln 2 + r with |r| <= ln 2 / 2; e^r by its Taylor series of degree 13 (remainder below
// 2^-57), in pairs as Estrin does: a quarter less time than Horner's order, whose steps wait for each other.
// sample/weights.cc does the same for several values at once.
FATHOM_HOST_DEVICE inline double exact_exp(double x) {
  if (!(x >= -708.0)) return 0.0;
  constexpr double kLog2E = 0x1.71547652b82fep+0;
  // ln 2 in two parts; the first has 32 significant bits, so that k * kLn2High is exact.
  constexpr double kLn2High = 0x1.62e42feep-1;
  constexpr double kLn2Low = 0x1.a39ef35793c76p-33;
  const int64_t k = static_cast<int64_t>(x * kLog2E - 0.5);  // x <= 0: towards zero is upwards
  const double r = (x - static_cast<double>(k) * kLn2High) - static_cast<double>(k) * kLn2Low;
  const double r2 = r * r;
  const double r4 = r2 * r2;
  // The terms from r^3 / 3! on, divided by r^3, in pairs.
  const double p0 = 1.0 / 6.0 + r * (1.0 / 24.0);
  const double p2 = 1.0 / 120.0 + r * (1.0 / 720.0);
  const double p4 = 1.0 / 5040.0 + r * (1.0 / 40320.0);
  const double p6 = 1.0 / 362880.0 + r * (1.0 / 3628800.0);
  const double p8 = 1.0 / 39916800.0 + r * (1.0 / 479001600.0);
  const double p10 = 1.0 / 6227020800.0;
  const double tail = (p0 + r2 * p2) + r4 * (p4 + r2 * p6) + r4 * r4 * (p8 + r2 * p10);
  const double sum = 1.0 + (r + (r2 * 0.5 + r2 * r * tail));
  return sum * __builtin_bit_cast(double, static_cast<uint64_t>(k + 1023) << 52);
}

}  // namespace fathom
