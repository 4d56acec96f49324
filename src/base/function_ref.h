// A reference to something callable, two words wide: what a function takes that calls its argument and does
// not keep it. Unlike std::function it owns nothing, so making one never allocates.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

namespace fathom {

template <typename Signature>
class FunctionRef;

template <typename Return, typename... Args>
class FunctionRef<Return(Args...)> {
 public:
  // Refers to nothing; calling it is a bug.
  FunctionRef() = default;

  // The callable must outlive every call. A lambda written in the argument list of a function lives until
  // that function returns.
  template <typename Callable>
  requires(!std::is_same_v<std::remove_cvref_t<Callable>, FunctionRef> &&
           std::is_object_v<std::remove_reference_t<Callable>> &&
           std::is_invocable_r_v<Return, Callable&, Args...>) FunctionRef(Callable&& callable)
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(callable)))),
        call_([](void* object, Args... args) -> Return {
          return (*static_cast<std::remove_reference_t<Callable>*>(object))(std::forward<Args>(args)...);
        }) {}

  Return operator()(Args... args) const { return call_(object_, std::forward<Args>(args)...); }

  explicit operator bool() const { return call_ != nullptr; }

 private:
  void* object_ = nullptr;
  Return (*call_)(void*, Args...) = nullptr;
};

}  // namespace fathom
