// NCCL between threads of one process and their emulated devices, for tests: what is sent in a group arrives
// at its end.
#pragma once

#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "device/cuda/emulated_device.h"

namespace fathom {

class FakeNccl {
 public:
  static Nccl table() {
    return {.get_version = [](int* version) { return *version = 23203, 0; },
            .get_unique_id = get_unique_id,
            .comm_init_rank = comm_init_rank,
            .comm_destroy = [](void* comm) { return delete static_cast<Comm*>(comm), 0; },
            .comm_abort = [](void* comm) { return delete static_cast<Comm*>(comm), 0; },
            .comm_get_async_error = [](void*, int* error) { return *error = 0, 0; },
            .group_start = [] { return group().clear(), 0; },
            .group_end = group_end,
            .send = send,
            .recv = recv,
            .get_error_string = [](int) { return "an error"; }};
  }

 private:
  using Message = std::vector<std::byte>;
  struct World {
    std::mutex mutex;
    std::condition_variable changed;
    int num_joined = 0;
    std::map<std::pair<int, int>, std::deque<Message>> boxes;  // by sender and receiver
  };
  struct Comm {
    std::shared_ptr<World> world;
    int rank;
  };
  struct Operation {
    Comm* comm;
    int peer;
    const void* from;  // null: a receive
    void* to;
    size_t size;
  };

  static std::vector<Operation>& group() {
    thread_local std::vector<Operation> operations;
    return operations;
  }
  static int get_unique_id(NcclId* id) {
    static std::mutex mutex;
    static int number = 0;
    const std::lock_guard lock(mutex);
    ++number;
    std::memcpy(id->internal, &number, sizeof(number));
    return 0;
  }
  static std::shared_ptr<World> world_of(const NcclId& id) {
    static std::mutex mutex;
    static std::map<int, std::shared_ptr<World>> worlds;
    const std::lock_guard lock(mutex);
    int number = 0;
    std::memcpy(&number, id.internal, sizeof(number));
    std::shared_ptr<World>& world = worlds[number];
    if (world == nullptr) world = std::make_shared<World>();
    return world;
  }
  static int comm_init_rank(void** comm, int num_ranks, NcclId id, int rank) {
    const std::shared_ptr<World> world = world_of(id);
    *comm = new Comm{world, rank};
    std::unique_lock lock(world->mutex);
    ++world->num_joined;
    world->changed.notify_all();
    world->changed.wait(lock, [&] { return world->num_joined == num_ranks; });
    return 0;
  }
  static int send(const void* data, size_t count, int type, int peer, void* comm, void*) {
    group().push_back({static_cast<Comm*>(comm), peer, data, nullptr, count});
    return type == kNcclInt8 ? 0 : 1;
  }
  static int recv(void* data, size_t count, int type, int peer, void* comm, void*) {
    group().push_back({static_cast<Comm*>(comm), peer, nullptr, data, count});
    return type == kNcclInt8 ? 0 : 1;
  }
  static int group_end() {
    for (const Operation& operation : group())
      if (operation.from != nullptr) post(operation);
    for (const Operation& operation : group())
      if (operation.from == nullptr && !take(operation)) return 1;
    return 0;
  }
  static void copy(const void* from, void* to, size_t size) {
    static_cast<void>(emulated_device().copy(from, to, size, nullptr));
  }
  static void post(const Operation& operation) {
    World& world = *operation.comm->world;
    Message message(operation.size);
    copy(operation.from, message.data(), operation.size);
    const std::lock_guard lock(world.mutex);
    world.boxes[{operation.comm->rank, operation.peer}].push_back(std::move(message));
    world.changed.notify_all();
  }
  // False: the message has another size.
  static bool take(const Operation& operation) {
    World& world = *operation.comm->world;
    std::unique_lock lock(world.mutex);
    std::deque<Message>& box = world.boxes[{operation.peer, operation.comm->rank}];
    world.changed.wait(lock, [&] { return !box.empty(); });
    const Message message = std::move(box.front());
    box.pop_front();
    if (message.size() != operation.size) return false;
    copy(message.data(), operation.to, message.size());
    return true;
  }
};

}  // namespace fathom
