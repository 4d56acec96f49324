// The scalar kernels: the specification of every operation, the fallback where no instruction set applies,
// and half of every kernel test. Written for reading; float sums are taken in double, in index order.
#pragma once

#include "kernels/params.h"

namespace fathom::kernels::ref {

void prepare(const PrepareParams& p);
void linear(const LinearParams& p);  // every form with every format
void rope_query(const RopeQueryParams& p);
void store_latent(const StoreLatentParams& p);
void absorbed_attention(const AbsorbedAttentionParams& p);
void merge_splits(const MergeSplitsParams& p);
void expanded_attention(const ExpandedAttentionParams& p);
void router(const RouterParams& p);

}  // namespace fathom::kernels::ref
