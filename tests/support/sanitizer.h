// Whether this build runs under a sanitizer, so that tests can take smaller products there.
#pragma once

namespace fathom::testing {

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define FATHOM_TEST_SANITIZED
#endif
#endif

#if defined(FATHOM_TEST_SANITIZED) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

// ThreadSanitizer does not know the fibers of the emulated device.
#if defined(__SANITIZE_THREAD__)
inline constexpr bool kFibersRun = false;
#else
inline constexpr bool kFibersRun = true;
#endif

}  // namespace fathom::testing
