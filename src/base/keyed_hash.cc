#include "base/keyed_hash.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <cstring>

#include "base/check.h"

namespace fathom {

void KeyedHash::Free::operator()(evp_mac_ctx_st* context) const { EVP_MAC_CTX_free(context); }

Result<KeyedHash> KeyedHash::create() {
  KeyedHash hash;
  if (RAND_bytes(hash.key_, kKeyBytes) != 1) return unsupported("OpenSSL has no random numbers");
  EVP_MAC* mac = EVP_MAC_fetch(nullptr, "SIPHASH", nullptr);
  if (mac == nullptr) return unsupported("OpenSSL offers no SIPHASH");
  hash.context_.reset(EVP_MAC_CTX_new(mac));
  EVP_MAC_free(mac);  // the context holds it
  size_t num_bytes = sizeof(Hash128);
  const OSSL_PARAM params[] = {OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &num_bytes),
                               OSSL_PARAM_construct_end()};
  if (!hash.context_ || EVP_MAC_CTX_set_params(hash.context_.get(), params) != 1)
    return unsupported("OpenSSL's SIPHASH has no output of {} bytes", num_bytes);
  return hash;
}

Hash128 KeyedHash::operator()(std::initializer_list<std::span<const std::byte>> parts) {
  EVP_MAC_CTX* context = context_.get();
  bool ok = EVP_MAC_init(context, key_, kKeyBytes, nullptr) == 1;
  for (std::span<const std::byte> part : parts) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(part.data());
    ok = ok && EVP_MAC_update(context, bytes, part.size()) == 1;
  }
  unsigned char out[sizeof(Hash128)];
  size_t num_bytes = 0;
  ok = ok && EVP_MAC_final(context, out, &num_bytes, sizeof(out)) == 1;
  FATHOM_CHECK(ok && num_bytes == sizeof(out), "{} bytes", num_bytes);
  Hash128 hash;
  std::memcpy(&hash, out, sizeof(hash));
  return hash;
}

}  // namespace fathom
