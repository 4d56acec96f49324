#include "sample/sampling_params.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace fathom {
namespace {

// Each limit is accepted, the next number beyond it and NaN are not, and the message names the field.
void expect_range(double SamplingParams::*field, const char* name, double low, double high) {
  const double infinity = std::numeric_limits<double>::infinity();
  SamplingParams params;
  for (double value : {low, high}) {
    params.*field = value;
    EXPECT_TRUE(params.validate().ok()) << name << " " << value;
  }
  for (double value :
       {std::nextafter(low, -infinity), std::nextafter(high, infinity), std::nan(""), infinity, -infinity}) {
    params.*field = value;
    const Status status = params.validate();
    EXPECT_EQ(status.code(), ErrorCode::kInvalidArgument) << name << " " << value;
    EXPECT_EQ(status.message(), fmt::format("{} must be from {} to {}, is {}", name, low, high, value));
  }
}

TEST(SamplingParams, RangesOfNumbers) {
  EXPECT_TRUE(SamplingParams().validate().ok());
  expect_range(&SamplingParams::temperature, "temperature", 0, 2);
  expect_range(&SamplingParams::top_p, "top_p", 0, 1);
  expect_range(&SamplingParams::min_p, "min_p", 0, 1);
  expect_range(&SamplingParams::repetition_penalty, "repetition_penalty", 0.01, 2);
  expect_range(&SamplingParams::presence_penalty, "presence_penalty", -2, 2);
  expect_range(&SamplingParams::frequency_penalty, "frequency_penalty", -2, 2);
}

TEST(SamplingParams, Integers) {
  SamplingParams params;
  params.top_k = -1;
  EXPECT_TRUE(params.validate().ok());
  params.top_k = -2;
  EXPECT_EQ(params.validate().message(), "top_k must be at least -1, is -2");
  params = {};
  params.max_tokens = 1;
  EXPECT_TRUE(params.validate().ok());
  params.max_tokens = 0;
  EXPECT_EQ(params.validate().message(), "max_tokens must be at least 1, is 0");
  params = {};
  for (int32_t logprobs : {0, 20}) {
    params.logprobs = logprobs;
    EXPECT_TRUE(params.validate().ok());
  }
  for (int32_t logprobs : {-1, 21}) {
    params.logprobs = logprobs;
    EXPECT_EQ(params.validate().message(), fmt::format("logprobs must be from 0 to 20, is {}", logprobs));
  }
}

TEST(SamplingParams, LogitBiasAndMinTokens) {
  SamplingParams params;
  params.min_tokens = -1;
  EXPECT_EQ(params.validate().message(), "min_tokens must be at least 0, is -1");
  params = {};
  for (int32_t id = 0; id < 1024; ++id) params.logit_bias.push_back({id, id % 2 == 0 ? 100.0 : -100.0});
  EXPECT_TRUE(params.validate().ok());
  params.logit_bias.push_back({1024, 0});
  EXPECT_EQ(params.validate().message(), "logit_bias must be at most 1024 tokens, is 1025");
  params.logit_bias = {{3, 1}, {2, 1}, {3, 1}};
  EXPECT_EQ(params.validate().message(), "logit_bias: token id 3 occurs twice");
  params.logit_bias = {{-1, 1}};
  EXPECT_EQ(params.validate().message(), "logit_bias: a token id must be at least 0, one is -1");
  for (double bias : {100.5, -100.5, std::nan("")}) {
    params.logit_bias = {{1, bias}};
    EXPECT_EQ(params.validate().message(), fmt::format("logit_bias must be from -100 to 100, is {}", bias));
  }
}

TEST(SamplingParams, Stops) {
  SamplingParams params;
  params.stop_token_ids.assign(1024, 0);
  params.stop_strings.assign(16, std::string(256, 'x'));
  EXPECT_TRUE(params.validate().ok());
  params.stop_token_ids.push_back(0);
  EXPECT_EQ(params.validate().message(), "stop_token_ids must be at most 1024, are 1025");
  params.stop_token_ids = {-1};
  EXPECT_EQ(params.validate().message(), "stop_token_ids must be at least 0, one is -1");
  params.stop_token_ids = {};
  params.stop_strings.push_back("x");
  EXPECT_EQ(params.validate().message(), "stop must be at most 16 strings, is 17");
  params.stop_strings = {""};
  EXPECT_EQ(params.validate().message(), "a stop string must have from 1 to 256 bytes, one has 0");
  params.stop_strings = {std::string(257, 'x')};
  EXPECT_EQ(params.validate().message(), "a stop string must have from 1 to 256 bytes, one has 257");
}

}  // namespace
}  // namespace fathom
