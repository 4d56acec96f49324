// Byte-level byte pair encoding of one piece of text: the pair with the lowest rank is merged first, the
// leftmost of equals, until no adjacent pair has a rank. O(n log n) in the piece's bytes, without recursion.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "text/merge_table.h"
#include "text/vocabulary.h"

namespace fathom {

// Memory of one encoding at a time, kept between pieces. One per thread or call.
struct BpeScratch {
  struct Symbol {
    int32_t id;  // -1: merged into the one before it
    int32_t previous;
    int32_t next;
  };
  struct Candidate {
    uint64_t order;  // rank << 32 | position: the smallest is merged first
    int32_t left;    // ids when the candidate was found
    int32_t right;
  };
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
  uint64_t num_candidates = 0;  // looked at in all pieces so far: the measure of work
};

// Immutable after construction: any number of threads, each with its own scratch.
class Bpe {
 public:
  // A piece longer than this is refused by the tokenizer.
  static constexpr size_t kMaxPieceBytes = size_t{1} << 30;

  // Which pieces that are a token as they stand take no merging.
  enum class WholePieces {
    kWhereMergesAgree,  // the normal rule: a short cut that never changes the result
    kAlways,            // "ignore_merges": also tokens that merging would not reach
  };

  // Both must outlive this.
  Bpe(const Vocabulary& vocabulary, const MergeTable& merges, WholePieces whole_pieces);

  // Appends the ids of a piece of at most kMaxPieceBytes. A byte whose symbol is no token adds nothing.
  void encode(std::string_view piece, BpeScratch& scratch, std::vector<int32_t>& ids) const;
  // The same by merging alone.
  void encode_by_merging(std::string_view piece, BpeScratch& scratch, std::vector<int32_t>& ids) const;

 private:
  void push_candidate(int32_t position, BpeScratch& scratch) const;
  void merge(int32_t position, int32_t result, BpeScratch& scratch) const;

  const Vocabulary& vocabulary_;
  const MergeTable& merges_;
  std::array<int32_t, 256> byte_ids_;  // -1: no token
  std::vector<bool> whole_;            // by id: a piece with its bytes is this token
};

}  // namespace fathom
