// Loads an exported version folder the way TF Serving does and prints what it answers.
//
//   export_loader FOLDER serving_default PIXELS_FILE BATCH HEIGHT WIDTH CHANNELS
//   export_loader FOLDER serving_bytes IMAGE_FILE...
//   export_loader FOLDER texts LIBRARIES TEXT_FILE [TEXT_PAIR_FILE]
//   export_loader FOLDER --serve
//
// PIXELS_FILE holds the batch's uint8 pixels and nothing else; a file of texts one text a line.
// LIBRARIES is the folder with tensorflow-text's operations, *.so, which are loaded first.
// One line an example: class_id label scores; of a model without classes the score alone.
//
// With --serve it answers requests of standard input on standard output, several at a time, until the input ends.
// Numbers are little-endian; TEXT is its length, uint32, and its bytes; TENSOR is the TEXT of a TensorProto:
//
//   request  uint64 number, TEXT signature, uint32 count, count times: TEXT name, TENSOR
//   answer   uint64 number, uint32 code of absl::Status; of 0: uint32 count, as above; of others: TEXT message

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <limits>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tensorflow/c/c_api.h"
#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor.pb.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/platform/threadpool.h"

namespace {

void Check(const absl::Status& status) {
  if (!status.ok()) {
    std::cerr << status.ToString() << "\n";
    std::exit(1);
  }
}

std::string Contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) Check(absl::NotFoundError(path));
  return std::string(std::istreambuf_iterator<char>(file), {});
}

tensorflow::Tensor Pixels(char** arguments) {
  tensorflow::TensorShape shape;
  for (int i = 1; i < 5; ++i) shape.AddDim(std::atoll(arguments[i]));
  tensorflow::Tensor images(tensorflow::DT_UINT8, shape);
  const std::string bytes = Contents(arguments[0]);
  if (bytes.size() != images.TotalBytes()) Check(absl::InvalidArgumentError("wrong file size"));
  std::memcpy(images.data(), bytes.data(), bytes.size());
  return images;
}

tensorflow::Tensor Strings(const std::vector<std::string>& values) {
  tensorflow::Tensor strings(tensorflow::DT_STRING,
                             tensorflow::TensorShape({static_cast<int64_t>(values.size())}));
  for (size_t i = 0; i < values.size(); ++i) strings.flat<tensorflow::tstring>()(i) = values[i];
  return strings;
}

std::vector<std::string> Lines(const std::string& path) {
  std::istringstream file(Contents(path));
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

// Makes the operations of all libraries in a folder known.
void LoadOperations(const std::string& folder) {
  TF_Status* status = TF_NewStatus();
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    if (file.path().extension() != ".so") continue;
    TF_LoadLibrary(file.path().c_str(), status);
    if (TF_GetCode(status) != TF_OK) Check(absl::NotFoundError(TF_Message(status)));
  }
  TF_DeleteStatus(status);
}

// What a signature is asked, by the names of its inputs.
using Request = std::vector<std::pair<std::string, tensorflow::Tensor>>;

Request Asked(const std::string& kind, int count, char** arguments) {
  if (kind == "serving_default") {
    if (count != 5) Check(absl::InvalidArgumentError("expected four sizes"));
    return {{"images", Pixels(arguments)}};
  }
  if (kind == "texts") {
    LoadOperations(arguments[0]);
    const std::vector<std::string> names = {"text", "text_pair"};
    Request request;
    for (int i = 1; i < count; ++i) {
      request.emplace_back(names.at(i - 1), Strings(Lines(arguments[i])));
    }
    return request;
  }
  std::vector<std::string> files;
  for (int i = 0; i < count; ++i) files.push_back(Contents(arguments[i]));
  return {{"image_bytes", Strings(files)}};
}

constexpr int kThreads = 8;

template <typename Number>
bool Read(Number& number) {
  return static_cast<bool>(std::cin.read(reinterpret_cast<char*>(&number), sizeof(number)));
}

std::string ReadText() {
  uint32_t size = 0;
  Read(size);
  std::string text(size, '\0');
  std::cin.read(text.data(), size);
  return text;
}

template <typename Number>
void Append(std::string& to, Number number) {
  to.append(reinterpret_cast<const char*>(&number), sizeof(number));
}

void AppendText(std::string& to, const std::string& text) {
  Append(to, static_cast<uint32_t>(text.size()));
  to += text;
}

