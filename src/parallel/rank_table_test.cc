#include "parallel/rank_table.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace fathom {
namespace {

Json good_table() {
  return Json::parse(R"({"version": "1.0", "status": "completed", "server_count": "2", "server_list": [
    {"server_id": "10.0.0.1", "container_ip": "10.0.1.1", "device": [
      {"device_id": "0", "device_ip": "192.168.0.1", "rank_id": "0"},
      {"device_id": "1", "device_ip": "192.168.0.2", "rank_id": "1"}]},
    {"server_id": "10.0.0.2", "device": [
      {"device_id": "0", "device_ip": "192.168.0.3", "rank_id": "2"},
      {"device_id": "1", "device_ip": "192.168.0.4", "rank_id": "3"}]}]})");
}

TEST(RankTable, GivesHostsInOrder) {
  const auto hosts = parse_rank_table(good_table().dump(), "t");
  ASSERT_TRUE(hosts.ok()) << hosts.status().message();
  EXPECT_EQ(*hosts, (std::vector<Host>{{"10.0.1.1", 2}, {"10.0.0.2", 2}}));
  EXPECT_EQ(count_ranks(*hosts), 4);
}

TEST(RankTable, NamesTheFieldAtFault) {
  struct Case {
    const char* where;  // JSON pointer
    Json value;         // null: taken away
    const char* message;
  };
  const Case cases[] = {
      {"/version", "2.0", "t: version is \"2.0\", not \"1.0\""},
      {"/version", 1, "t: version is 1; rank tables have strings only"},
      {"/status", nullptr, "t: status is missing"},
      {"/status", "initializing", "t: status is \"initializing\", not \"completed\""},
      {"/server_count", 2, "t: server_count is 2; rank tables have strings only"},
      {"/server_count", "two", "t: server_count is \"two\", no number from 0 to 65536"},
      {"/server_count", "", "t: server_count is \"\", no number from 0 to 65536"},
      {"/server_count", "3", "t: server_count is 3, server_list has 2"},
      {"/server_list", Json::array(), "t: server_list is no list with entries"},
      {"/server_list", nullptr, "t: server_list is missing"},
      {"/server_list/1", "x", "t: server_list[1].server_id is missing"},
      {"/server_list/1/server_id", "10.0.0.1", "t: server_list[1].server_id 10.0.0.1 is there twice"},
      {"/server_list/0/server_id", "node-a",
       "t: server_list[0].server_id is invalid in ranktable file: \"node-a\" is no IP address"},
      {"/server_list/0/container_ip", "1.2.3",
       "t: server_list[0].container_ip is invalid in ranktable file: \"1.2.3\" is no IP address"},
      {"/server_list/1/device", nullptr, "t: server_list[1].device is missing"},
      {"/server_list/0/device/1/device_ip", "10.0.0.300",
       "t: server_list[0].device[1].device_ip is invalid in ranktable file: \"10.0.0.300\" is no IP address"},
      {"/server_list/0/device/1/device_id", "0", "t: server_list[0].device[1].device_id 0 is there twice"},
      {"/server_list/0/device/1/rank_id", "0", "t: server_list[0].device[1].rank_id 0 is there twice"},
      {"/server_list/0/device/0/rank_id", "-1",
       "t: server_list[0].device[0].rank_id is \"-1\", no number from 0 to 65536"},
      {"/server_list/0/device/0/rank_id", "4",
       "t: server_list[0].device[0].rank_id is 4; this server's ranks are 0 to 1, in the order of servers"},
  };
  for (const Case& c : cases) {
    Json table = good_table();
    const Json::json_pointer where(c.where);
    if (c.value.is_null()) {
      table.at(where.parent_pointer()).erase(where.back());
    } else {
      table.at(where) = c.value;
    }
    EXPECT_EQ(parse_rank_table(table.dump(), "t").status().message(), c.message);
  }
  EXPECT_FALSE(parse_rank_table("[]", "t").ok());
  EXPECT_FALSE(parse_rank_table("{", "t").ok());
}

TEST(Hosts, AreParsed) {
  EXPECT_EQ(*parse_hosts("a:8,b-1.example:4,10.0.0.1", "--hosts"),
            (std::vector<Host>{{"a", 8}, {"b-1.example", 4}, {"10.0.0.1", 1}}));
  const auto message = [](std::string_view text) { return parse_hosts(text, "--hosts").status().message(); };
  EXPECT_EQ(message(""), "--hosts: \"\" is no HOST or HOST:RANKS");
  EXPECT_EQ(message("a:8,"), "--hosts: \"\" is no HOST or HOST:RANKS");
  EXPECT_EQ(message("-x"), "--hosts: \"-x\" is no HOST or HOST:RANKS");
  EXPECT_EQ(message("a b"), "--hosts: \"a b\" is no HOST or HOST:RANKS");
  for (const char* text : {"a:", "a:0", "a:-1", "a:x", "a:65537"})
    EXPECT_EQ(message(text), fmt::format("--hosts: \"{}\" has no number of ranks from 1 to 65536", text));
  EXPECT_EQ(message("a:1,a:2"), "--hosts: a is there twice");
}

TEST(NodeArguments, AreParsedAndHeldAgainstTheTable) {
  using Words = std::vector<std::string>;
  const auto arguments = parse_node_arguments(Words{"16", "2", "8", "10.0.0.1"});
  ASSERT_TRUE(arguments.ok()) << arguments.status().message();
  EXPECT_EQ(arguments->ranks_per_node(), 8);
  EXPECT_EQ(arguments->node(), 1);
  const auto message = [](const Words& words) { return parse_node_arguments(words).status().message(); };
  EXPECT_EQ(message({"16", "2", "8"}),
            "3 values; there are four: world_size node_count first_rank master_address");
  EXPECT_EQ(message({"0", "2", "8", "10.0.0.1"}), "world_size is \"0\", no number from 1 to 65536");
  EXPECT_EQ(message({"16", "", "8", "10.0.0.1"}), "node_count is \"\", no number from 1 to 65536");
  EXPECT_EQ(message({"16", "3", "8", "10.0.0.1"}), "world_size 16 is no multiple of node_count 3");
  EXPECT_EQ(message({"16", "2", "7", "10.0.0.1"}),
            "first_rank 7 is not the first of a node: 2 nodes of 8 ranks");
  EXPECT_EQ(message({"16", "2", "16", "10.0.0.1"}),
            "first_rank 16 is not the first of a node: 2 nodes of 8 ranks");
  EXPECT_EQ(message({"16", "2", "8", "master"}), "master_address \"master\" is no IP address");

  const auto against = [&](const std::vector<Host>& hosts) {
    return check_against_table(*arguments, hosts, "t").message();
  };
  EXPECT_EQ(against({{"10.0.0.1", 8}, {"10.0.0.2", 8}}), "");
  EXPECT_EQ(against({{"10.0.0.1", 8}, {"10.0.0.2", 4}}), "world_size is 16, t has 12 ranks");
  EXPECT_EQ(against({{"10.0.0.1", 16}}), "node_count is 2, t has 1 servers");
  EXPECT_EQ(against({{"10.0.0.1", 12}, {"10.0.0.2", 4}}),
            "world_size 16 over node_count 2 are 8 ranks a node, t has 12 on 10.0.0.1");
  EXPECT_EQ(against({{"10.0.0.2", 8}, {"10.0.0.1", 8}}),
            "master_address is 10.0.0.1, the first server of t is 10.0.0.2");
}

}  // namespace
}  // namespace fathom
