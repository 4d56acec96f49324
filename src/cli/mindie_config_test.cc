#include "cli/mindie_config.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/file.h"

namespace fathom {
namespace {

// The file as MindIE ships it, less most of what has no meaning here.
constexpr const char* kShipped = R"({
  "Version": "1.0.0",
  "ServerConfig": {
    "ipAddress": "127.0.0.1", "managementIpAddress": "127.0.0.2", "port": 1025, "managementPort": 1026,
    "metricsPort": 1027, "allowAllZeroIpListening": false, "maxLinkNum": 1000, "httpsEnabled": true,
    "fullTextEnabled": false, "tlsCaPath": "security/ca/", "tlsCaFile": ["ca.pem", "b.pem"],
    "tlsCert": "security/certs/server.pem", "tlsPk": "security/keys/server.key.pem",
    "tlsCrlPath": "security/certs/", "tlsCrlFiles": ["server_crl.pem"],
    "managementTlsCert": "security/certs/management/server.pem", "inferMode": "standard",
    "openAiSupport": "vllm", "tokenTimeout": 700, "e2eTimeout": 800, "distDPServerEnabled": false,
    "HealthCheckConfig": {"npuUsageThreshold": 10}},
  "BackendConfig": {
    "backendName": "mindieservice_llm_engine", "modelInstanceNumber": 1, "npuDeviceIds": [[0, 1, 2, 3]],
    "tokenizerProcessNumber": 8, "multiNodesInferEnabled": false,
    "ModelDeployConfig": {
      "maxSeqLen": 2560, "maxInputTokenLen": 4096, "truncation": false,
      "ModelConfig": [{"modelInstanceType": "Standard", "modelName": "deepseek", "modelWeightPath": "/w/ds",
                       "worldSize": 4, "cpuMemSize": 0, "npuMemSize": 3, "backendType": "atb",
                       "trustRemoteCode": false}]},
    "ScheduleConfig": {
      "templateType": "Standard", "templateName": "Standard_LLM", "cacheBlockSize": 64,
      "maxPrefillBatchSize": 50, "maxPrefillTokens": 8000, "prefillTimeMsPerReq": 150, "prefillPolicyType": 0,
      "decodeTimeMsPerReq": 40, "decodePolicyType": 0, "maxBatchSize": 100, "maxIterTimes": 500,
      "maxPreemptCount": 0, "supportSelectBatch": false, "maxQueueDelayMicroseconds": 5000,
      "maxFirstTokenWaitTime": 2500}},
  "LogConfig": {"dynamicLogLevelValidHours": 2},
  "EnableDynamicAdjustTimeoutConfig": false})";

Json shipped() { return parse_json(kShipped, "test", {}).value(); }

bool holds(const std::vector<std::string>& all, const std::string& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

TEST(MindieConfig, ShippedFileBecomesOptions) {
  const auto config = translate_mindie_config(shipped(), "/mindie/conf/config.json");
  ASSERT_TRUE(config.ok()) << config.status().message();
  const std::vector<std::string> want = {"--max-num-seqs=100",
                                         "--block-size=64",
                                         "--max-prefill-seqs=50",
                                         "--max-prefill-tokens=8000",
                                         "--max-output-tokens=500",
                                         "--max-choices=100",
                                         "--max-wait-steps=63",
                                         "--max-model-len=2560",
                                         "--max-prompt-tokens=2559",
                                         "--model=/w/ds",
                                         "--served-model-name=deepseek",
                                         "--kv-memory=3G",
                                         "--host=127.0.0.1",
                                         "--port=1025",
                                         "--admin-host=127.0.0.2",
                                         "--admin-port=1026",
                                         "--admin-port=1027",
                                         "--ssl-certfile=/mindie/conf/../security/certs/server.pem",
                                         "--ssl-keyfile=/mindie/conf/../security/keys/server.key.pem",
                                         "--ssl-ca-certs=/mindie/conf/../security/ca/ca.pem",
                                         "--ssl-ca-certs=/mindie/conf/../security/ca/b.pem",
                                         "--max-queue=2900",
                                         "--max-connections=3064",
                                         "--request-timeout=800",
                                         "--queue-timeout=800",
                                         "--step-timeout=700",
                                         "--max-body-size=40M"};
  EXPECT_EQ(config->options, want);
  for (const char* key : {"Version", "LogConfig", "ServerConfig.openAiSupport",
                          "ServerConfig.managementTlsCert", "BackendConfig.npuDeviceIds",
                          "ModelConfig[0].worldSize", "ScheduleConfig.maxQueueDelayMicroseconds"}) {
    EXPECT_TRUE(holds(config->unused, key)) << key;
  }
  for (const char* key : {"ServerConfig.port", "ServerConfig.tlsCrlFiles", "BackendConfig.ScheduleConfig"})
    EXPECT_FALSE(holds(config->unused, key)) << key;
}

TEST(MindieConfig, LeftOutKeysHaveMindiesDefaults) {
  const Json config =
      parse_json(R"({"ServerConfig": {"httpsEnabled": false}, "BackendConfig": {"ModelDeployConfig":
      {"ModelConfig": [{"modelName": "m", "modelWeightPath": "w"}]}}})",
                 "test", {})
          .value();
  const auto translated = translate_mindie_config(config, "config.json");
  ASSERT_TRUE(translated.ok()) << translated.status().message();
  for (const char* option :
       {"--port=1025", "--admin-host=127.0.0.1", "--max-num-seqs=200", "--max-prefill-seqs=50",
        "--max-output-tokens=512", "--max-choices=128", "--max-wait-steps=50", "--max-queue=2800",
        "--max-model-len=2560", "--max-prompt-tokens=2048"}) {
    EXPECT_TRUE(holds(translated->options, option)) << option;
  }
  EXPECT_FALSE(std::any_of(translated->options.begin(), translated->options.end(),
                           [](const std::string& option) { return option.starts_with("--ssl"); }));
}

