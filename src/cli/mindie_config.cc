#include "cli/mindie_config.h"

#include <algorithm>

#include "base/file.h"
#include "base/log.h"
#include "cli/config_file.h"
#include "cli/mindie_section.h"

namespace fathom {
namespace {

constexpr size_t kMaxFileBytes = size_t{10} << 20;
constexpr int64_t kMaxTokens = 4194304;
// More than these are of no use to `serve`: its own limits.
constexpr int64_t kMaxSequences = 4096;
constexpr int64_t kMaxChoices = 8192;
constexpr int64_t kMaxOptionTokens = 1 << 20;

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? std::string(".") : path.substr(0, std::max<size_t>(slash, 1));
}

// What MindIE calls the project's path.
std::string root_of(const std::string& config_path) {
  const std::string folder = folder_of(config_path);
  const bool in_conf = folder == "conf" || folder.ends_with("/conf");
  return in_conf ? join_path(folder, "..") : folder;
}

class Translation {
 public:
  explicit Translation(std::string path) : root_(root_of(path)) {}

  Result<MindieConfig> run(const Json& config) {
    MindieSection top(config, "");
    top.only("EnableDynamicAdjustTimeoutConfig", false);
    MindieSection backend(top.object("BackendConfig"), "BackendConfig.");
    // The size of a batch bounds how many requests the server holds.
    FATHOM_RETURN_IF_ERROR(read_schedule(backend.object("ScheduleConfig")));
    FATHOM_RETURN_IF_ERROR(read_deployment(backend.object("ModelDeployConfig")));
    backend.only("backendName", "mindieservice_llm_engine");
    backend.only("modelInstanceNumber", 1);
    backend.only("multiNodesInferEnabled", false);
    FATHOM_RETURN_IF_ERROR(close(backend));
    FATHOM_RETURN_IF_ERROR(read_server(top.object("ServerConfig")));
    FATHOM_RETURN_IF_ERROR(close(top));
    return std::move(result_);
  }

 private:
  template <typename Value>
  void option(const char* name, const Value& value) {
    result_.options.push_back(fmt::format("--{}={}", name, value));
  }

  Status close(const MindieSection& section) {
    for (std::string& key : section.unused()) result_.unused.push_back(std::move(key));
    return section.status();
  }

  Status read_server(const Json& object);
  Status read_addresses(MindieSection& server);
  void read_tls(MindieSection& server);
  Status read_deployment(const Json& object);
  Status read_model(const Json& object);
  Status read_schedule(const Json& object);

