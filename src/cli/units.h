// The units that reports print figures in.
#pragma once

namespace fathom {

inline constexpr double kMicro = 1e-6;
inline constexpr double kGiga = 1e9;
inline constexpr double kTera = 1e12;

}  // namespace fathom
