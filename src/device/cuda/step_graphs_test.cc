#include "device/cuda/step_graphs.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace fathom {
namespace {

// What the device was asked for, in order.
std::vector<std::string>& calls() {
  static std::vector<std::string> the_calls;
  return the_calls;
}

CudaDevice recording_device() {
  calls().clear();
  CudaDevice device;
  device.synchronize = [](void*) -> Status {
    calls().push_back("synchronize");
    return ok_status();
  };
  device.graphs = {.begin_capture = [](void*) -> Status {
                     calls().push_back("begin");
                     return ok_status();
                   },
                   .end_capture = [](void*) -> Result<void*> {
                     calls().push_back("end");
                     return static_cast<void*>(&calls());
                   },
                   .launch = [](void*, void*) -> Status {
                     calls().push_back("launch");
                     return ok_status();
                   },
                   .release = [](void*) { calls().push_back("release"); }};
  return device;
}

using Calls = std::vector<std::string>;

// A step of so many operations; how many of them had to launch.
int run_step(StepGraphs& graphs, int64_t num_tokens, int num_operations = 3) {
  EXPECT_TRUE(graphs.begin({.num_tokens = num_tokens}).ok());
  int launches = 0;
  for (int i = 0; i < num_operations; ++i) launches += graphs.replays_operation() ? 0 : 1;
  EXPECT_TRUE(graphs.end().ok());
  EXPECT_FALSE(graphs.is_open());
  return launches;
}

TEST(StepGraphs, TheSecondStepOfAShapeIsCapturedAndLaterOnesAreLaunched) {
  StepGraphs graphs(recording_device());
  EXPECT_EQ(run_step(graphs, 1), 3);
  EXPECT_EQ(calls(), Calls());
  EXPECT_EQ(run_step(graphs, 1), 3);
  EXPECT_EQ(calls(), (Calls{"begin", "end", "launch"}));
  EXPECT_EQ(run_step(graphs, 1), 0);
  EXPECT_EQ(run_step(graphs, 2), 3);
  EXPECT_EQ(run_step(graphs, 1), 0);
  EXPECT_EQ(calls(), (Calls{"begin", "end", "launch", "launch", "launch"}));
  EXPECT_EQ(graphs.num_captured(), 1);
  EXPECT_EQ(graphs.num_replayed(), 2);
}

TEST(StepGraphs, AStepThatIsInterruptedNeverBecomesAGraph) {
  StepGraphs graphs(recording_device());
  ASSERT_TRUE(graphs.begin({.num_tokens = 1}).ok());
  ASSERT_TRUE(graphs.interrupt().ok());
  EXPECT_FALSE(graphs.is_open());
  ASSERT_TRUE(graphs.end().ok());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(run_step(graphs, 1), 3);
  EXPECT_EQ(calls(), Calls());
}

TEST(StepGraphs, WhatWasCapturedBeforeAnInterruptionIsLaunchedOnce) {
  StepGraphs graphs(recording_device());
  run_step(graphs, 1);
  ASSERT_TRUE(graphs.begin({.num_tokens = 1}).ok());
  EXPECT_TRUE(graphs.is_capturing());
  ASSERT_TRUE(graphs.interrupt().ok());
  EXPECT_EQ(calls(), (Calls{"begin", "end", "launch", "synchronize", "release"}));
  run_step(graphs, 1);
  EXPECT_EQ(calls().size(), 5u);
}

TEST(StepGraphs, AStepThatWasNotEndedDoesNotDisturbTheNext) {
  StepGraphs graphs(recording_device());
  run_step(graphs, 1);
  ASSERT_TRUE(graphs.begin({.num_tokens = 1}).ok());
  EXPECT_EQ(run_step(graphs, 2), 3);
}

TEST(StepGraphs, DroppedGraphsAreReleasedAndCapturedAgain) {
  StepGraphs graphs(recording_device());
  run_step(graphs, 1);
  run_step(graphs, 1);
  graphs.drop_all();
  EXPECT_EQ(calls().back(), "release");
  EXPECT_EQ(run_step(graphs, 1), 3);
  EXPECT_EQ(run_step(graphs, 1), 3);
  EXPECT_EQ(graphs.num_captured(), 2);
}

TEST(StepGraphs, TheShapeUsedLeastRecentlyIsForgotten) {
  StepGraphs graphs(recording_device());
  run_step(graphs, 1);
  run_step(graphs, 1);
  for (int64_t tokens = 2; tokens < 600; ++tokens) run_step(graphs, tokens);
  EXPECT_EQ(calls().back(), "release");
  EXPECT_EQ(run_step(graphs, 1), 3);
}

TEST(StepGraphsDeathTest, AGraphMustFitTheStep) {
  StepGraphs graphs(recording_device());
  run_step(graphs, 1);
  run_step(graphs, 1);
  EXPECT_DEATH(run_step(graphs, 1, 4), "4 operations in a step whose graph has 3");
  EXPECT_DEATH(
      {
        static_cast<void>(graphs.begin({.num_tokens = 1}));
        static_cast<void>(graphs.interrupt());
      },
      "in the middle of a step that is a graph");
}

}  // namespace
}  // namespace fathom