  std::string root_;
  int64_t max_batch_size_ = 0;
  MindieConfig result_;
};

Status Translation::read_server(const Json& object) {
  MindieSection server(object, "ServerConfig.");
  FATHOM_RETURN_IF_ERROR(read_addresses(server));
  if (server.boolean("httpsEnabled", true)) read_tls(server);
  if (server.boolean("fullTextEnabled", false)) result_.options.push_back("--stream-full-text");
  server.only("inferMode", "standard");
  server.only("distDPServerEnabled", false);
  server.only("layerwiseDisaggregated", false);
  // So many are answered, twice as many wait, one more is refused.
  const int64_t links = 3 * server.integer("maxLinkNum", 1000, 1, 4096);
  option("max-queue", std::max<int64_t>(0, links - max_batch_size_));
  constexpr int64_t kSpareConnections = 64;  // for health and metrics
  option("max-connections", links + kSpareConnections);
  const int64_t end_to_end = server.integer("e2eTimeout", 600, 1, 65535);
  option("request-timeout", end_to_end);
  option("queue-timeout", end_to_end);
  option("step-timeout", server.integer("tokenTimeout", 600, 1, 3600));
  option("max-body-size", fmt::format("{}M", server.integer("maxRequestLength", 40, 1, 100)));
  return close(server);
}

Status Translation::read_addresses(MindieSection& server) {
  const std::string address = server.text("ipAddress", "127.0.0.1");
  const std::string management = server.text("managementIpAddress", address);
  const bool everywhere = server.boolean("allowAllZeroIpListening", false);
  for (const auto& [key, value] :
       {std::pair("ipAddress", address), std::pair("managementIpAddress", management)}) {
    if ((value == "0.0.0.0" || value == "::") && !everywhere)
      server.fail(key, fmt::format("is {}, which needs allowAllZeroIpListening: true", value));
  }
  const int64_t port = server.integer("port", 1025, 1024, 65535);
  const int64_t management_port = server.integer("managementPort", 1026, 1024, 65535);
  const int64_t metrics_port = server.integer("metricsPort", 1027, 1024, 65535);
  for (const auto& [key, value] :
       {std::pair("managementPort", management_port), std::pair("metricsPort", metrics_port)}) {
    if (value == port && management == address)
      server.fail(key, fmt::format("is {}, the port of the service: management has ports of its own", value));
  }
  option("host", address);
  option("port", port);
  option("admin-host", management);
  option("admin-port", management_port);
  if (metrics_port != management_port) option("admin-port", metrics_port);
  return server.status();
}

void Translation::read_tls(MindieSection& server) {
  const auto file = [this](const std::string& name) { return join_path(root_, name); };
  option("ssl-certfile", file(server.text("tlsCert", "security/certs/server.pem")));
  option("ssl-keyfile", file(server.text("tlsPk", "security/keys/server.key.pem")));
  const std::string folder = server.text("tlsCaPath", "security/ca/");
  std::vector<std::string> authorities = server.texts("tlsCaFile");
  if (!server.has("tlsCaFile")) authorities = {"ca.pem"};
  for (const std::string& name : authorities) option("ssl-ca-certs", file(join_path(folder, name)));
  const std::string password = server.text("tlsPkPwd", "");
  if (!password.empty() && file_exists(file(password)))
    server.fail("tlsPkPwd", "names a password: an encrypted key cannot be read");
  const std::string lists = server.text("tlsCrlPath", "security/certs/");
  for (const std::string& name : server.texts("tlsCrlFiles")) {
    if (file_exists(file(join_path(lists, name))))
      server.fail("tlsCrlFiles", fmt::format("names {}: revocation lists are not read", name));
  }
}

Status Translation::read_deployment(const Json& object) {
  MindieSection deployment(object, "ModelDeployConfig.");
  const int64_t max_length = deployment.integer("maxSeqLen", 2560, 1, kMaxTokens);
  option("max-model-len", max_length);
  const int64_t max_input = deployment.integer("maxInputTokenLen", 2048, 1, kMaxTokens);
  option("max-prompt-tokens", std::min({max_input, std::max<int64_t>(1, max_length - 1), kMaxOptionTokens}));
  // Right, left, or (true) right: none of them silently.
  if (deployment.has("truncation") && object["truncation"] != false && object["truncation"] != 0)
    deployment.fail("truncation", "must be 0: a prompt that is too long is refused, never cut");
  const Json& model = deployment.single("ModelConfig");
  FATHOM_RETURN_IF_ERROR(deployment.status());
  FATHOM_RETURN_IF_ERROR(read_model(model));
  return close(deployment);
}

Status Translation::read_model(const Json& object) {
  MindieSection model(object, "ModelConfig[0].");
  model.only("modelInstanceType", "Standard");
  const std::string path = model.text("modelWeightPath", "");
  if (path.empty()) model.fail("modelWeightPath", "is missing");
  option("model", path);
  const std::string name = model.text("modelName", "");
  if (name.empty()) model.fail("modelName", "is missing");
  option("served-model-name", name);
  constexpr int64_t kMaxGigabytes = 1 << 20;
  const int64_t memory = model.integer("npuMemSize", -1, -1, kMaxGigabytes);
  if (memory > 0) option("kv-memory", fmt::format("{}G", memory));
  if (model.boolean("trustRemoteCode", false)) result_.options.push_back("--trust-remote-code");
  return close(model);
}

Status Translation::read_schedule(const Json& object) {
  MindieSection schedule(object, "ScheduleConfig.");
  max_batch_size_ = std::min(schedule.integer("maxBatchSize", 200, 1, 819200), kMaxSequences);
  option("max-num-seqs", max_batch_size_);
  option("block-size", schedule.integer("cacheBlockSize", 128, 1, 128));
  const int64_t prefills = schedule.integer("maxPrefillBatchSize", 50, 0, 819200);
  option("max-prefill-seqs", prefills == 0 ? max_batch_size_ : std::min(prefills, max_batch_size_));
  option("max-prefill-tokens", schedule.integer("maxPrefillTokens", 8192, 1, kMaxTokens));
  option("max-output-tokens",
         std::min(schedule.integer("maxIterTimes", 512, 1, kMaxTokens), kMaxOptionTokens));
  option("max-choices", std::min(schedule.integer("maxN", 128, 1, kMaxChoices), max_batch_size_));
  // Both are times: their quotient is what we count in, steps.
  const int64_t step = schedule.integer("decodeTimeMsPerReq", 50, 0, 1000);
  const int64_t wait = schedule.integer("maxFirstTokenWaitTime", 2500, 0, 3600000);
  if (step > 0) option("max-wait-steps", (wait + step - 1) / step);
  schedule.only("templateName", "Standard_LLM");
  schedule.only("prefillPolicyType", 0);
  schedule.only("decodePolicyType", 0);
  return close(schedule);
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

Result<MindieConfig> translate_mindie_config(const Json& config, const std::string& path) {
  Result<MindieConfig> translated = Translation(path).run(config);
  if (!translated.ok()) return translated.status().with_context(path);
  return translated;
}

Result<std::vector<std::string>> apply_mindie_config(std::vector<std::string> arguments) {
  if (arguments.empty() || arguments.front() != "serve") return arguments;
  FATHOM_ASSIGN_OR_RETURN(const std::string path, take_option(arguments, "--mindie-config"));
  if (path.empty()) return arguments;
  FATHOM_ASSIGN_OR_RETURN(const Json config, read_json_file(path, {.max_bytes = kMaxFileBytes}));
  FATHOM_ASSIGN_OR_RETURN(const MindieConfig translated, translate_mindie_config(config, path));
  if (!translated.unused.empty()) {
    log_warning("{}: {} keys have no meaning here: {}", path, translated.unused.size(),
                joined(translated.unused));
  }
  add_unless_given(arguments, translated.options);
  return arguments;
}

}  // namespace fathom
