// The kernels that multiply with AMX tiles: what they need beyond their parameters is in the .cc files.
#pragma once

#include "kernels/params.h"

namespace fathom::kernels::amx {

void linear_int8(const LinearParams& p);  // int8_zero_point 128
void linear_int4(const LinearParams& p);  // likewise
void linear_bf16(const LinearParams& p);
void absorbed_attention(const AbsorbedAttentionParams& p);
void expanded_attention(const ExpandedAttentionParams& p);

}  // namespace fathom::kernels::amx

// The same sources compiled over tiles emulated with AVX-512 (emulated_tiles.h), for tests on machines
// without AMX: the library fathom_amx_emulated.
namespace fathom::kernels::amx_emulated {

void linear_int8(const LinearParams& p);
void linear_int4(const LinearParams& p);
void linear_bf16(const LinearParams& p);
void absorbed_attention(const AbsorbedAttentionParams& p);
void expanded_attention(const ExpandedAttentionParams& p);

}  // namespace fathom::kernels::amx_emulated