TEST(MindieConfig, RefusesByNameWhatWouldMislead) {
  const auto message_with = [](const char* pointer, const Json& value) {
    Json config = shipped();
    config[Json::json_pointer(pointer)] = value;
    return translate_mindie_config(config, "c.json").status().message();
  };
  const std::tuple<const char*, Json, const char*> cases[] = {
      {"/ServerConfig/inferMode", "dmi", "c.json: ServerConfig.inferMode is \"dmi\""},
      {"/ServerConfig/ipAddress", "0.0.0.0", "allowAllZeroIpListening"},
      {"/ServerConfig/managementIpAddress", "0.0.0.0", "managementIpAddress"},
      {"/ServerConfig/port", 80, "ServerConfig.port must be from 1024 to 65535, is 80"},
      {"/ServerConfig/port", "1025", "ServerConfig.port"},
      {"/ServerConfig/httpsEnabled", 1, "ServerConfig.httpsEnabled must be true or false"},
      {"/ServerConfig/tlsCaFile", "ca.pem", "ServerConfig.tlsCaFile must be a list of texts"},
      {"/BackendConfig/modelInstanceNumber", 2, "BackendConfig.modelInstanceNumber is 2: only 1"},
      {"/BackendConfig/multiNodesInferEnabled", true, "multiNodesInferEnabled"},
      {"/BackendConfig/ModelDeployConfig/truncation", true, "ModelDeployConfig.truncation"},
      {"/BackendConfig/ModelDeployConfig/truncation", -1, "ModelDeployConfig.truncation"},
      {"/BackendConfig/ModelDeployConfig/ModelConfig", Json::array(), "ModelDeployConfig.ModelConfig"},
      {"/BackendConfig/ModelDeployConfig/ModelConfig/0/modelInstanceType", "StandardMock",
       "modelInstanceType"},
      {"/BackendConfig/ModelDeployConfig/ModelConfig/0/modelWeightPath", nullptr,
       "modelWeightPath is missing"},
      {"/BackendConfig/ScheduleConfig/maxBatchSize", 0,
       "ScheduleConfig.maxBatchSize must be from 1 to 819200"},
      {"/BackendConfig/ScheduleConfig/decodePolicyType", 1, "decodePolicyType"},
      {"/BackendConfig/ScheduleConfig", 1, "BackendConfig.ScheduleConfig must be an object"},
      {"/EnableDynamicAdjustTimeoutConfig", true, "EnableDynamicAdjustTimeoutConfig"}};
  for (const auto& [pointer, value, want] : cases) {
    const std::string message = message_with(pointer, value);
    EXPECT_NE(message.find(want), std::string::npos) << pointer << ": " << message;
  }
  Json one_port = shipped();
  one_port["ServerConfig"]["managementIpAddress"] = "127.0.0.1";
  one_port["ServerConfig"]["metricsPort"] = 1025;
  EXPECT_NE(translate_mindie_config(one_port, "c").status().message().find("metricsPort"), std::string::npos);
  EXPECT_FALSE(translate_mindie_config(Json::array(), "c").ok());
}

TEST(MindieConfig, RevocationListsAndPasswordsThatExistAreRefused) {
  const std::string folder = testing::TempDir();
  ASSERT_TRUE(write_file(join_path(folder, "revoked.pem"), "x").ok());
  Json config = shipped();
  config["ServerConfig"]["tlsCrlPath"] = ".";
  config["ServerConfig"]["tlsCrlFiles"] = {"revoked.pem"};
  EXPECT_NE(
      translate_mindie_config(config, join_path(folder, "c.json")).status().message().find("tlsCrlFiles"),
      std::string::npos);
  config = shipped();
  config["ServerConfig"]["tlsPkPwd"] = "revoked.pem";
  EXPECT_NE(translate_mindie_config(config, join_path(folder, "c.json")).status().message().find("tlsPkPwd"),
            std::string::npos);
}

TEST(MindieConfig, TheCommandLineWins) {
  const std::string path = testing::TempDir() + "fathom_mindie_config_test.json";
  ASSERT_TRUE(write_file(path, kShipped).ok());
  const auto arguments =
      apply_mindie_config({"serve", "--mindie-config", path, "--admin-port", "9", "--port=8"});
  ASSERT_TRUE(arguments.ok()) << arguments.status().message();
  EXPECT_FALSE(holds(*arguments, "--mindie-config"));
  EXPECT_FALSE(holds(*arguments, "--port=1025"));
  EXPECT_FALSE(holds(*arguments, "--admin-port=1026"));
  EXPECT_TRUE(holds(*arguments, "--host=127.0.0.1"));
  const std::vector<std::string> other = {"run", "--mindie-config", path};
  EXPECT_EQ(*apply_mindie_config(other), other);
  EXPECT_FALSE(apply_mindie_config({"serve", "--mindie-config", "/no/such/file"}).ok());
}

}  // namespace
}  // namespace fathom