// As TF Serving does it: inputs and outputs by the names that the signature has for them.
absl::Status Answer(const tensorflow::SavedModelBundleLite& model, const std::string& name,
                    const std::map<std::string, std::string>& inputs, std::string& answer) {
  const auto found = model.GetSignatures().find(name);
  if (found == model.GetSignatures().end()) {
    return absl::InvalidArgumentError("no signature " + name);
  }
  const tensorflow::SignatureDef& signature = found->second;
  if (inputs.size() != signature.inputs().size()) {
    return absl::InvalidArgumentError("another number of inputs than the signature has");
  }
  Request fed;
  for (const auto& [input, bytes] : inputs) {
    tensorflow::TensorProto proto;
    tensorflow::Tensor tensor;
    if (signature.inputs().count(input) == 0) {
      return absl::InvalidArgumentError("no input " + input);
    }
    if (!proto.ParseFromString(bytes) || !tensor.FromProto(proto)) {
      return absl::InvalidArgumentError("no tensor for " + input);
    }
    fed.emplace_back(signature.inputs().at(input).name(), tensor);
  }
  std::vector<std::string> names, fetched;
  for (const auto& [output, info] : signature.outputs()) {
    names.push_back(output);
    fetched.push_back(info.name());
  }
  std::vector<tensorflow::Tensor> outputs;
  const absl::Status status = model.GetSession()->Run(fed, fetched, {}, &outputs);
  if (!status.ok()) return status;
  Append(answer, static_cast<uint32_t>(outputs.size()));
  for (size_t i = 0; i < outputs.size(); ++i) {
    tensorflow::TensorProto proto;
    outputs[i].AsProtoField(&proto);
    AppendText(answer, names[i]);
    AppendText(answer, proto.SerializeAsString());
  }
  return absl::OkStatus();
}

void Serve(const tensorflow::SavedModelBundleLite& model) {
  std::mutex writing;
  tensorflow::thread::ThreadPool threads(tensorflow::Env::Default(), "serve", kThreads);
  for (uint64_t number; Read(number);) {
    const std::string name = ReadText();
    uint32_t count = 0;
    Read(count);
    std::map<std::string, std::string> inputs;
    for (uint32_t i = 0; i < count; ++i) {
      std::string input = ReadText();
      inputs[input] = ReadText();
    }
    threads.Schedule([&model, &writing, number, name, inputs] {
      std::string content, answer;
      const absl::Status status = Answer(model, name, inputs, content);
      Append(answer, number);
      Append(answer, static_cast<uint32_t>(status.raw_code()));
      if (status.ok()) {
        answer += content;
      } else {
        AppendText(answer, std::string(status.message()));
      }
      const std::lock_guard<std::mutex> lock(writing);
      std::cout.write(answer.data(), answer.size());
      std::cout.flush();
    });
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string kind = argc < 3 ? "" : argv[2];
  const bool serves = kind == "--serve";
  if (argc < 4 && !serves) Check(absl::InvalidArgumentError("expected FOLDER SIGNATURE FILE..."));
  const Request request = serves ? Request() : Asked(kind, argc - 3, argv + 3);

  tensorflow::SavedModelBundleLite model;
  Check(tensorflow::LoadSavedModel({}, {}, argv[1], {"serve"}, &model));
  if (serves) {
    Serve(model);
    return 0;
  }
  const tensorflow::SignatureDef& signature =
      model.GetSignatures().at(kind == "texts" ? "serving_default" : kind);
  Request inputs;
  for (const auto& [name, values] : request) {
    inputs.emplace_back(signature.inputs().at(name).name(), values);
  }
  const bool has_classes = signature.outputs().contains("scores");
  std::vector<std::string> names = {"score"};
  if (has_classes) names = {"scores", "class_id", "label"};
  for (std::string& name : names) name = signature.outputs().at(name).name();
  std::vector<tensorflow::Tensor> outputs;
  Check(model.GetSession()->Run(inputs, names, {}, &outputs));

  std::cout.precision(std::numeric_limits<float>::max_digits10);
  const auto scores = outputs[0].flat_inner_dims<float>();
  for (int64_t row = 0; row < outputs[0].dim_size(0); ++row) {
    if (!has_classes) {
      std::cout << outputs[0].flat<float>()(row) << "\n";
      continue;
    }
    std::cout << outputs[1].flat<int64_t>()(row) << " "
              << outputs[2].flat<tensorflow::tstring>()(row).c_str();
    for (int64_t k = 0; k < scores.dimension(1); ++k) std::cout << " " << scores(row, k);
    std::cout << "\n";
  }
}
