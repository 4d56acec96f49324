#include "parallel/rank_table.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>

#include "base/json.h"

namespace fathom {
namespace {

constexpr int kMostTableRanks = 65'536;
constexpr JsonLimits kLimits;

bool is_ip_address(const std::string& text) {
  in6_addr address;
  return ::inet_pton(AF_INET, text.c_str(), &address) == 1 ||
         ::inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

// Digits only, at most most.
std::optional<int> parse_number(std::string_view text, int most) {
  if (text.empty()) return std::nullopt;
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.front() == '-' || value > most)
    return std::nullopt;
  return value;
}

// The fields of one object of the table; place: "FILE: server_list[0].", before a field's name.
class Fields {
 public:
  Fields(const Json& object, std::string place) : object_(object), place_(std::move(place)) {}

  Result<std::string> string(const char* key) const {
    if (!object_.is_object() || !object_.contains(key)) return invalid_data("{}{} is missing", place_, key);
    const Json& value = object_.at(key);
    if (!value.is_string())
      return invalid_data("{}{} is {}; rank tables have strings only", place_, key, dump_json(value));
    return value.get<std::string>();
  }
  Result<int> number(const char* key, int most) const {
    FATHOM_ASSIGN_OR_RETURN(const std::string text, string(key));
    const std::optional<int> value = parse_number(text, most);
    if (!value) return invalid_data("{}{} is \"{}\", no number from 0 to {}", place_, key, text, most);
    return *value;
  }
  Result<std::string> address(const char* key) const {
    FATHOM_ASSIGN_OR_RETURN(std::string text, string(key));
    if (!is_ip_address(text))
      return invalid_data("{}{} is invalid in ranktable file: \"{}\" is no IP address", place_, key, text);
    return text;
  }
  Status expect(const char* key, std::string_view wanted) const {
    FATHOM_ASSIGN_OR_RETURN(const std::string text, string(key));
    if (text == wanted) return ok_status();
    return invalid_data("{}{} is \"{}\", not \"{}\"", place_, key, text, wanted);
  }
  // Neither missing nor empty.
  Result<const Json*> list(const char* key) const {
    if (!object_.is_object() || !object_.contains(key)) return invalid_data("{}{} is missing", place_, key);
    const Json& value = object_.at(key);
    if (!value.is_array() || value.empty()) return invalid_data("{}{} is no list with entries", place_, key);
    return &value;
  }
  bool has(const char* key) const { return object_.contains(key); }
  std::string inner(const char* key, size_t index) const {
    return fmt::format("{}{}[{}].", place_, key, index);
  }

 private:
  const Json& object_;
  std::string place_;
};

// Ranks of one server go on where those of the server before end; devices may stand in any order.
Status read_devices(const Fields& server, int first_rank, int* num_ranks) {
  FATHOM_ASSIGN_OR_RETURN(const Json* devices, server.list("device"));
  *num_ranks = static_cast<int>(devices->size());
  std::set<int> ranks, ids;
  for (size_t i = 0; i < devices->size(); ++i) {
    const std::string place = server.inner("device", i);
    const Fields device((*devices)[i], place);
    FATHOM_ASSIGN_OR_RETURN(const int id, device.number("device_id", kMostTableRanks));
    FATHOM_RETURN_IF_ERROR(device.address("device_ip").status());
    FATHOM_ASSIGN_OR_RETURN(const int rank, device.number("rank_id", kMostTableRanks));
    if (!ids.insert(id).second) return invalid_data("{}device_id {} is there twice", place, id);
    if (!ranks.insert(rank).second) return invalid_data("{}rank_id {} is there twice", place, rank);
    if (rank < first_rank || rank >= first_rank + *num_ranks) {
      return invalid_data("{}rank_id is {}; this server's ranks are {} to {}, in the order of servers", place,
                          rank, first_rank, first_rank + *num_ranks - 1);
    }
  }
  return ok_status();
}

Result<std::vector<Host>> hosts_of_table(const Json& table, const std::string& name) {
  const Fields top(table, name + ": ");
  FATHOM_RETURN_IF_ERROR(top.expect("version", "1.0"));
  FATHOM_RETURN_IF_ERROR(top.expect("status", "completed"));
  FATHOM_ASSIGN_OR_RETURN(const int server_count, top.number("server_count", kMostTableRanks));
  FATHOM_ASSIGN_OR_RETURN(const Json* servers, top.list("server_list"));
  if (static_cast<size_t>(server_count) != servers->size())
    return invalid_data("{}: server_count is {}, server_list has {}", name, server_count, servers->size());
  std::vector<Host> hosts;
  std::set<std::string> seen;
  for (size_t i = 0; i < servers->size(); ++i) {
    const Fields server((*servers)[i], top.inner("server_list", i));
    FATHOM_ASSIGN_OR_RETURN(std::string address, server.address("server_id"));
    if (!seen.insert(address).second)
      return invalid_data("{}server_id {} is there twice", top.inner("server_list", i), address);
    if (server.has("container_ip")) {
      FATHOM_ASSIGN_OR_RETURN(address, server.address("container_ip"));
    }
    int num_ranks = 0;
    FATHOM_RETURN_IF_ERROR(read_devices(server, count_ranks(hosts), &num_ranks));
    hosts.push_back({std::move(address), num_ranks});
  }
  return hosts;
}

}  // namespace

int count_ranks(std::span<const Host> hosts) {
  int count = 0;
  for (const Host& host : hosts) count += host.num_ranks;
  return count;
}

Result<std::vector<Host>> parse_hosts(std::string_view text, std::string_view option) {
  std::vector<Host> hosts;
  std::set<std::string_view> seen;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string_view part = text.substr(begin, end - begin);
    const size_t colon = std::min(part.find(':'), part.size());
    const std::string_view address = part.substr(0, colon);
    const bool plain = std::all_of(address.begin(), address.end(), [](unsigned char c) {
      return std::isalnum(c) != 0 || c == '.' || c == '-' || c == '_';
    });
    if (address.empty() || !plain || address.front() == '-')
      return invalid_argument("{}: \"{}\" is no HOST or HOST:RANKS", option, part);
    std::optional<int> ranks = 1;
    if (colon < part.size()) ranks = parse_number(part.substr(colon + 1), kMostTableRanks);
    if (!ranks || *ranks == 0)
      return invalid_argument("{}: \"{}\" has no number of ranks from 1 to {}", option, part,
                              kMostTableRanks);
    if (!seen.insert(address).second) return invalid_argument("{}: {} is there twice", option, address);
    hosts.push_back({std::string(address), *ranks});
    begin = end + 1;
  }
  return hosts;
}

