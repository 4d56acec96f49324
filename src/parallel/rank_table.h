// Which hosts run which ranks, in the three forms people bring: a list of hosts, the rank table of Ascend's
// tools (JSON whose values are all strings), and the four numbers that those tools take beside it.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace fathom {

// Ranks are numbered host by host.
struct Host {
  std::string address;  // a name or an IPv4 address
  int num_ranks = 1;
  bool operator==(const Host&) const = default;
};

int count_ranks(std::span<const Host> hosts);

// "a:8,b:8"; a host without a number has one rank. The error names the option and the part at fault.
Result<std::vector<Host>> parse_hosts(std::string_view text, std::string_view option);

// The servers of a rank table in order, the first holding rank 0. Failure: a field that is missing, no string
// or wrong; the message names the file, the field and the value.
Result<std::vector<Host>> read_rank_table(const std::string& path);
Result<std::vector<Host>> parse_rank_table(std::string_view json, const std::string& name);

// What the tools take per node: "16 2 8 10.0.0.1".
struct NodeArguments {
  int world_size = 1;
  int node_count = 1;
  int first_rank = 0;  // of this node
  std::string master_address;

  int ranks_per_node() const { return world_size / node_count; }
  int node() const { return first_rank / ranks_per_node(); }
};

// words: the four, in that order.
Result<NodeArguments> parse_node_arguments(std::span<const std::string> words);
// An error that names the first of the numbers that the table contradicts.
Status check_against_table(const NodeArguments& arguments, std::span<const Host> hosts,
                           const std::string& name);

}  // namespace fathom
