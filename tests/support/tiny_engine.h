// An engine on a tiny checkpoint of its own, for tests.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "support/engine.h"
#include "support/temp_dir.h"
#include "support/tiny_checkpoint.h"
#include "support/tiny_config.h"

namespace fathom::testing {

class TinyEngineTest : public ::testing::Test {
 protected:
  void SetUp() override {
    model_ = folder_.file("model");
    write_tiny_checkpoint({.config = tiny_config(), .directory = model_});
    engine_ = load_engine(small_options(model_));
    ASSERT_NE(engine_, nullptr);
  }

  TempDir folder_;
  std::string model_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace fathom::testing