Result<std::vector<Host>> read_rank_table(const std::string& path) {
  FATHOM_ASSIGN_OR_RETURN(const Json table, read_json_file(path, kLimits));
  return hosts_of_table(table, path);
}

Result<std::vector<Host>> parse_rank_table(std::string_view json, const std::string& name) {
  FATHOM_ASSIGN_OR_RETURN(const Json table, parse_json(json, name, kLimits));
  return hosts_of_table(table, name);
}

Result<NodeArguments> parse_node_arguments(std::span<const std::string> words) {
  if (words.size() != 4)
    return invalid_argument("{} values; there are four: world_size node_count first_rank master_address",
                            words.size());
  NodeArguments arguments;
  const auto number = [&](size_t index, const char* name, int least, int* value) {
    const std::optional<int> parsed = parse_number(words[index], kMostTableRanks);
    if (!parsed || *parsed < least)
      return invalid_argument("{} is \"{}\", no number from {} to {}", name, words[index], least,
                              kMostTableRanks);
    *value = *parsed;
    return ok_status();
  };
  FATHOM_RETURN_IF_ERROR(number(0, "world_size", 1, &arguments.world_size));
  FATHOM_RETURN_IF_ERROR(number(1, "node_count", 1, &arguments.node_count));
  FATHOM_RETURN_IF_ERROR(number(2, "first_rank", 0, &arguments.first_rank));
  arguments.master_address = words[3];
  if (arguments.world_size % arguments.node_count != 0)
    return invalid_argument("world_size {} is no multiple of node_count {}", arguments.world_size,
                            arguments.node_count);
  if (arguments.first_rank >= arguments.world_size ||
      arguments.first_rank % arguments.ranks_per_node() != 0) {
    return invalid_argument("first_rank {} is not the first of a node: {} nodes of {} ranks",
                            arguments.first_rank, arguments.node_count, arguments.ranks_per_node());
  }
  if (!is_ip_address(arguments.master_address))
    return invalid_argument("master_address \"{}\" is no IP address", arguments.master_address);
  return arguments;
}

Status check_against_table(const NodeArguments& arguments, std::span<const Host> hosts,
                           const std::string& name) {
  const int ranks = count_ranks(hosts);
  if (arguments.world_size != ranks)
    return invalid_argument("world_size is {}, {} has {} ranks", arguments.world_size, name, ranks);
  if (static_cast<size_t>(arguments.node_count) != hosts.size())
    return invalid_argument("node_count is {}, {} has {} servers", arguments.node_count, name, hosts.size());
  for (const Host& host : hosts)
    if (host.num_ranks != arguments.ranks_per_node())
      return invalid_argument("world_size {} over node_count {} are {} ranks a node, {} has {} on {}",
                              arguments.world_size, arguments.node_count, arguments.ranks_per_node(), name,
                              host.num_ranks, host.address);
  if (arguments.master_address != hosts.front().address)
    return invalid_argument("master_address is {}, the first server of {} is {}", arguments.master_address,
                            name, hosts.front().address);
  return ok_status();
}

}  // namespace fathom
