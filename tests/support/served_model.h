// The demo model as the handlers see it, for tests of the server.
#pragma once

#include <gtest/gtest.h>

#include "server/openai.h"
#include "support/engine.h"

namespace fathom::testing {

class DemoModelTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    const std::string folder = std::string(FATHOM_SOURCE_DIR) + "/models/demo";
    engine_ = load_engine(small_options(folder));
    ASSERT_NE(engine_, nullptr);
    auto model = ServedModel::create(*engine_, folder, {"demo"}, SamplingDefaults::kModel);
    ASSERT_TRUE(model.ok()) << model.status().message();
    model_ = std::move(model).value();
  }
  static void TearDownTestSuite() {
    model_.reset();
    engine_.reset();
  }

  static Json json(const char* text) { return parse_json(text, "test", {}).value(); }

  static inline std::unique_ptr<Engine> engine_;
  static inline std::unique_ptr<ServedModel> model_;
};

}  // namespace fathom::testing
