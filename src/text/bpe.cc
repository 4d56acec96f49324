#include "text/bpe.h"

#include <algorithm>

#include "base/check.h"

namespace fathom {
namespace {

// std::push_heap keeps the largest on top.
bool later(const BpeScratch::Candidate& a, const BpeScratch::Candidate& b) { return a.order > b.order; }

int32_t position_of(const BpeScratch::Candidate& candidate) {
  return static_cast<int32_t>(candidate.order & 0xFFFFFFFFu);
}

}  // namespace

Bpe::Bpe(const Vocabulary& vocabulary, const MergeTable& merges, WholePieces whole_pieces)
    : vocabulary_(vocabulary), merges_(merges) {
  for (unsigned byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    byte_ids_[byte] = vocabulary.find_bytes({&c, 1}).value_or(-1);
  }
  whole_.resize(static_cast<size_t>(vocabulary.size()));
  BpeScratch scratch;
  std::vector<int32_t> ids;
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    if (!vocabulary.in_model(id)) continue;
    if (whole_pieces == WholePieces::kAlways) {
      whole_[static_cast<size_t>(id)] = true;
      continue;
    }
    ids.clear();
    encode_by_merging(vocabulary.bytes(id), scratch, ids);
    whole_[static_cast<size_t>(id)] = ids.size() == 1 && ids[0] == id;
  }
}

void Bpe::encode(std::string_view piece, BpeScratch& scratch, std::vector<int32_t>& ids) const {
  const std::optional<int32_t> whole = vocabulary_.find_bytes(piece);
  if (whole && whole_[static_cast<size_t>(*whole)]) {
    ids.push_back(*whole);
    return;
  }
  encode_by_merging(piece, scratch, ids);
}

void Bpe::encode_by_merging(std::string_view piece, BpeScratch& scratch, std::vector<int32_t>& ids) const {
  FATHOM_CHECK(piece.size() <= kMaxPieceBytes, "piece of {} bytes", piece.size());
  auto& symbols = scratch.symbols;
  symbols.clear();
  for (const char c : piece) {
    const int32_t id = byte_ids_[static_cast<unsigned char>(c)];
    if (id < 0) continue;
    const auto position = static_cast<int32_t>(symbols.size());
    symbols.push_back({id, position - 1, position + 1});
  }
  if (symbols.empty()) return;
  symbols.back().next = -1;

  scratch.heap.clear();
  for (size_t i = 0; i + 1 < symbols.size(); ++i) push_candidate(static_cast<int32_t>(i), scratch);
  while (!scratch.heap.empty()) {
    std::pop_heap(scratch.heap.begin(), scratch.heap.end(), later);
    const BpeScratch::Candidate candidate = scratch.heap.back();
    scratch.heap.pop_back();
    ++scratch.num_candidates;
    const int32_t position = position_of(candidate);
    const BpeScratch::Symbol& left = symbols[static_cast<size_t>(position)];
    // Symbols only grow, so equal ids mean that the pair is still the one that was found.
    if (left.id != candidate.left || left.next < 0) continue;
    if (symbols[static_cast<size_t>(left.next)].id != candidate.right) continue;
    merge(position, merges_.result(static_cast<int32_t>(candidate.order >> 32)), scratch);
  }
  for (int32_t i = 0; i >= 0; i = symbols[static_cast<size_t>(i)].next) {
    ids.push_back(symbols[static_cast<size_t>(i)].id);
  }
}

void Bpe::push_candidate(int32_t position, BpeScratch& scratch) const {
  const int32_t left = scratch.symbols[static_cast<size_t>(position)].id;
  const int32_t next = scratch.symbols[static_cast<size_t>(position)].next;
  const int32_t right = scratch.symbols[static_cast<size_t>(next)].id;
  const int32_t rank = merges_.find(left, right);
  if (rank < 0) return;
  const uint64_t order = static_cast<uint64_t>(rank) << 32 | static_cast<uint32_t>(position);
  scratch.heap.push_back({order, left, right});
  std::push_heap(scratch.heap.begin(), scratch.heap.end(), later);
}

// Joins the symbol at position with the next one.
void Bpe::merge(int32_t position, int32_t result, BpeScratch& scratch) const {
  auto& symbols = scratch.symbols;
  BpeScratch::Symbol& left = symbols[static_cast<size_t>(position)];
  BpeScratch::Symbol& right = symbols[static_cast<size_t>(left.next)];
  left.id = result;
  left.next = right.next;
  right.id = -1;
  if (left.next >= 0) symbols[static_cast<size_t>(left.next)].previous = position;
  if (left.previous >= 0) push_candidate(left.previous, scratch);
  if (left.next >= 0) push_candidate(position, scratch);
}

}  // namespace fathom
